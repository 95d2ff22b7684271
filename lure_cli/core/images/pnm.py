"""PNM: the Netpbm formats PBM, PGM and PPM, as text or binary, of up to 16 bits."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from lure_cli.core.images.guards import EXPORT_AGAIN, check_size
from lure_cli.core.images.stored import Header, RawPicture
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

_HEAD = 1 << 16
"""Bytes at the start in which the header has to stand, comments and all."""
_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_NUMBER = rb"(\d{1,9})"


class PnmHeader(NamedTuple):
    """Kind 1 to 6 (bitmap, grey, colour; as text, binary), the largest number, and where the pixels start."""

    kind: int
    width: int
    height: int
    white: int
    start: int

    @property
    def channels(self) -> int:
        """1 or 3."""
        return 3 if self.kind in (3, 6) else 1

    @property
    def length(self) -> int:
        """Bytes of the pixels; of text at least so many."""
        numbers = self.width * self.height * self.channels
        if self.kind == 4:
            return (self.width + 7) // 8 * self.height
        if self.kind < 4:
            return numbers if self.kind == 1 else 2 * numbers - 1
        return numbers * (2 if self.white > 255 else 1)


def _read(file: BinaryIO, max_pixels: int) -> PnmHeader:
    """Read the header; LureError if it is damaged, too large, or the file cut short."""
    file.seek(0)
    head = file.read(_HEAD)
    kind = head[1] - ord("0")
    numbers = (_NUMBER,) * (2 if kind in (1, 4) else 3)
    match = re.match(rb"P[1-6]" + _GAP + _GAP.join(numbers) + rb"\s", head)
    if match is None:
        raise LureError("damaged: no header of a PNM file", EXPORT_AGAIN)
    width, height, white = (*map(int, match.groups()), 1)[:3]
    check_size(width, height, max_pixels)
    if not 1 <= white <= 65535:
        raise LureError(f"damaged: {white} as the largest number", EXPORT_AGAIN)
    header = PnmHeader(kind, width, height, white, match.end())
    if file.seek(0, os.SEEK_END) < header.start + header.length:
        raise LureError("the file is cut short", EXPORT_AGAIN)
    return header


def pnm_header(file: BinaryIO, max_pixels: int) -> Header:
    """The header of a PNM file. Raises as `decode_pnm`."""
    header = _read(file, max_pixels)
    return Header(
        header.width, header.height, 3 if header.channels == 3 else 1, header.white.bit_length(), "unsigned", False
    )


def decode_pnm(file: BinaryIO, max_pixels: int) -> RawPicture:
    """Decode a PNM file; its numbers are kept, `white` is the largest that it allows.

    Raises:
        LureError: damaged, too large, cut short, a number over the largest, or several images.
    """
    import numpy as np

    header = _read(file, max_pixels)
    shape = (header.height, header.width, header.channels)
    file.seek(header.start)
    if header.kind > 4:
        pixels = np.frombuffer(file.read(header.length), ">u2" if header.white > 255 else "u1").reshape(shape)
    elif header.kind == 4:
        rows = np.frombuffer(file.read(header.length), "u1").reshape(header.height, -1)
        pixels = 1 - np.unpackbits(rows, axis=1)[:, : header.width].reshape(shape)
    else:
        pixels = _text(file, header).reshape(shape)
    if header.kind > 3 and file.read(2) == b"P%d" % header.kind:
        raise LureError("holds several images", "save the one that is meant as its own file")
    if pixels.max() > header.white:
        raise LureError(f"damaged: numbers over {header.white}, the largest that it names", EXPORT_AGAIN)
    whole = header.white in (255, 65535)
    return RawPicture(pixels, None, None, white=None if whole else header.white)


def _text(file: BinaryIO, header: PnmHeader) -> np.ndarray:
    """Numbers written out; a bitmap's need no space between them."""
    import numpy as np

    count = header.width * header.height * header.channels
    text = re.sub(rb"#[^\r\n]*", b"", file.read(count * 24 + _HEAD))
    if header.kind == 1:
        digits = np.frombuffer(b"".join(text.split())[:count], "u1") - np.uint8(ord("0"))
        numbers = np.where(digits == 1, 0, np.where(digits == 0, 1, 2))
    else:
        numbers = np.array(text.split(maxsplit=count)[:count], dtype="S6").astype(np.int64)
    if numbers.size < count:
        raise LureError("the file is cut short", EXPORT_AGAIN)
    if numbers.min() < 0 or numbers.max() > header.white:
        raise LureError(f"damaged: numbers over {header.white}, the largest that it names", EXPORT_AGAIN)
    return numbers.astype(np.uint16 if header.white > 255 else np.uint8)
