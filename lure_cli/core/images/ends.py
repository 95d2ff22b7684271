"""Whether a file ends before its content does, as its structure tells without decoding."""

from __future__ import annotations

import os
from typing import BinaryIO

from lure_cli.core.images.formats import BMP, JPEG, PNG, TIFF, WEBP, Format
from lure_cli.core.images.png import png_ends

_TAIL = 1 << 16
"""Bytes at the end of a JPEG or JPEG 2000 file in which its end has to stand; other data may follow it."""
_END_OF_IMAGE = b"\xff\xd9"


def is_whole(file: BinaryIO, file_format: Format) -> bool:
    """Look for the last chunk of a PNG, the end mark of a JPEG or JPEG 2000, the length that WebP and BMP name.

    Of a TIFF, whose parts lie anywhere, `tiff.check_segments` tells; here it counts as whole.
    """
    if file_format is TIFF:
        return True
    if file_format is PNG:
        return png_ends(file)
    size = file.seek(0, os.SEEK_END)
    if file_format in (WEBP, BMP):
        file.seek(0)
        head = file.read(8)
        length = int.from_bytes(head[4:8], "little") + 8 if file_format is WEBP else int.from_bytes(head[2:6], "little")
        return length <= size
    start = _scan_start(file) if file_format is JPEG else 0
    file.seek(max(start, size - _TAIL))
    return _END_OF_IMAGE in file.read(_TAIL)


def _scan_start(file: BinaryIO) -> int:
    """Where the pixels of a JPEG start, behind its notes, which may hold a whole thumbnail; its end if nowhere."""
    at = 2
    while True:
        file.seek(at)
        mark = file.read(4)
        if len(mark) < 4 or mark[0] != 0xFF:
            return file.seek(0, os.SEEK_END)
        if mark[1] == 0xDA:
            return at
        at += 1 if mark[1] == 0xFF else 2 + int.from_bytes(mark[2:], "big")
