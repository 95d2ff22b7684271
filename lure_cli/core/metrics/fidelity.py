"""Visual information fidelity, edges, perceived contrast and features kept."""

from __future__ import annotations

import math

import numpy as np
from scipy import fft
from scipy.ndimage import convolve1d, correlate1d

from lure_cli.core.metrics.base import EPS, Array, Convention, Scores, divide, floats, stretched, strips

# --- visual information fidelity -----------------------------------------------------------------------------------


def visual_information_fidelity(fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse") -> Scores:
    """VIF: pixel-domain VIF of each source in the fused image, summed; 0 or more, 1 a source for a perfect copy.

    Four scales, Gaussian windows of 17, 9, 5 and 3 pixels, sigma_n^2 = 2. `zoo` pads with zeros and sets its windows
    half a pixel off centre. A constant source counts as 1 (`zoo`: NaN if black, else
    anything, as the padded border is its only contrast). NaN below 41x41 pixels (`zoo` takes any size).

    Sheikh, Bovik: Image information and visual quality, IEEE Trans. Image Process. 2006 (vifp_mscale).
    """
    f, a, b = floats(fused, ir, vis)
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
            for rows in strips(len(mu)):
                var = np.maximum(square[rows] - mu[rows] ** 2, 0)
                sums = _vif_sums(var, var_f[rows], product[rows] - mu[rows] * mu_f[rows])
                gain[k] += sums[0]
                total[k] += sums[1]
    of_ir, of_vis = (float(v) for v in divide(gain, total))
    if not zoo:
        of_ir, of_vis = (1.0 if math.isnan(v) else v for v in (of_ir, of_vis))
    return Scores(of_ir + of_vis, of_ir, of_vis)


def _vif_sums(var: Array, var_f: Array, cov: Array) -> tuple[float, float]:
    """The information of one scale, preserved and at hand, in units of log10(2)/2 bits; `var` is of the source."""
    noise = 2.0
    g = cov / (var + EPS)
    left = var_f - g * cov
    flat = var < EPS
    g[flat], var = 0, np.where(flat, 0, var)
    left[flat] = var_f[flat]
    flat = var_f < EPS
    g[flat] = left[flat] = 0
    negative = g < 0
    left[negative] = var_f[negative]
    g[negative] = 0
    np.maximum(left, EPS, out=left)
    return _log_sum(1 + g * g * var / (left + noise)), _log_sum(1 + var / noise)


def _log_sum(x: Array) -> float:
    """Sum of log10 over a strip, by products down its columns: no factor exceeds 8129, and no strip 32 rows."""
    return float(np.log10(np.multiply.reduce(x, axis=0)).sum())


# --- edges ---------------------------------------------------------------------------------------------------------


def _sobel(x: Array) -> tuple[Array, Array]:
    """Horizontal and vertical derivative, rows growing upwards, weights 1 2 1; one pixel less on each side."""
    rows, columns = x[:-2] + 2 * x[1:-1] + x[2:], x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]
    return rows[:, 2:] - rows[:, :-2], columns[:-2] - columns[2:]


def edge_preservation(fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse") -> Scores:
    """Qabf: gradient strength and orientation of each source kept in the fused image, weighted by strength; 0..1.

    Sobel with zero padding, so the frame counts as an edge. Where strengths tie, the ratio is the strength itself, as
    in the evaluators (0 for flat on flat; saturated elsewhere); `vifb` scales images by 255, and with them that
    strength. NaN where neither source has any, not even at the frame (both are black).

    Xydeas, Petrovic: Objective image fusion performance measure, Electron. Lett. 2000.
    """
    images = [np.pad(x, 1) for x in floats(fused, ir, vis)]
    kept, weight = [0.0, 0.0], [0.0, 0.0]
    for rows in strips(len(images[0]), halo=1):
        (g_f, angle_f), *sources = (_edges(x[rows]) for x in images)
        for k, (g, angle) in enumerate(sources):
            ratio = divide(np.minimum(g, g_f), np.maximum(g, g_f))
            ratio = np.where(g == g_f, g_f * (255 if convention == "vifb" else 1), ratio)
            aligned = 1 - np.abs(angle - angle_f) / (math.pi / 2)
            q = 0.9994 * 0.9879 / ((1 + np.exp(-15 * (ratio - 0.5))) * (1 + np.exp(-22 * (aligned - 0.8))))
            kept[k] += float((q * g).sum())
            weight[k] += float(g.sum())
    of = (float(divide(k, w)) for k, w in zip(kept, weight, strict=True))
    return Scores(float(divide(sum(kept), sum(weight))), *of)


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
    for x in floats(fused, ir, vis):
        across, up = _sobel(np.pad(x, 1, mode="reflect"))
        across, up = across / 8, up / 8
        with np.errstate(divide="ignore", invalid="ignore"):
            angle = np.where((across == 0) & (up == 0), 0, np.arctan(across / up))
        edges.append((np.sqrt(across * across + up * up), angle))
    (g_f, angle_f), *sources = edges
    new = (g_f > sources[0][0]) & (g_f > sources[1][0])
    lost, weight = [], []
    for g, angle in sources:
        ratio = np.where((g == 0) | (g_f == 0), 0, divide(np.minimum(g, g_f), np.maximum(g, g_f)))
        aligned = np.abs(np.abs(angle - angle_f) - math.pi / 2) * 2 / math.pi
        q = np.sqrt(0.9999 / (1 + np.exp(-19 * (ratio - 0.5))) * (0.9995 / (1 + np.exp(-22 * (aligned - 0.5)))))
        w = np.where(g >= 2, g**1.5, 0)
        lost.append(float((new * (1 - q) * w).sum()))
        weight.append(float(w.sum()))
    return Scores(
        float(divide(sum(lost), sum(weight))), *(float(divide(x, w)) for x, w in zip(lost, weight, strict=True))
    )


# --- perception and features ---------------------------------------------------------------------------------------


def contrast_preservation(fused: Array, ir: Array, vis: Array, convention: Convention = "cddfuse") -> Scores:
    """Qcb: perceived local contrast of the sources kept in the fused image, 0..1.

    Each image is stretched to 0..1 (`vifb`: in 255 steps), filtered by the contrast sensitivity of the eye and compared
    as a ratio of two Gaussian means. Where a source and the fused image both have no contrast, it is kept; where both
    sources have none, they weigh the same. Of one source: its own mean ratio.

    Chen, Blum: A new automated quality assessment algorithm for image fusion, Image Vis. Comput. 2009; constants as in
    Z. Liu's toolbox.
    """
    images = floats(fused, ir, vis)
    h, w = images[0].shape
    v, u = np.meshgrid(2 * fft.fftfreq(h) * h / 30, 2 * fft.rfftfreq(w) * w / 30, indexing="ij")
    r = np.hypot(u, v)
    seen = np.exp(-((r / 15.3870) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2))
    at = np.arange(-15, 16)
    windows = [np.exp(-(at**2) / (2 * s**2)) / (math.sqrt(2 * math.pi) * s) for s in (2, 4)]
    contrasts = []
    for x in images:
        span = np.ptp(x)
        even = (x - x.min()) / span if span else np.zeros_like(x)
        if convention == "vifb":
            even = np.floor(even * 255 + 0.5)
        x = fft.irfft2(fft.rfft2(even) * seen, s=(h, w))
        near, far = (convolve1d(convolve1d(x, g, 0, mode="constant"), g, 1, mode="constant") for g in windows)
        c = np.abs(divide(near, far) - 1)
        c[~np.isfinite(c)] = 0
        contrasts.append(c**3 / (c**2 + 0.0001))
    c_f, c_a, c_b = contrasts
    of = []
    for c in (c_a, c_b):
        top = np.maximum(c, c_f)
        of.append(np.where(top == 0, 1, divide(np.minimum(c, c_f), top)))
    power = c_a**2 + c_b**2
    share = np.where(power == 0, 0.5, divide(c_a**2, power))
    both = share * of[0] + (1 - share) * of[1]
    return Scores(float(both.mean()), float(of[0].mean()), float(of[1].mean()))


def seen_differences(fused: Array, ir: Array, vis: Array) -> Scores:
    """Qcv: squared difference to each source as the eye sees it, by 16x16 blocks, weighted by edges; lower is better.

    Each image is stretched to 0..255 in whole levels. The differences are filtered by the eye's contrast sensitivity
    (Mannos, Sakrison); a block of a source weighs the fifth powers of its Sobel strengths. Blocks at the right and
    lower border are filled up with zeros. NaN where no source has an edge.

    Chen, Varshney: A human perception inspired quality metric for image fusion based on regional information, Inf.
    Fusion 2007; constants as in Z. Liu's toolbox.
    """
    f, a, b = (stretched(x) for x in floats(fused, ir, vis))
    h, w = f.shape
    v, u = np.meshgrid(2 * fft.fftfreq(h) * h / 8, 2 * fft.rfftfreq(w) * w / 8, indexing="ij")
    r = 0.144 * np.hypot(u, v)
    seen = 2.6 * (0.0192 + r) * np.exp(-(r**1.1))
    lost, weight = [], []
    for x in (a, b):
        edges = _blocks(np.hypot(*_sobel(np.pad(x, 1))))
        of_blocks = (edges**5).sum((1, 3))
        difference = fft.irfft2(fft.rfft2(x - f) * seen, s=(h, w))
        squares = (_blocks(difference) ** 2).mean((1, 3))
        lost.append(float((of_blocks * squares).sum()))
        weight.append(float(of_blocks.sum()))
    of = (float(divide(x, y)) for x, y in zip(lost, weight, strict=True))
    return Scores(float(divide(sum(lost), sum(weight))), *of)


def _blocks(x: Array) -> Array:
    """(rows, 16, columns, 16), filled up with zeros to whole blocks."""
    x = np.pad(x, [(0, -n % 16) for n in x.shape])
    return x.reshape(x.shape[0] // 16, 16, -1, 16)


def feature_mutual_information(fused: Array, ir: Array, vis: Array) -> Scores:
    """FMI (pixel): mean over all 3x3 windows of 2 I / (H_X + H_F), X = ir, vis; the mean of the two, 0..1.

    A window's nine values, stretched to 0..1 and divided by their sum, are taken for a distribution over its nine
    places; the joint one is the mixture of independence and the extreme (Frechet) bound that has the correlation of
    the two windows. Equal windows score 1. NaN below 3x3 pixels.

    Haghighat, Aghagolzadeh, Seyedarabi: A non-reference image fusion metric based on mutual information of image
    features, Comput. Electr. Eng. 2011; Haghighat, Razian: Fast-FMI, AICT 2014.
    """
    f, a, b = floats(fused, ir, vis)
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
    rho = divide((p0 * q0).sum(0), np.sqrt((p0 * p0).sum(0) * (q0 * q0).sum(0)))
    rho = np.where(np.isfinite(rho), rho, 0)
    # Distribution functions, with a zero in front, so that differences give every cell of the joint distribution.
    cp, cq = (np.concatenate([np.zeros((1, v.shape[1])), np.cumsum(v, 0)]) for v in (p, q))
    ci, cj = cp[:, None], cq[None]
    bound = np.where(rho >= 0, np.minimum(ci, cj), np.maximum(ci + cj - 1, 0))
    covariance = (bound - ci * cj)[1:, 1:].sum((0, 1))
    mix = divide(rho * spread, covariance)
    mix = np.where(np.isfinite(mix), mix, 0)
    cells = np.diff(np.diff(bound, axis=0), axis=1) * mix + p[:, None] * q[None] * (1 - mix)
    h_joint = -(cells * np.log2(np.maximum(np.abs(cells), 1e-300))).sum((0, 1))
    value = divide(2 * (h_p + h_q - h_joint), h_p + h_q)
    value = np.where(np.isfinite(value), value, 0)
    return np.where((x == f).all(0), 1.0, value)


def _distribution(x: Array) -> Array:
    low, high = x.min(0), x.max(0)
    y = np.where(high > low, divide(x - low, high - low), 1.0)
    return y / y.sum(0)
