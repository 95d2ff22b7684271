"""HEIF and HEIC, which pi-heif decodes: an extra, as the library that its wheels bring along (libheif, with libde265)
is under the LGPL; pillow-heif's wheels hold an encoder under the GPL too."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from lure_cli.core.images.exif import exif_to_keep
from lure_cli.core.images.guards import CONVERT, check_size
from lure_cli.core.images.stored import Header, RawPicture
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np


def _open(file: BinaryIO, max_pixels: int) -> Any:
    """The main image; no pixel is decoded. Raises as `decode_heif`."""
    try:
        import pi_heif
    except ImportError as error:
        raise LureError("HEIF files need the package pi-heif", 'pip install "lure-cli[heif]"') from error
    file.seek(0)
    heif = pi_heif.open_heif(file, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    width, height = heif.size
    check_size(width, height, max_pixels)
    return heif


def heif_header(file: BinaryIO, max_pixels: int) -> Header:
    """The header of a HEIF file. Raises as `decode_heif`."""
    heif = _open(file, max_pixels)
    grey = heif.mode.startswith("L")
    width, height = heif.size
    return Header(width, height, 1 if grey else 3, heif.info.get("bit_depth", 8), "unsigned", heif.has_alpha)


def decode_heif(file: BinaryIO, max_pixels: int) -> RawPicture:
    """Decode the main image of a HEIF file, upright; numbers of more than 8 bits are kept.

    Raises:
        LureError: too large, or the package is missing.
        Exception: whatever the decoder raises at a damaged file.
    """
    import numpy as np
    from PIL import Image

    heif = _open(file, max_pixels)
    pixels: np.ndarray = np.array(heif)  # copied: the decoder's own memory goes with it
    if heif.premultiplied_alpha:
        raise LureError("HEIF whose colours are multiplied by their opacity", CONVERT)
    notes = None
    with suppress(Exception):  # the pixels are there; a damaged note does not spoil them
        exif = Image.Exif()
        exif.load(heif.info["exif"])
        notes = exif_to_keep(exif)
    white = (1 << heif.info["bit_depth"]) - 1
    return RawPicture(pixels, heif.info.get("icc_profile"), notes, white=None if white == 255 else white)
