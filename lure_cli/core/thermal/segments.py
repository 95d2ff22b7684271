"""The application segments of a JPEG, where cameras put what is no picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

APP0, APP15 = 0xE0, 0xEF
EXIF = b"Exif\0\0"
_SCAN, _END = 0xDA, 0xD9


def app_segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(number, content) of each APP segment that stands before the pixels; none of a file that is no JPEG."""
    file.seek(0)
    if file.read(2) != b"\xff\xd8":
        return
    while len(mark := file.read(4)) == 4 and mark[0] == 0xFF and mark[1] not in (_SCAN, _END):
        if mark[1] == 0xFF:  # filling
            file.seek(-3, 1)
            continue
        length = max(int.from_bytes(mark[2:], "big") - 2, 0)
        if APP0 <= mark[1] <= APP15:
            yield mark[1] - APP0, file.read(length)
        else:
            file.seek(length, 1)
