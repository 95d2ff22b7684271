"""Structural similarity: SSIM, its multiscale form, and Yang's measure."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.ndimage import correlate1d, uniform_filter

from lure_cli.core.metrics.base import Array, Convention, Scores, divide, floats, strips


def _gaussian(size: int, sigma: float) -> Array:
    at = np.arange(size) - size // 2
    window = np.exp(-(at**2) / (2 * sigma**2))
    return window / window.sum()


def _moments(x: Array, y: Array, smooth: Callable[[Array], Array], bias: float = 1.0) -> tuple[Array, ...]:
    """Local means, variances and covariance."""
    mx, my = smooth(x), smooth(y)
    return mx, my, *(bias * (smooth(p * q) - m) for p, q, m in ((x, x, mx * mx), (y, y, my * my), (x, y, mx * my)))


def _similarity(moments: tuple[Array, ...], c1: float, c2: float) -> tuple[Array, Array]:
    """The SSIM map and its contrast-structure part."""
    mx, my, vx, vy, cov = moments
    part = (2 * cov + c2) / (vx + vy + c2)
    return (2 * mx * my + c1) / (mx**2 + my**2 + c1) * part, part


def _valid(window: Array) -> Callable[[Array], Array]:
    """Filtering of rows and columns, where the whole window lies inside."""
    half = len(window) // 2

    def smooth(x: Array) -> Array:
        y = correlate1d(x, window, 0)[half:-half]
        return correlate1d(y, window, 1)[:, half:-half]

    return smooth


def ssim(x: Array, y: Array, convention: Convention, data_range: float = 255.0) -> float:
    if convention == "cddfuse":
        half, bias = 3, 49 / 48
        c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
        smooth: Callable[[Array], Array] = _uniform
    else:
        half, bias = 5, 1.0
        span = data_range if convention == "vifb" else 1.0
        c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
        smooth = _valid(_gaussian(11, 1.5))
        if convention == "matlab":
            x, y = (np.pad(z, half, mode="edge") for z in (x, y))
    height, width = (n - 2 * half for n in x.shape)
    if min(height, width) < 1:
        return math.nan
    total = 0.0
    for rows in strips(len(x), half, 64):
        total += float(_similarity(_moments(x[rows], y[rows], smooth, bias), c1, c2)[0].sum())
    return total / (height * width)


def _uniform(x: Array) -> Array:
    """Means of 7x7 windows, where the whole window lies inside."""
    mean: Array = uniform_filter(x, 7)[3:-3, 3:-3]
    return mean


def structural_similarity(
    fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse", data_range: float = 255.0
) -> Scores:
    """SSIM with each source; their sum (cddfuse, zoo, vifb; up to 2) or mean (matlab; up to 1).

    `cddfuse`: 7x7 uniform window, sample variances, data range 255 (give `data_range=2` for what its published tables
    hold: `SSIM_dr2`). `matlab`: Gaussian of sigma 1.5, replicated border; `zoo`: the same without a border; both with
    a data range of 1 though the images are on 0..255, so practically unstabilised; `vifb`: as `zoo`, with 255. NaN
    below the window's size.

    Wang, Bovik, Sheikh, Simoncelli: Image quality assessment, IEEE Trans. Image Process. 2004.
    """
    f, a, b = floats(fused, ir, vis)
    of_ir, of_vis = ssim(a, f, convention, data_range), ssim(b, f, convention, data_range)
    return Scores((of_ir + of_vis) / (2 if convention == "matlab" else 1), of_ir, of_vis)


_SCALES = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def ms_ssim(x: Array, y: Array, zoo: bool) -> float:
    """`zoo` has a data range of 1 on 0..255 data, and keeps odd rows by padding with zeros."""
    if min(x.shape) < (161 if zoo else 176):  # the last scale must hold a window of 11
        return math.nan
    data_range = 1.0 if zoo else 255.0
    smooth, value = _valid(_gaussian(11, 1.5)), 1.0
    for scale, weight in enumerate(_SCALES):
        similarity, part = _similarity(_moments(x, y, smooth), (0.01 * data_range) ** 2, (0.03 * data_range) ** 2)
        last = scale == len(_SCALES) - 1
        value *= float(max((similarity if last else part).mean(), 0.0) ** weight)
        x, y = _halve(x, zoo), _halve(y, zoo)
    return value


def _halve(x: Array, pad: bool) -> Array:
    """Means of 2x2 blocks; an odd last row or column is dropped, or one of zeros is added on both sides (`pad`)."""
    if pad:
        x = np.pad(x, [(s % 2, s % 2) for s in x.shape])
    x = x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2]
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def multiscale_structural_similarity(fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse") -> Scores:
    """MS-SSIM: five-scale SSIM with each source, summed (up to 2); `matlab` is MEF-MS-SSIM (up to 1), another metric.

    NaN below 176 pixels (`zoo`: 161, `matlab`: 41).

    Wang, Simoncelli, Bovik: Multiscale structural similarity, Asilomar 2003. `matlab`: Ma, Zeng, Wang: Perceptual
    quality assessment for multi-exposure image fusion, IEEE Trans. Image Process. 2015, three scales.
    """
    f, a, b = floats(fused, ir, vis)
    if convention == "matlab":
        return Scores(_mef_ms_ssim(f, a, b), _mef_ms_ssim(f, a, a), _mef_ms_ssim(f, b, b))
    of_ir, of_vis = (ms_ssim(x, f, convention == "zoo") for x in (a, b))
    return Scores(of_ir + of_vis, of_ir, of_vis)


def _mef_ssim(f: Array, a: Array, b: Array) -> float:
    """One scale of MEF-SSIM: the similarity of contrast and structure to the patch that one would wish for.

    In each window the wished-for patch has the largest contrast of the sources and the mean of their structures,
    weighted by contrast to a power that grows with their agreement. The sources' patches enter it linearly, so all
    that is needed are local moments: of a uniform window to make it, of a Gaussian one to compare it.
    """
    n, tiny = 11, float(np.finfo(float).eps)
    flat, round_ = _valid(np.full(n, 1 / n)), _valid(_gaussian(n, 1.5))
    mu_a, mu_b, *moments = _moments(a, b, flat)
    var_a, var_b, cov = (n * n * m for m in moments)
    size_a, size_b = np.sqrt(np.maximum(var_a, 0)), np.sqrt(np.maximum(var_b, 0))
    agreement = (np.sqrt(np.maximum(var_a + var_b + 2 * cov, 0)) + tiny) / (size_a + size_b + tiny)
    power = np.minimum(np.tan(math.pi / 2 * np.clip(agreement, tiny, 1 - tiny)), 10)
    size_a, size_b = size_a + 0.001, size_b + 0.001
    weight_a, weight_b = (size_a / n) ** power + tiny, (size_b / n) ** power + tiny
    part_a, part_b = weight_a / (weight_a + weight_b) / size_a, weight_b / (weight_a + weight_b) / size_b
    norm = np.sqrt(np.maximum(part_a**2 * var_a + part_b**2 * var_b + 2 * part_a * part_b * cov, 0))
    scale = np.where(norm > 0, np.maximum(size_a, size_b) / np.where(norm > 0, norm, 1), 1)
    part_a, part_b = part_a * scale, part_b * scale
    mean_a, mean_b, mean_f = round_(a), round_(b), round_(f)
    mean_wish = part_a * (mean_a - mu_a) + part_b * (mean_b - mu_b)
    off_a, off_b = (round_(x * x) - 2 * mu * m + mu * mu for x, mu, m in ((a, mu_a, mean_a), (b, mu_b, mean_b)))
    off_ab = round_(a * b) - mu_a * mean_b - mu_b * mean_a + mu_a * mu_b
    var_wish = part_a**2 * off_a + part_b**2 * off_b + 2 * part_a * part_b * off_ab - mean_wish**2
    var_f = round_(f * f) - mean_f**2
    cov_f = part_a * (round_(a * f) - mu_a * mean_f) + part_b * (round_(b * f) - mu_b * mean_f) - mean_wish * mean_f
    c = (0.03 * 255) ** 2
    return float(((2 * cov_f + c) / (var_wish + var_f + c)).mean())


def _mef_ms_ssim(f: Array, a: Array, b: Array) -> float:
    if min(f.shape) < 41:
        return math.nan
    weights, value = _SCALES[:3] / _SCALES[:3].sum(), 1.0
    for weight in weights:
        value *= float(max(_mef_ssim(f, a, b), 0.0) ** weight)
        f, a, b = (uniform_filter(x, 2, mode="nearest", origin=-1)[::2, ::2] for x in (f, a, b))
    return value


def similarity_of_yang(fused: Array, ir: Array, vis: Array) -> Scores:
    """Qy: local SSIM with both sources where they agree (0.75 or more, weighted by variance), else the better; to 1.

    7x7 Gaussian window of sigma 1.5 where it fits. Of one source: the metric with that source in both places, which
    is its mean local SSIM. NaN below 7x7 pixels.

    Yang, Zhang, Wang, Liu: A novel similarity based quality metric for image fusion, Inf. Fusion 2008; constants as in
    Z. Liu's toolbox, but for variances below 1e-9, rounding errors of flat windows, which count as 0.
    """
    f, a, b = floats(fused, ir, vis)
    if min(f.shape) < 7:
        return Scores(math.nan, math.nan, math.nan)
    smooth = _valid(_gaussian(7, 1.5))

    def compare(x: Array, y: Array) -> tuple[Array, Array, Array]:
        mx, my, vx, vy, cov = _moments(x, y, smooth)
        vx, vy = (np.where(v < 1e-9, 0, v) for v in (vx, vy))
        cov = np.where((vx == 0) | (vy == 0), 0, cov)
        return _similarity((mx, my, vx, vy, cov), 2e-16, 2e-16)[0], vx, vy

    between, var_a, var_b = compare(a, b)
    of_a, of_b = compare(a, f)[0], compare(b, f)[0]
    share = np.where(var_a + var_b == 0, 0.5, divide(var_a, var_a + var_b))
    local = np.where(between >= 0.75, share * of_a + (1 - share) * of_b, np.maximum(of_a, of_b))
    return Scores(float(local.mean()), float(of_a.mean()), float(of_b.mean()))
