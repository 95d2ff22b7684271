"""JPEG where Pillow does not do: files that lack the mark at their end, as some cameras write them."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import numpy as np

_TAIL = 1 << 16
"""Bytes at the end of a file in which its end mark has to stand; other data may follow it."""
_END_OF_IMAGE = b"\xff\xd9"
_FRAMES, _SCAN = (0xC0, 0xC1, 0xC2), 0xDA
_RESTARTS = tuple(bytes((0xFF, 0xD0 + i % 8)) for i in range(16))
_STUFFINGS = (b"", *(bits * 64 + b"".join(mark + bits * 64 for mark in _RESTARTS) for bits in (b"\xaa", b"\x55")))
"""What a decoder takes for pixel data where any is missing, behind whatever mark it waits for: nothing, and two in
which every bit differs."""


def jpeg_ends(file: BinaryIO) -> bool:
    """Whether there is an end mark behind the start of the pixels; notes before that may hold a whole thumbnail."""
    start = next((at for at, kind, _ in _segments(file) if kind == _SCAN), file.seek(0, os.SEEK_END))
    file.seek(max(start, file.seek(0, os.SEEK_END) - _TAIL))
    return _END_OF_IMAGE in file.read(_TAIL)


def completed_jpeg(file: BinaryIO) -> BinaryIO | None:
    """A file that lacks nothing but its end mark, with it; None if pixels are missing.

    A decoder fills up what is missing with whatever it comes upon. So the pixels are all there if they are the same
    whatever follows; and if the scans bring every coefficient of every channel to its last bit.
    """
    import numpy as np

    if jpeg_ends(file) or not _has_all_scans(file):
        return None
    file.seek(0)
    data = file.read().removesuffix(b"\xff")  # half of the mark
    try:
        plain, *others = (_pixels(data + each + _END_OF_IMAGE) for each in _STUFFINGS)
    except Exception:  # whatever Pillow raises at a damaged file
        return None
    return io.BytesIO(data + _END_OF_IMAGE) if all(np.array_equal(plain, x) for x in others) else None


def _pixels(data: bytes) -> np.ndarray:
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image)


def _segments(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """(place, kind, content) of each segment; what lies between scans is passed over."""
    end, at = file.seek(0, os.SEEK_END), 2
    while at < end:
        file.seek(at)
        mark = file.read(4)
        if len(mark) < 4 or mark[0] != 0xFF:
            return
        if mark[1] == 0xFF:
            at += 1
            continue
        length = int.from_bytes(mark[2:], "big")
        yield at, mark[1], file.read(max(length - 2, 0)) if mark[1] in (*_FRAMES, _SCAN) else b""
        at += 2 + length
        if mark[1] == _SCAN:
            at = _next_segment(file, at, end)


def _next_segment(file: BinaryIO, at: int, end: int) -> int:
    """Where the pixel data from here on is followed by another mark than those inside of it."""
    file.seek(at)
    data = file.read()
    place = data.find(b"\xff")
    while 0 <= place < len(data) - 1:
        if data[place + 1] not in (0, *range(0xD0, 0xD8)):
            return at + place
        place = data.find(b"\xff", place + 2)
    return end


def _has_all_scans(file: BinaryIO) -> bool:
    """Whether the scans of a JPEG, by their headers, hold all of its channels in full precision."""
    missing: dict[int, set[int]] | None = None
    progressive = False
    for _, kind, content in _segments(file):
        if kind in _FRAMES:
            progressive = kind == _FRAMES[-1]
            missing = {content[6 + 3 * i]: set(range(64)) for i in range(content[5])}
        elif kind == _SCAN and missing is not None:
            count = content[0]
            first, last, bits = struct.unpack("BBB", content[1 + 2 * count : 4 + 2 * count])
            if not progressive:
                first, last, bits = 0, 63, 0
            for i in range(count):
                if bits & 15 == 0:
                    missing[content[1 + 2 * i]] -= set(range(first, last + 1))
    return missing is not None and not any(missing.values())
