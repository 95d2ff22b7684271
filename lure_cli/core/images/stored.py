"""What the readers of each type of file give: its header alone, or its pixels as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Header:
    """A still image, as its file describes it.

    Attributes:
        width, height: in pixels, upright (EXIF orientation applied).
        channels: 1 for grey, 3 for colour (also of a palette or CMYK), without alpha.
        bits: a number, as stored: 1 to 64.
        numbers: what kind they are.
        alpha: whether there is a channel or colour for transparency (all of it may be opaque).
    """

    width: int
    height: int
    channels: Literal[1, 3]
    bits: int
    numbers: Literal["unsigned", "signed", "float"]
    alpha: bool


Georeference = dict[int, "tuple[float, ...] | str"]
"""Tags of a GeoTIFF -> their values. Empty: there is one, but it does not hold for the picture as it is given."""


class RawPicture(NamedTuple):
    """A still image, upright, as a format's own reader gives it.

    Attributes:
        pixels: (H, W) or (H, W, 1) grey, (H, W, 2) grey and alpha, (H, W, 3) RGB or (H, W, 4) RGB and alpha; any
            integer or float type, in any byte order.
        icc: the embedded colour profile; None for what was converted to sRGB on the way.
        exif: what is worth keeping, from `Exif\\0\\0` on, without an orientation to apply.
        georeference: where on earth the picture lies, of a GeoTIFF.
        nodata: the number that means "no data", if the file names one.
        white: the largest number that the file's depth allows, such as 4095 of 12 bits; None if it is the type's.
    """

    pixels: np.ndarray
    icc: bytes | None
    exif: bytes | None
    georeference: Georeference | None = None
    nodata: float | None = None
    white: int | None = None
