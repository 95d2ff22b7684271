"""Lists that users write: CSV as editors and spreadsheets save it."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from lure_cli.errors import LureError

_SEPARATOR_LINE = re.compile(r"sep=([,;\t])\r?\n", re.IGNORECASE)


def read_list(path: Path, hint: str) -> str:
    """The text of a file: UTF-8, or UTF-16 with a byte order mark.

    Args:
        path: the file.
        hint: what it should hold.

    Raises:
        LureError: it cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LureError(f"{path}: cannot be read ({error.strerror})", "name an existing file") from error
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise LureError(
            f"{path}: not UTF-8 text (line {line})", f"save it as UTF-8 (in Excel: 'CSV UTF-8'); {hint}"
        ) from error


def read_table(
    path: Path, columns: Sequence[str], required: Sequence[str], hint: str
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with a header, each with the number of its first line; empty rows are left out.

    Columns may stand in any order and be separated by commas, semicolons or tabs, as the header has it.

    Args:
        path: the file.
        columns: all that it may have; of one that it lacks, every cell is ''.
        required: those that it must have.
        hint: what it should hold.

    Raises:
        LureError: it cannot be read, is no CSV, has another header, or a row with more cells than the header.
    """
    text, start = read_list(path, hint), 1
    separator = _SEPARATOR_LINE.match(text)
    if separator:  # Excel's own first line
        text, start = text[separator.end() :], 2
    header = re.split(r"[\r\n]", text, maxsplit=1)[0]
    delimiter = separator[1] if separator else max(",;\t", key=header.count)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True
    )
    lines: list[tuple[int, list[str]]] = []
    number = start
    try:
        for cells in reader:
            lines.append((number, cells))
            number = start + reader.line_num
    except csv.Error as error:
        raise LureError(f"{path}, line {number}: not CSV ({error})", hint) from error
    lines = [(number, cells) for number, cells in lines if any(cell.strip() for cell in cells)]
    if not lines:
        return []
    number, cells = lines[0]
    names = [cell.strip().lower() for cell in cells]
    while names and not names[-1]:
        names.pop()
    for i, name in enumerate(names):
        if name not in columns:
            raise LureError(f"{path}, line {number}: unknown column '{cells[i].strip()}'", hint)
        if name in names[:i]:
            raise LureError(f"{path}, line {number}: column '{name}' a second time", hint)
    for name in required:
        if name not in names:
            raise LureError(f"{path}, line {number}: no column '{name}'", hint)
    rows = []
    for number, cells in lines[1:]:
        if any(cells[len(names) :]):
            raise LureError(f"{path}, line {number}: {len(cells)} cells under {len(names)} columns", hint)
        rows.append((number, dict.fromkeys(columns, "") | dict(zip(names, cells, strict=False))))
    return rows
