"""The result: where each pixel of the visible image lies in the infrared one, and how an image is moved by it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
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
_SHRUNK = 1.5
"""Infrared pixels to a pixel of the visible grid from which on the infrared is blurred first, or it would alias."""
BEYOND = 0.02
"""Share of the picture beyond the infrared's edge up to which that edge is repeated."""
WIDEST = 32.0
"""How many times larger or smaller than in the visible view things may be in the infrared's, if it is to be a rig."""
SEAM = 0.06
"""Width of the seam between an infrared image and what lies around it, inside the infrared, as a share of its width."""

Matrix = tuple[float, float, float, float, float, float]
Size = tuple[int, int]


@dataclass(frozen=True)
class Alignment:
    """Where each pixel of the visible grid lies in the infrared image: one transform from the one to the other.

    matrix: 2x3, row-major: (x, y) of a pixel centre of the visible grid -> (x, y) in the infrared image.
    size: (width, height) of the grid that it was estimated for.
    confidence: 0 to 1, how sure the estimate is: see `estimate`.
    source: (width, height) of the infrared image as it is filed, where that is not `size`.
    distortion: (k1, k2): what the matrix gives is then moved away from the centre of the infrared image by the factor
        1 + k1 r^2 + k2 r^4, r being the distance from there over half the diagonal (Brown, 1966). It is the difference
        between what the two lenses do.
    """

    matrix: Matrix
    size: Size
    confidence: float = 1.0
    source: Size | None = None
    distortion: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def stretched(cls, source: Size, size: Size) -> Alignment:
        """That of an infrared image of another size that shows the same view: it is resized."""
        x, y = source[0] / size[0], source[1] / size[1]
        if source == size:
            return cls(_IDENTITY, size)
        return cls((x, 0.0, x / 2 - 0.5, 0.0, y, y / 2 - 0.5), size, source=source)

    @property
    def source_size(self) -> Size:
        """(width, height) of the infrared images that it takes."""
        return self.source or self.size

    def as_identity(self) -> Alignment:
        """The alignment that moves nothing (but resizes), of the same sizes and confidence."""
        return replace(Alignment.stretched(self.source_size, self.size), confidence=self.confidence)

    def after(self, first: Alignment) -> Alignment:
        """`first`, which leads from a grid to this one's grid, and then this one, as one; the confidence is that of
        `first`."""
        import numpy as np

        one, two = (np.vstack([np.reshape(m, (2, 3)), (0, 0, 1)]) for m in (first.matrix, self.matrix))
        a, b, c, d, e, f = (float(v) for v in (two @ one)[:2].ravel())
        source = None if self.source_size == first.size else self.source_size
        return Alignment((a, b, c, d, e, f), first.size, first.confidence, source, self.distortion)

    def fitted(self, source: Size, size: Size) -> Alignment:
        """The same for images of other sizes, each of the proportions of what it was estimated for (to a pixel): those
        of the same cameras at another resolution.

        Raises:
            LureError: other proportions.
        """
        if (source, size) == (self.source_size, self.size):
            return self
        for kind, other, own in (("infrared", source, self.source_size), ("visible", size, self.size)):
            if abs(other[0] * own[1] - other[1] * own[0]) > max(*other, *own):
                raise LureError(
                    f"the {kind} image is {other[0]}x{other[1]}, but the transform was estimated for {own[0]}x{own[1]}",
                    "estimate it for this size; a transform fits other sizes of the same proportions alone",
                )
        to_grid, to_source = Alignment.stretched(self.size, size), Alignment.stretched(source, self.source_size)
        scaled = to_source.after(self.after(to_grid))
        return replace(scaled, confidence=self.confidence, distortion=self.distortion)

    def lead(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where points of the visible grid lie in the infrared image: (x, y), in its pixels."""
        import numpy as np

        a, b, c, d, e, f = self.matrix
        x, y = a * x + b * y + c, d * x + e * y + f
        if any(self.distortion):
            w, h = self.source_size
            x0, y0, (k1, k2) = (w - 1) / 2, (h - 1) / 2, self.distortion
            square = 4 * ((x - x0) ** 2 + (y - y0) ** 2) / (w * w + h * h)
            # Beyond the corners of the image nothing is known, and a polynomial may turn back there.
            square = np.minimum(square, 1.0)
            factor = 1 + k1 * square + k2 * square**2
            x, y = x0 + (x - x0) * factor, y0 + (y - y0) * factor
        return x, y

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves at all."""
        return self.matrix == _IDENTITY and self.source_size == self.size and not any(self.distortion)

    @property
    def is_still(self) -> bool:
        """Whether it moves no further than an estimate errs: `STILL` of the width, at least half a pixel."""
        return self.moved <= max(0.5, STILL * self.size[0])

    @property
    def moved(self) -> float:
        """How far a pixel moves, in pixels of the visible grid: the mean over the frame. As `shift`, `rotation` and
        `scale` it is what happens beside the resizing of an infrared image of another size."""
        import numpy as np

        (w, h), (ws, hs) = self.size, self.source_size
        x, y = np.meshgrid(np.linspace(0, w - 1, 21), np.linspace(0, h - 1, 21))
        (u, v), across, down = self.lead(x, y), w / ws, h / hs
        return float(np.hypot(u * across + (across / 2 - 0.5) - x, v * down + (down / 2 - 0.5) - y).mean())

    @property
    def _in_grid(self) -> Matrix:
        """The matrix, in pixels of the visible grid on both sides."""
        (a, b, c, d, e, f), (w, h), (ws, hs) = self.matrix, self.size, self.source_size
        x, y = w / ws, h / hs
        return a * x, b * x, c * x + (x / 2 - 0.5), d * y, e * y, f * y + (y / 2 - 0.5)

    @property
    def _stretches(self) -> tuple[float, float]:
        """The least and the largest factor by which lengths change, beside the resizing."""
        a, b, _, d, e, _ = self._in_grid
        one, other = math.hypot(a + e, d - b) / 2, math.hypot(a - e, d + b) / 2
        return abs(one - other), one + other

    @property
    def overlaps(self) -> bool:
        """Whether the infrared image shows any of the visible grid."""
        import numpy as np

        (w, h), (ws, hs) = self.size, self.source_size
        x, y = self.lead(*np.meshgrid(np.linspace(0, w - 1, 129), np.linspace(0, h - 1, 129)))
        return bool(((x >= 0) & (x <= ws - 1) & (y >= 0) & (y <= hs - 1)).any())

    @property
    def shift(self) -> tuple[float, float]:
        """How far the centre of the frame moves, (dx, dy) in pixels."""
        (a, b, c, d, e, f), (w, h) = self._in_grid, self.size
        x, y = (w - 1) / 2, (h - 1) / 2
        return a * x + b * y + c - x, d * x + e * y + f - y

    @property
    def rotation(self) -> float:
        """Degrees, positive from the x axis (right) towards the y axis (down)."""
        a, b, _, d, e, _ = self._in_grid
        return math.degrees(math.atan2(d - b, a + e))

    @property
    def scale(self) -> float:
        """Factor; of an affine transform the square root of how an area grows."""
        a, b, _, d, e, _ = self._in_grid
        return math.sqrt(abs(a * e - b * d))

    def record(self) -> dict[str, Any]:
        """As it is written to a transform file: `matrix` (2x3), `size` and `source` (width, height), `distortion` (k1,
        k2), `moved` (pixels), `shift` (dx, dy of the centre in pixels), `rotation` (degrees), `scale` (factor),
        `confidence` (0 to 1)."""
        a, b, c, d, e, f = self.matrix
        return {
            "matrix": [[a, b, c], [d, e, f]],
            "size": list(self.size),
            "source": list(self.source_size),
            "distortion": list(self.distortion),
            "moved": self.moved,
            "shift": list(self.shift),
            "rotation": self.rotation,
            "scale": self.scale,
            "confidence": self.confidence,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Alignment:
        """From what `record` gave; only `matrix` and `size` must be there.

        Raises:
            KeyError, TypeError, ValueError: it is no such record.
        """
        (a, b, c), (d, e, f) = ((float(v) for v in row) for row in record["matrix"])
        width, height = (_whole(v) for v in record["size"])
        source_width, source_height = (_whole(v) for v in record.get("source", record["size"]))
        k1, k2 = (float(v) for v in record.get("distortion", (0, 0)))
        confidence = float(record.get("confidence", 1.0))
        if not all(map(math.isfinite, (a, b, c, d, e, f, k1, k2))) or not a * e - b * d > 0:
            raise ValueError("not a transform of the plane")
        if not 0 <= confidence <= 1:
            raise ValueError("not a confidence")
        if not is_lens(k1, k2):
            raise ValueError("not a distortion of a lens")
        source = None if (source_width, source_height) == (width, height) else (source_width, source_height)
        alignment = cls((a, b, c, d, e, f), (width, height), confidence, source, (k1, k2))
        least, most = alignment._stretches
        if not 1 / WIDEST <= least <= most <= WIDEST:
            raise ValueError("it makes the infrared image a speck, or spreads it beyond all measure")
        if not alignment.overlaps:
            raise ValueError("it lays the infrared image beside the visible one")
        return alignment


def _whole(value: Any) -> int:
    """A side of an image, as JSON has it."""
    if type(value) is not int or not 1 <= value <= 1 << 20:
        raise ValueError("not a size")
    return value


def is_lens(k1: float, k2: float) -> bool:
    """Whether a lens may distort like that: what lies further out is shown further out."""
    return all(1 + 3 * k1 * r**2 + 5 * k2 * r**4 > 0 for r in (i / 32 for i in range(33)))


def warp(x: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Resample an infrared image onto the visible grid, by cubic splines; one that shrinks is blurred first.

    Args:
        x: float32 (H, W, C) in [0, 1], of the alignment's `source_size`.

    Returns:
        float32 (H, W, C) in [0, 1] of its `size`; beyond the infrared image its edge is repeated (see `inside`). An
        alignment that moves nothing returns x as it is.

    Raises:
        LureError: x has another size than the alignment was estimated for.
    """
    _check_size(x, alignment)
    if alignment.is_identity:
        return x
    import numpy as np
    from scipy.ndimage import gaussian_filter

    a, b, _, d, e, _ = alignment.matrix
    shrinks = [math.hypot(d, e), math.hypot(a, b)]  # along y, along x
    sigma = [(s - 1) / 2 if s > _SHRUNK else 0.0 for s in shrinks]
    planes = []
    for i in range(x.shape[2]):
        plane = gaussian_filter(x[..., i], sigma, mode="nearest") if any(sigma) else x[..., i]
        planes.append(_resample(plane, alignment, order=3))
    warped: np.ndarray = np.clip(np.stack(planes, 2), 0, 1, dtype=np.float32)
    return warped


def lay(x: np.ndarray, luma: np.ndarray, alignment: Alignment) -> np.ndarray:
    """As `warp`, for fusion: where more than `BEYOND` of the picture lies beyond the infrared's edge, where nothing is
    measured, the visible image's own luma stands in the infrared, so that the result is the visible image there.

    Args:
        x: see there, of one channel.
        luma: that of the visible image, float32 (H, W, 1) in [0, 1], of the alignment's `size`.
    """
    warped, seen = warp(x, alignment), shown(alignment)
    if seen is None:
        return warped
    laid: np.ndarray = seen * warped + (1 - seen) * luma
    return laid


def beyond(alignment: Alignment) -> float:
    """The share of the picture where `lay` lets the visible image stand alone."""
    seen = shown(alignment)
    return 0.0 if seen is None else float((seen == 0).mean())


@lru_cache(maxsize=2)
def shown(alignment: Alignment) -> np.ndarray | None:
    """How far each pixel of the grid counts as seen by the infrared, float32 (H, W, 1): 1 inside, 0 outside, in between
    in the seam; None where (almost) all of it is inside."""
    if alignment.is_identity:
        return None
    import numpy as np
    from scipy.ndimage import distance_transform_edt

    seen = inside(alignment)
    if 1 - seen.mean() <= BEYOND:
        return None
    a, b, _, d, e, _ = alignment.matrix
    seam = SEAM * alignment.source_size[0] / math.sqrt(abs(a * e - b * d))  # in pixels of the grid
    part: np.ndarray = np.clip(distance_transform_edt(seen) / seam, 0, 1).astype(np.float32)[..., None]
    return part


def warp_values(values: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Resample measured values (temperatures) onto the visible grid, bilinearly, so that none is invented.

    Args:
        values: float32 (H, W) of the alignment's `source_size`, NaN where nothing was measured.

    Returns:
        float32 (H, W) of its `size`; NaN beyond the edges of the infrared image (see `inside`), and where one of those
        that a value is made from is NaN.

    Raises:
        LureError: as `warp`.
    """
    import numpy as np

    _check_size(values, alignment)
    if alignment.is_identity:
        return values
    known = np.isfinite(values)
    if known.all():
        known = inside(alignment)
    else:  # a NaN would also spoil those neighbours that have no part of it
        values = np.where(known, values, np.float32(0))
        known = (_resample(known.astype(np.float32), alignment, order=1) > 0.9999) & inside(alignment)
    warped = _resample(values, alignment, order=1).astype(np.float32)
    warped[~known] = np.nan
    return warped


def nearest_values(values: np.ndarray, alignment: Alignment) -> np.ndarray:
    """As `warp_values`, but each pixel has the value of the one that is nearest to it, as it was measured."""
    import numpy as np

    _check_size(values, alignment)
    if alignment.is_identity:
        return values
    nearest = _resample(values, alignment, order=0)
    nearest[~inside(alignment)] = np.nan
    return nearest


@lru_cache(maxsize=2)
def inside(alignment: Alignment) -> np.ndarray:
    """Which pixels of the visible grid the infrared image shows: bool (H, W), not to be written to."""
    import numpy as np

    (w, h), (ws, hs) = alignment.size, alignment.source_size
    x, y = alignment.lead(np.arange(w)[None, :], np.arange(h)[:, None])
    least, right, bottom = -0.5 - _ROUNDED, ws - 0.5 + _ROUNDED, hs - 0.5 + _ROUNDED
    within: np.ndarray = (x >= least) & (x <= right) & (y >= least) & (y <= bottom)
    within.flags.writeable = False
    return within


def _check_size(x: np.ndarray, alignment: Alignment) -> None:
    if x.shape[1::-1] != alignment.source_size:
        (w, h), (wa, ha) = x.shape[1::-1], alignment.source_size
        raise LureError(
            f"the image is {w}x{h}, but the transform was estimated for {wa}x{ha}", "estimate it for this size"
        )


def _resample(plane: np.ndarray, alignment: Alignment, order: int) -> np.ndarray:
    """A plane (H, W) of the source -> the grid, by splines; the edge is repeated."""
    import numpy as np
    from scipy.ndimage import affine_transform, map_coordinates

    w, h = alignment.size
    if any(alignment.distortion):
        x, y = alignment.lead(*np.meshgrid(np.arange(w), np.arange(h)))
        bent: np.ndarray = map_coordinates(plane, [y, x], order=order, mode="nearest")
        return bent
    a, b, c, d, e, f = alignment.matrix
    straight: np.ndarray = affine_transform(
        plane, [[e, d], [b, a]], [f, c], output_shape=(h, w), order=order, mode="nearest"
    )
    return straight


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
    bent = ""
    if any(alignment.distortion):
        k1, k2 = alignment.distortion
        bent = f"; distortion {k1:.4f}, {k2:.4f}"
    return (
        f"moved {alignment.moved:.1f} px (shift {dx:.1f}, {dy:.1f}; rotation {alignment.rotation:.1f} degrees; "
        f"scale {alignment.scale:.3f}{bent}), confidence {alignment.confidence:.2f}"
    )
