"""Measuring one row of `lure bench speed`, in a process of its own."""

from __future__ import annotations

import math
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.errors import LureError
from lure_cli.tasks.bench.speed_result import PROMPTS, Row, Speed
from lure_cli.tasks.inference.fuser import Fuser
from lure_cli.tasks.inference.pipeline import run_pipeline

if TYPE_CHECKING:
    import numpy as np
    import torch

    from lure_cli.tasks.inference.request import Request

WARM = 3
"""Calls before the first that counts."""


@dataclass(frozen=True, kw_only=True)
class RowTask:
    """A row to measure, as it is sent to the process that does it."""

    row: Row
    source: str  # weights as the user named them
    weights: str  # the file that the backend takes
    device: str
    threads: int | None
    runs: int
    folder: str


def measure_into(task: RowTask, pipe: Any) -> None:
    """In the child: measure and send."""
    try:
        pipe.send(_measure(task))
    except LureError as error:
        pipe.send(Speed(task.row, error=error))
    except Exception as error:  # of torch's or onnxruntime's many kinds; the other rows go on
        lines = str(error).splitlines()
        reason = f"{type(error).__name__}: {lines[0] if lines else ''}"
        pipe.send(Speed(task.row, error=LureError(f"cannot be run ({reason})", "leave this row out")))


def _measure(task: RowTask) -> Speed:
    from lure_cli.core.devices import DTYPES
    from lure_cli.tasks.inference.fuse import FuseWorker
    from lure_cli.tasks.inference.job import load_fuser
    from lure_cli.tasks.inference.options import FuseOptions
    from lure_cli.tasks.inference.plan import plan_fuse

    row, count = task.row, max(4, task.runs)
    images = rendered_pair(*row.side_lengths)
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
        ir, vis = fuser.image(images[0], 1), fuser.image(images[1], 3)

        def call() -> Any:
            return fuser.compute(ir, vis, [request.prompt], request)

        picture = call()
        models, peaks = _in_turn(call, _product(fuser.device, DTYPES[row.dtype]), fuser.device, task.runs)
        ends = []
        for result in run_pipeline(plan.jobs, worker.read, worker.compute, worker.write):
            if result.error:
                raise result.error
            ends.append(time.perf_counter())
    memory = peak_memory(fuser.device)  # of this row, not of the reference
    gflop, reference = _reference(task, images, request)
    mse = float(((fuser.engine.array(picture) - reference) ** 2).mean())
    model = statistics.median(models)
    return Speed(
        row,
        model_seconds=model,
        file_seconds=(ends[-1] - ends[0]) / (count - 1),
        gflop=gflop,
        peak_gflops=statistics.median(peaks),
        share=gflop / model / statistics.median(peaks),
        memory=memory,
        agreement=-10 * math.log10(max(mse, 1e-12)),
    )


def rendered_pair(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
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
    seconds, rates = [], []
    for n in range(WARM + runs):
        start = clock(device)
        call()
        middle = clock(device)
        operations = product()
        end = clock(device)
        if n >= WARM:
            seconds.append(middle - start)
            rates.append(operations / (end - middle) / 1e9)
    return seconds, rates


def clock(device: torch.device) -> float:
    """Seconds, once the device is done with what it was given."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_memory(device: torch.device) -> float:
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


def _reference(task: RowTask, images: tuple[np.ndarray, np.ndarray], request: Request) -> tuple[float, np.ndarray]:
    """What torch does in fp32 on the CPU: GFLOP of a pair, and the picture."""
    from lure_cli.core.model.cost import count_gflop

    fuser = Fuser.from_pretrained(task.source, "cpu", "fp32")
    ir, vis = fuser.image(images[0], 1), fuser.image(images[1], 3)
    model: Any = fuser.engine.model
    picture, gflop = count_gflop(model, lambda: fuser.compute(ir, vis, [request.prompt], request))
    return gflop, fuser.engine.array(picture)
