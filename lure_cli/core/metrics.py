"""Metrics of fused images: pure functions on grey arrays, and `METRICS`, the table of them.

Every function takes float arrays (H, W) on the 0..255 scale (8-bit levels; 16-bit images divided by 257, not rounded;
tensors on the CPU are taken too) in the order fused, ir, vis. Metrics against both sources return `Scores`: the value
that the literature prints, and the value of each source alone. Undefined values are NaN, never an exception.

Three evaluators are common, and they disagree; `convention` picks one:

- `cddfuse`: utils/Evaluator.py of MMIF-CDDFuse, which most recent papers copy, with SSIM's data range set to 255;
- `matlab`: Linfeng-Tang/Evaluation-for-Image-Fusion;
- `zoo`: RollingPlain/IVIF_ZOO, Metric/Metric_torch.py.

A metric without a `conventions` entry is computed in the same way under each, by its authors' definition; only the grey
reading differs. The evaluators' own code for some of those is another (Nabf on 0..1 in `matlab`, NMI, CE, Qcb and Qy in
`zoo`'s unprinted functions) and is not reproduced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from scipy import fft
from scipy.ndimage import convolve1d, correlate1d, uniform_filter

Array: TypeAlias = np.ndarray
Convention: TypeAlias = Literal["cddfuse", "matlab", "zoo"]
CONVENTIONS: tuple[Convention, ...] = ("cddfuse", "matlab", "zoo")

_LUMA: Mapping[str, tuple[float, float, float]] = {
    "cddfuse": (0.299, 0.587, 0.114),
    "matlab": (
        0.298936021293775,
        0.587043074451121,
        0.114020904255103,
    ),  # rgb2gray: first row of the inverted NTSC matrix
    "zoo": (19595 / 65536, 38470 / 65536, 7471 / 65536),  # Pillow's 'L'
}
_EPS = 1e-10


class Scores(NamedTuple):
    """A metric against both sources: as the literature combines them, and for the infrared and the visible alone."""

    both: float
    ir: float
    vis: float


# --- reading -----------------------------------------------------------------------------------------------------


def to_scale(pixels: Array) -> Array:
    """uint8 or uint16 of any shape -> float64 on the 0..255 scale; 16-bit values keep their fractions (65535 is 255).

    Float arrays must be on that scale already and are only converted.
    """
    x = np.asarray(pixels)
    return x / 257.0 if x.dtype == np.uint16 else x.astype(np.float64)


def to_grey(pixels: Array, convention: Convention = "cddfuse") -> Array:
    """An image as stored -> the grey array that the convention's evaluator sees.

    Args:
        pixels: uint8 or uint16, (H, W), (H, W, 1) or (H, W, 3).
        convention: sets the luma weights. 8-bit colour is rounded to whole levels (cddfuse: halves to even; matlab,
            zoo: halves up), as the evaluators do; 16-bit colour is not rounded. Grey passes unchanged.

    Returns:
        float64 (H, W) on the 0..255 scale.
    """
    x = np.asarray(pixels)
    if x.ndim == 3 and x.shape[2] == 1:
        x = x[..., 0]
    if x.ndim == 2:
        return to_scale(x)
    red, green, blue = _LUMA[convention]
    if x.dtype == np.uint16:
        return to_scale(x) @ np.asarray((red, green, blue))
    if convention == "zoo":
        whole = x.astype(np.int64) @ np.asarray((19595, 38470, 7471)) + 0x8000 >> 16
        return whole.astype(np.float64)
    if convention == "matlab":
        return np.floor(x @ np.asarray((red, green, blue)) + 0.5)
    grey = np.zeros(x.shape[:2], np.float32)
    for channel, weight in ((1, green), (2, blue), (0, red)):  # OpenCV's: fused, single precision; decides the halves
        grey = (x[..., channel] * np.float64(np.float32(weight)) + grey).astype(np.float32)
    return np.rint(grey).astype(np.float64)


def _strips(height: int, halo: int = 0, rows: int = 32) -> Iterator[slice]:
    """Rows in strips whose intermediate results fit into the cache; neighbours share `2 * halo` rows."""
    for top in range(0, height - 2 * halo, rows):
        yield slice(top, min(top + rows + 2 * halo, height))


def _levels(x: Array) -> Array:
    """The nearest of the 256 levels, for histograms."""
    return np.clip(np.rint(np.asarray(x)), 0, 255).astype(np.int64)


def _floats(*images: Any) -> list[Array]:
    return [np.asarray(x, np.float64) for x in images]


def _divide(a: Any, b: Any) -> Any:
    """a / b; 0 / 0 is NaN, without a warning."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(a, b)


# --- of the fused image alone --------------------------------------------------------------------------------------


def entropy(fused: Array, convention: Convention = "cddfuse") -> float:
    """EN: Shannon entropy in bits of the histogram of the 256 levels, 0..8. `zoo` adds 1e-7 inside the logarithm."""
    levels = _levels(fused)
    p = np.bincount(levels.ravel(), minlength=256) / levels.size
    if convention == "zoo":
        return float(-(p * np.log2(p + 1e-7)).sum())
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def standard_deviation(fused: Array) -> float:
    """SD: population standard deviation, grey levels."""
    return float(np.std(np.asarray(fused, np.float64)))


def spatial_frequency(fused: Array) -> float:
    """SF: root of the mean squared horizontal plus the mean squared vertical first difference, grey levels.

    Eskicioglu, Fisher: Image quality measures and their performance, IEEE Trans. Commun. 1995.
    """
    (f,) = _floats(fused)
    return math.sqrt(sum(float(np.mean(d**2)) for d in (np.diff(f, axis=0), np.diff(f, axis=1)) if d.size))


def average_gradient(fused: Array, convention: Convention = "cddfuse") -> float:
    """AG: mean of sqrt((gx^2 + gy^2) / 2), central differences, one-sided at the frame; grey levels.

    `matlab` divides the sum by (H-1)(W-1) instead of HW. NaN below 2x2 pixels.

    Cui et al.: Detail preserved fusion of visible and infrared images, Opt. Commun. 2015.
    """
    (f,) = _floats(fused)
    if min(f.shape) < 2:
        return math.nan
    gy, gx = np.gradient(f)
    total = float(np.sqrt((gx**2 + gy**2) / 2).sum())
    h, w = f.shape
    return total / ((h - 1) * (w - 1) if convention == "matlab" else h * w)


# --- histograms ----------------------------------------------------------------------------------------------------


def _joint(a: Array, b: Array, top: int = 255) -> Array:
    """The joint histogram (256, 256) of the levels; those above `top` are counted as `top`."""
    i, j = np.minimum(_levels(a), top), np.minimum(_levels(b), top)
    return np.bincount((i * 256 + j).ravel(), minlength=65536).reshape(256, 256) / i.size


def _entropy(p: Array) -> float:
    """In nats."""
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def _information(joint: Array) -> float:
    """Mutual information in nats."""
    return _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint)


def mutual_information(fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse") -> Scores:
    """MI: I(F; ir) + I(F; vis) of the 256 levels; nats (cddfuse) or bits (matlab, zoo).

    In `matlab` the joint histogram, but not the marginals, counts level 255 as 254.

    Qu, Zhang, Yan: Information measure for performance of image fusion, Electron. Lett. 2002.
    """
    f, a, b = _floats(fused, ir, vis)

    def one(x: Array) -> float:
        joint = _joint(x, f)
        if convention == "matlab":
            saturated = _entropy(_joint(x, f, top=254))
            return (_entropy(joint.sum(0)) + _entropy(joint.sum(1)) - saturated) / math.log(2)
        return _information(joint) / (1.0 if convention == "cddfuse" else math.log(2))

    of_ir, of_vis = one(a), one(b)
    return Scores(of_ir + of_vis, of_ir, of_vis)


def normalised_mutual_information(fused: Array, ir: Array, vis: Array) -> Scores:
    """NMI: 2 I(F; ir) / (H(F) + H(ir)) + 2 I(F; vis) / (H(F) + H(vis)); 0..2.

    Hossny, Nahavandi, Creighton: Comments on 'Information measure for performance of image fusion', Electron. Lett.
    2008.
    """
    f, a, b = _floats(fused, ir, vis)

    def one(x: Array) -> float:
        joint = _joint(x, f)
        return float(_divide(2 * _information(joint), _entropy(joint.sum(0)) + _entropy(joint.sum(1))))

    of_ir, of_vis = one(a), one(b)
    return Scores(of_ir + of_vis, of_ir, of_vis)


def cross_entropy(fused: Array, ir: Array, vis: Array) -> Scores:
    """CE: mean of sum p_X log2(p_X / p_F) over the levels that occur in both, X = ir, vis; bits.

    Bulanon, Burks, Alchanatis: Image fusion of visible and thermal images for fruit detection, Biosyst. Eng. 2009, as
    VIFB and MEFB compute it. Levels missing from the fused image are left out, so it can be negative.
    """
    p_f, p_a, p_b = (np.bincount(x.ravel(), minlength=256) / x.size for x in map(_levels, (fused, ir, vis)))

    def one(p: Array) -> float:
        both = (p > 0) & (p_f > 0)
        return float((p[both] * np.log2(p[both] / p_f[both])).sum())

    of_ir, of_vis = one(p_a), one(p_b)
    return Scores((of_ir + of_vis) / 2, of_ir, of_vis)


# --- differences and correlations ----------------------------------------------------------------------------------


def mean_squared_error(fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse") -> Scores:
    """MSE: mean of the two; squared grey levels on 0..255 (cddfuse) or on 0..1 (matlab, zoo)."""
    f, a, b = _floats(fused, ir, vis)
    scale = 1.0 if convention == "cddfuse" else 255.0**2
    of_ir, of_vis = (float(np.mean((x - f) ** 2)) / scale for x in (a, b))
    return Scores((of_ir + of_vis) / 2, of_ir, of_vis)


def peak_signal_to_noise(fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse") -> Scores:
    """PSNR in dB of the mean of both MSEs.

    `cddfuse` takes the largest value of the fused image as the peak; `matlab` and `zoo` take 255 with an MSE on 0..1,
    which is 48.13 dB more than a peak of 255 gives. Infinite for equal images, minus infinite for a black fused one
    (`cddfuse`).
    """
    mse = mean_squared_error(fused, ir, vis, convention)
    peak = float(np.max(np.asarray(fused))) if convention == "cddfuse" else 255.0
    with np.errstate(divide="ignore", invalid="ignore"):
        of = [float(10 * np.log10(np.float64(peak**2) / m)) for m in mse]
    return Scores(*of)


def _pearson(x: Array, y: Array) -> float:
    x, y = x - x.mean(), y - y.mean()
    xx, yy = float((x * x).sum()), float((y * y).sum())
    if min(xx, yy) <= 1e-20 * x.size:  # a constant leaves rounding errors around its mean, far below one 16-bit level
        return math.nan
    return float((x * y).sum()) / math.sqrt(xx * yy)


def correlation(fused: Array, ir: Array, vis: Array) -> Scores:
    """CC: mean of the two Pearson correlations with the fused image, -1..1; NaN with a constant image."""
    f, a, b = _floats(fused, ir, vis)
    of_ir, of_vis = _pearson(a, f), _pearson(b, f)
    return Scores((of_ir + of_vis) / 2, of_ir, of_vis)


def sum_of_correlations_of_differences(fused: Array, ir: Array, vis: Array) -> Scores:
    """SCD: r(ir, F - vis) + r(vis, F - ir), -2..2; NaN where a difference is constant (a copy of one source).

    Aslantas, Bendes: A new image quality metric for image fusion, AEU 2015.
    """
    f, a, b = _floats(fused, ir, vis)
    of_ir, of_vis = _pearson(a, f - b), _pearson(b, f - a)
    return Scores(of_ir + of_vis, of_ir, of_vis)


# --- visual information fidelity -----------------------------------------------------------------------------------


def visual_information_fidelity(fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse") -> Scores:
    """VIF: pixel-domain VIF of each source in the fused image, summed; 0 or more, 1 a source for a perfect copy.

    Four scales, Gaussian windows of 17, 9, 5 and 3 pixels, sigma_n^2 = 2. `zoo` pads with zeros and sets its windows
    half a pixel off centre. A constant source counts as 1 (`zoo`: NaN if black, else
    anything, as the padded border is its only contrast). NaN below 41x41 pixels (`zoo` takes any size).

    Sheikh, Bovik: Image information and visual quality, IEEE Trans. Image Process. 2006 (vifp_mscale).
    """
    f, a, b = _floats(fused, ir, vis)
    zoo = convention == "zoo"
    if not zoo and min(f.shape) < 41:
        return Scores(math.nan, math.nan, math.nan)
    gain, total = np.zeros(2), np.zeros(2)
    for scale in range(4):
        n = 2 ** (4 - scale) + 1
        at = np.linspace(-n // 2, n // 2, n) if zoo else np.arange(n) - n // 2
        window = np.exp(-(at**2) / (2 * (n / 5) ** 2))
        window /= window.sum()

        def smooth(x: Array, w: Array = window, half: int = n // 2) -> Array:
            y = correlate1d(x, w, 0, mode="constant")
            if zoo:
                return correlate1d(y, w, 1, mode="constant")
            return correlate1d(y[half:-half], w, 1, mode="constant")[:, half:-half]

        if scale:
            f, a, b = (smooth(x)[::2, ::2] for x in (f, a, b))
        mu_f = smooth(f)
        var_f = np.maximum(smooth(f * f) - mu_f * mu_f, 0)
        for k, x in enumerate((a, b)):
            mu = smooth(x)
            square, product = smooth(x * x), smooth(x * f)
            for rows in _strips(len(mu)):
                var = np.maximum(square[rows] - mu[rows] ** 2, 0)
                sums = _vif_sums(var, var_f[rows], product[rows] - mu[rows] * mu_f[rows])
                gain[k] += sums[0]
                total[k] += sums[1]
    of_ir, of_vis = (float(v) for v in _divide(gain, total))
    if not zoo:
        of_ir, of_vis = (1.0 if math.isnan(v) else v for v in (of_ir, of_vis))
    return Scores(of_ir + of_vis, of_ir, of_vis)


def _vif_sums(var: Array, var_f: Array, cov: Array) -> tuple[float, float]:
    """The information of one scale, preserved and at hand, in units of log10(2)/2 bits; `var` is of the source."""
    noise = 2.0
    g = cov / (var + _EPS)
    left = var_f - g * cov
    flat = var < _EPS
    g[flat], var = 0, np.where(flat, 0, var)
    left[flat] = var_f[flat]
    flat = var_f < _EPS
    g[flat] = left[flat] = 0
    negative = g < 0
    left[negative] = var_f[negative]
    g[negative] = 0
    np.maximum(left, _EPS, out=left)
    return _log_sum(1 + g * g * var / (left + noise)), _log_sum(1 + var / noise)


def _log_sum(x: Array) -> float:
    """Sum of log10 over a strip, by products down its columns: no factor exceeds 8129, and no strip 32 rows."""
    return float(np.log10(np.multiply.reduce(x, axis=0)).sum())


# --- edges ---------------------------------------------------------------------------------------------------------


def _sobel(x: Array) -> tuple[Array, Array]:
    """Horizontal and vertical derivative, rows growing upwards, weights 1 2 1; one pixel less on each side."""
    rows, columns = x[:-2] + 2 * x[1:-1] + x[2:], x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]
    return rows[:, 2:] - rows[:, :-2], columns[:-2] - columns[2:]


def edge_preservation(fused: Array, ir: Array, vis: Array) -> Scores:
    """Qabf: gradient strength and orientation of each source kept in the fused image, weighted by strength; 0..1.

    Sobel with zero padding, so the frame counts as an edge. Where strengths tie, the ratio is the strength itself, as
    in the three evaluators (0 for flat on flat; saturated elsewhere). NaN where neither source has any, not
    even at the frame (both are black).

    Xydeas, Petrovic: Objective image fusion performance measure, Electron. Lett. 2000.
    """
    images = [np.pad(x, 1) for x in _floats(fused, ir, vis)]
    kept, weight = [0.0, 0.0], [0.0, 0.0]
    for rows in _strips(len(images[0]), halo=1):
        (g_f, angle_f), *sources = (_edges(x[rows]) for x in images)
        for k, (g, angle) in enumerate(sources):
            ratio = _divide(np.minimum(g, g_f), np.maximum(g, g_f))
            ratio = np.where(g == g_f, g_f, ratio)
            aligned = 1 - np.abs(angle - angle_f) / (math.pi / 2)
            q = 0.9994 * 0.9879 / ((1 + np.exp(-15 * (ratio - 0.5))) * (1 + np.exp(-22 * (aligned - 0.8))))
            kept[k] += float((q * g).sum())
            weight[k] += float(g.sum())
    of = (float(_divide(k, w)) for k, w in zip(kept, weight, strict=True))
    return Scores(float(_divide(sum(kept), sum(weight))), *of)


def _edges(x: Array) -> tuple[Array, Array]:
    """Strength and orientation for Qabf."""
    across, up = _sobel(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(across == 0, math.pi / 2, np.arctan(up / across))
    return np.sqrt(across * across + up * up), angle


def edge_artifacts(fused: Array, ir: Array, vis: Array) -> Scores:
    """Nabf: edges of the fused image that neither source has, weighted by the sources' edges; 0..1, lower is better.

    Of one source: what that source alone accounts for, over its own weight. NaN where no source has an edge of at
    least 2 levels.

    Petrovic, Xydeas: Objective image fusion performance characterisation, ICCV 2005, as modified by Shreyamsha Kumar,
    Signal Image Video Process. 2013.
    """
    edges = []
    for x in _floats(fused, ir, vis):
        across, up = _sobel(np.pad(x, 1, mode="reflect"))
        across, up = across / 8, up / 8
        with np.errstate(divide="ignore", invalid="ignore"):
            angle = np.where((across == 0) & (up == 0), 0, np.arctan(across / up))
        edges.append((np.sqrt(across * across + up * up), angle))
    (g_f, angle_f), *sources = edges
    new = (g_f > sources[0][0]) & (g_f > sources[1][0])
    lost, weight = [], []
    for g, angle in sources:
        ratio = np.where((g == 0) | (g_f == 0), 0, _divide(np.minimum(g, g_f), np.maximum(g, g_f)))
        aligned = np.abs(np.abs(angle - angle_f) - math.pi / 2) * 2 / math.pi
        q = np.sqrt(0.9999 / (1 + np.exp(-19 * (ratio - 0.5))) * (0.9995 / (1 + np.exp(-22 * (aligned - 0.5)))))
        w = np.where(g >= 2, g**1.5, 0)
        lost.append(float((new * (1 - q) * w).sum()))
        weight.append(float(w.sum()))
    return Scores(
        float(_divide(sum(lost), sum(weight))), *(float(_divide(x, w)) for x, w in zip(lost, weight, strict=True))
    )


# --- structural similarity -----------------------------------------------------------------------------------------


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


def _ssim(x: Array, y: Array, convention: Convention, data_range: float = 255.0) -> float:
    if convention == "cddfuse":
        half, bias = 3, 49 / 48
        c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
        smooth: Callable[[Array], Array] = _uniform
    else:
        half, bias = 5, 1.0
        c1, c2 = 0.01**2, 0.03**2
        smooth = _valid(_gaussian(11, 1.5))
        if convention == "matlab":
            x, y = (np.pad(z, half, mode="edge") for z in (x, y))
    height, width = (n - 2 * half for n in x.shape)
    if min(height, width) < 1:
        return math.nan
    total = 0.0
    for rows in _strips(len(x), half, 64):
        total += float(_similarity(_moments(x[rows], y[rows], smooth, bias), c1, c2)[0].sum())
    return total / (height * width)


def _uniform(x: Array) -> Array:
    """Means of 7x7 windows, where the whole window lies inside."""
    mean: Array = uniform_filter(x, 7)[3:-3, 3:-3]
    return mean


def structural_similarity(
    fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse", data_range: float = 255.0
) -> Scores:
    """SSIM with each source; their sum (cddfuse, zoo; up to 2) or mean (matlab; up to 1).

    `cddfuse`: 7x7 uniform window, sample variances, data range 255 (give `data_range=2` for what its published tables
    hold: `SSIM_dr2`). `matlab`: Gaussian of sigma 1.5, replicated border; `zoo`: the same without a border; both with
    a data range of 1 though the images are on 0..255, so practically unstabilised. NaN below the window's size.

    Wang, Bovik, Sheikh, Simoncelli: Image quality assessment, IEEE Trans. Image Process. 2004.
    """
    f, a, b = _floats(fused, ir, vis)
    of_ir, of_vis = _ssim(a, f, convention, data_range), _ssim(b, f, convention, data_range)
    return Scores((of_ir + of_vis) / (2 if convention == "matlab" else 1), of_ir, of_vis)


_SCALES = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def _ms_ssim(x: Array, y: Array, zoo: bool) -> float:
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
    f, a, b = _floats(fused, ir, vis)
    if convention == "matlab":
        return Scores(_mef_ms_ssim(f, a, b), _mef_ms_ssim(f, a, a), _mef_ms_ssim(f, b, b))
    of_ir, of_vis = (_ms_ssim(x, f, convention == "zoo") for x in (a, b))
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
    f, a, b = _floats(fused, ir, vis)
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
    share = np.where(var_a + var_b == 0, 0.5, _divide(var_a, var_a + var_b))
    local = np.where(between >= 0.75, share * of_a + (1 - share) * of_b, np.maximum(of_a, of_b))
    return Scores(float(local.mean()), float(of_a.mean()), float(of_b.mean()))


# --- perception and features ---------------------------------------------------------------------------------------


def contrast_preservation(fused: Array, ir: Array, vis: Array) -> Scores:
    """Qcb: perceived local contrast of the sources kept in the fused image, 0..1.

    Each image is stretched to 0..1, filtered by the contrast sensitivity of the eye and compared as a ratio of two
    Gaussian means. Where a source and the fused image both have no contrast, it is kept; where both sources have none,
    they weigh the same. Of one source: its own mean ratio.

    Chen, Blum: A new automated quality assessment algorithm for image fusion, Image Vis. Comput. 2009; constants as in
    Z. Liu's toolbox.
    """
    images = _floats(fused, ir, vis)
    h, w = images[0].shape
    v, u = np.meshgrid(2 * fft.fftfreq(h) * h / 30, 2 * fft.rfftfreq(w) * w / 30, indexing="ij")
    r = np.hypot(u, v)
    seen = np.exp(-((r / 15.3870) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2))
    at = np.arange(-15, 16)
    windows = [np.exp(-(at**2) / (2 * s**2)) / (math.sqrt(2 * math.pi) * s) for s in (2, 4)]
    contrasts = []
    for x in images:
        span = np.ptp(x)
        x = (x - x.min()) / span if span else np.zeros_like(x)
        x = fft.irfft2(fft.rfft2(x) * seen, s=(h, w))
        near, far = (convolve1d(convolve1d(x, g, 0, mode="constant"), g, 1, mode="constant") for g in windows)
        c = np.abs(_divide(near, far) - 1)
        c[~np.isfinite(c)] = 0
        contrasts.append(c**3 / (c**2 + 0.0001))
    c_f, c_a, c_b = contrasts
    of = []
    for c in (c_a, c_b):
        top = np.maximum(c, c_f)
        of.append(np.where(top == 0, 1, _divide(np.minimum(c, c_f), top)))
    power = c_a**2 + c_b**2
    share = np.where(power == 0, 0.5, _divide(c_a**2, power))
    both = share * of[0] + (1 - share) * of[1]
    return Scores(float(both.mean()), float(of[0].mean()), float(of[1].mean()))


def feature_mutual_information(fused: Array, ir: Array, vis: Array) -> Scores:
    """FMI (pixel): mean over all 3x3 windows of 2 I / (H_X + H_F), X = ir, vis; the mean of the two, 0..1.

    A window's nine values, stretched to 0..1 and divided by their sum, are taken for a distribution over its nine
    places; the joint one is the mixture of independence and the extreme (Frechet) bound that has the correlation of
    the two windows. Equal windows score 1. NaN below 3x3 pixels.

    Haghighat, Aghagolzadeh, Seyedarabi: A non-reference image fusion metric based on mutual information of image
    features, Comput. Electr. Eng. 2011; Haghighat, Razian: Fast-FMI, AICT 2014.
    """
    f, a, b = _floats(fused, ir, vis)
    if min(f.shape) < 3:
        return Scores(math.nan, math.nan, math.nan)
    of_ir, of_vis = _fmi(a, f), _fmi(b, f)
    return Scores((of_ir + of_vis) / 2, of_ir, of_vis)


def _fmi(x: Array, f: Array, rows: int = 2) -> float:
    total, count = 0.0, 0
    for top in range(0, f.shape[0] - 2, rows):  # in strips: each window has a joint distribution of 81 numbers
        values = _fmi_windows(*(_windows(y[top : top + rows + 2]) for y in (x, f)))
        total, count = total + float(values.sum()), count + values.size
    return total / count


def _windows(x: Array) -> Array:
    """(9, windows): the 3x3 windows, each column by column."""
    h, w = x.shape[0] - 2, x.shape[1] - 2
    return np.stack([x[i : i + h, j : j + w].ravel() for j in range(3) for i in range(3)])


def _fmi_windows(x: Array, f: Array) -> Array:
    p, q = (_distribution(v) for v in (x, f))
    h_p, h_q = (-np.where(v > 0, v * np.log2(np.where(v > 0, v, 1)), 0).sum(0) for v in (p, q))
    places = np.arange(1.0, 10.0)[:, None]
    spread = 1.0
    for v in (p, q):
        spread = spread * np.sqrt(np.maximum((places**2 * v).sum(0) - (places * v).sum(0) ** 2, 0))
    p0, q0 = p - 1 / 9, q - 1 / 9
    rho = _divide((p0 * q0).sum(0), np.sqrt((p0 * p0).sum(0) * (q0 * q0).sum(0)))
    rho = np.where(np.isfinite(rho), rho, 0)
    # Distribution functions, with a zero in front, so that differences give every cell of the joint distribution.
    cp, cq = (np.concatenate([np.zeros((1, v.shape[1])), np.cumsum(v, 0)]) for v in (p, q))
    ci, cj = cp[:, None], cq[None]
    bound = np.where(rho >= 0, np.minimum(ci, cj), np.maximum(ci + cj - 1, 0))
    covariance = (bound - ci * cj)[1:, 1:].sum((0, 1))
    mix = _divide(rho * spread, covariance)
    mix = np.where(np.isfinite(mix), mix, 0)
    cells = np.diff(np.diff(bound, axis=0), axis=1) * mix + p[:, None] * q[None] * (1 - mix)
    h_joint = -(cells * np.log2(np.maximum(np.abs(cells), 1e-300))).sum((0, 1))
    value = _divide(2 * (h_p + h_q - h_joint), h_p + h_q)
    value = np.where(np.isfinite(value), value, 0)
    return np.where((x == f).all(0), 1.0, value)


def _distribution(x: Array) -> Array:
    low, high = x.min(0), x.max(0)
    y = np.where(high > low, _divide(x - low, high - low), 1.0)
    return y / y.sum(0)


# --- against a reference -------------------------------------------------------------------------------------------


def _pair(image: Array, reference: Array) -> tuple[Array, Array]:
    """Both as (H, W, 3) if both are colour, else as (H, W, 1) grey; 0..255."""
    x, y = (np.asarray(p) if np.ndim(p) == 3 else np.asarray(p)[..., None] for p in (image, reference))
    if x.shape[2] == y.shape[2]:
        return to_scale(x), to_scale(y)
    return to_grey(x)[..., None], to_grey(y)[..., None]


def reference_psnr(image: Array, reference: Array) -> float:
    """PSNR in dB against a reference, peak 255, over all channels; infinite for equal images.

    Args:
        image, reference: as stored: uint8 or uint16, (H, W), (H, W, 1) or (H, W, 3); grey is compared if one is grey.
    """
    x, y = _pair(image, reference)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(255.0**2 / np.mean((x - y) ** 2)))


def reference_ssim(image: Array, reference: Array) -> float:
    """SSIM against a reference: 7x7 uniform window, data range 255, mean over channels.

    Arguments: as `reference_psnr`.
    """
    x, y = _pair(image, reference)
    return float(np.mean([_ssim(x[..., c], y[..., c], "cddfuse") for c in range(x.shape[2])]))


def reference_ms_ssim(image: Array, reference: Array) -> float:
    """Five-scale SSIM against a reference, mean over channels; NaN below 176 pixels.

    Arguments: as `reference_psnr`.
    """
    x, y = _pair(image, reference)
    return float(np.mean([_ms_ssim(x[..., c], y[..., c], zoo=False) for c in range(x.shape[2])]))


def ciede2000(image: Array, reference: Array) -> float:
    """Mean colour difference CIEDE2000 (sRGB, D65); NaN unless both are colour; arguments as `reference_psnr`.

    Sharma, Wu, Dalal: The CIEDE2000 color-difference formula, Color Res. Appl. 2005.
    """
    from skimage import color

    x, y = _pair(image, reference)
    if x.shape[2] != 3:
        return math.nan
    return float(color.deltaE_ciede2000(color.rgb2lab(y / 255), color.rgb2lab(x / 255)).mean())


# --- the table -----------------------------------------------------------------------------------------------------

Better: TypeAlias = Literal["higher", "lower"]


@dataclass(frozen=True)
class Metric:
    """One row of `METRICS`.

    `compute` takes (fused) for kind `fused`, (fused, ir, vis) for `sources`, both followed by the convention where
    `conventions` says that it matters, and (image, reference) as stored for `reference`.
    """

    name: str
    title: str
    kind: Literal["fused", "sources", "reference"]
    better: Better
    bounds: str
    source: str
    compute: Callable[..., Any]
    units: Mapping[str, str] = field(default_factory=dict)
    conventions: Mapping[str, str] = field(default_factory=dict)

    def unit(self, convention: Convention) -> str:
        """The unit under a convention; empty for a pure number."""
        return self.units.get(convention, self.units.get("", ""))

    @property
    def worse(self) -> str:
        """The suffix of the worse-served source: the smaller value, or the larger where lower is better."""
        return "min" if self.better == "higher" else "max"


def _ssim_dr2(fused: Array, ir: Array, vis: Array) -> Scores:
    return structural_similarity(fused, ir, vis, data_range=2.0)


_LEVELS = {"": "grey levels"}
_TABLE = (
    Metric("EN", "entropy of the histogram", "fused", "higher", "0 to 8", "Shannon 1948", entropy, {"": "bits"},
           {"cddfuse": "256 levels", "matlab": "as cddfuse", "zoo": "1e-7 added inside the logarithm"}),
    Metric("SD", "standard deviation: contrast", "fused", "higher", "0 to 127.5", "population formula",
           standard_deviation, _LEVELS),
    Metric("SF", "spatial frequency: first differences", "fused", "higher", "0 or more",
           "Eskicioglu, Fisher 1995", spatial_frequency, _LEVELS),
    Metric("AG", "average gradient: sharpness", "fused", "higher", "0 or more", "Cui et al. 2015", average_gradient,
           _LEVELS, {"cddfuse": "sum / HW", "matlab": "sum / ((H-1)(W-1))", "zoo": "as cddfuse"}),
    Metric("MI", "mutual information", "sources", "higher", "0 or more", "Qu, Zhang, Yan 2002", mutual_information,
           {"cddfuse": "nats", "matlab": "bits", "zoo": "bits"},
           {"cddfuse": "sum of two", "matlab": "sum of two; 255 counts as 254 in the joint histogram",
            "zoo": "sum of two"}),
    Metric("MSE", "mean squared error", "sources", "lower", "0 or more", "mean of two", mean_squared_error, {},
           {"cddfuse": "on 0..255", "matlab": "on 0..1", "zoo": "on 0..1"}),
    Metric("PSNR", "peak signal-to-noise ratio", "sources", "higher", "any", "of the mean of both MSEs",
           peak_signal_to_noise, {"": "dB"},
           {"cddfuse": "peak = largest value of the fused image", "matlab": "peak 255, MSE on 0..1: +48.13 dB",
            "zoo": "as matlab"}),
    Metric("CC", "correlation coefficient", "sources", "higher", "-1 to 1", "mean of two Pearson correlations",
           correlation),
    Metric("SCD", "sum of the correlations of differences", "sources", "higher", "-2 to 2", "Aslantas, Bendes 2015",
           sum_of_correlations_of_differences),
    Metric("VIF", "visual information fidelity, pixel domain", "sources", "higher", "0 or more",
           "Sheikh, Bovik 2006 (vifp)", visual_information_fidelity, {},
           {"cddfuse": "sum of two, no padding", "matlab": "as cddfuse",
            "zoo": "sum of two, padded with zeros, windows off centre"}),
    Metric("Qabf", "edges kept", "sources", "higher", "0 to 1", "Xydeas, Petrovic 2000", edge_preservation),
    Metric("SSIM", "structural similarity", "sources", "higher", "to 2 (matlab: to 1)", "Wang et al. 2004",
           structural_similarity, {},
           {"cddfuse": "sum of two, 7x7 uniform, data range 255", "matlab": "mean of two, Gaussian, data range 1",
            "zoo": "sum of two, Gaussian without border, data range 1"}),
    Metric("MS-SSIM", "multiscale structural similarity", "sources", "higher", "0 to 2 (matlab: to 1)",
           "Wang, Simoncelli, Bovik 2003; matlab: Ma, Zeng, Wang 2015", multiscale_structural_similarity, {},
           {"cddfuse": "sum of two, data range 255 (not in the evaluator)", "matlab": "MEF-MS-SSIM, 3 scales",
            "zoo": "sum of two, data range 1"}),
    Metric("Nabf", "edges that neither source has: artifacts", "sources", "lower", "0 to 1",
           "Petrovic, Xydeas 2005; Shreyamsha Kumar 2013", edge_artifacts),
    Metric("FMI", "feature mutual information of pixels in 3x3 windows", "sources", "higher", "0 to 1",
           "Haghighat et al. 2011; Haghighat, Razian 2014", feature_mutual_information),
    Metric("NMI", "normalised mutual information", "sources", "higher", "0 to 2", "Hossny et al. 2008",
           normalised_mutual_information),
    Metric("CE", "cross entropy between the histograms", "sources", "lower", "any", "Bulanon et al. 2009; VIFB",
           cross_entropy, {"": "bits"}),
    Metric("Qcb", "perceived contrast kept", "sources", "higher", "0 to 1", "Chen, Blum 2009", contrast_preservation),
    Metric("Qy", "structural similarity to the fitting source", "sources", "higher", "to 1", "Yang et al. 2008",
           similarity_of_yang),
    Metric("SSIM_dr2", "SSIM with data range 2, as in CDDFuse's published tables", "sources", "higher", "to 2",
           "Wang et al. 2004", _ssim_dr2),
    Metric("PSNR_ref", "PSNR against the reference", "reference", "higher", "any", "peak 255, all channels",
           reference_psnr, {"": "dB"}),
    Metric("SSIM_ref", "SSIM against the reference", "reference", "higher", "to 1",
           "Wang et al. 2004; 7x7 uniform, data range 255, mean of channels", reference_ssim),
    Metric("MS-SSIM_ref", "MS-SSIM against the reference", "reference", "higher", "0 to 1",
           "Wang, Simoncelli, Bovik 2003; mean of channels", reference_ms_ssim),
    Metric("CIEDE2000", "colour difference to the reference", "reference", "lower", "0 or more",
           "Sharma, Wu, Dalal 2005", ciede2000, {"": "delta E"}),
)  # fmt: skip

METRICS: Mapping[str, Metric] = {m.name: m for m in _TABLE}
"""All metrics by name. Those of kind `sources` are also measured as NAME_ir, NAME_vis and NAME_min (or NAME_max)."""

DEFAULT: tuple[str, ...] = tuple(m.name for m in _TABLE if m.kind != "reference" and m.name != "SSIM_dr2")
"""The metrics of a table that names none, without the worse-served forms beside them."""


@dataclass(frozen=True)
class Column:
    """One value that can be asked for: a metric, or one of its forms (`part`: both, ir, vis, min or max)."""

    name: str
    metric: Metric
    part: str = "both"


def columns() -> dict[str, Column]:
    """Every column there is, by name: `VIF`, `VIF_ir`, `VIF_vis`, `VIF_min`, `MSE_max`, `PSNR_ref` ..."""
    found = {}
    for metric in _TABLE:
        found[metric.name] = Column(metric.name, metric)
        if metric.kind == "sources":
            for part in ("ir", "vis", metric.worse):
                found[f"{metric.name}_{part}"] = Column(f"{metric.name}_{part}", metric, part)
    return found


def measure(
    fused: Array, ir: Array | None, vis: Array | None, wanted: Sequence[Column], convention: Convention = "cddfuse"
) -> dict[str, float]:
    """Measure the columns of kind `fused` and `sources`, each metric once.

    Args:
        fused, ir, vis: grey arrays (H, W) of one size on 0..255 (see `to_grey`); the sources may be None if no wanted
            column is against them.
        wanted: what to measure; columns of kind `reference` are left out.
        convention: see the module.

    Returns:
        column name -> value, NaN where it is undefined.
    """
    made: dict[str, float] = {}
    scores: dict[str, Scores] = {}
    for column in wanted:
        metric = column.metric
        how = (convention,) if metric.conventions else ()
        if metric.kind == "fused":
            made[column.name] = metric.compute(fused, *how)
        elif metric.kind == "sources":
            if metric.name not in scores:
                scores[metric.name] = metric.compute(fused, ir, vis, *how)
            made[column.name] = _part(scores[metric.name], column.part)
    return made


def _part(scores: Scores, part: str) -> float:
    if part in ("min", "max"):
        if math.isnan(scores.ir) or math.isnan(scores.vis):
            return math.nan
        return (min if part == "min" else max)(scores.ir, scores.vis)
    return getattr(scores, part)
