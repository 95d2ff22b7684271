"""`lure bench start`: how long one picture takes from nothing, by parts, and how long each further one.

Scripts call `lure fuse` once a pair, and then most of the time goes into starting. Each figure is of new processes: the
command itself, and the same steps in a process that stamps the time after each of them. Both are run in turn, and the
first of each does not count, as the system keeps the files that it has read.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from lure_cli.core.cpu import thread_count
from lure_cli.errors import LureError
from lure_cli.tasks.bench.speed import BackendFiles, processor
from lure_cli.tasks.bench.speed_result import PROMPTS, parse_size
from lure_cli.tasks.bench.speed_row import rendered_pair, write_pairs
from lure_cli.tasks.bench.start_result import MODULES, PARTS, Start, StartMachine, StartOptions, StartRow
from lure_cli.tasks.weights.find import resolve_weights

_COMMAND = """\
import sys
sys.path[:] = {path!r}
from lure_cli.cli import main
main(sys.argv[1:])
"""
"""What the script `lure` does, with the packages that are found here."""
_STEPS = """\
import time
stamps = [time.time()]
import contextlib, io, sys
sys.path[:] = {path!r}
from lure_cli.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    try:
        main([*sys.argv[2:], "--dry-run"])
    except SystemExit as stop:
        if stop.code:
            raise
stamps.append(time.time())
from lure_cli.tasks.bench.start_child import measure
measure(stamps, sys.argv[1])
"""
"""The steps of a command; that it is read and planned is shown by `--dry-run`."""


def plan_start(options: StartOptions) -> tuple[StartRow, ...]:
    """The rows to measure, once each.

    Raises:
        LureError: an unknown prompt or size, a backend that is unknown or not installed, or missing weights.
    """
    from lure_cli.config import nearest

    parse_size(options.size)
    for name, given, known in (("backend", options.backends, MODULES), ("prompt", options.prompts, PROMPTS)):
        for each in given:
            if each not in known:
                raise LureError(f"{name} '{each}' is not known", f"use {nearest(each, [*known])}")
    if options.runs < 1:
        raise LureError(f"--runs {options.runs} measures nothing", "give a number from 1 on")
    if options.threads is not None and options.threads < 1:
        raise LureError(f"--threads {options.threads} cannot compute anything", "give a number from 1 on")
    only_onnx = resolve_weights(options.weights).suffix.lower() == ".onnx"
    backends = options.backends or tuple(
        name for name, module in MODULES.items() if find_spec(module) and not (only_onnx and name == "torch")
    )
    for name in backends:
        if find_spec(MODULES[name]) is None:
            raise LureError(f"backend '{name}': {MODULES[name]} is not installed", f"pip install {MODULES[name]}")
    rows = (StartRow(options.size, name, prompt) for name in backends for prompt in options.prompts)
    return tuple(dict.fromkeys(rows))


def find_start_machine(options: StartOptions) -> StartMachine:
    """This one."""
    return StartMachine(processor(), options.threads or thread_count())


def measure_start(
    options: StartOptions, rows: tuple[StartRow, ...], stop: Callable[[], bool] = lambda: False
) -> Iterator[Start]:
    """Measure the rows, one after the other. A row that cannot be measured holds the error; after `stop` said yes there
    are no further ones."""
    with tempfile.TemporaryDirectory(prefix="lure-start-") as name:
        folder = Path(name)
        write_pairs(folder, rendered_pair(*parse_size(options.size)), 1)
        files = BackendFiles(options.weights, folder)
        for row in rows:
            if stop():
                return
            try:
                yield _measure_row(options, row, folder, str(files.of(row.backend)))
            except LureError as error:
                yield Start(row, error=error)


def _measure_row(options: StartOptions, row: StartRow, folder: Path, weights: str) -> Start:
    of_vis, of_ir = PROMPTS[row.prompt]
    command = ["fuse", f"--ir={folder}/ir", f"--vis={folder}/vis", f"--weights={weights}", f"--backend={row.backend}"]
    command += [f"--output={folder}/command/", "--overwrite", "--quiet"]
    command += [f"--prompt-vis={of_vis}"] if of_vis else []
    command += [f"--prompt-ir={of_ir}"] if of_ir else []
    command += [] if options.threads is None else [f"--threads={options.threads}"]
    task = {
        "folder": str(folder),
        "prompts": (of_vis, of_ir),
        "weights": weights,
        "backend": row.backend,
        "threads": options.threads,
    }
    whole: list[float] = []
    parts: list[dict[str, float]] = []
    memory: list[float] = []
    for _ in range(options.runs + 1):
        begun = time.time()
        _run(_COMMAND, *command)
        whole.append(time.time() - begun)
        seconds, answer = _run_steps(task | {"further": 0}, command)
        parts.append(seconds)
        memory.append(answer["memory"])
    _, answer = _run_steps(task | {"further": options.runs}, command)
    return Start(
        row,
        command=statistics.median(whole[1:]),
        least=min(whole[1:]),
        most=max(whole[1:]),
        parts={name: statistics.median(p[name] for p in parts[1:]) for name in PARTS},
        warm=answer["warm"],
        memory=max(memory[1:]),
    )


def _run_steps(task: dict[str, Any], command: list[str]) -> tuple[dict[str, float], dict[str, Any]]:
    """Seconds of each of `PARTS` in a new process, and what it answers."""
    begun = time.time()
    output = _run(_STEPS, json.dumps(task), *command)
    ended = time.time()
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    last = ended if not task["further"] else answer["stamps"][-1]
    stamps = (begun, *answer["stamps"], last)
    return {name: b - a for name, (a, b) in zip(PARTS, pairwise(stamps), strict=True)}, answer


def _run(code: str, *arguments: str) -> str:
    """What a new Python prints that runs this; LureError with what it says where it fails."""
    command = [sys.executable, "-c", code.format(path=sys.path), *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8")
    if done.returncode == 0:
        return done.stdout
    said = {line.partition(": ")[0]: line.partition(": ")[2] for line in done.stderr.splitlines()}
    last = (done.stderr.splitlines() or [""])[-1]
    raise LureError(
        said.get("error", f"the process ended early (exit code {done.returncode}) {last}".rstrip()),
        said.get("hint", "probably memory ran out; try a smaller size"),
    )
