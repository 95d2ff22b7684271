"""What the header of an image file says, without decoding its pixels."""

from __future__ import annotations

import logging
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from lure_cli.core.images.decode import FORMATS
from lure_cli.core.images.deep import J2K_MAGIC, JP2_MAGIC, PNG_MAGIC, check_jpeg2000
from lure_cli.core.images.exif import ORIENTATION
from lure_cli.core.images.guards import EXPORT_AGAIN, check_header, quiet_pillow, webp_size
from lure_cli.core.images.picture import MAX_PIXELS, open_image
from lure_cli.core.images.tiff import TIFF_MAGIC, check_layout, check_segments
from lure_cli.errors import LureError

_TAIL = 1 << 16
"""Bytes at the end of a JPEG or JPEG 2000 file in which its end has to stand; other data may follow it."""
_PALETTE, _CMYK = 3, 5


@dataclass(frozen=True)
class Header:
    """A still image, as its file describes it.

    Attributes:
        width, height: in pixels, upright (EXIF orientation applied).
        channels: 1 for grey, 3 for colour (also of a palette or CMYK), without alpha.
        bits: a number, as stored: 1 to 64.
        numbers: what kind they are.
        alpha: whether there is a channel or colour for transparency (all of it may be opaque).
    """

    width: int
    height: int
    channels: Literal[1, 3]
    bits: int
    numbers: Literal["unsigned", "signed", "float"]
    alpha: bool


def read_header(path: Path, max_pixels: int = MAX_PIXELS) -> Header:
    """Read the header of an image file as `read_picture` takes it; nothing is decoded.

    That the file is whole is told by its structure: the last chunk of a PNG, the end mark of a JPEG, the lengths that
    TIFF, WebP and BMP name. Damage inside the pixel data shows only when they are decoded.

    Raises:
        LureError: missing, no image, cut short, too large, several frames, or numbers that are not understood.
    """
    try:
        with open_image(path) as file:
            return _header(file, max_pixels)
    except LureError as error:
        raise LureError(f"{path}: {error.message}", error.hint) from error
    except Exception as error:  # as in `read_picture`: header parsers raise anything at a bad file
        fault = " ".join(str(error).split()) or type(error).__name__
        raise LureError(f"{path}: damaged or cut short ({fault})", EXPORT_AGAIN) from error


def _header(file: BinaryIO, max_pixels: int) -> Header:
    head = file.read(32)
    file.seek(0)
    if not head:
        raise LureError("the file is empty", EXPORT_AGAIN)
    return _tiff(file, max_pixels) if head.startswith(TIFF_MAGIC) else _other(file, head, max_pixels)


def _tiff(file: BinaryIO, max_pixels: int) -> Header:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with tifffile.TiffFile(file) as tif:
        page: Any = tif.pages.first
        width, height, samples = int(page.imagewidth), int(page.imagelength), int(page.samplesperpixel)
        check_header(width, height, max(len(tif.pages), int(page.imagedepth)), max_pixels)
        check_layout(page)
        check_segments(file, page)
        colour = int(page.photometric) in (_PALETTE, _CMYK) or samples >= 3
        alpha = samples in (2, 4) and int(page.photometric) != _CMYK
        kinds: dict[int, Literal["unsigned", "signed", "float"]] = {2: "signed", 3: "float"}
        numbers = kinds.get(int(page.sampleformat), "unsigned")
        turned = page.tags.valueof(ORIENTATION, 1) in (5, 6, 7, 8)
        bits = int(page.bitspersample)
    return Header(*((height, width) if turned else (width, height)), 3 if colour else 1, bits, numbers, alpha)


def _other(file: BinaryIO, head: bytes, max_pixels: int) -> Header:
    from PIL import Image, UnidentifiedImageError

    bits = 8
    if head[8:12] == b"WEBP":
        check_header(*webp_size(head), 1, max_pixels)  # Pillow takes the memory when it opens the file
    if head.startswith((J2K_MAGIC, JP2_MAGIC)):
        bits = check_jpeg2000(file, max_pixels)[1]
    elif head.startswith(PNG_MAGIC):
        bits = head[24]
    file.seek(0)
    try:
        with quiet_pillow():
            image: Image.Image = Image.open(file, formats=FORMATS)
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            noted = image.format != "PNG" or "exif" in image.info  # without, Pillow would decode the whole PNG
            turned = noted and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
            (width, height), mode = image.size, image.mode
            alpha = mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info
    except UnidentifiedImageError as error:
        known = "known types: PNG, JPEG, TIFF, BMP, WebP, JPEG 2000"
        raise LureError("no image, or its header is damaged", known) from error
    check_header(width, height, frames, max_pixels)
    _check_end(file, head)
    grey = mode in ("1", "L", "LA", "La", "I") or mode.startswith("I;16")
    return Header(*((height, width) if turned else (width, height)), 1 if grey else 3, bits, "unsigned", alpha)


def _check_end(file: BinaryIO, head: bytes) -> None:
    """Refuse a file that ends before its content does."""
    size = file.seek(0, os.SEEK_END)
    if head.startswith(PNG_MAGIC):
        whole = _png_ends(file, size)
    elif head[8:12] == b"WEBP":
        whole = int.from_bytes(head[4:8], "little") + 8 <= size
    elif head.startswith(b"BM"):
        whole = int.from_bytes(head[2:6], "little") <= size
    else:
        start = _jpeg_scan(file) if head.startswith(b"\xff\xd8") else 0
        file.seek(max(start, size - _TAIL))
        whole = b"\xff\xd9" in file.read(_TAIL)
    if not whole:
        raise LureError("the file is cut short", EXPORT_AGAIN)


def _png_ends(file: BinaryIO, size: int) -> bool:
    """Whether the chunks lead to the last one."""
    at = len(PNG_MAGIC)
    while at + 12 <= size:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"IEND":
            return True
        at += 12 + length
    return False


def _jpeg_scan(file: BinaryIO) -> int:
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
