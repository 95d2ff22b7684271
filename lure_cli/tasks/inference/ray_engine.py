"""The engine `ray`: the same job on a Ray cluster, through Ray Data; each worker loads the model once."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Generator, Sequence
from copy import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lure_cli.core.cpu import thread_count
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.core.thermal.temperature import Temperatures
from lure_cli.errors import LureError
from lure_cli.tasks.inference.inputs import Note
from lure_cli.tasks.inference.job import ImageWorker, Result
from lure_cli.tasks.inference.request import Request
from lure_cli.tasks.paths.outputs import files_of
from lure_cli.tasks.paths.pairing import Pair

Job = tuple[Pair, Request]
PairWorker = ImageWorker[Pair, Any]
_BLOCKS = 1000
"""A job is handed out in up to as many parts; each is known to be done when all of its pairs are."""


class _Actor:
    """One worker process: does the jobs whose numbers it is given."""

    def __init__(self, worker: PairWorker, jobs: Sequence[Job]) -> None:
        self.worker, self.jobs = worker, jobs

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            record = to_json(self.worker.run(self.jobs[row["number"]]))
        except LureError as error:  # not of this pair: of the weights or the device
            record = {"fatal": [error.message, error.hint]}
        return {"number": row["number"], "record": json.dumps(record)}


def run_on_ray(
    worker: PairWorker, jobs: Sequence[Job], workers: int | None = None, stop: Callable[[], bool] = lambda: False
) -> Generator[Result[Pair], None, None]:
    """Do every job on the Ray cluster that RAY_ADDRESS names, or on one started on this machine.

    All machines must see the files under the same paths. Results come as they are finished.

    Args:
        worker: does one job; goes to each process, where it loads its model.
        jobs: what is to be done, none of it with standard input or output.
        workers: how many processes; None: one a CPU (with a GPU in the cluster: one a GPU).
        stop: asked after each result; once it says yes, the rest is left.

    Raises:
        LureError: Ray is not installed or cannot be reached, or the weights or the device cannot be used.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its warnings are about its own inner workings
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise LureError(f"Ray cannot be used ({error})", 'pip install "lure-cli[ray]"') from error
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise LureError(f"no Ray cluster can be reached or started ({reason})", "check RAY_ADDRESS") from error
    try:
        yield from _run(worker, jobs, workers, stop)
    finally:
        if started:
            ray.shutdown()


def _run(
    worker: PairWorker, jobs: Sequence[Job], workers: int | None, stop: Callable[[], bool]
) -> Generator[Result[Pair], None, None]:
    import ray
    import ray.data

    data: Any = ray.data
    cluster: Any = ray
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    resources = cluster.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    count = len(jobs)
    kind = {"num_gpus": 1} if gpus and worker.options.device in ("auto", "cuda") else {"num_cpus": 1}
    rows = data.from_items([{"number": i} for i in range(count)], override_num_blocks=min(count, _BLOCKS))
    done = rows.map(
        _Actor,
        fn_constructor_args=_absolute(worker, jobs),
        concurrency=min(workers or gpus or cpus, count),
        **kind,
    )
    for row in done.iter_rows():
        record = json.loads(row["record"])
        if "fatal" in record:
            raise LureError(*record["fatal"])
        yield from_json(record, jobs[row["number"]])
        if stop():
            return


def _absolute(worker: PairWorker, jobs: Sequence[Job]) -> tuple[PairWorker, list[Job]]:
    """Both with paths that hold in any working directory, and as many threads as here: sums in another order would
    differ in the last bit."""
    worker = copy(worker)
    worker.options = replace(worker.options, threads=worker.options.threads or thread_count())
    worker.weights = Path(os.path.abspath(worker.weights))
    return worker, [(_made_absolute(pair), request) for pair, request in jobs]


def _made_absolute(pair: Pair) -> Pair:
    ir, vis, output = (Path(os.path.abspath(path)) for path in (pair.ir, pair.vis, pair.output))
    extras = {what: Path(os.path.abspath(path)) for what, path in pair.extras.items()}
    return replace(pair, ir=ir, vis=vis, output=output, extras=extras)


def to_json(result: Result[Pair]) -> dict[str, Any]:
    """What a worker found out about a pair, as JSON can carry it."""
    return {
        "status": result.status,
        "seconds": result.seconds,
        "size": result.size,
        "prompt": asdict(result.prompt),
        "findings": {m: [asdict(f) for f in each] for m, each in result.findings.items()},
        "notes": [asdict(note) for note in result.notes],
        "alignment": None if result.alignment is None else result.alignment.record(),
        "invalid": dict(result.invalid),
        "temperatures": None if result.temperatures is None else asdict(result.temperatures),
        "palette": dict(result.palette),
        "computed_by": result.computed_by,
        "error": None if result.error is None else [result.error.message, result.error.hint],
    }


def from_json(record: dict[str, Any], job: Job) -> Result[Pair]:
    """The result of a pair from what `to_json` gave; paths in texts as the user gave them."""
    from lure_cli.core.registration.alignment import Alignment
    from lure_cli.core.text.vocabulary import Finding

    def given(text: str) -> str:
        for path in (job[0].ir, job[0].vis, *files_of(job[0])):
            text = text.replace(os.path.abspath(path), str(path))
        return text

    return Result(
        *job,
        Prompt(*(tuple(record["prompt"][m]) for m in ("vis", "ir"))),
        record["status"],
        record["seconds"],
        None if record["size"] is None else tuple(record["size"]),
        None if record["error"] is None else LureError(*map(given, record["error"])),
        {m: tuple(Finding(**f) for f in each) for m, each in record["findings"].items()},
        tuple(Note(note["kind"], given(note["text"])) for note in record["notes"]),
        None if record["alignment"] is None else Alignment.from_record(record["alignment"]),
        record["invalid"],
        None if record["temperatures"] is None else Temperatures.from_record(record["temperatures"]),
        palette=record["palette"],
        computed_by=record["computed_by"],
    )
