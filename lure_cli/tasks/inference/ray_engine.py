"""The engine `ray`: the same job on a Ray cluster, through Ray Data; each worker loads the model once."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Generator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.inference.fuse import Result, Worker
from lure_cli.tasks.inference.inputs import Note
from lure_cli.tasks.inference.plan import Plan
from lure_cli.tasks.paths.find import STANDARD
from lure_cli.tasks.paths.pairing import Pair

if TYPE_CHECKING:
    from lure_cli.core.registration.alignment import Alignment

_BLOCKS = 1000
"""A job is handed out in up to as many parts; each is known to be done when all of its pairs are."""


class _Actor:
    """One worker process: fuses the pairs whose numbers it is given."""

    def __init__(self, plan: Plan, alignment: Alignment | None, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)  # as in the local engine: sums in another order would differ in the last bit
        self.jobs, self.worker = list(plan.jobs), Worker(plan.options, plan.weights, alignment)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            told = _tell(self.worker.run(self.jobs[row["number"]]))
        except LureError as error:  # not of this pair: of the weights or the device
            told = {"fatal": [error.message, error.hint]}
        return {"number": row["number"], "told": json.dumps(told)}


def fuse_on_ray(
    plan: Plan, alignment: Alignment | None = None, stop: Callable[[], bool] = lambda: False
) -> Generator[Result, None, None]:
    """Fuse the pairs of a plan on the Ray cluster that RAY_ADDRESS names, or on one started on this machine.

    All machines must see the files under the same paths. Results come as they are finished. The number of workers is
    `options.workers`, else one a CPU (with a GPU in the cluster: one a GPU).

    Raises:
        LureError: Ray is not installed or cannot be reached, or the weights or the device cannot be used.
    """
    if any(STANDARD in (pair.ir, pair.vis, pair.output) for pair in plan.pairs):
        raise LureError("--engine ray takes files, not standard input or output", "leave --engine out")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its warnings are about its own inner workings
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise LureError(f"Ray cannot be used ({error})", 'pip install "lure-cli[ray]"') from error
    import torch

    started = not ray.is_initialized()
    if started:
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise LureError(f"no Ray cluster can be reached or started ({reason})", "check RAY_ADDRESS") from error
    try:
        yield from _run(plan, alignment, stop, torch.get_num_threads())
    finally:
        if started:
            ray.shutdown()


def _run(
    plan: Plan, alignment: Alignment | None, stop: Callable[[], bool], threads: int
) -> Generator[Result, None, None]:
    import ray
    import ray.data

    data: Any = ray.data
    cluster: Any = ray
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    resources = cluster.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    workers = min(plan.options.workers or gpus or cpus, len(plan.pairs))
    kind = {"num_gpus": 1} if gpus and plan.options.device in ("auto", "cuda") else {"num_cpus": 1}
    numbers, count = [{"number": i} for i in range(len(plan.pairs))], len(plan.pairs)
    rows = data.from_items(numbers, override_num_blocks=min(count, _BLOCKS))
    done = rows.map(_Actor, fn_constructor_args=(_absolute(plan), alignment, threads), concurrency=workers, **kind)
    jobs = list(plan.jobs)
    for row in done.iter_rows():
        told = json.loads(row["told"])
        if "fatal" in told:
            raise LureError(*told["fatal"])
        yield _heard(told, jobs[row["number"]])
        if stop():
            return


def _absolute(plan: Plan) -> Plan:
    """The plan with paths that hold in any working directory."""
    pairs = tuple(Pair(p.name, *(Path(os.path.abspath(path)) for path in (p.ir, p.vis, p.output))) for p in plan.pairs)
    return replace(plan, pairs=pairs, weights=Path(os.path.abspath(plan.weights)))


def _tell(result: Result) -> dict[str, Any]:
    """What a worker found out about a pair, as JSON can carry it."""
    return {
        "status": result.status,
        "seconds": result.seconds,
        "size": result.size,
        "prompt": asdict(result.prompt),
        "found": {m: [asdict(f) for f in found] for m, found in result.found.items()},
        "notes": [asdict(note) for note in result.notes],
        "alignment": None if result.alignment is None else result.alignment.record(),
        "error": None if result.error is None else [result.error.message, result.error.hint],
    }


def _heard(told: dict[str, Any], job: tuple[Pair, Any]) -> Result:
    """The result of a pair from what `_tell` said; paths in texts as the user gave them."""
    from lure_cli.core.registration.alignment import Alignment
    from lure_cli.core.text.vocabulary import Finding

    def given(text: str) -> str:
        for path in (job[0].ir, job[0].vis, job[0].output):
            text = text.replace(os.path.abspath(path), str(path))
        return text

    return Result(
        *job,
        Prompt(*(tuple(told["prompt"][m]) for m in ("vis", "ir"))),
        told["status"],
        told["seconds"],
        None if told["size"] is None else tuple(told["size"]),
        None if told["error"] is None else LureError(*map(given, told["error"])),
        {m: tuple(Finding(**f) for f in found) for m, found in told["found"].items()},
        tuple(Note(note["kind"], given(note["text"])) for note in told["notes"]),
        None if told["alignment"] is None else Alignment.from_record(told["alignment"]),
    )
