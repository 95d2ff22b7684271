"""Checks of untrusted files before memory is taken for them."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lure_cli.errors import LureError

EXPORT_AGAIN = "copy or export the file again and check that an image viewer opens it"
CONVERT = "convert it to 8-bit or 16-bit unsigned grey or RGB"


_PILLOW = threading.Lock()


def webp_size(head: bytes) -> tuple[int, int]:
    """Width and height, from the first 32 bytes of a WebP file."""
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        size = int.from_bytes(head[21:25], "little")
        return (size & 0x3FFF) + 1, (size >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def check_header(width: int, height: int, frames: int, max_pixels: int) -> None:
    """Refuse what no still image of a bearable size is.

    Raises:
        LureError: no pixels, more than `max_pixels`, or several frames.
    """
    if width * height == 0:
        raise LureError("has no pixels", EXPORT_AGAIN)
    if width * height > max_pixels:
        raise LureError(f"{width} x {height} is over the limit of {max_pixels} pixels", "crop or shrink the image")
    if frames > 1:
        raise LureError(f"holds {frames} frames or pages", "save the one frame that is meant as its own file")


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Without warnings about damage, which are errors of ours or of no matter, and without Pillow's pixel limit, which
    is looked at when a file is opened; `max_pixels` rules instead. Both are global: one thread at a time."""
    from PIL import Image

    with _PILLOW, warnings.catch_warnings(action="ignore"):
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
