"""Tables: cells, marks of the best, Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lure_cli.core.files import write_file
from lure_cli.tasks.evaluate.summary import Summary

if TYPE_CHECKING:
    import numpy as np

    Picture = Callable[[int, str], np.ndarray | None]
    """(index of the image, "infrared", "visible" or a method's name) -> uint8 (H, W, 3) or (H, W), or None."""


ALPHA = 0.05
"""A value gets a star where its p-value is below this."""

UNDEFINED = "n/a"
"""What tables show for a value that is not a finite number."""


def format_number(value: float, decimals: int | None = None) -> str:
    """About four significant digits: 1.067, 0.0235, 42.66, 7832; n/a for what is not a finite number.

    Args:
        value: any number.
        decimals: how many, so that numbers that stand in one column line up (`common_decimals`).
    """
    if not math.isfinite(value):
        return UNDEFINED
    if decimals is None:
        decimals = common_decimals([value])
    return f"{value:.2e}" if decimals > 7 else f"{value:.{decimals}f}"


def common_decimals(values: Iterable[float]) -> int:
    """The decimals that show the largest of the values to about four digits; one more if the smallest needs it."""
    sizes = sorted(abs(v) for v in values if math.isfinite(v) and v)
    if not sizes:
        return 0
    smallest, largest = (int(f"{v:.3e}".partition("e")[2]) for v in (sizes[0], sizes[-1]))
    decimals = max(0, min(3 - largest, max(4, 2 - largest)))
    return decimals if decimals >= 1 - smallest else decimals + 1


@dataclass(frozen=True)
class Cell:
    """A mean as tables show it; `star`: differs from the first method (p < 0.05)."""

    text: str
    mark: Literal["", "best", "second"] = ""
    star: bool = False


@dataclass(frozen=True)
class Table:
    """The table of means, before any output lays it out: plain text, nothing escaped.

    `head` starts with the column of the names; with several methods the last column is the mean rank. `title` names
    the convention and the number of images, `notes` explain the signs and tell where values are undefined.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...]


def is_different(summary: Summary) -> bool:
    """Whether the value gets a star."""
    return summary.p_value is not None and summary.p_value < ALPHA


def marks_of(ranks: Sequence[float]) -> list[Literal["", "best", "second"]]:
    """The best rank and the next one after it, ties included; NaN has no part in it."""
    distinct = [*sorted({r for r in ranks if not math.isnan(r)}), math.nan, math.nan]
    return ["best" if r == distinct[0] else "second" if r == distinct[1] else "" for r in ranks]


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def markdown_table(table: Table) -> str:
    """Any table in GitHub's Markdown."""
    lines = [[_markdown(h) for h in table.head]]
    lines += [[_markdown(name), *(_markdown_cell(c) for c in cells)] for name, cells in table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    text = "".join(f"| {' | '.join(line)} |\n" for line in [padded[0], rule, *padded[1:]])
    marked = any(cell.mark for _, cells in table.rows for cell in cells)
    marks = ["Best **bold**, second <u>underlined</u>."] if marked else []
    return f"{_markdown(table.title)}.\n\n{text}\n{' '.join([*marks, *map(_markdown, table.notes)])}\n"


def _markdown_cell(cell: Cell) -> str:
    text = {"best": f"**{cell.text}**", "second": f"<u>{cell.text}</u>", "": cell.text}[cell.mark]
    return text + (r"\*" if cell.star else "")


def _markdown(text: str) -> str:
    """Escaped; underscores inside a word mean nothing in GitHub's Markdown and stay readable."""
    text = re.sub(r"[\\`*{}\[\]<>#|~$&!]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
    return " ".join(text.split())


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all; an existing file is replaced once the new one is complete.

    Raises:
        LureError: the file cannot be written; no temporary file is left.
    """
    write_file(path, text.encode("utf-8", "backslashreplace"))  # file names may hold what UTF-8 cannot
