"""Folder throughput against that of the model alone, and the memory and seams of a large pair; not a test.

    python -m tests.benchmarks.folder [--pairs 20] [--rounds 5] [--dtype fp32]
    python -m tests.benchmarks.folder --large 4096x3072 [--weights lure-small]

The first alternates, in one process, between the bare model on a 640x480 pair that is already a tensor and the pipeline
of `lure fuse` on files of such pairs (reading, computing, writing), and prints the median of the paired ratios. The
second fuses one large pair in tiles in a process of its own and prints its peak memory; with --whole also in one
piece, and how far the two agree. Quote figures with the machine, and only when nothing else runs.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
STREET = ROOT / "examples" / "street"


def throughput(pairs: int, rounds: int, dtype: str) -> None:
    """Print pairs a second of both, and the ratio."""
    import torch

    from lure_cli.core.devices import autocast
    from lure_cli.tasks.inference.fuse import FuseWorker
    from lure_cli.tasks.inference.job import load_fuser
    from lure_cli.tasks.inference.options import FuseOptions
    from lure_cli.tasks.inference.pipeline import run_pipeline
    from lure_cli.tasks.inference.plan import plan_fuse

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for side, name in (("ir", "ir.png"), ("vis", "vis.png")):
            (root / side).mkdir()
            for n in range(pairs):
                shutil.copy(STREET / name, root / side / f"{n:05}.png")
        plan = plan_fuse(FuseOptions(root / "ir", root / "vis", f"{root}/out/", dtype=dtype, overwrite=True))
        fuser = load_fuser(plan.options, plan.weights)
        worker = FuseWorker(plan.options, plan.weights, fuser)
        ir, vis = fuser.image(STREET / "ir.png", 1), fuser.image(STREET / "vis.png", 3)
        t = fuser.engine.vectors([()])

        def model() -> float:
            started = time.perf_counter()
            for _ in range(pairs):
                with torch.inference_mode(), autocast(fuser.device, fuser.dtype):
                    fuser.engine.model(ir, vis, t, t)
            return pairs / (time.perf_counter() - started)

        def files() -> float:
            started = time.perf_counter()
            results = list(run_pipeline(plan.jobs, worker.read, worker.compute, worker.write))
            assert all(r.status == "done" for r in results)
            return pairs / (time.perf_counter() - started)

        model(), files()
        both = [(model(), files()) for _ in range(rounds)]
    rates = [statistics.median(rate) for rate in zip(*both, strict=True)]
    ratio = statistics.median(f / m for m, f in both)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {dtype}, {rounds} rounds of {pairs} pairs")
    print(f"model alone  {rates[0]:.2f} pairs a second (median)")
    print(f"folder       {rates[1]:.2f} pairs a second (median)")
    print(f"ratio        {ratio:.3f} (median of paired ratios; from {min(f / m for m, f in both):.3f})")


def large(size: str, weights: str, whole: bool) -> None:
    """Print peak memory of a large pair, and the agreement of tiles and one piece."""
    from PIL import Image

    width, height = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        pair = []
        for side, name in (("--ir", "ir_noisy.png"), ("--vis", "vis_hazy.png")):
            with Image.open(STREET / name) as image:
                image.resize((width, height), Image.Resampling.BICUBIC).save(f"{folder}/{name}", compress_level=1)
            pair += [side, f"{folder}/{name}"]
        prompt = ["--prompt", "haze in the visible image and noise in the infrared image"]
        pictures = {}
        for tile in ("auto", "0") if whole else ("auto",):
            out = f"{folder}/{tile}.png"
            command = [
                sys.executable,
                "-m",
                "lure_cli",
                "fuse",
                *pair,
                *prompt,
                "--weights",
                weights,
                "--tile",
                tile,
                "-o",
                out,
                "--bits",
                "16",
            ]
            started = time.perf_counter()
            subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # the largest child so far
            print(f"{weights}, {size}, --tile {tile}: {time.perf_counter() - started:.1f} s, peak {peak:.2f} GiB")
            pictures[tile] = out
        if whole:
            from lure_cli.core.images.picture import read_pixels

            a, b = (read_pixels(path).astype(np.float64) / 65535 for path in pictures.values())
            error, worst = ((a - b) ** 2).mean(), np.abs(a - b).max()
            print(f"tiles against one piece: {-10 * np.log10(max(error, 1e-20)):.1f} dB, at most {worst:.6f}")


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="fp32")
    parser.add_argument("--large", help="WIDTHxHEIGHT")
    parser.add_argument("--weights", default="lure-small")
    parser.add_argument("--whole", action="store_true")
    args = parser.parse_args()
    if args.large:
        large(args.large, args.weights, args.whole)
    else:
        throughput(args.pairs, args.rounds, args.dtype)


if __name__ == "__main__":
    main()
