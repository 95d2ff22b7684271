"""What an evaluation looks like: the table of means, JSON, CSV, Markdown and LaTeX. Nothing here prints."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from lure_cli.tasks.evaluate.summary import Column, Evaluation, Method, Summary
from lure_cli.tasks.report.table import (
    Cell,
    Results,
    Table,
    common_decimals,
    counted,
    csv_text,
    defined,
    format_number,
    marks_of,
)

ALPHA = 0.05
"""A value gets a star where its p-value is below this."""

ARROW = {"higher": "↑", "lower": "↓"}


def table_of_means(evaluation: Evaluation) -> Table:
    """Methods x columns, in the order of the evaluation; with several methods the last column is the mean rank.

    The title names the convention and the number of images; the notes explain the signs and say where values are
    undefined.
    """
    methods = evaluation.methods
    several = len(methods) > 1
    columns = [_column_cells(methods, column) for column in evaluation.columns]
    head = ["method", *(f"{c.name} {ARROW[c.better]}" for c in evaluation.columns)]
    if several:
        head.append("mean rank ↓")
        ranks = [math.nan if m.mean_rank is None else m.mean_rank for m in methods]
        columns.append([Cell(f"{r:.2f}", mark) for r, mark in zip(ranks, marks_of(ranks), strict=True)])
    names = [m.name + (" †" if m.baseline else "") for m in methods]
    rows = tuple((name, tuple(cells)) for name, *cells in zip(names, *columns, strict=True))
    title = f"Convention {evaluation.convention}, {'means over ' if len(evaluation.images) > 1 else ''}"
    return Table(title + counted(len(evaluation.images), evaluation.each), tuple(head), rows, tuple(_notes(evaluation)))


def _column_cells(methods: Sequence[Method], column: Column) -> list[Cell]:
    summaries = [m.summary[column.name] for m in methods]
    decimals = common_decimals(s.mean for s in summaries)
    marks = marks_of([math.nan if s.rank is None or math.isnan(s.mean) else s.rank for s in summaries])
    return [
        Cell(format_number(s.mean, decimals), mark, s.p_value is not None and s.p_value < ALPHA)
        for s, mark in zip(summaries, marks, strict=True)
    ]


def _notes(evaluation: Evaluation) -> Iterator[str]:
    if len(evaluation.methods) > 1:
        yield (
            f"* differs from {evaluation.first}: p < {ALPHA} in a paired, two-sided Wilcoxon signed-rank test over the "
            f"{evaluation.each}s, not corrected for the number of tests."
        )
    if any(m.baseline for m in evaluation.methods):
        yield "† floor: made from the sources without trained weights."
    units: dict[str, list[str]] = {}
    for column in evaluation.columns:
        if column.unit:
            units.setdefault(column.unit, []).append(column.name)
    if units:
        named = [f"{', '.join(names)} in {unit}" for unit, names in units.items()]
        yield f"Units: {'; '.join(named)}."
    undefined = {
        c.name: [f"{m.name} {m.summary[c.name].undefined}" for m in evaluation.methods if m.summary[c.name].undefined]
        for c in evaluation.columns
    }
    total = sum(s.undefined for m in evaluation.methods for s in m.summary.values())
    if total:
        where = "; ".join(f"{name}: {', '.join(counts)}" for name, counts in undefined.items() if counts)
        yield f"{counted(total, 'undefined value')}, left out of the means: {where}."
    else:
        yield "No value is undefined."


def evaluation_results(evaluation: Evaluation) -> Results:
    """The means for people; one row an image and method for CSV. Record and rows keep every bit of a float."""
    record = {
        "convention": evaluation.convention,
        "first": evaluation.first,
        "columns": [{"name": c.name, "better": c.better, "unit": c.unit} for c in evaluation.columns],
        "methods": [
            {
                "name": m.name,
                "floor": m.baseline,
                "mean_rank": m.mean_rank,
                "summary": {c.name: _summary_record(m.summary[c.name]) for c in evaluation.columns},
            }
            for m in evaluation.methods
        ],
        "images": {
            image.name: {
                m.name: {c.name: defined(m.values[c.name][i]) for c in evaluation.columns} for m in evaluation.methods
            }
            for i, image in enumerate(evaluation.images)
        },
    }
    rows = (
        (evaluation.convention, m.name, image.name, *(m.values[c.name][i] for c in evaluation.columns))
        for m in evaluation.methods
        for i, image in enumerate(evaluation.images)
    )
    head = ("convention", "method", "image", *(c.name for c in evaluation.columns))
    return Results((table_of_means(evaluation),), record, head, tuple(rows))


def _summary_record(summary: Summary) -> dict[str, float | int | None]:
    return {k: defined(v) if isinstance(v, float) else v for k, v in asdict(summary).items()}


def summary_csv(evaluation: Evaluation) -> str:
    """One row a method and column; empty where undefined or where there is nothing to compare."""
    head = "convention method floor column unit better mean low high count undefined rank p_value mean_rank".split()
    rows = (
        (
            *(evaluation.convention, m.name, "true" if m.baseline else "false", c.name, c.unit, c.better),
            *(s.mean, s.low, s.high, s.count, s.undefined, s.rank, s.p_value, m.mean_rank),
        )
        for m in evaluation.methods
        for c in evaluation.columns
        for s in [m.summary[c.name]]
    )
    return csv_text(head, rows)


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
