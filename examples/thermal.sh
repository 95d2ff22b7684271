#!/bin/sh
# A thermal TIFF in hundredths of a kelvin: 0 to 30 degrees Celsius become black to white, the same in every image. The
# result has 16 bits; the temperatures of its pixels are written beside it.
set -eu
lure fuse --ir examples/street/ir_ck.tif --vis examples/street/vis.png --resize-ir --unit ck --ir-range 0,30 \
    --bits 16 --temperature thermal_celsius.tif -o thermal_fused.tif
