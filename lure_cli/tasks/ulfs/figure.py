"""The figure of `lure plot ulfs`: t-SNE of pooled latents, one panel for each weights file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lure_cli.core.pixels import MODALITY_NAMES
from lure_cli.core.text.vocabulary import ALL, NONE
from lure_cli.tasks.report.plots import figure_png

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.tasks.ulfs.result import LatentMeasurement, UlfsResult

# Paul Tol's "muted" scheme, made to be told apart by colour-blind readers (https://personal.sron.nl/~pault), and black.
_MUTED = ("#88CCEE", "#332288", "#117733", "#DDCC77", "#CC6677", "#AA4499", "#44AA99", "#999933", "#882255", "#DDDDDD")
COLOURS = {NONE: "#000000", **dict(zip(ALL, _MUTED, strict=True))}
_MARKERS = {"vis": "o", "ir": "^"}
_SPOKEN = {
    NONE: "none (clean)",
    "lowlight": "low light",
    "overexposure": "over-exposure",
    "lowres": "low resolution",
    "lowcontrast": "low contrast",
    "stripe": "stripes",
}
_PER_ROW = 3
_SIDE = 3.4
"""Inches of a panel."""


def embed(points: np.ndarray, seed: int) -> np.ndarray:
    """t-SNE: (N, K) -> (N, 2); the same points and seed give the same map on one machine."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(points) - 1) / 3)
    embedded: np.ndarray = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    return embedded


def draw_ulfs(ulfs: UlfsResult) -> bytes:
    """The figure as a PNG file, 200 dots an inch."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    count = len(ulfs.measurements)
    columns, rows = min(count, _PER_ROW), math.ceil(count / _PER_ROW)
    width, legend = max(columns * (_SIDE + 0.1), 4.2), {1: 1.25, 2: 0.85}.get(columns, 0.7)
    layout = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.07, wspace=0.02)
    figure = Figure(figsize=(width, rows * (_SIDE + 0.55) + legend), layout=layout)
    for i, measurement in enumerate(ulfs.measurements):
        _panel(figure.add_subplot(rows, columns, i + 1), ulfs, measurement)
    _legend(figure, ulfs, {1: 3, 2: 5}.get(columns, 7))
    return figure_png(figure, dpi=200)


def _panel(axes: Any, ulfs: UlfsResult, measurement: LatentMeasurement) -> None:
    import numpy as np

    at = embed(measurement.points, ulfs.options.seed)
    starts = np.cumsum([0, *(len(g.x) for g in ulfs.groups)])
    # The clean ones last and smaller, so that both they and the others are seen where all fall together.
    order = sorted(range(len(ulfs.groups)), key=lambda i: ulfs.groups[i].task == NONE)
    for i in order:
        group, xy = ulfs.groups[i], at[starts[i] : starts[i + 1]]
        colour = COLOURS[group.task]
        face = "none" if group.real else colour
        size = 6 if group.task == NONE else 11
        axes.scatter(
            xy[:, 0], xy[:, 1], s=size, marker=_MARKERS[group.modality], facecolors=face, edgecolors=colour,
            linewidths=0.7 if group.real else 0.2, alpha=0.85, rasterized=True,
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_box_aspect(1)
    axes.margins(0.04)
    for spine in axes.spines.values():
        spine.set(color="#999999", linewidth=0.6)
    steps = f"stage {measurement.stage}, {measurement.steps:,} steps" if measurement.steps else "untrained"
    axes.set_title(f"{_plain(measurement.name)} ({steps})", fontsize=9)
    vis, ir = (measurement.probe[m] for m in ("vis", "ir"))
    summary = (
        f"probe: visible {100 * vis.accuracy:.0f} % (chance {100 * vis.chance:.0f}), "
        f"infrared {100 * ir.accuracy:.0f} % (chance {100 * ir.chance:.0f})\n"
        f"distance left to clean: {measurement.median():.2f}"
    )
    axes.set_xlabel(summary, fontsize=7.5, linespacing=1.4)


def _legend(figure: Any, ulfs: UlfsResult, columns: int) -> None:
    from matplotlib.lines import Line2D

    def entry(label: str, colour: str, marker: str, filled: bool = True) -> Any:
        face = colour if filled else "none"
        return Line2D(
            [], [], linestyle="", marker=marker, markersize=5, markerfacecolor=face, markeredgecolor=colour, label=label
        )

    tasks = {g.task for g in ulfs.groups}
    handles = [entry(_SPOKEN.get(task, task), colour, "s") for task, colour in COLOURS.items() if task in tasks]
    grey = "#555555"
    handles += [entry(MODALITY_NAMES[m], grey, marker) for m, marker in _MARKERS.items()]  # type: ignore[index]
    if any(g.real for g in ulfs.groups):
        handles.append(entry("hollow: real pair", grey, "o", filled=False))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False, handletextpad=0.2
    )


def _plain(text: str) -> str:
    """Dollar signs would start a formula."""
    return text.replace("$", r"\$")
