"""`lure bench speed`: what is asked for, what was measured, and its table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lure_cli.errors import LureError
from lure_cli.tasks.report.table import Cell, Table
from lure_cli.tasks.weights.find import DEFAULT

BACKENDS = ("torch", "compile", "onnx")
PROMPTS: dict[str, tuple[str | None, str | None]] = {
    "none": (None, None),
    "vis": ("haze", None),
    "both": ("haze", "noise"),
}
"""What is asked of the visible and the infrared image; an encoder that is asked for nothing has nothing to do."""


@dataclass(frozen=True, kw_only=True)
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

    @property
    def side_lengths(self) -> tuple[int, int]:
        """Width and height in pixels; see `parse_size`."""
        return parse_size(self.size)


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


def parse_size(size: str) -> tuple[int, int]:
    """`640x480` -> width and height; LureError for anything else, and for sides below 16 or above 16384."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size, re.ASCII)
    if match is None or not 16 <= int(match[1]) <= 16384 or not 16 <= int(match[2]) <= 16384:
        raise LureError(f"size '{size}' is not WIDTHxHEIGHT in pixels", "for example 640x480")
    return int(match[1]), int(match[2])


def speed_table(machine: Machine, measured: Sequence[Speed]) -> Table:
    """What was measured, a row a line; rows that failed have no numbers."""
    head = ("size, backend, type, prompt", "model s", "pairs/s", "files s", "pairs/s", "GFLOP", "GFLOP/s", "peak %")
    rows = []
    for s in measured:
        numbers = ["-"] * 9
        if not s.error:
            rates = (f"{1 / s.model_seconds:.2f}", f"{s.file_seconds:.3f}", f"{1 / s.file_seconds:.2f}")
            arithmetic = (f"{s.gflop:.1f}", f"{s.gflop / s.model_seconds:.0f}", f"{100 * s.share:.0f}")
            numbers = [f"{s.model_seconds:.3f}", *rates, *arithmetic, f"{s.memory:.0f}", f"{s.agreement:.0f}"]
        rows.append((s.row.describe(), tuple(map(Cell, numbers))))
    title = f"{machine.processor}, {machine.threads} threads, {machine.device}, torch {machine.torch}"
    notes = (
        "model: tensor to tensor; files: reading, fusing and writing side by side; medians.",
        "peak: share of the rate of large matrix products here, in that type; memory: largest of the process, in MiB;",
        "dB: agreement (PSNR) of the picture with that of torch in fp32.",
    )
    return Table(title, (*head, "memory", "dB"), tuple(rows), notes)
