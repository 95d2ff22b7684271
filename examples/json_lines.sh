#!/bin/sh
# One line of JSON a pair, for scripts: here, the seconds that each pair took.
set -eu
lure fuse --ir examples/pairs/ir --vis examples/pairs/vis -o out/ --overwrite --quiet --json |
  python -c 'import json, sys; [print(r["name"], r["seconds"]) for r in map(json.loads, sys.stdin)]'
