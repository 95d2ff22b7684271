"""What every metric needs: the scale and the grey reading of each convention, scores, and safe arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray
Convention: TypeAlias = Literal["cddfuse", "matlab", "zoo", "vifb"]
CONVENTIONS: tuple[Convention, ...] = ("cddfuse", "matlab", "zoo", "vifb")

_RGB2GRAY = (0.298936021293775, 0.587043074451121, 0.114020904255103)
"""MATLAB's: first row of the inverted NTSC matrix."""
_LUMA: Mapping[str, tuple[float, float, float]] = {
    "cddfuse": (0.299, 0.587, 0.114),
    "matlab": _RGB2GRAY,
    "vifb": _RGB2GRAY,
    "zoo": (19595 / 65536, 38470 / 65536, 7471 / 65536),  # Pillow's 'L'
}
EPS = 1e-10


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
        convention: sets the luma weights. 8-bit colour is rounded to whole levels (cddfuse: halves to even; the
            others: halves up), as the evaluators do; 16-bit colour is not rounded. Grey passes unchanged.

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
    if convention in ("matlab", "vifb"):
        return np.floor(x @ np.asarray((red, green, blue)) + 0.5)
    grey = np.zeros(x.shape[:2], np.float32)
    for channel, weight in ((1, green), (2, blue), (0, red)):  # OpenCV's: fused, single precision; decides the halves
        grey = (x[..., channel] * np.float64(np.float32(weight)) + grey).astype(np.float32)
    return np.rint(grey).astype(np.float64)


def to_planes(
    fused: Array, ir: Array | None, vis: Array | None, convention: Convention = "cddfuse"
) -> list[tuple[Array, Array | None, Array | None]]:
    """Images as stored -> the arrays that the convention's evaluator measures, one after the other.

    `vifb` measures red, green and blue of a coloured fused image by themselves, each against the same plane of the
    sources (a grey source: against that), and takes the mean of the three; all others measure once, in grey.

    Args:
        fused, ir, vis: uint8 or uint16 as of `to_grey`; a source may be missing.

    Returns:
        (fused, ir, vis), float64 (H, W) on the 0..255 scale: three of them, or one.
    """
    if convention != "vifb" or fused.ndim == 2 or fused.shape[2] == 1:
        grey = [None if x is None else to_grey(x, convention) for x in (fused, ir, vis)]
        return [(grey[0], *grey[1:])]  # type: ignore[list-item]
    split = [None if x is None else to_scale(x) for x in (fused, ir, vis)]
    planes = []
    for k in range(3):
        of = [x[..., k] if x is not None and x.ndim == 3 and x.shape[2] > 1 else x for x in split]
        planes.append(tuple(x[..., 0] if x is not None and x.ndim == 3 else x for x in of))
    return planes  # type: ignore[return-value]


def strips(height: int, halo: int = 0, rows: int = 32) -> Iterator[slice]:
    """Rows in strips whose intermediate results fit into the cache; neighbours share `2 * halo` rows."""
    for top in range(0, height - 2 * halo, rows):
        yield slice(top, min(top + rows + 2 * halo, height))


def nearest_levels(x: Array) -> Array:
    """The nearest of the 256 levels, for histograms."""
    return np.clip(np.rint(np.asarray(x)), 0, 255).astype(np.int64)


def stretched(x: Array) -> Array:
    """Stretched to 0..255 by the darkest and the brightest pixel and rounded, halves up; without contrast, zeros."""
    low, high = float(np.min(x)), float(np.max(x))
    return np.floor((x - low) / (high - low) * 255 + 0.5) if high > low else np.zeros_like(x)


def floats(*images: Any) -> list[Array]:
    return [np.asarray(x, np.float64) for x in images]


def divide(a: Any, b: Any) -> Any:
    """a / b; 0 / 0 is NaN, without a warning."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(a, b)
