"""Fusion methods without weights: the baselines that any trained method has to beat in a table of results.

Each takes two grey images of one shape (H, W), float64 on the 0..255 scale, of any size from 1 x 1 up, and returns
float64 (H, W) holding the whole numbers that an 8-bit file of the result would hold: clipped to 0..255 and rounded,
half up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Grey: TypeAlias = NDArray[np.float64]

_LEVELS = 4
_TAPS = np.array([1, 4, 6, 4, 1]) / 16


def mean(ir: Grey, vis: Grey) -> Grey:
    """Mean of the two pixels; the oldest baseline, without a paper of its own."""
    return _as_8_bit((ir + vis) / 2)


def maximum(ir: Grey, vis: Grey) -> Grey:
    """The brighter of the two pixels; as old, and without a paper of its own."""
    return _as_8_bit(np.maximum(ir, vis))


def copy_ir(ir: Grey, vis: Grey) -> Grey:
    """The infrared image alone: a score that this copy reaches does not measure fusion."""
    return _as_8_bit(ir)


def copy_vis(ir: Grey, vis: Grey) -> Grey:
    """The visible image alone, for the same reason as `copy_ir`."""
    return _as_8_bit(vis)


def laplacian_pyramid(ir: Grey, vis: Grey) -> Grey:
    """Fusion in the Laplacian pyramid (Burt and Adelson, IEEE Trans. Communications, 1983).

    Four levels made with the 5-tap kernel (1 4 6 4 1) / 16; of each coefficient the one of larger magnitude (of two
    opposite ones the positive), and the mean of the two bases. A side already down to one pixel stays there, and its
    further levels hold no detail.
    """
    details: list[Grey] = []
    for _ in range(_LEVELS):
        below = _halve(ir), _halve(vis)
        details.append(_larger(ir - _double(below[0], ir.shape), vis - _double(below[1], vis.shape)))
        ir, vis = below
    fused = (ir + vis) / 2
    for detail in reversed(details):
        fused = _double(fused, detail.shape) + detail
    return _as_8_bit(fused)


def guided_filter_fusion(ir: Grey, vis: Grey) -> Grey:
    """Guided filter fusion, GFF (Li, Kang and Hu, "Image fusion with guided filtering", IEEE Trans. Image Proc., 2013).

    On the 0..1 scale: the base is a 31 x 31 mean, the detail the rest; saliency is the magnitude of the 4-neighbour
    Laplacian under an 11 x 11 Gaussian of sigma 5; the more salient source (of equals the infrared) gets weight 1,
    the other 0; guided filters, each led by its own source, refine the weights with radius 45 and epsilon 0.3 for the
    base, 7 and 1e-6 for the detail; each pixel's two weights are divided by their sum. All filters mirror the image
    at its borders, the box filters with the edge pixel repeated, the Laplacian and the Gaussian without.
    """
    from scipy.ndimage import gaussian_filter, laplace

    sources = ir / 255, vis / 255
    saliency = [gaussian_filter(np.abs(laplace(x, mode="mirror")), 5, radius=5, mode="mirror") for x in sources]
    mask = (saliency[0] >= saliency[1]).astype(np.float64)
    bases = [_box(x, 15) for x in sources]
    details = [x - base for x, base in zip(sources, bases, strict=True)]
    fused = np.zeros_like(sources[0])
    for layers, radius, epsilon in ((bases, 45, 0.3), (details, 7, 1e-6)):
        weights = [_guided_filter(x, p, radius, epsilon) for x, p in zip(sources, (mask, 1 - mask), strict=True)]
        total = weights[0] + weights[1]
        # The refined weights may leave 0..1, so a pair can cancel at single pixels; such a layer is left out there.
        usable = np.abs(total) > 1e-6
        fused += np.divide(weights[0] * layers[0] + weights[1] * layers[1], total, np.zeros_like(total), where=usable)
    return _as_8_bit(255 * fused)


BASELINES: dict[str, Callable[[Grey, Grey], Grey]] = {
    "mean": mean,
    "maximum": maximum,
    "laplacian": laplacian_pyramid,
    "guided-filter": guided_filter_fusion,
    "copy-ir": copy_ir,
    "copy-vis": copy_vis,
}
"""Name in tables -> function of (ir, vis), in the order in which tables list them."""


def _as_8_bit(x: Grey) -> Grey:
    return np.floor(np.clip(x, 0, 255) + 0.5)


def _larger(a: Grey, b: Grey) -> Grey:
    """Of each two values the one of larger magnitude, of opposite ones the positive: the same with a and b swapped."""
    high, low = np.maximum(a, b), np.minimum(a, b)
    return np.where(high >= -low, high, low)


def _halve(x: Grey) -> Grey:
    """One level up: blurred (mirrored at the borders), then rows and columns 0, 2, 4, ... kept; n becomes ceil(n/2)."""
    from scipy.ndimage import correlate1d

    rows = correlate1d(x, _TAPS, axis=0, mode="mirror")[::2]
    return correlate1d(rows, _TAPS, axis=1, mode="mirror")[:, ::2]


def _double(x: Grey, shape: tuple[int, ...]) -> Grey:
    """One level down, to the (H, W) that `_halve` came from: zeros between the samples, blurred, gain 4."""
    return _double_rows(_double_rows(x, shape[0]).T, shape[1]).T


def _double_rows(x: Grey, n: int) -> Grey:
    """Double the rows of (ceil(n/2), W) to (n, W); mirrored at the first row, repeated at the last, as OpenCV does."""
    y = np.concatenate((x[1:2] if len(x) > 1 else x, x, x[-1:]))
    out = np.empty((2 * len(x), x.shape[1]))
    out[::2] = (y[:-2] + 6 * y[1:-1] + y[2:]) / 8
    out[1::2] = (y[1:-1] + y[2:]) / 2
    return out[:n]


def _box(x: Grey, radius: int) -> Grey:
    """Mean over (2 radius + 1)^2 pixels; the image is mirrored, edge pixels repeated, as often as the window asks."""
    from scipy.ndimage import uniform_filter

    return uniform_filter(x, 2 * radius + 1, mode="reflect")


def _guided_filter(guide: Grey, p: Grey, radius: int, epsilon: float) -> Grey:
    """Guided filter with a grey guide (He, Sun and Tang, IEEE Trans. PAMI, 2013)."""
    mean_guide, mean_p = _box(guide, radius), _box(p, radius)
    covariance = _box(guide * p, radius) - mean_guide * mean_p
    variance = _box(guide * guide, radius) - mean_guide * mean_guide
    a = covariance / (variance + epsilon)
    b = mean_p - a * mean_guide
    return _box(a, radius) * guide + _box(b, radius)
