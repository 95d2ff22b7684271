"""What an evaluation looks like: JSON, CSV, Markdown, LaTeX, one HTML file, plots. Nothing here prints."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lure_cli.tasks.evaluate.summary import Column, Evaluation, Method, Summary
from lure_cli.tasks.report.table import (
    ALPHA,
    Cell,
    Table,
    common_decimals,
    counted,
    format_number,
    is_different,
    markdown_table,
    marks_of,
)

if TYPE_CHECKING:
    import numpy as np

    Picture = Callable[[int, str], np.ndarray | None]
    """(index of the image, "infrared", "visible" or a method's name) -> uint8 (H, W, 3) or (H, W), or None."""


ARROW = {"higher": "↑", "lower": "↓"}


def table_of_means(evaluation: Evaluation) -> Table:
    """Methods x columns, in the order of the evaluation."""
    methods = evaluation.methods
    several = len(methods) > 1
    columns = [_column_cells(methods, column) for column in evaluation.columns]
    head = ["method", *(f"{c.name} {ARROW[c.better]}" for c in evaluation.columns)]
    if several:
        head.append("mean rank ↓")
        ranks = [math.nan if m.mean_rank is None else m.mean_rank for m in methods]
        columns.append([Cell(f"{r:.2f}", mark) for r, mark in zip(ranks, marks_of(ranks), strict=True)])
    names = [m.name + (" †" if m.floor else "") for m in methods]
    rows = tuple((name, tuple(cells)) for name, *cells in zip(names, *columns, strict=True))
    title = f"Convention {evaluation.convention}, {'means over ' if len(evaluation.images) > 1 else ''}"
    return Table(title + counted(len(evaluation.images), "image"), tuple(head), rows, tuple(_notes(evaluation)))


def _column_cells(methods: Sequence[Method], column: Column) -> list[Cell]:
    summaries = [m.summary[column.name] for m in methods]
    decimals = common_decimals(s.mean for s in summaries)
    marks = marks_of([math.nan if s.rank is None or math.isnan(s.mean) else s.rank for s in summaries])
    return [
        Cell(format_number(s.mean, decimals), mark, is_different(s)) for s, mark in zip(summaries, marks, strict=True)
    ]


def _notes(evaluation: Evaluation) -> Iterator[str]:
    if len(evaluation.methods) > 1:
        yield (
            f"* differs from {evaluation.first}: p < {ALPHA} in a paired, two-sided Wilcoxon signed-rank test over the "
            "images, not corrected for the number of tests."
        )
    if any(m.floor for m in evaluation.methods):
        yield "† floor: made from the sources without trained weights."
    units: dict[str, list[str]] = {}
    for column in evaluation.columns:
        if column.unit:
            units.setdefault(column.unit, []).append(column.name)
    if units:
        told = [f"{', '.join(names)} in {unit}" for unit, names in units.items()]
        yield f"Units: {'; '.join(told)}."
    undefined = {
        c.name: [f"{m.name} {m.summary[c.name].undefined}" for m in evaluation.methods if m.summary[c.name].undefined]
        for c in evaluation.columns
    }
    total = sum(s.undefined for m in evaluation.methods for s in m.summary.values())
    if total:
        where = "; ".join(f"{name}: {', '.join(found)}" for name, found in undefined.items() if found)
        yield f"{counted(total, 'undefined value')}, left out of the means: {where}."
    else:
        yield "No value is undefined."


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Ready for `json.dumps`: what is not a finite number is None; floats keep every bit."""
    return {
        "convention": evaluation.convention,
        "first": evaluation.first,
        "columns": [{"name": c.name, "better": c.better, "unit": c.unit} for c in evaluation.columns],
        "methods": [
            {
                "name": m.name,
                "floor": m.floor,
                "mean_rank": m.mean_rank,
                "summary": {c.name: _summary_dict(m.summary[c.name]) for c in evaluation.columns},
            }
            for m in evaluation.methods
        ],
        "images": {
            image.name: {
                m.name: {c.name: _defined(m.values[c.name][i]) for c in evaluation.columns} for m in evaluation.methods
            }
            for i, image in enumerate(evaluation.images)
        },
    }


def _summary_dict(s: Summary) -> dict[str, float | int | None]:
    return {
        "mean": _defined(s.mean),
        "low": _defined(s.low),
        "high": _defined(s.high),
        "count": s.count,
        "undefined": s.undefined,
        "rank": s.rank,
        "p_value": s.p_value,
    }


def _defined(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def full_number(value: float | None) -> str:
    """The shortest text that reads back as the same float; empty where undefined."""
    defined = _defined(value)
    return "" if defined is None else repr(defined)


def image_csv(evaluation: Evaluation) -> str:
    """One row an image and method; floats in full, undefined values as empty cells."""
    head = ["convention", "method", "image", *(c.name for c in evaluation.columns)]
    rows = (
        [evaluation.convention, m.name, image.name, *(full_number(m.values[c.name][i]) for c in evaluation.columns)]
        for m in evaluation.methods
        for i, image in enumerate(evaluation.images)
    )
    return _csv(head, rows)


def summary_csv(evaluation: Evaluation) -> str:
    """One row a method and column; floats in full, empty where undefined or where there is nothing to compare."""
    head = "convention method floor column unit better mean low high count undefined rank p_value mean_rank".split()
    rows = (
        [
            *(evaluation.convention, m.name, "true" if m.floor else "false", c.name, c.unit, c.better),
            *(full_number(s.mean), full_number(s.low), full_number(s.high), str(s.count), str(s.undefined)),
            *(full_number(s.rank), full_number(s.p_value), full_number(m.mean_rank)),
        ]
        for m in evaluation.methods
        for c in evaluation.columns
        for s in [m.summary[c.name]]
    )
    return _csv(head, rows)


def _csv(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def to_markdown(evaluation: Evaluation) -> str:
    """A GitHub-flavoured table of the means, lined up for reading as text too, and its notes below."""
    return markdown_table(table_of_means(evaluation))


def to_latex(evaluation: Evaluation) -> str:
    r"""A `table` environment with the means, for `\input` in a paper; the first line names the packages it needs.

    More than ten columns are scaled to the width of the line, which in two-column papers asks for `table*`.
    """
    table = table_of_means(evaluation)
    wide = len(table.head) > 11
    marks = [r"Best \textbf{bold}, second \underline{underlined}."] if len(evaluation.methods) > 1 else []
    caption = " ".join([_latex(table.title) + ".", *marks, *map(_latex, table.notes)])
    lines = [
        rf"% needs \usepackage{{booktabs{',graphicx' if wide else ''}}}",
        r"\begin{table}[t]",
        r"  \centering",
        rf"  \caption{{{caption}}}",
        r"  \label{tab:fusion}",
        *([r"  \resizebox{\linewidth}{!}{%"] if wide else []),
        rf"  \begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
        r"    \toprule",
        rf"    {' & '.join(map(_latex, table.head))} \\",
        r"    \midrule",
        *(rf"    {' & '.join([_latex(name), *map(_latex_cell, cells)])} \\" for name, cells in table.rows),
        r"    \bottomrule",
        rf"  \end{{tabular}}{'}' if wide else ''}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_cell(cell: Cell) -> str:
    text = _latex(cell.text)
    text = {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}", "": text}[cell.mark]
    return text + (r"\rlap{*}" if cell.star else "")  # without width, so that the digits line up


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # \textquotedbl needs the T1 encoding
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"$^\dagger$",
    "-": "-{}",  # two in a row would become one dash
    "[": "{[}",  # at the start of a row it would be an option of the line break before it
    "*": "{*}",
    **{c: "\\" + c for c in "&%$#_{}"},
}


def _latex(text: str) -> str:
    if re.fullmatch(r"-[\d.e+-]+", text):
        return f"${text}$"  # a minus sign, not a hyphen
    return " ".join("".join(_LATEX.get(c, c) for c in text).split())
