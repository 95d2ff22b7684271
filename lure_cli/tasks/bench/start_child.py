"""In a process of its own: fusing one pair step by step, as `lure bench start` measures it."""

from __future__ import annotations

import importlib
import json
import statistics
import time
from pathlib import Path
from typing import Any

from lure_cli.tasks.bench.start_result import MODULES


def measure(stamps: list[float], text: str) -> None:
    """Do the steps behind the command line, and print when each was done.

    Args:
        stamps: seconds since the epoch when the interpreter was there, and when the command line was done.
        text: JSON: the backend, the files and options of the pair (see `lure_cli.tasks.bench.start`), and how many
            further pictures are wanted.
    """
    given: dict[str, Any] = json.loads(text)
    from lure_cli.tasks.inference.fuse import FuseWorker
    from lure_cli.tasks.inference.job import load_fuser
    from lure_cli.tasks.inference.options import FuseOptions
    from lure_cli.tasks.inference.plan import plan_fuse

    folder = Path(given["folder"])
    options = FuseOptions(
        folder / "ir",
        folder / "vis",
        f"{folder}/parts/",
        prompt_vis=given["prompts"][0],
        prompt_ir=given["prompts"][1],
        weights=given["weights"],
        backend=given["backend"],
        threads=given["threads"],
        overwrite=True,
    )
    plan = plan_fuse(options)
    importlib.import_module(MODULES[given["backend"]])
    stamps.append(time.time())
    worker = FuseWorker(options, plan.weights, load_fuser(options, plan.weights))
    stamps.append(time.time())
    job = next(iter(plan.jobs))
    inputs = worker.read(job)
    stamps.append(time.time())
    computed = worker.compute(job, inputs)
    stamps.append(time.time())
    result = worker.write(job, computed)
    stamps.append(time.time())
    if result.error:
        raise result.error
    warm = []
    for _ in range(given["further"]):
        begun = time.perf_counter()
        worker.run(job)
        warm.append(time.perf_counter() - begun)
    from lure_cli.tasks.bench.speed_row import resident_peak

    answer = {"stamps": stamps, "memory": resident_peak(), "warm": statistics.median(warm) if warm else 0.0}
    print(json.dumps(answer), flush=True)
