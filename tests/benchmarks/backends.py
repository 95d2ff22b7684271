"""From which job on is torch sooner done than onnxruntime? The figures of the rule of `--backend auto`; not a test.

    python -m tests.benchmarks.backends [--rounds 3] [--counts 1,10,100] [--sizes 320x240,640x480,1280x1024]
    python -m tests.benchmarks.backends --cpu-time --counts 1,10

Each cell is a process of its own, `lure fuse` of so many pairs as files, plain or with prompts for both images, by
torch (float32, and what `--dtype auto` takes), and by onnxruntime; the three take turns. Printed are medians with their
spread, the peak memory, the fit of `lure_cli.tasks.inference.backend.COSTS` to the medians, the turning points that
follow from it, and where the rule as it stands chose the slower one, by how much. Quote figures with the machine, and
only when nothing else runs: about eight minutes a round on two cores. Where something else does, --cpu-time counts the
seconds that the process had, on one thread, which others change less.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lure_cli.tasks.inference.backend import Cost, Machine, Work, pick

ROOT = Path(__file__).parents[2]
STREET = ROOT / "examples" / "street"
BOTH = "noise in the infrared image and haze in the visible image"
KINDS = {
    "onnx": ["--backend", "onnx"],
    "torch fp32": ["--backend", "torch", "--dtype", "fp32"],
    "torch auto": ["--backend", "torch"],
}


class Job(NamedTuple):
    """A cell of the table."""

    size: tuple[int, int]
    count: int
    prompts: bool

    def work(self) -> Work:
        """As the rule sees it."""
        megapixels = self.count * self.size[0] * self.size[1] / 1e6
        return Work(megapixels, 2 * megapixels * self.prompts)

    def __str__(self) -> str:
        return f"{self.size[0]}x{self.size[1]}, {self.count:3} {'pairs' if self.count > 1 else 'pair '}, " + (
            "prompts" if self.prompts else "plain  "
        )


class Run(NamedTuple):
    """Seconds, and MiB at most."""

    seconds: float
    memory: float


def make_pairs(folder: Path, size: tuple[int, int], count: int) -> None:
    """So many pairs of a size."""
    for side, name in (("ir", "ir_noisy.png"), ("vis", "vis_hazy.png")):
        (folder / side).mkdir(parents=True)
        with Image.open(STREET / name) as image:
            image.resize(size, Image.Resampling.BICUBIC).save(folder / side / "000.png")
        for n in range(1, count):
            shutil.copy(folder / side / "000.png", folder / side / f"{n:03}.png")


def run(folder: Path, job: Job, kind: str, cpu_time: bool) -> Run:
    """One process, from its start to its end."""
    command = [sys.executable, "-m", "lure_cli", "fuse", "-q", "--device", "cpu", "--overwrite", *KINDS[kind]]
    command += ["--ir", str(folder / "ir"), "--vis", str(folder / "vis"), "-o", str(folder / "out") + os.sep]
    command += ["--prompt", BOTH] * job.prompts + ["--threads", "1"] * cpu_time
    env = os.environ | {"PYTHONPATH": str(ROOT)} | ({"OMP_NUM_THREADS": "1"} if cpu_time else {})
    started = time.perf_counter()
    with subprocess.Popen(command, env=env, cwd=folder) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = usage.ru_utime + usage.ru_stime if cpu_time else time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return Run(seconds, usage.ru_maxrss / 1024)


def fit(measured: dict[Job, float]) -> Cost:
    """The figures that are nearest, in relation to what was measured."""
    rows, works = [], {job: job.work() for job in measured}
    for job, seconds in measured.items():
        rows.append([1 / seconds, works[job].megapixels / seconds, works[job].restored / seconds])
    return Cost(*map(float, np.linalg.lstsq(np.array(rows), np.ones(len(rows)), rcond=None)[0]))


def turn(onnx: Cost, torch: Cost, size: tuple[int, int], prompts: bool) -> float:
    """The number of pairs from which on torch is sooner done; infinite if it never is."""
    one = Job(size, 1, prompts).work()
    slower = (onnx.of(one) - onnx.start) - (torch.of(one) - torch.start)
    saved = torch.start - onnx.start
    return max(saved, 0) / slower if slower > 0 else float("inf") if saved > 0 else 0.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--counts", default="1,10,100")
    parser.add_argument("--sizes", default="320x240,640x480,1280x1024")
    parser.add_argument("--cpu-time", action="store_true")
    args = parser.parse_args()
    counts = [int(n) for n in args.counts.split(",")]
    sizes: list[tuple[int, int]] = [tuple(map(int, s.split("x"))) for s in args.sizes.split(",")]  # type: ignore[misc]
    what = "s of CPU time, one thread" if args.cpu_time else f"s, {len(os.sched_getaffinity(0))} cores"
    runs: dict[str, dict[Job, list[Run]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as root:
        for size, count in product(sizes, counts):
            folder = Path(root) / f"{size[0]}x{size[1]}-{count}"
            make_pairs(folder, size, count)
            for prompts in (False, True):
                job = Job(size, count, prompts)
                for _ in range(args.rounds):
                    for kind in KINDS:
                        runs[kind][job].append(run(folder, job, kind, args.cpu_time))
                line = []
                for kind in KINDS:
                    seconds = [r.seconds for r in runs[kind][job]]
                    span = f"{statistics.median(seconds):7.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
                    line.append(f"{kind} {span} {max(r.memory for r in runs[kind][job]):.0f} MiB")
                print(f"{job}: {'; '.join(line)}", flush=True)
            shutil.rmtree(folder)
    medians = {k: {j: statistics.median(r.seconds for r in of) for j, of in each.items()} for k, each in runs.items()}
    costs = {kind: fit(each) for kind, each in medians.items()}
    print(f"\nCOSTS in {what}, medians of {args.rounds}:")
    for kind, cost in costs.items():
        off = max(abs(cost.of(job.work()) / seconds - 1) for job, seconds in medians[kind].items())
        print(f"  {kind}: Cost({cost.start:.2f}, {cost.pair:.3f}, {cost.restored:.3f}), at most {off:.0%} off")
    print("\ntorch is sooner done from so many pairs on:")
    for size, prompts in product(sizes, (False, True)):
        points = {kind: turn(costs["onnx"], costs[kind], size, prompts) for kind in KINDS if kind != "onnx"}
        print(f"  {Job(size, 1, prompts)}: " + ", ".join(f"{kind} {n:.0f}" for kind, n in points.items()))
    print("\nthe rule as it stands, where it chose the slower one by more than 5 %:")
    for kind, job in product((k for k in KINDS if k != "onnx"), medians["onnx"]):
        machine = Machine("installed", gpu=False, bf16=kind == "torch auto")
        chosen = "onnx" if pick(job.work(), machine, "cpu") == "onnx" else kind
        seconds = {k: medians[k][job] for k in ("onnx", kind)}
        if seconds[chosen] > 1.05 * min(seconds.values()):
            print(f"  {job}: {chosen}, {seconds[chosen]:.2f} s instead of {min(seconds.values()):.2f} s")


if __name__ == "__main__":
    main()
