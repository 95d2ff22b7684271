"""JPEG XL: the header of its codestream, which tells the size before a decoder takes memory; imagecodecs decodes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from lure_cli.core.images.boxes import boxes
from lure_cli.core.images.exif import exif_to_keep
from lure_cli.core.images.formats import JPEGXL
from lure_cli.core.images.guards import CONVERT, EXPORT_AGAIN, check_size
from lure_cli.core.images.stored import Header, RawPicture
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

_CODESTREAM, _ = JPEGXL.signatures
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Of width to height, as the header numbers them from 1 on."""
_LONGEST_EXIF = 1 << 20


class JpegXlHeader(NamedTuple):
    """What the codestream's header says; the size is that before the picture is turned upright."""

    width: int
    height: int
    orientation: int
    bits: int
    is_float: bool


class _Bits:
    """The bits of some bytes, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise LureError("the file is cut short", EXPORT_AGAIN)
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        self._left -= count
        return value


def is_bare(file: BinaryIO) -> bool:
    """Whether a file is a codestream without boxes around it."""
    file.seek(0)
    return file.read(2) == _CODESTREAM


def _codestream_start(file: BinaryIO) -> bytes:
    """The first bytes of the codestream, behind its mark."""
    if is_bare(file):
        return file.read(64)
    for kind, start, end in boxes(file):
        if kind in (b"jxlc", b"jxlp"):
            file.seek(start + (4 if kind == b"jxlp" else 0))
            head = file.read(min(66, max(end - file.tell(), 0)))
            if head.startswith(_CODESTREAM):
                return head[2:]
    raise LureError("damaged: no JPEG XL codestream", EXPORT_AGAIN)


def _size(bits: _Bits) -> tuple[int, int]:
    """Width and height, as ISO/IEC 18181-1 writes them."""
    small = bits.take(1)

    def side() -> int:
        return (bits.take(5) + 1) * 8 if small else bits.take((9, 13, 18, 30)[bits.take(2)]) + 1

    height = side()
    ratio = bits.take(3)
    if ratio == 0:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _read(file: BinaryIO, max_pixels: int) -> JpegXlHeader:
    """Read the header; LureError if it is damaged, too large, an animation, or of a kind that is not understood."""
    bits = _Bits(_codestream_start(file))
    width, height = _size(bits)
    check_size(width, height, max_pixels)
    orientation, depth, is_float = 1, 8, False
    if not bits.take(1):  # else everything is as usual
        if bits.take(1):
            orientation = bits.take(3) + 1
            if bits.take(1):
                _size(bits)  # at which it is to be shown
            if bits.take(1):
                raise LureError("JPEG XL with a preview", CONVERT)
            if bits.take(1):
                raise LureError("holds several frames or pages", "save the one frame that is meant as its own file")
        is_float = bool(bits.take(1))
        depth = ((32, 16, 24) if is_float else (8, 10, 12))[kind] if (kind := bits.take(2)) < 3 else bits.take(6) + 1
    if not is_float and depth > 16:
        raise LureError(f"JPEG XL of {depth} bits", CONVERT)
    return JpegXlHeader(width, height, orientation, depth, is_float)


def jpegxl_header(file: BinaryIO, max_pixels: int) -> Header:
    """The header of a JPEG XL file; whether it is grey or has alpha stands behind what is read here, so it counts as
    colour without. Raises as `decode_jpegxl`."""
    header = _read(file, max_pixels)
    width, height = (header.width, header.height) if header.orientation < 5 else (header.height, header.width)
    return Header(width, height, 3, header.bits, "float" if header.is_float else "unsigned", False)


def decode_jpegxl(file: BinaryIO, max_pixels: int) -> RawPicture:
    """Decode a JPEG XL file; its numbers are kept. The decoder turns it upright; a colour profile is not handed on.

    Raises:
        LureError: damaged, too large, several frames, or a kind that is not understood.
        Exception: whatever the decoder raises at a damaged file.
    """
    import imagecodecs

    header = _read(file, max_pixels)
    file.seek(0)
    pixels: np.ndarray = imagecodecs.jpegxl_decode(file.read(), numthreads=1)
    if pixels.shape[:2] not in ((header.height, header.width), (header.width, header.height)):
        raise LureError("JPEG XL whose sizes or frames differ", CONVERT)
    if pixels.ndim == 3 and pixels.shape[2] > 4:
        raise LureError(f"{pixels.shape[2]} channels", CONVERT)
    white = None if header.is_float or header.bits in (8, 16) else (1 << header.bits) - 1
    return RawPicture(pixels, None, _exif(file), white=white)


def _exif(file: BinaryIO) -> bytes | None:
    from PIL import Image

    if is_bare(file):
        return None
    with suppress(Exception):  # the pixels are there; a damaged note does not spoil them
        for kind, start, end in boxes(file):
            if kind == b"Exif" and end - start < _LONGEST_EXIF:
                file.seek(start)
                skip = int.from_bytes(file.read(4), "big")
                exif = Image.Exif()
                exif.load(b"Exif\0\0" + file.read(end - start - 4)[skip:])
                return exif_to_keep(exif)
    return None
