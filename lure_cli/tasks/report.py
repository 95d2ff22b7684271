"""What an evaluation looks like: JSON, CSV, Markdown, LaTeX, one HTML file, plots. Nothing here prints."""

from __future__ import annotations

import base64
import csv
import html
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lure_cli.core.files import write_file
from lure_cli.errors import LureError
from lure_cli.tasks.evaluate import Column, Evaluation, Method, Summary
from lure_cli.version import __version__

if TYPE_CHECKING:
    import numpy as np

    Picture = Callable[[int, str], np.ndarray | None]
    """(index of the image, "infrared", "visible" or a method's name) -> uint8 (H, W, 3) or (H, W), or None."""

ALPHA = 0.05
"""A value gets a star where its p-value is below this."""

UNDEFINED = "n/a"
"""What tables show for a value that is not a finite number."""

FUSED_ONLY = ("EN", "SD", "SF", "AG")
"""Metrics of the fused image alone: they say nothing about the sources, so no image is called best or worst by them."""

_ARROW = {"higher": "↑", "lower": "↓"}


# --- numbers and the table of means, common to all outputs -----------------------------------------------------------


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


def table_of_means(evaluation: Evaluation) -> Table:
    """Methods x columns, in the order of the evaluation."""
    methods = evaluation.methods
    several = len(methods) > 1
    columns = [_column_cells(methods, column) for column in evaluation.columns]
    head = ["method", *(f"{c.name} {_ARROW[c.better]}" for c in evaluation.columns)]
    if several:
        head.append("mean rank ↓")
        ranks = [math.nan if m.mean_rank is None else m.mean_rank for m in methods]
        columns.append([Cell(f"{r:.2f}", mark) for r, mark in zip(ranks, marks_of(ranks), strict=True)])
    names = [m.name + (" †" if m.floor else "") for m in methods]
    rows = tuple((name, tuple(cells)) for name, *cells in zip(names, *columns, strict=True))
    title = f"Convention {evaluation.convention}, {'means over ' if len(evaluation.images) > 1 else ''}"
    return Table(title + _count(len(evaluation.images), "image"), tuple(head), rows, tuple(_notes(evaluation)))


def _column_cells(methods: Sequence[Method], column: Column) -> list[Cell]:
    summaries = [m.summary[column.name] for m in methods]
    decimals = common_decimals(s.mean for s in summaries)
    marks = marks_of([math.nan if s.rank is None or math.isnan(s.mean) else s.rank for s in summaries])
    return [
        Cell(format_number(s.mean, decimals), mark, is_different(s)) for s, mark in zip(summaries, marks, strict=True)
    ]


def is_different(summary: Summary) -> bool:
    """Whether the value gets a star."""
    return summary.p_value is not None and summary.p_value < ALPHA


def marks_of(ranks: Sequence[float]) -> list[Literal["", "best", "second"]]:
    """The best rank and the next one after it, ties included; NaN has no part in it."""
    distinct = [*sorted({r for r in ranks if not math.isnan(r)}), math.nan, math.nan]
    return ["best" if r == distinct[0] else "second" if r == distinct[1] else "" for r in ranks]


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
        yield f"{_count(total, 'undefined value')}, left out of the means: {where}."
    else:
        yield "No value is undefined."


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


# --- JSON and CSV: every number in full ------------------------------------------------------------------------------


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


def _full(value: float | None) -> str:
    """The shortest text that reads back as the same float; empty where undefined."""
    defined = _defined(value)
    return "" if defined is None else repr(defined)


def image_csv(evaluation: Evaluation) -> str:
    """One row an image and method; floats in full, undefined values as empty cells."""
    head = ["convention", "method", "image", *(c.name for c in evaluation.columns)]
    rows = (
        [evaluation.convention, m.name, image.name, *(_full(m.values[c.name][i]) for c in evaluation.columns)]
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
            *(_full(s.mean), _full(s.low), _full(s.high), str(s.count), str(s.undefined)),
            *(_full(s.rank), _full(s.p_value), _full(m.mean_rank)),
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


# --- Markdown and LaTeX ----------------------------------------------------------------------------------------------


def to_markdown(evaluation: Evaluation) -> str:
    """A GitHub-flavoured table of the means, lined up for reading as text too, and its notes below."""
    return markdown_table(table_of_means(evaluation))


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


# --- HTML ------------------------------------------------------------------------------------------------------------


def to_html(evaluation: Evaluation, picture: Picture, extremes: int = 3) -> str:
    """A report in one file: no other file and no network is needed to read it.

    Args:
        evaluation: what to report. Each number that a table shows is also there in full, as `data-value`.
        picture: gives the pictures to show.
        extremes: how many worst and how many best images of each method are shown; no image is shown as both.
    """
    table = table_of_means(evaluation)
    notes = [*(["Best value bold, second underlined."] if len(evaluation.methods) > 1 else []), *table.notes]
    parts = [
        f"<h1>Image fusion, evaluated</h1>\n<p class=lead>{_h(table.title)}</p>",
        "<h2>Means</h2>\n<p class=hint>In brackets: 95 % bootstrap interval of the mean. A click on a heading sorts."
        "</p>",
        _html_means(evaluation, table),
        f"<ul class=notes>{''.join(f'<li>{_h(note)}</li>' for note in notes)}</ul>",
        *_html_extremes(evaluation, picture, extremes),
        _html_images(evaluation),
        f"<footer>Made by lure {_h(__version__)}. The full value behind a number shows while the pointer rests on it."
        "</footer>",
    ]
    return _PAGE.replace("@title", _h(table.title)).replace("@body", "\n".join(parts))


_h = html.escape


def _html_head(names: Sequence[str], evaluation: Evaluation, last: str = "") -> str:
    cells = [f"<th><button>{_h(name)}</button></th>" for name in names]
    for c in evaluation.columns:
        unit = f' title="{_h(c.unit)}"' if c.unit else ""
        cells.append(f'<th data-better="{c.better}"{unit}><button>{_h(c.name)} {_ARROW[c.better]}</button></th>')
    if last:
        cells.append(f'<th data-better="lower"><button>{_h(last)}</button></th>')
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def _html_means(evaluation: Evaluation, table: Table) -> str:
    several = len(evaluation.methods) > 1
    rows = []
    for method, (name, shown) in zip(evaluation.methods, table.rows, strict=True):
        cells = [f'<th scope="row" data-value="{_h(method.name)}">{_h(name)}</th>']
        for column, cell in zip(evaluation.columns, shown, strict=False):
            s = method.summary[column.name]
            about = [f"mean {_full(s.mean) or 'undefined'}", _count(s.count, "image")]
            about += [f"{s.undefined} undefined"] if s.undefined else []
            about += [f"rank {s.rank:g}"] if s.rank is not None else []
            about += [f"p = {s.p_value!r} against {evaluation.first}"] if s.p_value is not None else []
            interval = ""
            if math.isfinite(s.low):
                decimals = common_decimals([s.mean, s.low, s.high])
                ends = (f'<span data-value="{_full(x)}">{format_number(x, decimals)}</span>' for x in (s.low, s.high))
                interval = f"<small>[{', '.join(ends)}]</small>"
            cells.append(_html_value(s.mean, cell, f' title="{_h(", ".join(about))}"', interval))
        if several:
            cells.append(_html_value(method.mean_rank, shown[-1]))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = _html_head(["method"], evaluation, "mean rank ↓" if several else "")
    body = "\n".join(rows)
    return f'<div class=scroll><table id="means">{head}\n<tbody>\n{body}\n</tbody></table></div>'


def _html_value(value: float | None, cell: Cell, attributes: str = "", after: str = "") -> str:
    mark = f' class="{cell.mark}"' if cell.mark else ""
    star = "<sup>*</sup>" if cell.star else ""
    return f'<td data-value="{_full(value)}"{attributes}><span{mark}>{_h(cell.text)}</span>{star}{after}</td>'


def _html_images(evaluation: Evaluation) -> str:
    decimals = {
        c.name: common_decimals(float(v) for m in evaluation.methods for v in m.values[c.name])
        for c in evaluation.columns
    }
    rows = []
    for i, image in enumerate(evaluation.images):
        for method in evaluation.methods:
            cells = [f'<th scope="row">{_h(image.name)}</th><th scope="row">{_h(method.name)}</th>']
            for c in evaluation.columns:
                value = float(method.values[c.name][i])
                cells.append(f'<td data-value="{_full(value)}">{format_number(value, decimals[c.name])}</td>')
            rows.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(rows)
    options = "".join(f"<option>{_h(m.name)}</option>" for m in evaluation.methods)
    return (
        "<h2>Image by image</h2>\n<p class=hint><label>image <input type=search id=image placeholder=contains></label> "
        f'<label>method <select id=method><option value="">all</option>{options}</select></label></p>\n'
        f'<div class="scroll tall"><table id="images">{_html_head(["image", "method"], evaluation)}\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _html_extremes(evaluation: Evaluation, picture: Picture, extremes: int) -> Iterator[str]:
    if extremes < 1:
        return
    what, sign, scores = _image_scores(evaluation)
    made: dict[tuple[int, str], str] = {}

    def thumbnail(index: int, which: str) -> str:
        if (index, which) not in made:
            pixels = picture(index, which)
            made[index, which] = "" if pixels is None else _data_uri(pixels)
        name = evaluation.images[index].name
        uri = made[index, which]
        shown = f'<img src="{uri}" alt="{_h(f"{name}, {which}")}">' if uri else "<i>no picture</i>"
        return f"<div>{shown}<span>{_h(which)}</span></div>"

    yield f"<h2>Worst and best images</h2>\n<p class=hint>By {_h(what)}.</p>"
    for number, method in enumerate(evaluation.methods):
        order = [i for i in _worst_first(scores[method.name]) if math.isfinite(scores[method.name][i])]
        best = min(extremes, len(order) // 2)
        parts = []
        for label, chosen in (("worst", order[: min(extremes, len(order) - best)]), ("best", order[::-1][:best])):
            for i in chosen:
                text = f"{label}: {evaluation.images[i].name} ({format_number(sign * scores[method.name][i])})"
                three = "".join(thumbnail(i, which) for which in ("infrared", "visible", method.name))
                parts.append(f'<figure class="{label}"><figcaption>{_h(text)}</figcaption>{three}</figure>')
        opened = " open" if number == 0 else ""
        name = _h(method.name)
        yield f"<details{opened}><summary>{name}</summary>\n<div class=gallery>{''.join(parts)}</div></details>"


def _worst_first(scores: np.ndarray) -> list[int]:
    import numpy as np

    return [int(i) for i in np.argsort(-scores, kind="stable")]


def _image_scores(evaluation: Evaluation) -> tuple[str, int, dict[str, np.ndarray]]:
    """What images are ordered by, in words, and method -> float64 (images,): lower is better, NaN where undefined.

    Between them the sign, 1 or -1, that turns these back into what the words name.
    """
    import numpy as np
    from scipy.stats import rankdata

    columns, methods = evaluation.columns, evaluation.methods
    if len(methods) == 1:
        chosen = next((c for c in columns if c.name not in FUSED_ONLY), columns[0])
        x = np.where(np.isfinite(methods[0].values[chosen.name]), methods[0].values[chosen.name], np.nan)
        sign = 1 if chosen.better == "lower" else -1
        return f"{chosen.name} {_ARROW[chosen.better]}", sign, {methods[0].name: sign * x}
    total = np.zeros((len(methods), len(evaluation.images)))
    count = np.zeros_like(total)
    for column in columns:
        x = np.stack([m.values[column.name] for m in methods])
        x = np.where(np.isfinite(x), -x if column.better == "higher" else x, np.nan)
        total += np.nan_to_num(rankdata(x, axis=0, nan_policy="omit"))
        count += ~np.isnan(x)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    what = "the method's mean rank on that image, over all columns (in parentheses; 1 is best)"
    return what, 1, {m.name: mean[i] for i, m in enumerate(methods)}


def _data_uri(pixels: np.ndarray, width: int = 320) -> str:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((width, width * 4))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


_PAGE = """<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width"><title>@title</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; padding: 0 1.5rem; max-width: 90rem; }
.lead, .hint, .notes, footer, small { opacity: .75; }
.notes { padding-left: 1.2rem; } footer { margin-top: 3rem; }
.scroll { overflow: auto; } .tall { max-height: 40rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th[scope=row], thead th:first-child { text-align: left; font-weight: 500; }
thead th { position: sticky; top: 0; background: Canvas; z-index: 1; }
tbody th:first-child, thead th:first-child { position: sticky; left: 0; background: Canvas; }
thead th:first-child { z-index: 2; }
th button { font: inherit; font-weight: 600; border: 0; background: none; color: inherit; cursor: pointer; padding: 0; }
tbody tr:hover { background: var(--soft); }
td .best { font-weight: 700; } td .second { text-decoration: underline; }
td small { display: block; font-size: .8em; }
details { margin: .6rem 0; } summary { cursor: pointer; font-weight: 600; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(30rem, 1fr)); gap: 1rem; padding: .6rem 0; }
figure { margin: 0; display: grid; grid-template-columns: repeat(3, 1fr); gap: .3rem; }
figcaption { grid-column: 1 / -1; }
figure div { display: grid; align-content: start; } figure span { opacity: .75; font-size: .85em; }
img { width: 100%; display: block; }
</style>
@body
<script>
for (const button of document.querySelectorAll("th button")) button.onclick = () => {
  const head = button.parentElement, index = head.cellIndex, body = head.closest("table").tBodies[0];
  const last = head.dataset.order, first = head.dataset.better === "higher" ? -1 : 1;
  const order = last ? -last : first;
  head.dataset.order = order;
  const key = row => row.cells[index].dataset.value ?? row.cells[index].textContent;
  const number = text => text === "" ? NaN : Number(text);
  const rows = [...body.rows].map((row, i) => [key(row), row, i]);
  rows.sort(([a, , i], [b, , j]) => {
    const x = number(a), y = number(b);
    if (isNaN(x) && isNaN(y)) return a === "" || b === "" ? i - j : order * a.localeCompare(b) || i - j;
    return isNaN(x) ? 1 : isNaN(y) ? -1 : order * (x - y) || i - j;  // undefined values stay at the end
  });
  body.append(...rows.map(([, row]) => row));
};
const image = document.getElementById("image"), method = document.getElementById("method");
const filter = () => {
  for (const row of document.getElementById("images").tBodies[0].rows)
    row.hidden = !row.cells[0].textContent.includes(image.value)
      || method.value !== "" && row.cells[1].textContent !== method.value;
};
image.oninput = method.onchange = filter;
</script>
</html>
"""


# --- plots and files -------------------------------------------------------------------------------------------------


def check_plots(extra: str = "eval") -> None:
    """Whether plots can be drawn, before anything is measured; LureError without matplotlib, naming the extra."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise LureError("plots need matplotlib, which is not installed", f"pip install 'lure-cli[{extra}]'") from error


def write_plots(evaluation: Evaluation, folder: Path) -> list[Path]:
    """`boxplot_<column>.png` for each column and, for several methods, `ranks.png`; existing files are replaced.

    Raises:
        LureError: matplotlib is not installed, or a file cannot be written.
    """
    check_plots()
    written = []
    for column in evaluation.columns:
        path = folder / f"boxplot_{re.sub('[^A-Za-z0-9_-]', '_', column.name)}.png"
        write_file(path, _boxplot(evaluation, column))
        written.append(path)
    if len(evaluation.methods) > 1:
        write_file(folder / "ranks.png", _rank_map(evaluation))
        written.append(folder / "ranks.png")
    return written


def figure_png(figure: Any, dpi: int = 150) -> bytes:
    """A matplotlib figure as the content of a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    file = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(file, format="png", dpi=dpi)
    return file.getvalue()


def _boxplot(evaluation: Evaluation, column: Column) -> bytes:
    import numpy as np
    from matplotlib.figure import Figure

    methods = evaluation.methods[::-1]  # the best on top
    data = [m.values[column.name][np.isfinite(m.values[column.name])] for m in methods]
    figure = Figure(figsize=(7, 1.2 + 0.36 * len(methods)), layout="constrained")
    axes = figure.add_subplot()
    at = range(1, len(methods) + 1)
    mean = {"marker": "D", "markerfacecolor": "#c44e52", "markeredgecolor": "#c44e52", "markersize": 4}
    box = {"facecolor": "#4c72b033", "edgecolor": "#4c72b0"}
    # One call a method: a method without a value leaves its line empty.
    for place, values in zip(at, data, strict=True):
        if len(values):
            axes.boxplot(
                [values], positions=[place], orientation="horizontal", widths=0.6, showmeans=True, meanprops=mean,
                patch_artist=True, boxprops=box, medianprops={"color": "#1f3a68"}, flierprops={"markersize": 3},
                manage_ticks=False,
            )  # fmt: skip
    axes.set_yticks(list(at), [_plain(m.name) for m in methods])
    axes.set_ylim(0.4, len(methods) + 0.6)
    axes.set_xlabel(_plain(column.unit))
    axes.grid(axis="x", alpha=0.3)
    images = _count(len(evaluation.images), "image")
    title = f"{column.name} ({column.better} is better), convention {evaluation.convention}, {images}"
    axes.set_title(title, fontsize=10, loc="left")
    return figure_png(figure)


def _rank_map(evaluation: Evaluation) -> bytes:
    import numpy as np
    from matplotlib.figure import Figure

    methods, columns = evaluation.methods, evaluation.columns
    ranks = np.array([[m.summary[c.name].rank or np.nan for c in columns] + [m.mean_rank or np.nan] for m in methods])
    figure = Figure(figsize=(2.2 + 0.55 * (len(columns) + 1), 1.6 + 0.36 * len(methods)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(ranks, cmap="RdYlGn_r", aspect="auto", vmin=1, vmax=len(methods), alpha=0.75)
    axes.set_xticks(range(len(columns) + 1), [*(c.name for c in columns), "mean rank"], rotation=45, ha="right")
    axes.set_yticks(range(len(methods)), [_plain(m.name) for m in methods])
    for (i, j), rank in np.ndenumerate(ranks):
        text = f"{rank:.2f}" if j == len(columns) else f"{rank:g}"
        axes.text(j, i, text, ha="center", va="center", fontsize=8)
    axes.axvline(len(columns) - 0.5, color="white", linewidth=3)
    images = _count(len(evaluation.images), "image")
    axes.set_title(f"Ranks, 1 is best, convention {evaluation.convention}, {images}", fontsize=10, loc="left")
    return figure_png(figure)


def _plain(text: str) -> str:
    """Dollar signs would start a formula."""
    return text.replace("$", r"\$")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all; an existing file is replaced once the new one is complete.

    Raises:
        LureError: the file cannot be written; no temporary file is left.
    """
    write_file(path, text.encode("utf-8", "backslashreplace"))  # file names may hold what UTF-8 cannot
