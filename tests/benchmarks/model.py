"""Training throughput of a named size, on this machine; not a test. Of fusing: `lure bench speed`.

    python -m tests.benchmarks.model [--model lure-small] [--runs 15]

Every figure is a median over runs in one process; quote it with the machine, and only when nothing else runs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from lure_cli.config import MODELS, TrainConfig
from lure_cli.tasks.train.trainer import Trainer
from tests.helpers.files import make_data


def median_seconds(call: Callable[[], object], runs: int) -> float:
    """Median wall time of a call, after three calls that do not count."""
    for _ in range(3):
        call()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lure-small", choices=list(MODELS))
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    print(f"{args.model}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder) / "data")
        threads = torch.get_num_threads()
        train = TrainConfig(model=args.model, data=str(data), out=f"{folder}/run", threads=1, shards=min(threads, 4))
        trainer = Trainer(train)
        batch = trainer.sampler.stage1(0)
        seconds = median_seconds(lambda: trainer.train_step(batch), args.runs)
        crops = train.batch_vis + train.batch_ir
        number = "bf16" if trainer.amp else "fp32"
        print(f"stage I, {train.crop}x{train.crop}    {crops / seconds:.1f} crops/s {number}, {train.shards} shards")


if __name__ == "__main__":
    main()
