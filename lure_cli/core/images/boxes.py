"""The boxes that files of the ISO base media family (HEIF, AVIF) and JPEG XL and JPEG 2000 are made of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO


def boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start of the content, end) of each box of a file; the end of one that is cut short lies behind the
    file's."""
    size, at = file.seek(0, os.SEEK_END), 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        length, kind, start = int.from_bytes(head[:4], "big"), head[4:8], at + 8
        if length == 1:
            length, start = int.from_bytes(head[8:], "big"), at + 16
        if length == 0:  # up to the end
            length = size - at
        yield kind, start, at + length if length >= start - at else size + 1
        if length < start - at:
            return
        at += length
