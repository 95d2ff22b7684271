"""What the header of an image file says, without decoding its pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from lure_cli.core.images.ends import is_whole
from lure_cli.core.images.formats import HEIF, JPEG, JPEGXL, PNM, TIFF, identify
from lure_cli.core.images.guards import EXPORT_AGAIN, MAX_PIXELS, name_errors, open_image, refuse_damage
from lure_cli.core.images.heif import heif_header
from lure_cli.core.images.jpegxl import jpegxl_header
from lure_cli.core.images.pillow import pillow_header
from lure_cli.core.images.pnm import pnm_header
from lure_cli.core.images.stored import Header
from lure_cli.core.images.tiff import tiff_header
from lure_cli.core.thermal.flir import sizes
from lure_cli.errors import LureError

_READERS: dict[str, Callable[[BinaryIO, int], Header]] = {
    TIFF.name: tiff_header,
    PNM.name: pnm_header,
    HEIF.name: heif_header,
    JPEGXL.name: jpegxl_header,
}
"""Of the types that Pillow does not open."""


def read_header(path: Path, max_pixels: int = MAX_PIXELS) -> Header:
    """Read the header of an image file as `read_picture` takes it; nothing is decoded.

    That the file is whole is told by its structure (`ends.is_whole`). Damage inside the pixel data shows only when they
    are decoded. A radiometric file is described as what it measures, not as its rendering.

    Raises:
        LureError: missing, no image, cut short, too large, several frames, or numbers that are not understood.
    """
    with name_errors(path), refuse_damage("damaged or cut short"), open_image(path) as file:
        file_format = identify(file)
        if file_format is JPEG and (inside := sizes(file)) is not None:
            return Header(*inside.raw, 1, 32, "float", False)
        reader = _READERS.get(file_format.name)
        header = reader(file, max_pixels) if reader else pillow_header(file, file_format, max_pixels)
        if not is_whole(file, file_format):
            raise LureError("the file is cut short", EXPORT_AGAIN)
    return header
