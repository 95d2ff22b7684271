"""EXIF: what of it is kept, and which way up a picture stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


ORIENTATION, ICC, _EXIF_IFD, _GPS_IFD = 274, 34675, 34665, 34853
# Description, make, model, software, time, artist, computer, copyright, and Windows' own five: what still holds of a
# picture made from this one. Not the thumbnail, sizes, or how the pixels were stored.
_EXIF_KEPT = (270, 271, 272, 305, 306, 315, 316, 33432, *range(40091, 40096))
_EXIF_DROPPED = (37500, 40962, 40963, 40965)  # maker's note (its offsets break), width, height, interoperability


def exif_to_keep(found: Image.Exif) -> bytes | None:
    """What `_EXIF_KEPT` names, the details of the exposure and the place, for upright pixels; None if there is none."""
    from PIL import Image

    kept = Image.Exif()
    for tag in _EXIF_KEPT:
        if tag in found:
            value = found[tag]
            # Read as Latin-1, whatever it is, but written as ASCII.
            kept[tag] = value.encode("latin-1") if isinstance(value, str) else value
    for ifd in (_EXIF_IFD, _GPS_IFD):
        values = {tag: value for tag, value in found.get_ifd(ifd).items() if tag not in _EXIF_DROPPED}
        if values:
            kept[ifd] = values
    if not len(kept):
        return None
    kept[ORIENTATION] = 1
    return kept.tobytes()


def upright(pixels: np.ndarray, orientation: object) -> np.ndarray:
    """Apply an EXIF or TIFF orientation, 1..8; any other value counts as 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
