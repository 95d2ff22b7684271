"""Results as tables: cells, marks of the best, Markdown, CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lure_cli.core.files import write_file

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
    """A value as tables show it; `star`: differs from that of the first method (p < 0.05)."""

    text: str
    mark: Literal["", "best", "second"] = ""
    star: bool = False


@dataclass(frozen=True)
class Table:
    """A table for people, before any output lays it out: plain text, nothing escaped.

    Each row starts with its name, and `head` with what the names are of; `notes` stand below.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Results:
    """What was measured, in each form in which it can be shown or written.

    Attributes:
        tables: for people, one below the other.
        record: all of it, ready for JSON.
        head, rows: for CSV, floats as they are; mostly one row an image.
    """

    tables: tuple[Table, ...]
    record: Mapping[str, Any]
    head: tuple[str, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()

    def to_csv(self) -> str:
        """`head` and `rows`; see `csv_text`."""
        return csv_text(self.head, self.rows)

    def to_markdown(self) -> str:
        """The tables in GitHub's Markdown."""
        return "\n".join(map(markdown_table, self.tables))


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV file: floats in full (see `full_number`), None and what is not a finite number as an empty cell."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([full_number(v) if v is None or isinstance(v, float) else v for v in row] for row in rows)
    return file.getvalue()


def defined(value: float | None) -> float | None:
    """A number as JSON may hold it: None for what is not a finite number."""
    return float(value) if value is not None and math.isfinite(value) else None


def full_number(value: float | None) -> str:
    """The shortest text that reads back as the same float; empty where undefined."""
    number = defined(value)
    return "" if number is None else repr(number)


def marks_of(ranks: Sequence[float]) -> list[Literal["", "best", "second"]]:
    """The best rank and the next one after it, ties included; NaN has no part in it.

    Any numbers will do of which the lowest is best: only their order counts.
    """
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
