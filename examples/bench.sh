#!/bin/sh
# Degrade clean pairs, fuse every case with and without its prompt, and score it against the clean sources.
set -eu
python examples/make_cases.py --ir examples/pairs/ir --vis examples/pairs/vis --out cases --cases clean,vis_lowlight
lure bench fusion cases --floors --csv bench.csv
