#!/bin/sh
# Infrared from standard input, the result on standard output, as a PNG.
set -eu
lure fuse --ir - --vis examples/pairs/vis/gate.png -o - < examples/pairs/ir/gate.png > gate_fused.png
