"""The exported model against the model itself: agreement on pairs of a folder, and speed; not a test.

    python -m tests.benchmarks.onnx [--weights lure-small] [--ir DIR --vis DIR --limit 20] [--threads 1] [--runs 9]

Speeds are medians of paired ratios, model / file in turns in one process (above 1: the file is faster); quote them with
the machine and the versions, and only when nothing else runs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from lure_cli import Fuser
from lure_cli.tasks.weights.export import VARIANTS, ExportOptions, export_onnx

ROOT = Path(__file__).parents[2]
PROMPTS = {"plain": (None, None), "prompts": ("noise", "low light")}


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="lure-small")
    parser.add_argument("--ir", type=Path, default=ROOT / "examples" / "pairs" / "ir")
    parser.add_argument("--vis", type=Path, default=ROOT / "examples" / "pairs" / "vis")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    names = sorted(p.name for p in args.ir.iterdir() if (args.vis / p.name).is_file())
    names = names[:: max(1, len(names) // args.limit)][: args.limit]
    model = Fuser.from_pretrained(args.weights, device="cpu", dtype="fp32")
    with tempfile.TemporaryDirectory() as folder:
        files = {v: Path(folder) / f"{v}.onnx" for v in VARIANTS}
        for variant, file in files.items():
            export_onnx(ExportOptions(args.weights, file, variant, check=False))
        exported = {v: Fuser.from_pretrained(f, device="cpu") for v, f in files.items()}
    versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {args.threads} threads"
    print(f"{args.weights}, {versions}, {len(names)} pairs of {args.ir}")
    for kind, (of_ir, of_vis) in PROMPTS.items():
        largest, psnr = dict.fromkeys(VARIANTS, 0.0), {v: [] for v in VARIANTS}
        for name in names:
            pair = args.ir / name, args.vis / name
            expected = model(*pair, prompt_ir=of_ir, prompt_vis=of_vis)
            for variant, fuser in exported.items():
                error = np.abs(fuser(*pair, prompt_ir=of_ir, prompt_vis=of_vis) - expected)
                largest[variant] = max(largest[variant], float(error.max()))
                psnr[variant].append(-10 * np.log10(np.mean(error**2) + 1e-12))
        for variant in VARIANTS:
            figures = f"PSNR {min(psnr[variant]):.1f} dB at least, {statistics.mean(psnr[variant]):.1f} on average"
            print(f"{variant} {kind:8} largest difference {largest[variant]:.1e}, {figures}")
    generator = np.random.default_rng(0)
    ir, vis = generator.random((480, 640), np.float32), generator.random((480, 640, 3), np.float32)
    for kind, (of_ir, of_vis) in PROMPTS.items():
        fusers = exported | {"model": model}
        seconds: dict[str, list[float]] = {k: [] for k in fusers}
        for run in range(args.runs + 1):
            for key, fuser in fusers.items():
                started = time.perf_counter()
                fuser(ir, vis, prompt_ir=of_ir, prompt_vis=of_vis)
                if run:  # the first does not count
                    seconds[key].append(time.perf_counter() - started)
        medians = {k: statistics.median(v) for k, v in seconds.items()}
        for variant in VARIANTS:
            ratio = statistics.median(m / v for m, v in zip(seconds["model"], seconds[variant], strict=True))
            both = f"model {medians['model']:.3f} s, file {medians[variant]:.3f} s"
            print(f"{variant} {kind:8} 640x480: {both}, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
