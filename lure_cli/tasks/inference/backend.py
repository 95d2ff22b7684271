"""Which backend does a job: the rule of `--backend auto`, its figures, and where they come from.

torch takes 1.5 to 2 s to import, onnxruntime a tenth of that; once they run, torch is the faster one, most of all in
bfloat16. So small jobs are sooner done by onnxruntime, large ones by torch. What only torch can do is torch's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from lure_cli.core.images.header import read_header
from lure_cli.core.images.radiometric import radiometric_sizes
from lure_cli.core.machine import (
    bf16_expected,
    gpu_expected,
    onnxruntime_installed,
    require_torch,
    torch_installed,
    torch_loaded,
)
from lure_cli.core.pixels import MODALITY_NAMES
from lure_cli.errors import LureError
from lure_cli.tasks.paths.find import STANDARD
from lure_cli.tasks.weights.find import DEFAULT, onnx_of

if TYPE_CHECKING:
    from lure_cli.tasks.inference.request import Request
    from lure_cli.tasks.paths.outputs import Item

Backend = Literal["torch", "onnx"]
BACKENDS = ("auto", "torch", "onnx")
"""Values of `--backend`."""


class Cost(NamedTuple):
    """Seconds of a whole process: what it takes without any picture, what a megapixel of a pair adds, and what a
    megapixel of an image that a prompt restores adds to that."""

    start: float
    pair: float
    restored: float

    def of(self, work: Work) -> float:
        """Those of a job."""
        return self.start + self.pair * work.megapixels + self.restored * work.restored


COSTS = {
    "onnx": Cost(0.75, 0.322, 0.275),
    "torch fp32": Cost(2.71, 0.323, 0.238),
    "torch bf16": Cost(2.66, 0.273, 0.195),
}
"""Of `lure-small` on two cores of an AMD EPYC with AVX512-BF16, files included: what
`python -m tests.benchmarks.backends` fits to 1, 10 and 100 pairs of 320x240 and 640x480, and 1 and 10 of 1280x1024,
plain and with prompts for both images; one round, which the fit meets to 35, 21 and 19 % at worst. Where cores are
slower at all of it alike, the turn stays; more cores make pictures cheaper and not the start, so that the turn comes
later than this says, and a job near it may take longer than it has to, by no more than the starts differ."""
UNKNOWN = 1.0
"""Megapixels of a picture whose size is not known beforehand, as on standard input."""


@dataclass(frozen=True)
class Work:
    """How much there is to do: megapixels of all pairs (a single image counts as a pair), and of all images that a
    prompt restores, where both of a pair count."""

    megapixels: float
    restored: float = 0.0


@dataclass(frozen=True)
class Machine:
    """What the rule looks at. torch: whether it is installed, and already imported by this process. gpu: whether torch
    is expected to find one. bf16: whether torch is expected to compute in bfloat16 on the CPU. onnxruntime: whether it
    is installed."""

    torch: Literal["missing", "installed", "loaded"]
    gpu: bool
    bf16: bool
    onnxruntime: bool = True

    @classmethod
    def here(cls) -> Machine:
        """This one; nothing heavy is imported."""
        torch: Literal["missing", "installed", "loaded"] = "installed" if torch_installed() else "missing"
        return cls("loaded" if torch_loaded() else torch, gpu_expected(), bf16_expected(), onnxruntime_installed())


def pick(work: Work | None, machine: Machine, device: str = "auto", dtype: str = "auto") -> Backend:
    """The rule: who is sooner done. It is asked about jobs that both can do.

    Args:
        work: the job; None: its end is not known, as of a clip, a camera, or a program that goes on.
        machine: see there.
        device, dtype: as the options.

    Returns:
        The other where one of them is missing. Else `torch` for a GPU, for work without known end, and in a process
        that has imported it, so that its start is behind; for the rest the one whose `COSTS` are less.
    """
    if not machine.onnxruntime:
        return "torch"
    if machine.torch == "missing":
        return "onnx"
    if work is None or machine.torch == "loaded" or (device == "auto" and machine.gpu):
        return "torch"
    torch = COSTS["torch bf16" if dtype == "auto" and machine.bf16 else "torch fp32"]
    return "onnx" if COSTS["onnx"].of(work) <= torch.of(work) else "torch"


def torch_only(device: str, dtype: str, compiled: bool) -> str | None:
    """The option that shipped ONNX files cannot follow; None if they can do all that is asked."""
    if compiled:
        return "--compile"
    if device not in ("auto", "cpu"):
        return f"--device {device}"
    return None if dtype in ("auto", "fp32") else f"--dtype {dtype}"


def file_for(
    weights: str, path: Path, backend: str, work: Callable[[], Work | None], device: str, dtype: str, only: str | None
) -> Path:
    """The file that is computed with: that of the weights, or the ONNX file that ships of them.

    Args:
        weights: as the user names them.
        path: their file.
        backend: as the option; `auto`: the rule, for shipped weights that have an ONNX file.
        work: tells how much there is to do, if that matters; see `pick`.
        device, dtype: as for `pick`.
        only: what the job needs torch for, from `torch_only`.

    Raises:
        LureError: an unknown backend; torch is needed, but missing; a shipped file is damaged.
    """
    if backend not in BACKENDS:
        raise LureError(f"backend '{backend}' is not known", f"use one of {', '.join(BACKENDS)}")
    if path.suffix.lower() == ".onnx":
        return path
    if backend == "onnx":
        return onnx_of(weights) or path
    if backend == "auto" and only is None and pick(work(), Machine.here(), device, dtype) == "onnx":
        made = onnx_of(weights)
        if made is not None:
            return made
    option = "--backend torch" if backend == "torch" else only
    require_torch(option or f"the weights {weights}", "leave it out" if option else f"--weights {DEFAULT}")
    return path


def work_of(jobs: Sequence[tuple[Item, Request]], max_pixels: int) -> Work:
    """How much a job on images is; all are taken to have the size of the first, whose header is read."""
    if not jobs:
        return Work(0.0)
    restored = sum(_restored(item, request) for item, request in jobs)
    size = _megapixels(jobs[0][0], max_pixels)
    return Work(size * len(jobs), size * restored)


def _restored(item: Item, request: Request) -> int:
    """How many of the images of an item a prompt restores, or may restore; it speaks of infrared and visible ones."""
    sides = MODALITY_NAMES.keys() & item.sources.keys()
    return sum(side in request.auto or bool(getattr(request.prompt, side)) for side in sides)


def _megapixels(item: Item, max_pixels: int) -> float:
    """Of the result. What is wrong with a file is said when its turn comes."""
    last = list(item.sources.values())[-1]
    if last == STANDARD:
        return UNKNOWN
    try:
        header = read_header(last, max_pixels)
        radiometric = radiometric_sizes(last) if len(set(item.sources.values())) < len(item.sources) else None
    except LureError:
        return UNKNOWN
    width, height = (radiometric and radiometric.photo) or (header.width, header.height)
    return width * height / 1e6
