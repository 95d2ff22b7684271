"""The result: where each pixel of the visible image lies in the infrared one, and how an image is moved by it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np


Model = Literal["auto", "affine"]
"""What moves: a shift, rotation and uniform scale, or nothing; or any affine transform."""
MODELS: tuple[str, ...] = get_args(Model)
STILL = 0.0015
"""Share of the width below which a movement is within the error of the estimate and is taken for none."""
_ROUNDED = 1e-6
"""Pixels by which the edge of an image may be missed in computing."""
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Alignment:
    """Where each pixel of the visible grid lies in the infrared image.

    matrix: 2x3, row-major: (x, y) of a pixel centre of the visible grid -> (x, y) in the infrared image.
    size: (width, height) of the grid that it was estimated for.
    confidence: 0 to 1, how sure the estimate is: see `estimate`.
    source: (width, height) of the infrared image as it is filed, where that is not `size`.
    """

    matrix: tuple[float, float, float, float, float, float]
    size: tuple[int, int]
    confidence: float = 1.0
    source: tuple[int, int] | None = None

    @property
    def source_size(self) -> tuple[int, int]:
        """(width, height) of the infrared images that it takes."""
        return self.source or self.size

    def as_identity(self) -> Alignment:
        """The alignment that moves nothing, of the same size and confidence."""
        return replace(self, matrix=_IDENTITY)

    @classmethod
    def still(cls, size: tuple[int, int]) -> Alignment:
        """The alignment of a grid of this (width, height) that moves nothing."""
        return cls(_IDENTITY, size)

    def of_source(self, source: tuple[int, int]) -> Alignment:
        """The same, from an infrared image of (width, height) that would be resized to `source_size` first."""
        (a, b, c, d, e, f), (w, h) = self.matrix, self.source_size
        x, y = source[0] / w, source[1] / h
        matrix = (a * x, b * x, (c + 0.5) * x - 0.5, d * y, e * y, (f + 0.5) * y - 0.5)
        return replace(self, matrix=matrix, source=source)

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves at all."""
        return self.matrix == _IDENTITY and self.source_size == self.size

    @property
    def is_still(self) -> bool:
        """Whether it moves no further than an estimate errs: `STILL` of the width, at least half a pixel."""
        return self.moved <= max(0.5, STILL * self.size[0])

    @property
    def moved(self) -> float:
        """How far a pixel moves, in pixels: the mean over the frame."""
        import numpy as np

        (a, b, c, d, e, f), (w, h) = self.matrix, self.size
        x, y = np.meshgrid(np.linspace(0, w - 1, 21), np.linspace(0, h - 1, 21))
        return float(np.hypot(a * x + b * y + c - x, d * x + e * y + f - y).mean())

    @property
    def shift(self) -> tuple[float, float]:
        """How far the centre of the frame moves, (dx, dy) in pixels."""
        (a, b, c, d, e, f), (w, h) = self.matrix, self.size
        x, y = (w - 1) / 2, (h - 1) / 2
        return a * x + b * y + c - x, d * x + e * y + f - y

    @property
    def rotation(self) -> float:
        """Degrees, positive from the x axis (right) towards the y axis (down)."""
        a, b, _, d, e, _ = self.matrix
        return math.degrees(math.atan2(d - b, a + e))

    @property
    def scale(self) -> float:
        """Factor; of an affine transform the square root of how an area grows."""
        a, b, _, d, e, _ = self.matrix
        return math.sqrt(abs(a * e - b * d))

    def record(self) -> dict[str, Any]:
        """As it is written to a transform file: `matrix` (2x3), `size` (width, height), `moved` (pixels), `shift`
        (dx, dy of the centre in pixels), `rotation` (degrees), `scale` (factor), `confidence` (0 to 1)."""
        a, b, c, d, e, f = self.matrix
        return {
            "matrix": [[a, b, c], [d, e, f]],
            "size": list(self.size),
            "moved": self.moved,
            "shift": list(self.shift),
            "rotation": self.rotation,
            "scale": self.scale,
            "confidence": self.confidence,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Alignment:
        """From what `record` gave; only `matrix` and `size` must be there, the rest follows from them.

        Raises:
            KeyError, TypeError, ValueError: it is no such record.
        """
        (a, b, c), (d, e, f) = ((float(v) for v in row) for row in record["matrix"])
        width, height = (int(v) for v in record["size"])
        confidence = float(record.get("confidence", 1.0))
        if not all(map(math.isfinite, (a, b, c, d, e, f, confidence))) or a * e - b * d <= 0 or min(width, height) < 1:
            raise ValueError("not a transform of the plane")
        return cls((a, b, c, d, e, f), (width, height), confidence)


def warp(x: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Resample an infrared image onto the visible grid, by cubic splines.

    Args:
        x: float32 (H, W, C) in [0, 1], of the alignment's `source_size`.

    Returns:
        float32 (H, W, C) in [0, 1] of its `size`; beyond the infrared image its edge is repeated. An alignment that
        moves nothing returns x as it is.

    Raises:
        LureError: x has another size than the alignment was estimated for.
    """
    import numpy as np

    _check_size(x, alignment)
    if alignment.is_identity:
        return x
    planes = [_resample(x[..., i], alignment, order=3, mode="nearest") for i in range(x.shape[2])]
    warped: np.ndarray = np.clip(np.stack(planes, 2), 0, 1, dtype=np.float32)
    return warped


def warp_values(values: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Resample measured values (temperatures) onto the visible grid, bilinearly, so that none is invented.

    Args:
        values: float32 (H, W) of the alignment's `source_size`, NaN where nothing was measured.

    Returns:
        float32 (H, W) of its `size`; NaN beyond the edges of the infrared image's outermost pixels, and where one of
        those that a value is made from is NaN.

    Raises:
        LureError: as `warp`.
    """
    import numpy as np

    _check_size(values, alignment)
    if alignment.is_identity:
        return values
    known = np.isfinite(values)
    if not known.all():
        # A NaN would also spoil those neighbours that have no part of it.
        values = np.where(known, values, np.float32(0))
        known = _resample(known.astype(np.float32), alignment, order=1, mode="nearest") > 0.9999
    else:
        known = np.ones(alignment.size[::-1], bool)
    (a, b, c, d, e, f), (w, h) = alignment.matrix, alignment.source_size
    y, x = np.ogrid[: alignment.size[1], : alignment.size[0]]
    for at, most in ((a * x + b * y + c, w - 0.5), (d * x + e * y + f, h - 0.5)):
        known &= (at >= -0.5 - _ROUNDED) & (at <= most + _ROUNDED)
    warped: np.ndarray = _resample(values, alignment, order=1, mode="nearest").astype(np.float32)
    warped[~known] = np.nan
    return warped


def _check_size(x: np.ndarray, alignment: Alignment) -> None:
    if x.shape[1::-1] != alignment.source_size:
        (w, h), (wa, ha) = x.shape[1::-1], alignment.source_size
        raise LureError(
            f"the image is {w}x{h}, but the transform was estimated for {wa}x{ha}", "estimate it for this size"
        )


def _resample(plane: np.ndarray, alignment: Alignment, **how: Any) -> np.ndarray:
    from scipy.ndimage import affine_transform

    a, b, c, d, e, f = alignment.matrix
    resampled: np.ndarray = affine_transform(plane, [[e, d], [b, a]], [f, c], output_shape=alignment.size[::-1], **how)
    return resampled


def resize(x: np.ndarray, width: int, height: int) -> np.ndarray:
    """Bring an image (H, W, C), float32 in [0, 1], to another size: (height, width, C), bicubic, antialiased."""
    import numpy as np
    from PIL import Image

    planes = [np.ascontiguousarray(x[..., i]) for i in range(x.shape[2])]
    resized = [np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BICUBIC)) for p in planes]
    return np.clip(np.stack(resized, 2), 0, 1)


def require_simpleitk() -> Any:
    """The SimpleITK module; LureError with what to install where it is missing."""
    try:
        import SimpleITK
    except ImportError as error:
        raise LureError("aligning needs SimpleITK, which is not installed", 'pip install "lure-cli[align]"') from error
    return SimpleITK


def describe(alignment: Alignment) -> str:
    """For a person: 'moved 12.3 px (shift 11.9, -3.1; rotation 0.8 degrees; scale 1.010), confidence 0.93'."""
    dx, dy = alignment.shift
    return (
        f"moved {alignment.moved:.1f} px (shift {dx:.1f}, {dy:.1f}; rotation {alignment.rotation:.1f} degrees; "
        f"scale {alignment.scale:.3f}), confidence {alignment.confidence:.2f}"
    )
