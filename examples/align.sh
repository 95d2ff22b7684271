#!/bin/sh
# A pair that is not registered (the example, turned and shifted here): aligned alone, and aligned and fused in one go.
# Then two cameras on one mount: several pairs vote on one transform, which is used and checked.
# Estimating needs pip install "lure-cli[align]".
set -eu
python -c '
from PIL import Image
Image.open("examples/street/ir.png").rotate(1.5, Image.Resampling.BICUBIC, translate=(14, -6)).save("turned.png")'
lure align --ir turned.png --vis examples/street/vis.png -o straight.png --transform straight.json
lure fuse --ir turned.png --vis examples/street/vis.png --align auto -o fused.png
lure align --ir turned.png --vis examples/street/vis.png --apply straight.json -o again.png
lure align --ir examples/pairs/ir --vis examples/pairs/vis -o placed/ --once --transform rig.json
lure fuse --ir examples/pairs/ir --vis examples/pairs/vis --rig rig.json -o by_rig/
lure align --ir examples/pairs/ir --vis examples/pairs/vis --check rig.json
