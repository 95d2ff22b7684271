"""Metrics without any source, by the statistics of natural scenes: NIQE and BRISQUE, as their authors released them.

The parameters that the authors fitted stand in `natural.safetensors` beside this module, in double precision; where
they come from, and under which terms, says `natural.txt`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lure_cli.core.metrics.base import Array, to_grey

_FILE = Path(__file__).with_name("natural.safetensors")
_BLOCK = 96
_SHAPES = np.arange(0.2, 10.001, 0.001)
"""The shape parameters that a generalised Gaussian may have."""


def niqe(image: Array) -> float:
    """NIQE: how far an image's statistics lie from those of undistorted photographs; 0 or more, lower is better.

    In blocks of 96x96 pixels (rows and columns that fill none are left out) and in the blocks of half the size in the
    halved image, 18 numbers each of the locally normalised levels; the distance between the two Gaussians of those 36
    numbers, that of this image and that of the authors' 125 photographs. NaN for fewer than two blocks with contrast.

    Mittal, Soundararajan, Bovik: Making a "completely blind" image quality analyzer, IEEE Signal Process. Lett. 2013.

    Args:
        image: as stored, uint8 or uint16, (H, W), (H, W, 1) or (H, W, 3); read as grey by MATLAB's rgb2gray.
    """
    from scipy.special import gamma

    grey = to_grey(image, "matlab")
    rows, columns = (n // _BLOCK for n in grey.shape)
    if rows * columns < 2:
        return math.nan
    grey = grey[: rows * _BLOCK, : columns * _BLOCK]

    def numbers(block: Array) -> Iterator[float]:
        shape, left, right = _asymmetric(block)
        scale = math.sqrt(gamma(1 / shape) / gamma(3 / shape))
        yield from (shape, (left + right) / 2 * scale)
        for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
            shape, left, right = _asymmetric(block * np.roll(block, shift, (0, 1)))
            left, right = (math.sqrt(gamma(1 / shape) / gamma(3 / shape)) * x for x in (left, right))
            yield from (shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right)

    scales = []
    for size in (_BLOCK, _BLOCK // 2):
        normal = _normalised(grey, "nearest")
        blocks = (
            normal[i * size : (i + 1) * size, j * size : (j + 1) * size] for i in range(rows) for j in range(columns)
        )
        scales.append([list(numbers(block)) for block in blocks])
        grey = _halved(grey)
    table = np.concatenate(scales, axis=1)
    defined = table[np.isfinite(table).all(axis=1)]
    if len(defined) < 2:
        return math.nan
    own_mean = np.array([x[np.isfinite(x)].mean() for x in table.T])
    difference = _parameters()["niqe.mean"] - own_mean
    spread = (_parameters()["niqe.covariance"] + np.cov(defined, rowvar=False)) / 2
    inverse = np.linalg.pinv(spread, rcond=len(spread) * np.finfo(float).eps)
    return float(np.sqrt(difference @ inverse @ difference))


def brisque(image: Array) -> float:
    """BRISQUE: the opinion that people had of images with such statistics; about 0 to 100, lower is better.

    18 numbers of the locally normalised levels, and 18 of the halved image, through the authors' support vector
    regression, which learnt from all five kinds of damage of the LIVE database: JPEG, JPEG 2000, white noise, blur and
    fading. NaN for a constant image.

    Mittal, Moorthy, Bovik: No-reference image quality assessment in the spatial domain, IEEE Trans. Image Process.
    2012.

    Args:
        image: as stored, uint8 or uint16, (H, W), (H, W, 1) or (H, W, 3); read as grey by MATLAB's rgb2gray.
    """
    p = _parameters()
    scaled = 2 * (brisque_features(image) - p["brisque.low"]) / (p["brisque.high"] - p["brisque.low"]) - 1
    kernel = np.exp(-0.05 * np.square(p["brisque.vectors"] - scaled).sum(axis=1))
    return float(kernel @ p["brisque.weights"] - p["brisque.offset"][0])


def brisque_features(image: Array) -> Array:
    """The 36 numbers that `brisque` judges by, (36,); NaN where they are undefined."""
    from scipy.special import gamma

    grey, features = to_grey(image, "matlab"), []
    for _ in range(2):
        normal = _normalised(grey, "constant")
        mean_square = np.mean(normal**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = mean_square / np.mean(np.abs(normal)) ** 2
        features += [_shape(1 / _ratios(), ratio), mean_square]
        for shift in ((0, 1), (1, 0), (1, 1), (-1, 1)):
            shape, left, right = _asymmetric(normal * np.roll(normal, shift, (0, 1)))
            scale = math.sqrt(gamma(1 / shape) / gamma(3 / shape))
            features += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape) * scale, left**2, right**2]
        grey = _halved(grey)
    return np.array(features)


def _normalised(x: Array, border: str) -> Array:
    """Each level less the mean around it, over the deviation around it plus 1; Gaussian of 7x7, sigma 7/6."""
    from scipy.ndimage import correlate1d

    window = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window /= window.sum()

    def smooth(y: Array) -> Array:
        return correlate1d(correlate1d(y, window, 0, mode=border), window, 1, mode=border)

    mean = smooth(x)
    return (x - mean) / (np.sqrt(np.abs(smooth(x * x) - mean * mean)) + 1)


def _halved(x: Array) -> Array:
    """MATLAB's imresize to one half, bicubic with antialiasing: (H, W) -> (ceil(H / 2), ceil(W / 2))."""
    at = np.abs(np.arange(-3.5, 4) / 2)
    taps = np.where(at <= 1, 1.5 * at**3 - 2.5 * at**2 + 1, -0.5 * at**3 + 2.5 * at**2 - 4 * at + 2)
    taps /= taps.sum()
    for axis in (0, 1):
        x = np.moveaxis(x, axis, 0)
        wide, end = np.pad(x, ((3, 4), (0, 0)), mode="symmetric"), len(x) + len(x) % 2
        x = np.moveaxis(sum(tap * wide[k : k + end : 2] for k, tap in enumerate(taps)), 0, axis)
    return x


@functools.cache
def _ratios() -> Array:
    """(mean |x|)^2 / mean x^2 of a generalised Gaussian of each shape; it grows with the shape."""
    from scipy.special import gamma

    return gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))


def _shape(ratios: Array, ratio: float) -> float:
    """The shape whose ratio is nearest; the first one if the ratio is undefined, as in the releases."""
    return float(_SHAPES[np.argmin(np.abs(ratios - ratio))])


def _asymmetric(x: Array) -> tuple[float, float, float]:
    """Shape, and root mean square left and right of zero, of the fitted asymmetric generalised Gaussian."""
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = x * x
        left = np.sqrt(np.divide(squares[x < 0].sum(), np.count_nonzero(x < 0)))
        right = np.sqrt(np.divide(squares[x > 0].sum(), np.count_nonzero(x > 0)))
        skew = np.divide(left, right)
        ratio = np.divide(np.mean(np.abs(x)) ** 2, squares.mean())
        ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    return _shape(_ratios(), ratio), float(left), float(right)


@functools.cache
def _parameters() -> dict[str, Array]:
    """What the authors fitted; see the module."""
    from safetensors.numpy import load_file

    return load_file(_FILE)
