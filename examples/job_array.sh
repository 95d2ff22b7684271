#!/bin/sh
# One part of a large job on each of several machines, without a cluster: here both parts, one after the other.
# In a job array, i and n are what the scheduler sets ($SLURM_ARRAY_TASK_ID and $SLURM_ARRAY_TASK_COUNT, for example).
set -eu
n=2
for i in 1 2; do
  lure fuse --ir examples/pairs/ir --vis examples/pairs/vis -o out/ --shard "$i/$n" --skip-existing
done
