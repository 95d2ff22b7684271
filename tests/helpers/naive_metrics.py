"""The reference metrics in the plain way of this field's evaluators; the oracle of the tests, the baseline of speed.

Written from the definitions of the `cddfuse` convention and sharing nothing with the package: two-dimensional windows
for VIF and for the Sobel filter of Qabf (`vectorised`; some evaluators loop over the pixels instead: `loops`), numpy's
histograms, scikit-image's SSIM.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.signal import convolve2d
from skimage.metrics import structural_similarity

Filter = Callable[[np.ndarray, np.ndarray], np.ndarray]


def loops(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """3x3 convolution, zero padding, pixel by pixel."""
    padded, flipped = np.pad(x, 1), kernel[::-1, ::-1]
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = np.sum(padded[i : i + 3, j : j + 3] * flipped)
    return out


def vectorised(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The same, by scipy."""
    return convolve2d(x, kernel, mode="same")


def en(f: np.ndarray) -> float:
    p = np.histogram(f, bins=256, range=(0, 256))[0] / f.size
    return -sum(v * math.log2(v) for v in p if v)


def sf(f: np.ndarray) -> float:
    return math.sqrt(np.mean((f[1:] - f[:-1]) ** 2) + np.mean((f[:, 1:] - f[:, :-1]) ** 2))


def ag(f: np.ndarray) -> float:
    gy, gx = np.gradient(f)
    return float(np.mean(np.sqrt((gx**2 + gy**2) / 2)))


def mi(x: np.ndarray, f: np.ndarray) -> float:
    joint = np.histogram2d(x.ravel(), f.ravel(), bins=256, range=[[0, 256], [0, 256]])[0] / x.size
    outer = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    some = joint > 0
    return float(np.sum(joint[some] * np.log(joint[some] / outer[some])))


def vif(ref: np.ndarray, dist: np.ndarray) -> float:
    gain = total = 0.0
    for scale in range(1, 5):
        n = 2 ** (5 - scale) + 1
        y, x = np.mgrid[-(n // 2) : n // 2 + 1, -(n // 2) : n // 2 + 1]
        window = np.exp(-(x * x + y * y) / (2 * (n / 5) ** 2))
        window[window < np.finfo(float).eps * window.max()] = 0
        window /= window.sum()
        if scale > 1:
            ref, dist = (convolve2d(z, window, "valid")[::2, ::2] for z in (ref, dist))
        m1, m2 = (convolve2d(z, window, "valid") for z in (ref, dist))
        s1 = np.maximum(convolve2d(ref * ref, window, "valid") - m1 * m1, 0)
        s2 = np.maximum(convolve2d(dist * dist, window, "valid") - m2 * m2, 0)
        s12 = convolve2d(ref * dist, window, "valid") - m1 * m2
        g = s12 / (s1 + 1e-10)
        sv = s2 - g * s12
        g[s1 < 1e-10] = 0
        sv[s1 < 1e-10] = s2[s1 < 1e-10]
        s1[s1 < 1e-10] = 0
        g[s2 < 1e-10] = 0
        sv[s2 < 1e-10] = 0
        sv[g < 0] = s2[g < 0]
        g[g < 0] = 0
        sv[sv <= 1e-10] = 1e-10
        gain += np.sum(np.log10(1 + g**2 * s1 / (sv + 2)))
        total += np.sum(np.log10(1 + s1 / 2))
    return float(gain / total)


def qabf(f: np.ndarray, a: np.ndarray, b: np.ndarray, sobel: Filter) -> float:
    across, down = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1.0]]), np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1.0]])
    strength, angle = [], []
    for x in (f, a, b):
        sx, sy = sobel(x, across), sobel(x, down)
        strength.append(np.sqrt(sx * sx + sy * sy))
        with np.errstate(divide="ignore", invalid="ignore"):
            angle.append(np.where(sx == 0, np.pi / 2, np.arctan(sy / sx)))
    kept = 0.0
    for k in (1, 2):
        with np.errstate(divide="ignore", invalid="ignore"):
            g = np.where(strength[k] > strength[0], strength[0] / strength[k], strength[k] / strength[0])
        g = np.where(strength[k] == strength[0], strength[0], g)
        turned = 1 - np.abs(angle[k] - angle[0]) / (np.pi / 2)
        q = 0.9994 / (1 + np.exp(-15 * (g - 0.5))) * 0.9879 / (1 + np.exp(-22 * (turned - 0.8)))
        kept += np.sum(q * strength[k])
    return float(kept / np.sum(strength[1] + strength[2]))


def measure(f: np.ndarray, a: np.ndarray, b: np.ndarray, sobel: Filter = vectorised) -> dict[str, float]:
    """All twelve; float64 (H, W) arrays of whole levels 0..255."""
    mse = (np.mean((a - f) ** 2) + np.mean((b - f) ** 2)) / 2

    def r(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.corrcoef(x.ravel(), y.ravel())[0, 1])

    return {
        "EN": en(f),
        "SD": float(np.sqrt(np.mean((f - f.mean()) ** 2))),
        "SF": sf(f),
        "AG": ag(f),
        "MI": mi(a, f) + mi(b, f),
        "MSE": float(mse),
        "PSNR": 10 * math.log10(f.max() ** 2 / mse),
        "CC": (r(a, f) + r(b, f)) / 2,
        "SCD": r(a, f - b) + r(b, f - a),
        "VIF": vif(a, f) + vif(b, f),
        "Qabf": qabf(f, a, b, sobel),
        "SSIM": sum(float(structural_similarity(f, x, data_range=255)) for x in (a, b)),
    }
