"""Metrics against a reference image, as stored."""

from __future__ import annotations

import math

import numpy as np

from lure_cli.core.metrics.base import Array, to_grey, to_scale
from lure_cli.core.metrics.similarity import ms_ssim, ssim


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


def fitted_psnr(image: Array, reference: Array) -> float:
    """`reference_psnr` after the gain and offset, one of each for all channels, that bring the image closest to the
    reference in the mean square; clipped to the range, not rounded. What is left is not brightness or contrast.

    Arguments: as `reference_psnr`.
    """
    x, y = _pair(image, reference)
    dx, dy = x - x.mean(), y - y.mean()
    spread = float(np.mean(dx**2))
    gain = float(np.mean(dx * dy)) / spread if spread > 0 else 0.0
    fitted = np.clip(y.mean() + gain * dx, 0, 255)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(255.0**2 / np.mean((fitted - y) ** 2)))


def reference_ssim(image: Array, reference: Array) -> float:
    """SSIM against a reference: 7x7 uniform window, data range 255, mean over channels.

    Arguments: as `reference_psnr`.
    """
    x, y = _pair(image, reference)
    return float(np.mean([ssim(x[..., c], y[..., c], "cddfuse") for c in range(x.shape[2])]))


def reference_ms_ssim(image: Array, reference: Array) -> float:
    """Five-scale SSIM against a reference, mean over channels; NaN below 176 pixels.

    Arguments: as `reference_psnr`.
    """
    x, y = _pair(image, reference)
    return float(np.mean([ms_ssim(x[..., c], y[..., c], zoo=False) for c in range(x.shape[2])]))


def ciede2000(image: Array, reference: Array) -> float:
    """Mean colour difference CIEDE2000 (sRGB, D65); NaN unless both are colour; arguments as `reference_psnr`.

    Sharma, Wu, Dalal: The CIEDE2000 color-difference formula, Color Res. Appl. 2005.
    """
    from skimage import color

    x, y = _pair(image, reference)
    if x.shape[2] != 3:
        return math.nan
    return float(color.deltaE_ciede2000(color.rgb2lab(y / 255), color.rgb2lab(x / 255)).mean())
