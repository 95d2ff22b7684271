#!/bin/sh
# A model as one ONNX file, used by LURE itself and by a program that has nothing of it. Needs pip install "lure-cli[export]".
set -eu
lure export onnx -o model.onnx
lure fuse --weights model.onnx --ir examples/street/ir.png --vis examples/street/vis_hazy.png --prompt haze -o by_lure.png
python examples/onnx/fuse.py model.onnx examples/street/ir.png examples/street/vis_hazy.png alone.png haze
