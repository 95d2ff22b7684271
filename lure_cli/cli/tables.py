"""Tables on the terminal, with rich: on stdout, like every result; colour only where stdout is a terminal."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from lure_cli.tasks.report import common_decimals, format_number, table_of_means

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from lure_cli.tasks.bench import Bench
    from lure_cli.tasks.evaluate import Evaluation
    from lure_cli.tasks.report import Cell, Table

_PADDING = 3
"""Columns of the terminal that a column of the table takes beside its text."""


def show_evaluation(evaluation: Evaluation) -> None:
    """The means: methods x columns, or one row a column if there is only one method."""
    table = table_of_means(evaluation)
    if len(evaluation.methods) > 1:
        _show(table)
        return
    (method,) = evaluation.methods
    rows: list[list[RenderableType]] = []
    for column, name, cell in zip(evaluation.columns, table.head[1:], table.rows[0][1], strict=True):
        s = method.summary[column.name]
        decimals = common_decimals([s.mean, s.low, s.high])
        interval = f"{format_number(s.low, decimals)} .. {format_number(s.high, decimals)}" if s.count > 1 else ""
        mean = format_number(s.mean, decimals) if s.count > 1 else cell.text
        rows.append([name, mean, interval, column.unit, f"{s.count}" + (f" ({s.undefined} not)" * bool(s.undefined))])
    console = _console()
    _grid(console, f"{method.name}. {table.title}", ["metric", "mean", "95 % interval", "unit", "defined"], rows, 1)
    _notes(console, [note for note in table.notes if not note.startswith("Units")])


def show_bench(found: Bench) -> None:
    """One table a metric: cases x methods."""
    from lure_cli.tasks.bench import tables

    for table in tables(found):
        _show(table)


def _show(table: Table) -> None:
    """Any table; one wider than the terminal is split into several, each with the names."""
    console = _console()
    widths = [max(len(name) for name in (table.head[0], *(name for name, _ in table.rows)))]
    for index, title in enumerate(table.head[1:]):
        widths.append(max(len(title), *(len(cells[index].text) + cells[index].star for _, cells in table.rows)))
    left = list(range(1, len(table.head)))
    while left:
        room = console.width - widths[0] - _PADDING
        chosen: list[int] = []
        while left and (not chosen or room >= widths[left[0]] + _PADDING):
            chosen.append(left.pop(0))
            room -= widths[chosen[-1]] + _PADDING
        rows: list[list[RenderableType]] = [[n, *(_text(cells[i - 1]) for i in chosen)] for n, cells in table.rows]
        _grid(console, table.title, [table.head[0], *(table.head[i] for i in chosen)], rows, 1)
    marked = any(cell.mark for _, cells in table.rows for cell in cells)
    _notes(console, [*(["Best bold, second underlined."] if marked else []), *table.notes])


def _console() -> Console:
    """Where tables go; nothing is coloured, wrapped to a guess or read as markup unless stdout is a terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or 120)
    if width is None:
        width = shutil.get_terminal_size().columns
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def _text(cell: Cell) -> RenderableType:
    from rich.text import Text

    text = Text(cell.text, style={"best": "bold", "second": "underline", "": ""}[cell.mark])
    return text.append("*" if cell.star else "", style="not bold not underline")


def _grid(console: Console, title: str, head: list[str], rows: list[list[RenderableType]], names: int) -> None:
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, text in enumerate(head):
        grid.add_column(Text(text), justify="left" if index < names else "right", no_wrap=True, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    console.print(grid)


def _notes(console: Console, notes: list[str]) -> None:
    from rich.text import Text

    for note in notes:
        console.print(Text(note, style="dim"))
    console.print()
