#!/bin/sh
# A pair that is not registered (the example, turned and shifted here): aligned alone, and aligned and fused in one go.
# For two cameras on one mount, --align-once finds one transform for a whole folder. Needs pip install "lure-cli[align]".
set -eu
python -c '
from PIL import Image
Image.open("examples/street/ir.png").rotate(1.5, Image.Resampling.BICUBIC, translate=(14, -6)).save("turned.png")'
lure align --ir turned.png --vis examples/street/vis.png -o straight.png --transform straight.json
lure fuse --ir turned.png --vis examples/street/vis.png --align auto -o fused.png
lure align --ir turned.png --vis examples/street/vis.png --apply straight.json -o again.png
