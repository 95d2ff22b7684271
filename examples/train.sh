#!/bin/sh
# Both training stages on a data folder of one's own (guides/training.md shows its layout), then a picture with the result.
# LURE_TRAIN_FLAGS is added to both, for example "--steps 2000 --device cuda".
set -eu
data=${1:-data}
lure train stage1 --data "$data" --out runs/stage1 ${LURE_TRAIN_FLAGS:-}
lure train stage2 --data "$data" --out runs/stage2 --init runs/stage1/weights.safetensors ${LURE_TRAIN_FLAGS:-}
lure fuse --ir examples/street/ir.png --vis examples/street/vis.png \
  --weights runs/stage2/weights.safetensors -o mine.png
