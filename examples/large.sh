#!/bin/sh
# An image that does not fit into memory in one piece: tiles of 256 pixels, the same picture. From 1.6 megapixels on this
# is done by itself, with tiles of 1024.
set -eu
lure fuse --ir examples/street/ir.png --vis examples/street/vis.png --tile 256 -o tiled.png
