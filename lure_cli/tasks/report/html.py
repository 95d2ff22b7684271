"""The report as one HTML page."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from lure_cli.tasks.evaluate.summary import Evaluation
from lure_cli.tasks.report.means import ARROW, full_number, table_of_means
from lure_cli.tasks.report.table import Cell, Table, common_decimals, counted, format_number
from lure_cli.version import __version__

if TYPE_CHECKING:
    import numpy as np

    Picture = Callable[[int, str], np.ndarray | None]
    """(index of the image, "infrared", "visible" or a method's name) -> uint8 (H, W, 3) or (H, W), or None."""


FUSED_ONLY = ("EN", "SD", "SF", "AG")
"""Metrics of the fused image alone: they say nothing about the sources, so no image is called best or worst by them."""


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
        cells.append(f'<th data-better="{c.better}"{unit}><button>{_h(c.name)} {ARROW[c.better]}</button></th>')
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
            about = [f"mean {full_number(s.mean) or 'undefined'}", counted(s.count, "image")]
            about += [f"{s.undefined} undefined"] if s.undefined else []
            about += [f"rank {s.rank:g}"] if s.rank is not None else []
            about += [f"p = {s.p_value!r} against {evaluation.first}"] if s.p_value is not None else []
            interval = ""
            if math.isfinite(s.low):
                decimals = common_decimals([s.mean, s.low, s.high])
                ends = (
                    f'<span data-value="{full_number(x)}">{format_number(x, decimals)}</span>' for x in (s.low, s.high)
                )
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
    return f'<td data-value="{full_number(value)}"{attributes}><span{mark}>{_h(cell.text)}</span>{star}{after}</td>'


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
                cells.append(f'<td data-value="{full_number(value)}">{format_number(value, decimals[c.name])}</td>')
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
        return f"{chosen.name} {ARROW[chosen.better]}", sign, {methods[0].name: sign * x}
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
