"""What the graph is told of a whole image where it computes parts of it: as `core/model/context.py`, in numpy."""

from __future__ import annotations

import numpy as np

from lure_cli.core.pixels import THUMBNAIL


def context_view(x: np.ndarray, multiple: int, extremes: bool) -> np.ndarray:
    """The `context_view` of an image (B, C, H, W) in [0, 1], any size, padded to a multiple: (B, C or 3 C, T, T)."""
    x = pad_to_multiple(x, multiple)
    height, width = x.shape[2:]
    thumbnail = _averaging(height) @ x @ _averaging(width).T
    if not extremes:
        return thumbnail
    pairs = x[:, :, ::2] + x[:, :, 1::2]
    pooled = (pairs[..., ::2] + pairs[..., 1::2]) * np.float32(0.25)
    low, high = (
        np.broadcast_to(v, thumbnail.shape)
        for v in (pooled.min((2, 3), keepdims=True), pooled.max((2, 3), keepdims=True))
    )
    return np.concatenate((thumbnail, low, high), axis=1)


def pad_to_multiple(x: np.ndarray, multiple: int) -> np.ndarray:
    """As `lure_cli.core.pixels.pad_to_multiple`: by reflection as far as that goes, then by repeating the edge."""
    h, w = x.shape[2:]
    ph, pw = -h % multiple, -w % multiple
    rh, rw = min(ph, h - 1), min(pw, w - 1)
    if rh or rw:
        x = np.pad(x, ((0, 0), (0, 0), (0, rh), (0, rw)), mode="reflect")
    if ph > rh or pw > rw:
        x = np.pad(x, ((0, 0), (0, 0), (0, ph - rh), (0, pw - rw)), mode="edge")
    return x


def _averaging(length: int) -> np.ndarray:
    """(T, n): row i averages i n / T (rounded down) up to (i + 1) n / T (up), as adaptive average pooling does."""
    cells, places = np.arange(THUMBNAIL)[:, None], np.arange(length)
    first, last = cells * length // THUMBNAIL, -((cells + 1) * length // -THUMBNAIL)
    inside = (places >= first) & (places < last)
    return (inside / (last - first)).astype(np.float32)
