"""Whether a file ends before its content does, as its structure tells without decoding."""

from __future__ import annotations

import os
from typing import BinaryIO

from lure_cli.core.images.bmp import bmp_ends
from lure_cli.core.images.boxes import boxes
from lure_cli.core.images.formats import AVIF, BMP, GIF, HEIF, JPEG, JPEGXL, PNG, PNM, TIFF, WEBP, Format
from lure_cli.core.images.jpeg import completed_jpeg, jpeg_ends
from lure_cli.core.images.jpegxl import is_bare
from lure_cli.core.images.png import png_ends

_TAIL = 1 << 16
"""Bytes at the end of a JPEG 2000 file in which its end has to stand; other data may follow it."""
_END_OF_CODESTREAM = b"\xff\xd9"


def is_whole(file: BinaryIO, file_format: Format) -> bool:
    """Look for the last chunk of a PNG, the end mark of a JPEG or JPEG 2000, the last byte of a GIF, the length that
    WebP names, that of a BMP's rows, the boxes of AVIF, HEIF and JPEG XL. A JPEG that lacks its end mark is decoded.

    Of a TIFF, whose parts lie anywhere, `tiff.check_segments` tells, of a PNM `pnm.pnm_header`; here they count as
    whole, and so does a JPEG XL without boxes.
    """
    if file_format in (TIFF, PNM):
        return True
    if file_format is PNG:
        return png_ends(file)
    if file_format is JPEG:
        return jpeg_ends(file) or completed_jpeg(file) is not None
    if file_format is BMP:
        return bmp_ends(file)
    size = file.seek(0, os.SEEK_END)
    if file_format in (AVIF, HEIF, JPEGXL):
        return (file_format is JPEGXL and is_bare(file)) or all(end <= size for _, _, end in boxes(file))
    if file_format is WEBP:
        file.seek(4)
        return int.from_bytes(file.read(4), "little") + 8 <= size
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    return tail.rstrip(b"\0").endswith(b";") if file_format is GIF else _END_OF_CODESTREAM in tail
