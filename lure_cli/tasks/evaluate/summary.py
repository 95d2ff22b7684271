"""The summary of a measurement: means, intervals, ranks and tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lure_cli.errors import LureError
from lure_cli.tasks.evaluate.images import ImageFiles

if TYPE_CHECKING:
    import numpy as np


RESAMPLES = 9999
"""Bootstrap resamples behind each interval; the seed is fixed, so the same values give the same interval."""


@dataclass(frozen=True)
class Column:
    """One column of a table: `VIF`, `VIF_ir`, `VIF_min`, `PSNR_ref` ..."""

    name: str
    better: Literal["higher", "lower"]
    unit: str


@dataclass(frozen=True)
class Summary:
    """One method in one column, over all images where the value is defined.

    `low` and `high` bound the mean (95 % percentile bootstrap over images; NaN for fewer than two values). `undefined`
    counts the images whose value is not a finite number (a constant image has no correlation); they are left out of
    the mean. `rank` is 1 for the best mean, ties share the mean of their ranks; `p_value` is that of a paired,
    two-sided Wilcoxon signed-rank test against the first method given. Both are None where there is nothing to compare.
    """

    mean: float
    low: float
    high: float
    count: int
    undefined: int
    rank: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Method:
    """A method's values: column name -> float64 (images,), NaN where undefined, and their summaries."""

    name: str
    baseline: bool
    values: Mapping[str, np.ndarray]
    summary: Mapping[str, Summary]
    mean_rank: float | None


@dataclass(frozen=True)
class Evaluation:
    """A whole evaluation.

    `methods` are sorted by mean rank, best first; `first` is the one that tests compare with. `images` are those that
    could be measured for every method (of clips the frames, as `each` says); `failed` says what became of the others.
    `notes` are for the reader.
    """

    convention: str
    columns: tuple[Column, ...]
    images: tuple[ImageFiles, ...]
    methods: tuple[Method, ...]
    first: str
    failed: tuple[LureError, ...] = ()
    notes: tuple[str, ...] = ()
    each: Literal["image", "frame"] = "image"


def summarise(
    values: Mapping[str, Mapping[str, Sequence[float]]], columns: Sequence[Column], baselines: Sequence[str] = ()
) -> tuple[Method, ...]:
    """Means, intervals, ranks and tests of several methods.

    Args:
        values: method -> column -> one value an image, the images in the same order everywhere. The first method is
            the one that the others are tested against.
        columns: the columns to summarise; the mean rank runs over all of them.
        baselines: which methods are made from the sources, without weights.

    Returns:
        The methods, sorted by mean rank (in the order given if there is only one).
    """
    import numpy as np

    table = {m: {c.name: np.asarray(values[m][c.name], np.float64) for c in columns} for m in values}
    names = list(table)
    ranks: dict[str, dict[str, float]] = {m: {} for m in names}
    means = {m: {c.name: _mean(table[m][c.name]) for c in columns} for m in names}
    if len(names) > 1:
        for column in columns:
            for name, rank in zip(names, _ranks([means[m][column.name] for m in names], column.better), strict=True):
                ranks[name][column.name] = rank
    methods = []
    for name in names:
        summary: dict[str, Summary] = {}
        for column in columns:
            x = table[name][column.name]
            low, high = _interval(x[np.isfinite(x)])
            count = int(np.isfinite(x).sum())
            p = None if name == names[0] else _p_value(x, table[names[0]][column.name])
            place = ranks[name].get(column.name)
            summary[column.name] = Summary(means[name][column.name], low, high, count, len(x) - count, place, p)
        mean_rank = float(np.mean(list(ranks[name].values()))) if ranks[name] else None
        methods.append(Method(name, name in baselines, table[name], summary, mean_rank))
    return tuple(sorted(methods, key=lambda m: (m.mean_rank or 0.0, names.index(m.name))))


def _mean(x: np.ndarray) -> float:
    import numpy as np

    finite = x[np.isfinite(x)]
    return float(finite.mean()) if finite.size else math.nan


def _ranks(means: list[float], better: str) -> list[float]:
    """1 for the best; undefined means come last; ties share the mean of their ranks."""
    import numpy as np
    from scipy.stats import rankdata

    keys = np.asarray(means)
    keys = np.where(np.isnan(keys), np.inf, -keys if better == "higher" else keys)
    return [float(r) for r in rankdata(keys)]


def _interval(x: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean."""
    import numpy as np
    from scipy.stats import bootstrap

    if x.size < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(0)
    interval = bootstrap((x,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=rng).confidence_interval
    return float(interval.low), float(interval.high)


def _p_value(x: np.ndarray, first: np.ndarray) -> float | None:
    """Of a paired, two-sided Wilcoxon signed-rank test; None for fewer than two pairs."""
    import numpy as np
    from scipy.stats import wilcoxon

    both = np.isfinite(x) & np.isfinite(first)
    if both.sum() < 2:
        return None
    difference = x[both] - first[both]
    return 1.0 if not difference.any() else float(wilcoxon(difference).pvalue)
