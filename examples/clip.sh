#!/bin/sh
# Clips: two video files, told what is wrong; then only some frames, as pictures; then those pictures as the infrared.
set -eu
lure fuse --ir examples/clip/ir.mp4 --vis examples/clip/vis.mp4 --prompt "noise" -o denoised.mp4 --json
lure fuse --ir examples/clip/ir.mp4 --vis examples/clip/vis.mp4 -o "still/{frame:03d}.png" --limit 2
lure fuse --ir still --vis examples/clip/vis.mp4 -o again.webm
