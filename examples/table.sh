#!/bin/sh
# Pairs whose names have nothing in common, listed in a CSV file.
set -eu
printf 'ir,vis,name\ngate.png,drone.png,first\ndrone.png,gate.png,second\n' > pairs.csv
lure fuse --ir examples/pairs/ir --vis examples/pairs/vis --pair csv --pair-file pairs.csv -o out/
