"""Tables on the terminal, with rich: on stdout, like every result; colour only where stdout is a terminal."""

from __future__ import annotations

import io
import os
import shutil
import sys
from typing import TYPE_CHECKING

from lure_cli.tasks.report.means import table_of_means
from lure_cli.tasks.report.table import common_decimals, format_number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from lure_cli.tasks.evaluate.summary import Evaluation
    from lure_cli.tasks.report.table import Cell, Table

_PADDING = 3
"""Columns of the terminal that a column of the table takes beside its text."""

_LEAST_NAME = 8
"""Columns of the terminal that names keep however wide the numbers are."""


def show_evaluation(evaluation: Evaluation) -> None:
    """The means: methods x columns, or one row a column if there is only one method."""
    table = table_of_means(evaluation)
    if len(evaluation.methods) > 1:
        show_table(table)
        return
    (method,) = evaluation.methods
    rows: list[list[Text]] = []
    for column, name, cell in zip(evaluation.columns, table.head[1:], table.rows[0][1], strict=True):
        s = method.summary[column.name]
        decimals = common_decimals([s.mean, s.low, s.high])
        interval = f"{format_number(s.low, decimals)} .. {format_number(s.high, decimals)}" if s.count > 1 else ""
        mean = format_number(s.mean, decimals) if s.count > 1 else cell.text
        defined = f"{s.count}" + (f" ({s.undefined} not)" * bool(s.undefined))
        rows.append([_plain(text) for text in (name, mean, interval, column.unit, defined)])
    console = _console()
    _grid(console, f"{method.name}. {table.title}", ["metric", "mean", "95 % interval", "unit", "defined"], rows)
    _notes(console, [note for note in table.notes if not note.startswith("Units")])


def show_table(table: Table) -> None:
    """Any table of cells."""
    console = _console()
    rows = [[_plain(name), *map(_text, cells)] for name, cells in table.rows]
    _grid(console, table.title, list(table.head), rows)
    marked = console.color_system and any(cell.mark for _, cells in table.rows for cell in cells)
    _notes(console, [*(["Best bold, second underlined."] if marked else []), *table.notes])


def _console() -> Console:
    """Where tables go; nothing is styled unless stdout is a terminal, and nothing is read as markup."""
    from rich.console import Console

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # arrows, and file names, that the encoding of stdout does not have
    terminal = sys.stdout.isatty()
    asked = os.environ.get("COLUMNS", "")
    width = shutil.get_terminal_size().columns if terminal else int(asked) if asked.isdecimal() and int(asked) else 120
    return Console(file=sys.stdout, width=width, force_terminal=terminal, highlight=False, markup=False, emoji=False)


def _text(cell: Cell) -> Text:
    from rich.text import Text

    # Appended, as a style of the whole text would also underline the padding before it.
    text = Text().append(cell.text, {"best": "bold", "second": "underline", "": ""}[cell.mark])
    return text.append("*" if cell.star else "")


def _plain(text: str) -> Text:
    from rich.text import Text

    return Text(text)


def _grid(console: Console, title: str, head: list[str], rows: list[list[Text]]) -> None:
    """Rows that start with a name; what is wider than the terminal is split into several grids, each with the names.

    Names fold where they must; a number is never cut: if one does not fit, the grid is wider than the terminal.
    """
    from rich import box
    from rich.table import Table as Grid

    lines = [[_plain(text) for text in head], *rows]
    widths = [max(text.cell_len for text in column) for column in zip(*lines, strict=True)]
    widest = max(widths[1:])
    widths[0] = min(widths[0], max(_LEAST_NAME, console.width - widest - 2 * _PADDING))
    console.width = max(console.width, widths[0] + widest + 2 * _PADDING)
    console.print(_plain(title))
    left = list(range(1, len(head)))
    while left:
        room, chosen = console.width - widths[0] - _PADDING, [0]
        while left and room >= widths[left[0]] + _PADDING:
            chosen.append(left.pop(0))
            room -= widths[chosen[-1]] + _PADDING
        grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
        for i in chosen:
            grid.add_column(lines[0][i], justify="right" if i else "left", width=widths[i], overflow="fold")
        for row in rows:
            grid.add_row(*(row[i] for i in chosen))
        console.print(grid)


def _notes(console: Console, notes: list[str]) -> None:
    from rich.text import Text

    for note in notes:
        console.print(Text(note, style="dim"))
    console.print()
