#!/bin/sh
# Fuse a folder, and put it beside the floors and the visible images alone in one table; every value goes to a CSV file.
set -eu
lure fuse --ir examples/pairs/ir --vis examples/pairs/vis -o out/ --skip-existing
lure eval --ir examples/pairs/ir --vis examples/pairs/vis --fused out --floors \
  --metrics EN,SD,VIF,VIF_min,Qabf,SSIM,SSIM_min --csv out/metrics.csv --html out/metrics.html
