#!/bin/sh
# A folder on a Ray cluster: RAY_ADDRESS names it, else one is started on this machine. Needs pip install "lure-cli[ray]".
set -eu
lure fuse --ir examples/pairs/ir --vis examples/pairs/vis -o out/ --engine ray --workers 2
