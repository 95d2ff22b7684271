"""Features of marks that lie over the picture: stripes of the sensor's columns, flakes, drops.

A stripe is there over the whole height, where a pole or a wall ends somewhere: the offsets of columns are measured in
several bands of rows, and what counts is what the bands have in common. Flakes are small and bright, never dark.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

_BANDS = 6
"""Bands of rows in which the offsets of the columns are measured apart."""
_MOST = 480
"""At most about that many rows are looked at, evenly spread."""
_REACHES = (1, 4)
"""An offset is what a column has over the mean of so many columns to both sides: fine stripes, and broad ones."""
_LIMIT = 8 / 255
"""Differences of single pixels are cut off here and at a multiple of their own size: edges are no offsets."""
_SCALES = ((1, 2), (2, 4), (3, 6))
"""Half sides of the two boxes whose means are compared, in pixels: spots of three sizes."""
_FLOOR = 1e-3


def stripe_features(y: np.ndarray) -> np.ndarray:
    """(H, W) in [0, 1] -> for columns, rows and their difference: size and agreement of the offsets; finite."""
    directions = [np.concatenate([_offsets(z, reach) for reach in _REACHES]) for z in (y, y.T)]
    return np.concatenate((*directions, directions[0] - directions[1]))


def _offsets(y: np.ndarray, reach: int) -> np.ndarray:
    least = 2 * reach + 4
    if y.shape[0] < _BANDS or y.shape[1] < least:
        y = np.pad(y, ((0, max(0, _BANDS - y.shape[0])), (0, max(0, least - y.shape[1]))), mode="symmetric")
    y = y[:: max(1, round(y.shape[0] / _MOST))]
    total = np.cumsum(np.pad(y, ((0, 0), (1, 0))), axis=1, dtype=np.float32)
    around = (total[:, 2 * reach + 1 :] - total[:, : -2 * reach - 1] - y[:, reach:-reach]) / (2 * reach)
    d = y[:, reach:-reach] - around
    limit = min(_LIMIT * reach, 4 * float(np.abs(d[::4, ::4]).mean()) + 1e-4)
    d = np.clip(d, -limit, limit)
    edges = np.linspace(0, len(d), _BANDS + 1).astype(int)
    bands = np.stack([d[a:b].mean(0) for a, b in pairwise(edges)])  # (bands, columns)
    bands -= bands.mean(1, keepdims=True)
    most = 4 * np.median(np.abs(bands)) + 1e-4  # a pole is one large offset, stripes are many
    bands = np.clip(bands, -most, most)
    product = bands @ bands.T / bands.shape[1]
    size = np.sqrt(np.diag(product)) + 2e-4
    related = (product / size / size[:, None])[np.triu_indices(_BANDS, 1)]
    common = bands.mean(0)
    shared = max(0.0, float(product[np.triu_indices(_BANDS, 1)].mean()))
    signs = np.abs(np.sign(bands).sum(0)) / _BANDS
    return np.array(
        [
            *np.quantile(related, [0, 0.25, 0.5, 1]),
            np.log(np.sqrt(shared) + 2e-4),
            np.log(np.median(np.abs(common)) + 2e-4),
            np.log(np.sqrt(shared) / (float(np.abs(d).mean()) + _FLOOR) + 0.01),
            signs.mean(),
            (signs > 0.9).mean(),
            _neighbours(common),
        ]
    )


def _neighbours(common: np.ndarray) -> float:
    """Correlation of the offsets of neighbouring columns: stripes vary from one to the next."""
    return float((common[1:] * common[:-1]).mean() / ((common**2).mean() + 1e-8))


def spot_features(y: np.ndarray) -> np.ndarray:
    """Windows (K, H, W) in [0, 1] -> how much brighter spots stand out than dark ones, at three sizes; finite."""
    parts: list[np.ndarray] = []
    total = np.cumsum(np.cumsum(np.pad(y, ((0, 0), (1, 0), (1, 0))), axis=1, dtype=np.float64), axis=2)
    means = {n: _box(total, n) for n in sorted({n for pair in _SCALES for n in pair})}
    for small, large in _SCALES:
        cut = large - small
        d = (means[small][:, cut:-cut, cut:-cut] - means[large])[:, ::2, ::2].reshape(len(y), -1)
        high, tall, low, deep = np.quantile(d, [0.97, 0.995, 0.03, 0.005], axis=1)
        spread = np.abs(d).mean(1) + _FLOOR
        bounded = np.clip(d / spread[:, None], -6, 6)
        values = [
            np.log(spread),
            np.log((high + _FLOOR) / (_FLOOR - low)),
            np.log((tall + _FLOOR) / (_FLOOR - deep)),
            tall / spread,
            deep / spread,
            (bounded**3).mean(1),
        ]
        parts += [np.quantile(v, [0, 0.5, 1]) for v in values]
    return np.concatenate(parts)


def _box(total: np.ndarray, n: int) -> np.ndarray:
    """Means over squares of side 2 n + 1, from running sums (K, H + 1, W + 1)."""
    side = 2 * n + 1
    inner = total[:, side:, side:] - total[:, :-side, side:] - total[:, side:, :-side] + total[:, :-side, :-side]
    mean: np.ndarray = inner / side**2
    return mean
