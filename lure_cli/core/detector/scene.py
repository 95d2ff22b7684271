"""Features of how light, veil, colour and contrast lie in the picture: fog, smoke and night are seen in their place.

Statistics of a whole image hardly tell a pale day from fog, or a dark room from a lit street by night. So the image is
divided into cells, and what is measured is how these differ, what they have in common, and where in the picture they
are: a veil hides the far and leaves the near, smoke is a bright and flat patch, lamps are bright spots in the dark.
"""

from __future__ import annotations

import numpy as np

from lure_cli.core.pixels import LUMA

CELLS = 8
"""Rows and columns of cells."""
_LUMA = np.array(LUMA, np.float32)
_QUANTILES = np.array([0, 0.1, 0.25, 0.5, 0.75, 0.9, 1], np.float32)
_BANDS = 4
"""Bands of rows whose means are features of their own: sky above, ground below."""


def scene_features(thin: np.ndarray) -> np.ndarray:
    """(C, H, W) planes of 1 or 3 channels in [0, 1], pixels evenly spread over the image -> one vector, finite."""
    y = np.tensordot(_LUMA, thin, 1) if len(thin) == 3 else thin[0]
    least, most = thin.min(0), thin.max(0)
    light = _means(y)
    contrast = np.sqrt(np.maximum(_means(y * y) - light**2, 0))
    steps = _means(_step(y))
    dark, bright = _extremes(least, np.minimum), _extremes(most, np.maximum)
    maps = [light, contrast, np.log(steps + 2e-3), steps / (light + 0.05), dark, bright, bright - dark]
    if len(thin) == 3:
        maps += [_means(most - least), _means((most - least) / (most + 0.02))]
        maps += [_means(thin[2] - thin[0]), _means(thin[1] - (thin[0] + thin[2]) / 2)]
    cells = np.stack(maps)
    flat = steps < 0.008
    parts = [
        np.quantile(cells.reshape(len(cells), -1), _QUANTILES, axis=1).T.ravel(),
        cells.reshape(len(cells), _BANDS, -1).mean(2).ravel(),
        cells[:, :, 2:-2].mean((1, 2)) - cells.mean((1, 2)),
        _relations(cells),
        _roughness(cells),
        np.array([(flat & (light > level)).mean() for level in (0.0, 0.3, 0.5, 0.7, 0.9)]),
        np.array([(y < level).mean() for level in (0.03, 0.06, 0.1, 0.15, 0.2, 0.3)]),
        np.array([(y > level).mean() for level in (0.6, 0.7, 0.8, 0.9)]),
        np.array([((bright > 0.7) & (light < level)).mean() for level in (0.1, 0.2, 0.3, 0.4)]),
    ]
    return np.concatenate(parts)


def _edges(n: int) -> np.ndarray:
    """Where the cells of n rows begin, and the end."""
    return np.linspace(0, n, CELLS + 1).astype(int)


def _reduce(x: np.ndarray, ufunc: np.ufunc) -> np.ndarray:
    """(H, W) -> (CELLS, CELLS); of fewer pixels than cells, neighbouring cells share one."""
    rows, columns = (np.minimum(_edges(n)[:-1], n - 1) for n in x.shape)
    reduced: np.ndarray = ufunc.reduceat(ufunc.reduceat(x, rows, axis=0), columns, axis=1)
    return reduced


def _means(x: np.ndarray) -> np.ndarray:
    counts = [np.maximum(np.diff(_edges(n)), 1) for n in x.shape]
    return _reduce(x, np.add) / counts[0][:, None] / counts[1]


def _extremes(x: np.ndarray, ufunc: np.ufunc) -> np.ndarray:
    """The least (or most) of each cell, of means of four pixels, so that no single one decides."""
    h, w = (n // 2 * 2 for n in x.shape)
    if h and w:
        x = (x[:h:2, :w:2] + x[1:h:2, :w:2] + x[:h:2, 1:w:2] + x[1:h:2, 1:w:2]) / 4
    return _reduce(x, ufunc)


def _step(y: np.ndarray) -> np.ndarray:
    """Size of the difference to the neighbours below and beside, (H, W)."""
    down = np.abs(np.diff(y, axis=0, append=y[-1:]))
    beside = np.abs(np.diff(y, axis=1, append=y[:, -1:]))
    total: np.ndarray = down + beside
    return total


def _relations(cells: np.ndarray) -> np.ndarray:
    """Correlations of the maps with each other and with the height in the picture, over the cells."""
    n = CELLS * CELLS
    height = np.repeat(np.linspace(1, -1, CELLS), CELLS)[None]
    rows = np.concatenate((cells.reshape(len(cells), n), height))
    rows = rows - rows.mean(1, keepdims=True)
    rows = rows / (np.sqrt((rows**2).mean(1, keepdims=True)) + 5e-3)
    upper = np.triu_indices(len(rows), 1)
    related: np.ndarray = (rows @ rows.T / n)[upper]
    return related


def _roughness(cells: np.ndarray) -> np.ndarray:
    """How much neighbouring cells differ, against the spread of all: patches are smooth."""
    spread = cells.std((1, 2)) + 5e-3
    down = np.abs(np.diff(cells, axis=1)).mean((1, 2))
    beside = np.abs(np.diff(cells, axis=2)).mean((1, 2))
    return np.concatenate((down / spread, beside / spread))
