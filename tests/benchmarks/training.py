"""How fast training is, and what limits it; not a test.

    python -m tests.benchmarks.training pair OTHER [--data DATA] [--stage 1] [--rounds 5] [--steps 6]
    python -m tests.benchmarks.training parts DATA [--model lure-small] [--init WEIGHTS] [--seconds 30] [--json FILE]

`pair` trains with this checkout and with another one, each in a process of its own, in turns of a few steps, and
prints the medians of the paired ratios of steps a second, by the clock and by the processor's time, which
other programs disturb less. Each runs its own shipped preset, checkpoints included.

`parts` trains for some seconds as the preset for a GPU says (`--set` changes it) and tells crops a second and the share
of the time spent waiting for batches; then, of one batch over and over, the time of forward and backward pass and of
the optimiser, and how much of it the host takes to start the operations; then what the workers draw alone. `--json`
writes it all to a file. Quote figures with the machine, and only when nothing else runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
CHILD = """
import json, sys, time
import torch
from lure_cli.tasks.train.config import resolve_config
from lure_cli.tasks.train.trainer import Trainer
stage, flags, settings = json.loads(sys.argv[1])
trainer = Trainer(resolve_config(stage, None, flags, settings))
trainer.run(until=2)
print("ready", flush=True)
for line in sys.stdin:
    started, begun = time.perf_counter(), time.process_time()
    trainer.run(until=trainer.step + int(line))
    print(time.perf_counter() - started, time.process_time() - begun, flush=True)
"""
"""What runs in both checkouts; the other one may be older."""


def pair(args: argparse.Namespace) -> None:
    """Print steps a second of both checkouts, and the ratio."""
    from tests.helpers.files import make_data

    with tempfile.TemporaryDirectory() as folder:
        data = args.data or make_data(Path(folder) / "data")
        settings = ["holdout=0.0", "tensorboard=false", "log_every=1000", "steps=100000", "snapshots=[]", *args.set]
        children = []
        for n, root in enumerate((ROOT, Path(args.other).resolve())):
            flags = {"data": str(data), "out": f"{folder}/{n}", "init": args.init, "device": args.device}
            command = [sys.executable, "-c", CHILD, json.dumps([args.stage, flags, settings])]
            env = {**os.environ, "PYTHONPATH": str(root)}
            children.append(
                subprocess.Popen(command, cwd=root, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )

        def turn(child: subprocess.Popen[str]) -> tuple[float, ...]:
            """Steps a second, by the clock and by the processor's time."""
            assert child.stdin and child.stdout
            print(args.steps, file=child.stdin, flush=True)
            return tuple(args.steps / float(seconds) for seconds in child.stdout.readline().split())

        for child in children:
            assert child.stdout and child.stdout.readline() == "ready\n"
        rates = []
        for n in range(args.rounds):
            order = children if n % 2 else children[::-1]
            both = {id(child): turn(child) for child in order}
            rates.append(tuple(both[id(child)] for child in children))
        for child in children:
            child.communicate("")
    print(f"torch {torch.__version__}, stage {args.stage}, {args.rounds} rounds of {args.steps} steps")
    for n, name in enumerate(("clock", "processor")):
        ours, theirs = ([rate[side][n] for rate in rates] for side in (0, 1))
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        medians = f"{statistics.median(ours):.3f} steps a second, other {statistics.median(theirs):.3f}"
        print(f"by the {name}: {medians} (medians)")
        print(f"  ratio {statistics.median(ratios):.3f} (median of pairs; {min(ratios):.3f} to {max(ratios):.3f})")


def parts(args: argparse.Namespace) -> None:
    """Print, and write, what `parts` measures."""
    from lure_cli.core.training.batches import Draw
    from lure_cli.core.training.loader import drawn
    from lure_cli.tasks.train.config import resolve_config
    from lure_cli.tasks.train.trainer import Trainer

    with tempfile.TemporaryDirectory() as folder:
        flags = {"data": args.data, "out": folder, "init": args.init, "device": args.device}
        settings = [f"model={args.model}", "holdout=0.0", "tensorboard=false", f"minutes={args.seconds / 60}"]
        cfg = resolve_config(args.stage, "gpu", flags, [*settings, "log_every=1000000", *args.set])
        started = time.perf_counter()
        trainer = Trainer(cfg)
        records: list[dict[str, Any]] = []
        device = trainer.device
        trainer.run(records.append, notify=print)
        whole = time.perf_counter() - started
        images = cfg.batch_vis + (cfg.batch_ir if cfg.stage == 1 else 0)
        what = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
        result: dict[str, Any] = {"device": what, "torch": torch.__version__, "cores": os.cpu_count()}
        result |= {"stage": cfg.stage, "model": cfg.model, "images_a_step": images, "workers": cfg.workers}
        result |= {"crops_per_second": (trainer.step - 1) * images / trainer.seconds, "steps": trainer.step}
        result |= {"waiting": records[-1]["waiting"], "seconds_to_the_first_step": whole - trainer.seconds}

        def synchronised() -> None:
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        def timed(call: Callable[[], object]) -> tuple[float, float]:
            """Milliseconds of a call until the host is done with it, and until the device is."""
            host, both = [], []
            for n in range(args.repeats + 2):
                synchronised()
                begun = time.perf_counter()
                call()
                host.append(time.perf_counter() - begun)
                synchronised()
                if n >= 2:
                    both.append(time.perf_counter() - begun)
            return 1000 * statistics.median(host[2:]), 1000 * statistics.median(both)

        draw = Draw(trainer.sampler, slice(None))
        batch = draw(0)
        drawing = 1000 * statistics.median(_seconds(lambda: draw(1)) for _ in range(3))
        passes = timed(lambda: trainer._backward(0, batch)) if cfg.shards == 1 else (float("nan"),) * 2
        step = timed(lambda: trainer.train_step(batch))
        result |= {"forward_backward_ms": passes[1], "forward_backward_host_ms": passes[0]}
        result |= {"step_ms": step[1], "step_host_ms": step[0], "optimiser_ms": step[1] - passes[1]}
        result |= {"draw_ms_of_one_process": drawing, "crops_per_second_of_one_process": 1000 * images / drawing}
        if cfg.workers:
            with drawn(draw, range(10**6), cfg.workers, pin=device.type == "cuda") as batches:
                for _ in range(2 * cfg.workers):  # what is drawn while they start
                    next(batches)
                begun, count = time.perf_counter(), 0
                while time.perf_counter() - begun < args.seconds / 3:
                    next(batches)
                    count += 1
                result["crops_per_second_of_workers"] = count * images / (time.perf_counter() - begun)
        if device.type == "cuda":
            result["peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
        result["config"] = {k: v for k, v in dataclasses.asdict(cfg).items() if k not in ("data", "out", "init")}
    for key, value in result.items():
        if key != "config":
            print(f"{key:32} {value:.3f}" if isinstance(value, float) else f"{key:32} {value}")
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    first = commands.add_parser("pair")
    first.add_argument("other", help="another checkout")
    first.add_argument("--data")
    first.add_argument("--rounds", type=int, default=5)
    first.add_argument("--steps", type=int, default=6)
    first.set_defaults(run=pair)
    second = commands.add_parser("parts")
    second.add_argument("data")
    second.add_argument("--model", default="lure-small")
    second.add_argument("--seconds", type=float, default=30.0)
    second.add_argument("--repeats", type=int, default=20)
    second.add_argument("--json")
    second.set_defaults(run=parts)
    for each in (first, second):
        each.add_argument("--stage", type=int, default=1)
        each.add_argument("--init")
        each.add_argument("--device", default="auto")
        each.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
