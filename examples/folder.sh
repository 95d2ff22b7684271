#!/bin/sh
# All pairs of two folders and their sub-folders: first shown, then done. Finished ones are left out, so that the job can
# be started again. Exit code 1 means that some pairs failed: they are named at the end, the others are done.
set -eu
lure fuse --ir examples/pairs/ir --vis examples/pairs/vis --recursive -o "out/{folder}/{stem}.png" --dry-run
lure fuse --ir examples/pairs/ir --vis examples/pairs/vis --recursive -o "out/{folder}/{stem}.png" --skip-existing
