"""`lure bench start`: what is asked for, what was measured, and its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lure_cli.errors import LureError
from lure_cli.tasks.report.table import Cell, Table
from lure_cli.tasks.weights.find import DEFAULT

MODULES = {"torch": "torch", "onnx": "onnxruntime"}
"""The backends, and the package that each needs."""
PARTS = {
    "interpreter": "Python itself",
    "command": "the command line, its packages, the prompt, the plan",
    "runtime": "importing torch or onnxruntime",
    "weights": "reading and preparing the model",
    "read": "both images",
    "compute": "the first picture",
    "write": "its file",
    "exit": "until the process is gone",
}
"""Of a process that fuses one pair, in their order."""


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """What `lure bench start` was asked to do; see the command's help. No `backends`: those that are installed."""

    size: str = "640x480"
    backends: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ("none", "both")
    weights: str = DEFAULT
    threads: int | None = None
    runs: int = 7


@dataclass(frozen=True)
class StartRow:
    """One way of fusing a pair: its size, the backend, and what is asked of it."""

    size: str
    backend: str
    prompt: str

    def describe(self) -> str:
        """For a person."""
        return f"{self.backend}, prompt {self.prompt}"


@dataclass(frozen=True)
class Start:
    """What was measured of a row, in seconds.

    Attributes:
        command: `lure fuse` of one pair, from starting the process to its end; median. `least`, `most`: its extremes.
        parts: of such a process, by the names of `PARTS`; medians.
        warm: each further picture of a process, read, computed and written one after the other; median.
        memory: the largest resident memory of a process that fuses one pair, in MiB; NaN where the system hides it.
    """

    row: StartRow
    command: float = 0.0
    least: float = 0.0
    most: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    warm: float = 0.0
    memory: float = 0.0
    error: LureError | None = None

    def record(self) -> dict[str, Any]:
        """Ready for JSON."""
        record: dict[str, Any] = asdict(self.row)
        if self.error:
            return record | {"error": self.error.message, "hint": self.error.hint}
        record |= {k: round(getattr(self, k), 4) for k in ("command", "least", "most", "warm")}
        record |= {"parts": {k: round(v, 4) for k, v in self.parts.items()}}
        return record | {"memory": round(self.memory, 1) if self.memory == self.memory else None}


@dataclass(frozen=True)
class StartMachine:
    """What the rows were measured on."""

    processor: str
    threads: int


def start_table(machine: StartMachine, options: StartOptions, measured: Sequence[Start]) -> Table:
    """What was measured, a row a line; rows that failed have no numbers."""
    rows = []
    for s in measured:
        numbers = ["-"] * (len(PARTS) + 4)
        if not s.error:
            spread = f"{s.least:.2f}-{s.most:.2f}"
            parts = [f"{s.parts[name]:.2f}" for name in PARTS]
            numbers = [f"{s.command:.2f}", spread, *parts, f"{s.warm:.3f}", f"{s.memory:.0f}"]
        rows.append((s.row.describe(), tuple(map(Cell, numbers))))
    title = f"One pair of {options.size}: {machine.processor}, {machine.threads} threads"
    notes = (
        f"Seconds, medians of {options.runs}. total: `lure fuse` of one pair, from start to end; parts of that:",
        *(f"  {name:12} {what}" for name, what in PARTS.items()),
        "warm: each further picture of one process, one after the other; MiB: the largest resident memory.",
    )
    return Table(title, ("backend, prompt", "total", "from-to", *PARTS, "warm", "MiB"), tuple(rows), notes)
