#!/bin/sh
# A thermal TIFF in hundredths of a kelvin (made here from the example): 15 to 45 degrees Celsius become black to white,
# the same in every image. The result has 16 bits.
set -eu
python -c '
import numpy as np, tifffile
from PIL import Image
kelvin = 288.15 + 30 * np.asarray(Image.open("examples/street/ir.png"), float) / 255
tifffile.imwrite("thermal.tif", np.rint(100 * kelvin).astype(np.uint16))'
lure fuse --ir thermal.tif --vis examples/street/vis.png --ir-range 28815,31815 --bits 16 -o thermal_fused.tif
