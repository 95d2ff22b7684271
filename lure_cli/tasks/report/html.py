"""The report as one HTML page, laid out by `report.html.jinja`."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.tasks.evaluate.summary import Evaluation, Summary
from lure_cli.tasks.report.means import ARROW, table_of_means
from lure_cli.tasks.report.table import Table, common_decimals, counted, format_number, full_number
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
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    templates.filters |= {"full_number": full_number, "format_number": format_number}
    table = table_of_means(evaluation)
    order, sign, scores = _image_scores(evaluation)
    decimals = {
        c.name: common_decimals(float(v) for m in evaluation.methods for v in m.values[c.name])
        for c in evaluation.columns
    }
    return templates.get_template("report.html.jinja").render(
        evaluation=evaluation,
        table=table,
        several=len(evaluation.methods) > 1,
        means=list(_means(evaluation, table)),
        order=order,
        galleries=list(_galleries(evaluation, sign, scores, picture, extremes)) if extremes > 0 else [],
        decimals=decimals,
        arrow=ARROW,
        version=__version__,
    )


def _means(evaluation: Evaluation, table: Table) -> Iterator[dict[str, Any]]:
    """The rows of the table of means: each value with its cell, what is said of it, and its interval, if it has one."""
    for method, (name, cells) in zip(evaluation.methods, table.rows, strict=True):
        means = []
        for column, cell in zip(evaluation.columns, cells, strict=False):
            summary = method.summary[column.name]
            about = _about(summary, evaluation.first)
            means.append({"summary": summary, "cell": cell, "about": about, "interval": _interval(summary)})
        yield {
            "method": method.name, "name": name, "means": means, "mean_rank": method.mean_rank, "rank_cell": cells[-1],
        }  # fmt: skip


def _about(summary: Summary, first: str) -> str:
    parts = [f"mean {full_number(summary.mean) or 'undefined'}", counted(summary.count, "image")]
    parts += [f"{summary.undefined} undefined"] if summary.undefined else []
    parts += [f"rank {summary.rank:g}"] if summary.rank is not None else []
    parts += [f"p = {summary.p_value!r} against {first}"] if summary.p_value is not None else []
    return ", ".join(parts)


def _interval(summary: Summary) -> list[tuple[float, str]]:
    """Both ends, each as a number and as shown."""
    if not math.isfinite(summary.low):
        return []
    decimals = common_decimals([summary.mean, summary.low, summary.high])
    return [(end, format_number(end, decimals)) for end in (summary.low, summary.high)]


def _galleries(
    evaluation: Evaluation, sign: int, scores: dict[str, np.ndarray], picture: Picture, extremes: int
) -> Iterator[dict[str, Any]]:
    """The worst and the best images of each method, with their sources; see `_image_scores`."""
    uris: dict[tuple[int, str], str] = {}

    def thumbnail(index: int, which: str) -> str:
        """Empty if there is no such picture."""
        if (index, which) not in uris:
            pixels = picture(index, which)
            uris[index, which] = "" if pixels is None else _data_uri(pixels)
        return uris[index, which]

    for method in evaluation.methods:
        score = scores[method.name]
        order = [i for i in _worst_first(score) if math.isfinite(score[i])]
        best = min(extremes, len(order) // 2)
        worst = min(extremes, len(order) - best)
        figures = []
        for kind, chosen in (("worst", order[:worst]), ("best", order[::-1][:best])):
            for i in chosen:
                image = evaluation.images[i].name
                caption = f"{kind}: {image} ({format_number(sign * score[i])})"
                pictures = [(which, thumbnail(i, which)) for which in ("infrared", "visible", method.name)]
                figures.append({"kind": kind, "image": image, "caption": caption, "pictures": pictures})
        yield {"method": method.name, "figures": figures}


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
