"""EXIF: which way up a picture stands, and what of its notes is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


ORIENTATION, ICC = 274, 34675
TEXTS = (270, 271, 272, 305, 306, 315, 316, 33432)
"""Tags of description, make, model, software, time, artist, computer, copyright."""
_WINDOWS_TEXTS = range(40091, 40096)
_EXIF_IFD, _GPS_IFD = 34665, 34853
_DROPPED = (37500, 40962, 40963, 40965)  # maker's note (its offsets break), width, height, interoperability


def exif_to_keep(exif: Image.Exif) -> bytes | None:
    """What still holds of a picture made from this one, for upright pixels: the texts, the details of the exposure and
    the place. Not the thumbnail, sizes, or how the pixels were stored. None if there is nothing."""
    from PIL import Image

    kept = Image.Exif()
    for tag in (*TEXTS, *_WINDOWS_TEXTS):
        if tag in exif:
            value = exif[tag]
            # Read as Latin-1, whatever it is, but written as ASCII.
            kept[tag] = value.encode("latin-1") if isinstance(value, str) else value
    for ifd in (_EXIF_IFD, _GPS_IFD):
        values = {tag: value for tag, value in exif.get_ifd(ifd).items() if tag not in _DROPPED}
        if values:
            kept[ifd] = values
    if not len(kept):
        return None
    kept[ORIENTATION] = 1
    return kept.tobytes()


def swaps_sides(orientation: object) -> bool:
    """Whether width and height change places by an EXIF or TIFF orientation."""
    return orientation in (5, 6, 7, 8)


def upright(pixels: np.ndarray, orientation: object) -> np.ndarray:
    """Apply an EXIF or TIFF orientation, 1..8; any other value counts as 1."""
    if swaps_sides(orientation):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
