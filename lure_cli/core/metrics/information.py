"""Metrics of what there is: histograms, contrast, sharpness, differences and correlations."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import sobel

from lure_cli.core.metrics.base import Array, Convention, Scores, divide, floats, nearest_levels, stretched

# --- of the fused image alone --------------------------------------------------------------------------------------


def entropy(fused: Array, convention: Convention = "cddfuse") -> float:
    """EN: Shannon entropy in bits of the histogram of the 256 levels, 0..8. `zoo` adds 1e-7 inside the logarithm."""
    levels = nearest_levels(fused)
    p = np.bincount(levels.ravel(), minlength=256) / levels.size
    if convention == "zoo":
        return float(-(p * np.log2(p + 1e-7)).sum())
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def standard_deviation(fused: Array) -> float:
    """SD: population standard deviation, grey levels."""
    return float(np.std(np.asarray(fused, np.float64)))


def spatial_frequency(fused: Array, convention: Convention = "cddfuse") -> float:
    """SF: root of the mean squared horizontal plus the mean squared vertical first difference, grey levels.

    `vifb` divides both sums of squares by all pixels, which are more than there are differences.

    Eskicioglu, Fisher: Image quality measures and their performance, IEEE Trans. Commun. 1995.
    """
    (f,) = floats(fused)
    differences = [d for d in (np.diff(f, axis=0), np.diff(f, axis=1)) if d.size]
    return math.sqrt(sum(float((d**2).sum()) / (f.size if convention == "vifb" else d.size) for d in differences))


def average_gradient(fused: Array, convention: Convention = "cddfuse") -> float:
    """AG: mean of sqrt((gx^2 + gy^2) / 2), central differences, one-sided at the frame; grey levels.

    `matlab` and `vifb` divide the sum by (H-1)(W-1) instead of HW. NaN below 2x2 pixels.

    Cui et al.: Detail preserved fusion of visible and infrared images, Opt. Commun. 2015.
    """
    (f,) = floats(fused)
    if min(f.shape) < 2:
        return math.nan
    gy, gx = np.gradient(f)
    total = float(np.sqrt((gx**2 + gy**2) / 2).sum())
    h, w = f.shape
    return total / ((h - 1) * (w - 1) if convention in ("matlab", "vifb") else h * w)


def edge_intensity(fused: Array) -> float:
    """EI: mean strength of the Sobel gradient (weights 1 2 1), the border replicated; grey levels.

    Rajalingam, Priya: Hybrid multimodality medical image fusion technique for feature enhancement in medical diagnosis,
    Int. J. Eng. Sci. Invent. 2018, as VIFB computes it.
    """
    (f,) = floats(fused)
    return float(np.hypot(sobel(f, 0, mode="nearest"), sobel(f, 1, mode="nearest")).mean())


# --- histograms ----------------------------------------------------------------------------------------------------


def _joint(a: Array, b: Array, top: int = 255) -> Array:
    """The joint histogram (256, 256) of the levels; those above `top` are counted as `top`."""
    i, j = np.minimum(nearest_levels(a), top), np.minimum(nearest_levels(b), top)
    return np.bincount((i * 256 + j).ravel(), minlength=65536).reshape(256, 256) / i.size


def _entropy(p: Array) -> float:
    """In nats."""
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def _information(joint: Array) -> float:
    """Mutual information in nats."""
    return _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint)


def mutual_information(fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse") -> Scores:
    """MI: I(F; ir) + I(F; vis) of the 256 levels; nats (cddfuse, vifb) or bits (matlab, zoo).

    In `matlab` the joint histogram, but not the marginals, counts level 255 as 254. `vifb` stretches every image to the
    256 levels first, by its darkest and brightest pixel.

    Qu, Zhang, Yan: Information measure for performance of image fusion, Electron. Lett. 2002.
    """
    f, a, b = floats(fused, ir, vis)
    if convention == "vifb":
        f, a, b = (stretched(x) for x in (f, a, b))

    def one(x: Array) -> float:
        joint = _joint(x, f)
        if convention == "matlab":
            saturated = _entropy(_joint(x, f, top=254))
            return (_entropy(joint.sum(0)) + _entropy(joint.sum(1)) - saturated) / math.log(2)
        return _information(joint) / (1.0 if convention in ("cddfuse", "vifb") else math.log(2))

    of_ir, of_vis = one(a), one(b)
    return Scores(of_ir + of_vis, of_ir, of_vis)


def normalised_mutual_information(fused: Array, ir: Array, vis: Array) -> Scores:
    """NMI: 2 I(F; ir) / (H(F) + H(ir)) + 2 I(F; vis) / (H(F) + H(vis)); 0..2.

    Hossny, Nahavandi, Creighton: Comments on 'Information measure for performance of image fusion', Electron. Lett.
    2008.
    """
    f, a, b = floats(fused, ir, vis)

    def one(x: Array) -> float:
        joint = _joint(x, f)
        return float(divide(2 * _information(joint), _entropy(joint.sum(0)) + _entropy(joint.sum(1))))

    of_ir, of_vis = one(a), one(b)
    return Scores(of_ir + of_vis, of_ir, of_vis)


def cross_entropy(fused: Array, ir: Array, vis: Array) -> Scores:
    """CE: mean of sum p_X log2(p_X / p_F) over the levels that occur in both, X = ir, vis; bits.

    Bulanon, Burks, Alchanatis: Image fusion of visible and thermal images for fruit detection, Biosyst. Eng. 2009, as
    VIFB and MEFB compute it. Levels missing from the fused image are left out, so it can be negative.
    """
    p_f, p_a, p_b = (np.bincount(x.ravel(), minlength=256) / x.size for x in map(nearest_levels, (fused, ir, vis)))

    def one(p: Array) -> float:
        both = (p > 0) & (p_f > 0)
        return float((p[both] * np.log2(p[both] / p_f[both])).sum())

    of_ir, of_vis = one(p_a), one(p_b)
    return Scores((of_ir + of_vis) / 2, of_ir, of_vis)


# --- differences and correlations ----------------------------------------------------------------------------------


def mean_squared_error(fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse") -> Scores:
    """MSE: mean of the two; squared grey levels on 0..255 (cddfuse, vifb) or on 0..1 (matlab, zoo)."""
    f, a, b = floats(fused, ir, vis)
    scale = 1.0 if convention in ("cddfuse", "vifb") else 255.0**2
    of_ir, of_vis = (float(np.mean((x - f) ** 2)) / scale for x in (a, b))
    return Scores((of_ir + of_vis) / 2, of_ir, of_vis)


def root_mean_squared_error(fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse") -> Scores:
    """RMSE: mean of the two roots of the mean squared error, on the scale of the convention's MSE.

    `vifb` divides the root of the summed squares by the number of pixels, not by its root: grey levels over the root of
    the number of pixels, so that a picture of another size has another value.
    """
    f, a, b = floats(fused, ir, vis)
    of = [math.sqrt(m) for m in mean_squared_error(f, a, b, convention)[1:]]
    of_ir, of_vis = (x / math.sqrt(f.size) if convention == "vifb" else x for x in of)
    return Scores((of_ir + of_vis) / 2, of_ir, of_vis)


def peak_signal_to_noise(fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse") -> Scores:
    """PSNR in dB of the mean of both MSEs.

    `cddfuse` takes the largest value of the fused image as the peak; `matlab` and `zoo` take 255 with an MSE on 0..1,
    which is 48.13 dB more than a peak of 255 gives; `vifb` takes 255 and, for the MSE, its RMSE (see there), so a value
    depends on the size of the picture, and half as much on the error. Infinite for equal images, minus infinite for a
    black fused one (`cddfuse`).
    """
    error = root_mean_squared_error if convention == "vifb" else mean_squared_error
    mse = error(fused, ir, vis, convention)
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
    f, a, b = floats(fused, ir, vis)
    of_ir, of_vis = _pearson(a, f), _pearson(b, f)
    return Scores((of_ir + of_vis) / 2, of_ir, of_vis)


def sum_of_correlations_of_differences(fused: Array, ir: Array, vis: Array) -> Scores:
    """SCD: r(ir, F - vis) + r(vis, F - ir), -2..2; NaN where a difference is constant (a copy of one source).

    Aslantas, Bendes: A new image quality metric for image fusion, AEU 2015.
    """
    f, a, b = floats(fused, ir, vis)
    of_ir, of_vis = _pearson(a, f - b), _pearson(b, f - a)
    return Scores(of_ir + of_vis, of_ir, of_vis)
