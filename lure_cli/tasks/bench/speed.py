"""`lure bench speed`: how fast and how large each way of running a model is on this machine.

Each row is measured in a process of its own, so that its peak memory is its own, and its rate of arithmetic is set
against that of large matrix products, timed in turn with it: a machine's clock drifts, their ratio hardly.
"""

from __future__ import annotations

import math
import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.errors import LureError
from lure_cli.tasks.inference.fuser import Fuser
from lure_cli.tasks.inference.pipeline import run_pipeline
from lure_cli.tasks.report.table import Cell, Table
from lure_cli.tasks.weights.find import DEFAULT, resolve_weights

if TYPE_CHECKING:
    import numpy as np
    import torch

    from lure_cli.tasks.inference.request import Request

BACKENDS = ("torch", "compile", "onnx")
PROMPTS: dict[str, tuple[str | None, str | None]] = {
    "none": (None, None),
    "vis": ("haze", None),
    "both": ("haze", "noise"),
}
"""What is asked of the visible and the infrared image; an encoder that is asked for nothing has nothing to do."""
WARM = 3
"""Calls before the first that counts."""


@dataclass(frozen=True)
class SpeedOptions:
    """What `lure bench speed` was asked to do; see the command's help. `sizes` are WIDTHxHEIGHT; the files of the
    end-to-end measurement lie in a temporary folder."""

    sizes: tuple[str, ...] = ("640x480", "1280x720")
    backends: tuple[str, ...] = ("torch",)
    dtypes: tuple[str, ...] = ("fp32",)
    prompts: tuple[str, ...] = tuple(PROMPTS)
    weights: str = DEFAULT
    device: str = "auto"
    threads: int | None = None
    runs: int = 9


@dataclass(frozen=True)
class Row:
    """One way of running the model: backend, number type, size of the pair, and what is asked of it."""

    size: str
    backend: str
    dtype: str
    prompt: str

    def describe(self) -> str:
        """For a person."""
        return f"{self.size} {self.backend} {self.dtype}, prompt {self.prompt}"


@dataclass(frozen=True)
class Speed:
    """What was measured of a row.

    Times are seconds a pair (medians): of the model alone, from tensor to tensor, and from files to file, with reading
    and writing beside the computing as `lure fuse` does it. `gflop` is the arithmetic of one pair (two for a
    multiply-add); `peak_gflops` the rate of large matrix products in between, `share` what part of it the model
    reaches; `memory` the largest resident memory of the process in MiB (CUDA: of the device); `agreement` the PSNR in
    dB between its picture and that of torch in fp32, 120 where they are equal.
    """

    row: Row
    model_seconds: float = 0.0
    file_seconds: float = 0.0
    gflop: float = 0.0
    peak_gflops: float = 0.0
    share: float = 0.0
    memory: float = 0.0
    agreement: float = 0.0
    error: LureError | None = None

    def record(self) -> dict[str, Any]:
        """Ready for JSON."""
        record = asdict(self.row)
        if self.error:
            return record | {"error": self.error.message, "hint": self.error.hint}
        rest = asdict(self)
        return record | {k: float(f"{v:.4g}") for k, v in rest.items() if k not in ("row", "error")}


@dataclass(frozen=True)
class Machine:
    """What the rows were measured on."""

    processor: str
    device: str
    threads: int
    torch: str


def machine(options: SpeedOptions) -> Machine:
    """Look around; LureError if the device is not there."""
    import torch

    from lure_cli.core.devices import pick_device

    device = pick_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Machine(_processor(), name, options.threads or torch.get_num_threads(), torch.__version__)


def _processor() -> str:
    import platform

    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


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
        _side_lengths(size)
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


def _side_lengths(size: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size, re.ASCII)
    if match is None or not 16 <= int(match[1]) <= 16384 or not 16 <= int(match[2]) <= 16384:
        raise LureError(f"size '{size}' is not WIDTHxHEIGHT in pixels", "for example 640x480")
    return int(match[1]), int(match[2])


def speed(options: SpeedOptions, rows: Sequence[Row], stop: Callable[[], bool] = lambda: False) -> Iterator[Speed]:
    """Measure the rows, one after the other, each in a process of its own. A row that cannot be measured holds the
    error; after `stop` said yes there are no further ones."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="lure-speed-") as folder:
        weights = _Weights(options.weights, Path(folder))
        for row in rows:
            if stop():
                return
            here, there = spawn.Pipe(duplex=False)
            try:
                file = str(weights.of(row.backend))
                task = _Task(row, options.weights, file, options.device, options.threads, options.runs, folder)
            except LureError as error:
                yield Speed(row, error=error)
                continue
            process = spawn.Process(target=_measure_into, args=(task, there), daemon=True)
            process.start()
            there.close()
            try:
                yield here.recv()
            except EOFError:
                process.join()
                reason = f"the process ended early (exit code {process.exitcode})"
                yield Speed(row, error=LureError(reason, "probably memory ran out; try a smaller size"))
            process.join()


class _Weights:
    """The file of each backend; that of onnxruntime is exported once, when it is wanted."""

    def __init__(self, weights: str, folder: Path) -> None:
        self._weights, self._folder = weights, folder
        self._onnx: Path | LureError | None = None

    def of(self, backend: str) -> Path:
        if backend != "onnx":
            return resolve_weights(self._weights)
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


@dataclass(frozen=True)
class _Task:
    row: Row
    source: str  # weights as the user named them
    weights: str  # the file that the backend takes
    device: str
    threads: int | None
    runs: int
    folder: str


def table(where: Machine, found: Sequence[Speed]) -> Table:
    """What was measured, a row a line; rows that failed have no numbers."""
    head = ("size, backend, type, prompt", "model s", "pairs/s", "files s", "pairs/s", "GFLOP", "GFLOP/s", "peak %")
    rows = []
    for s in found:
        numbers = ["-"] * 9
        if not s.error:
            rates = (f"{1 / s.model_seconds:.2f}", f"{s.file_seconds:.3f}", f"{1 / s.file_seconds:.2f}")
            arithmetic = (f"{s.gflop:.1f}", f"{s.gflop / s.model_seconds:.0f}", f"{100 * s.share:.0f}")
            numbers = [f"{s.model_seconds:.3f}", *rates, *arithmetic, f"{s.memory:.0f}", f"{s.agreement:.0f}"]
        rows.append((s.row.describe(), tuple(map(Cell, numbers))))
    title = f"{where.processor}, {where.threads} threads, {where.device}, torch {where.torch}"
    notes = (
        "model: tensor to tensor; files: reading, fusing and writing side by side; medians.",
        "peak: share of the rate of large matrix products here, in that type; memory: largest of the process, in MiB;",
        "dB: agreement (PSNR) of the picture with that of torch in fp32.",
    )
    return Table(title, (*head, "memory", "dB"), tuple(rows), notes)


def _measure_into(task: _Task, pipe: Any) -> None:
    """In the child: measure and send."""
    try:
        pipe.send(_measure(task))
    except LureError as error:
        pipe.send(Speed(task.row, error=error))
    except Exception as error:  # of torch's or onnxruntime's many kinds; the other rows go on
        lines = str(error).splitlines()
        reason = f"{type(error).__name__}: {lines[0] if lines else ''}"
        pipe.send(Speed(task.row, error=LureError(f"cannot be run ({reason})", "leave this row out")))


def _measure(task: _Task) -> Speed:
    from lure_cli.core.devices import DTYPES
    from lure_cli.tasks.inference.fuse import FuseWorker
    from lure_cli.tasks.inference.job import load_fuser
    from lure_cli.tasks.inference.plan import FuseOptions, plan_fuse

    row, count = task.row, max(4, task.runs)
    images = _images(*_side_lengths(row.size))
    with tempfile.TemporaryDirectory(dir=task.folder) as folder:
        _write_pairs(Path(folder), images, count)
        options = FuseOptions(
            Path(folder, "ir"),
            Path(folder, "vis"),
            f"{folder}/out/",
            prompt_vis=PROMPTS[row.prompt][0],
            prompt_ir=PROMPTS[row.prompt][1],
            weights=task.weights,
            device=task.device,
            dtype="auto" if row.backend == "onnx" else row.dtype,
            threads=task.threads,
            compiled=row.backend == "compile",
        )
        plan = plan_fuse(options)
        fuser, request = load_fuser(options, plan.weights), plan.requests[0]
        worker = FuseWorker(options, plan.weights, fuser)
        ir, vis = fuser.tensor(images[0], 1), fuser.tensor(images[1], 3)

        def call() -> torch.Tensor:
            return fuser.compute(ir, vis, [request.prompt], request)

        picture = call()
        models, peaks = _in_turn(call, _product(fuser.device, DTYPES[row.dtype]), fuser.device, task.runs)
        ends = []
        for result in run_pipeline(plan.jobs, worker.read, worker.compute, worker.write):
            if result.error:
                raise result.error
            ends.append(time.perf_counter())
    memory = _peak_memory(fuser.device)  # of this row, not of the reference
    gflop, reference = _reference(task, images, request)
    mse = float((picture.cpu() - reference).square().mean())
    model = statistics.median(models)
    return Speed(
        row,
        model,
        (ends[-1] - ends[0]) / (count - 1),
        gflop,
        statistics.median(peaks),
        gflop / model / statistics.median(peaks),
        memory,
        -10 * math.log10(max(mse, 1e-12)),
    )


def _images(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A pair with slopes, an edge, texture and a little noise, as 8-bit arrays (H, W) and (H, W, 3)."""
    import numpy as np

    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    disc = (x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.05
    wave = np.sin(40 * x * (1 + y))
    ir = 60 + 120 * disc + 40 * y
    vis = np.stack((90 + 80 * x + 20 * wave, 80 + 90 * y + 10 * wave, 150 - 100 * disc), axis=2)
    noisy = [image + rng.normal(0, 3, image.shape) for image in (ir, vis)]
    return noisy[0].clip(0, 255).astype(np.uint8), noisy[1].clip(0, 255).astype(np.uint8)


def _write_pairs(folder: Path, images: tuple[np.ndarray, np.ndarray], count: int) -> None:
    """FOLDER/ir and FOLDER/vis with `count` equal pairs."""
    from lure_cli.core.images.picture import encode_image

    for side, image in zip(("ir", "vis"), images, strict=True):
        (folder / side).mkdir()
        colour = image if image.ndim == 3 else image[:, :, None].repeat(3, axis=2)
        data = encode_image(colour.astype("float32") / 255, ".png")
        for n in range(count):
            (folder / side / f"{n:04}.png").write_bytes(data)


def _product(device: torch.device, dtype: torch.dtype) -> Callable[[], float]:
    """A large matrix product; calling it gives its number of floating point operations."""
    import torch

    side = 4096 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

    def product() -> float:
        torch.mm(a, b)
        return 2.0 * side**3

    return product


def _in_turn(
    call: Callable[[], object], product: Callable[[], float], device: torch.device, runs: int
) -> tuple[list[float], list[float]]:
    """Seconds of each call, and GFLOP/s of a matrix product after each."""
    import torch

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    seconds, rates = [], []
    for n in range(WARM + runs):
        start = now()
        call()
        middle = now()
        operations = product()
        end = now()
        if n >= WARM:
            seconds.append(middle - start)
            rates.append(operations / (end - middle) / 1e9)
    return seconds, rates


def _peak_memory(device: torch.device) -> float:
    """MiB."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        text = Path("/proc/self/status").read_text()  # a process inherits its parent's peak in getrusage
        return int(re.findall(r"VmHWM:\s*(\d+) kB", text)[0]) / 2**10
    except (OSError, IndexError):
        try:
            import resource
        except ImportError:  # Windows
            return math.nan
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _reference(task: _Task, images: tuple[np.ndarray, np.ndarray], request: Request) -> tuple[float, torch.Tensor]:
    """What torch does in fp32 on the CPU: GFLOP of a pair, and the picture."""
    from torch.utils.flop_counter import FlopCounterMode

    fuser = Fuser.from_pretrained(task.source, "cpu", "fp32")
    ir, vis = fuser.tensor(images[0], 1), fuser.tensor(images[1], 3)
    with FlopCounterMode(display=False) as counter:
        picture = fuser.compute(ir, vis, [request.prompt], request)
    return counter.get_total_flops() / 1e9, picture
