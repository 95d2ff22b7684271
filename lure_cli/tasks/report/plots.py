"""Box plots and the map of ranks."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from lure_cli.core.files import write_file
from lure_cli.errors import LureError
from lure_cli.tasks.evaluate.summary import Column, Evaluation
from lure_cli.tasks.report.table import counted


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
    images = counted(len(evaluation.images), evaluation.each)
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
    images = counted(len(evaluation.images), evaluation.each)
    axes.set_title(f"Ranks, 1 is best, convention {evaluation.convention}, {images}", fontsize=10, loc="left")
    return figure_png(figure)


def _plain(text: str) -> str:
    """Dollar signs would start a formula."""
    return text.replace("$", r"\$")
