"""`lure bench speed`: how fast and how large each way of running a model is on this machine.

Each row is measured in a process of its own, so that its peak memory is its own, and its rate of arithmetic is set
against that of large matrix products, timed in turn with it: a machine's clock drifts, their ratio hardly.
"""

from __future__ import annotations

import multiprocessing
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lure_cli.errors import LureError
from lure_cli.tasks.bench.speed_result import BACKENDS, PROMPTS, Machine, Row, Speed, SpeedOptions, parse_size
from lure_cli.tasks.weights.find import onnx_of, resolve_weights


def find_machine(options: SpeedOptions) -> Machine:
    """Look around; LureError if the device is not there."""
    import torch

    from lure_cli.core.devices import pick_device

    device = pick_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Machine(processor(), name, options.threads or torch.get_num_threads(), torch.__version__)


def processor() -> str:
    """What the system calls it."""
    import platform

    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return name[1] if name else platform.machine()


def plan_speed(options: SpeedOptions) -> tuple[Row, ...]:
    """The rows to measure, once each.

    Raises:
        LureError: an unknown backend, prompt or size, or missing weights.
    """
    from lure_cli.config import nearest

    for name, given, known in (
        ("backend", options.backends, BACKENDS),
        ("dtype", options.dtypes, ("fp32", "bf16", "fp16")),
        ("prompt", options.prompts, tuple(PROMPTS)),
    ):
        for each in given:
            if each not in known:
                raise LureError(f"{name} '{each}' is not known", f"use {nearest(each, [*known])}")
    for size in options.sizes:
        parse_size(size)
    if options.runs < 1:
        raise LureError(f"--runs {options.runs} measures nothing", "give a number from 1 on")
    if options.threads is not None and options.threads < 1:
        raise LureError(f"--threads {options.threads} cannot compute anything", "give a number from 1 on")
    resolve_weights(options.weights)
    rows = (
        Row(size, backend, dtype, prompt)
        for size in options.sizes
        for backend in options.backends
        for dtype in (options.dtypes if backend != "onnx" else ("fp32",))  # an ONNX file computes as it was exported
        for prompt in options.prompts
    )
    return tuple(dict.fromkeys(rows))


def measure_speed(
    options: SpeedOptions, rows: Sequence[Row], stop: Callable[[], bool] = lambda: False
) -> Iterator[Speed]:
    """Measure the rows, one after the other, each in a process of its own. A row that cannot be measured holds the
    error; after `stop` said yes there are no further ones."""
    from lure_cli.tasks.bench.speed_row import RowTask, measure_into  # and torch

    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="lure-speed-") as folder:
        weights = BackendFiles(options.weights, Path(folder))
        for row in rows:
            if stop():
                return
            here, there = spawn.Pipe(duplex=False)
            try:
                file = str(weights.of(row.backend))
                task = RowTask(
                    row=row,
                    source=options.weights,
                    weights=file,
                    device=options.device,
                    threads=options.threads,
                    runs=options.runs,
                    folder=folder,
                )
            except LureError as error:
                yield Speed(row, error=error)
                continue
            process = spawn.Process(target=measure_into, args=(task, there), daemon=True)
            process.start()
            there.close()
            try:
                yield here.recv()
            except EOFError:
                process.join()
                reason = f"the process ended early (exit code {process.exitcode})"
                yield Speed(row, error=LureError(reason, "probably memory ran out; try a smaller size"))
            process.join()


class BackendFiles:
    """The file of each backend; that of onnxruntime, where none ships, is exported once, when it is wanted."""

    def __init__(self, weights: str, folder: Path) -> None:
        self._weights, self._folder = weights, folder
        self._onnx: Path | LureError | None = None

    def of(self, backend: str) -> Path:
        """The file that a backend takes; LureError if there is none and none can be made."""
        given = resolve_weights(self._weights)
        if backend != "onnx" or given.suffix.lower() == ".onnx":
            return given
        if (shipped := onnx_of(self._weights)) is not None:
            return shipped
        if self._onnx is None:
            from lure_cli.tasks.weights.export import ExportOptions, export_onnx

            try:
                exported = export_onnx(ExportOptions(self._weights, self._folder / "model.onnx", check=False))
                self._onnx = exported.path
            except LureError as error:
                self._onnx = error
        if isinstance(self._onnx, LureError):
            raise self._onnx
        return self._onnx
