#!/bin/sh
# One pair, told what is wrong with it. Run from the project's folder.
set -eu
lure fuse --ir examples/street/ir_noisy.png --vis examples/street/vis_hazy.png \
  --prompt "haze in the visible image and noise in the infrared image" -o street_fused.png --overwrite
