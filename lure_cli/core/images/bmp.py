"""BMP where Pillow does not do: channels that are bit fields, of up to 16 bits each."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from lure_cli.core.images.guards import CONVERT, EXPORT_AGAIN, check_size
from lure_cli.core.images.stored import Header, RawPicture
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

_RLE, _BIT_FIELDS = (1, 2), (3, 6)
"""Kinds of compression."""


class BmpHeader(NamedTuple):
    """What stands before the pixels.

    Attributes:
        start: where the rows are.
        width, height: in pixels; the height is negative where the first row is the top one.
        depth: bits a pixel.
        compression: as the file numbers it.
        masks: the bits of red, green, blue and alpha; without alpha 0.
    """

    start: int
    width: int
    height: int
    depth: int
    compression: int
    masks: tuple[int, ...]

    @property
    def has_bit_fields(self) -> bool:
        """Whether masks say which bits of a pixel are what."""
        return self.compression in _BIT_FIELDS and self.depth in (16, 32)

    @property
    def row(self) -> int:
        """Bytes a row, in steps of four."""
        return (self.width * self.depth + 31) // 32 * 4

    @property
    def bits(self) -> int:
        """Of a channel, as it is decoded."""
        return 16 if self.has_bit_fields and max(mask.bit_count() for mask in self.masks) > 8 else 8


def bmp_header(file: BinaryIO) -> BmpHeader:
    """Read the header of a BMP file."""
    file.seek(0)
    head = file.read(14 + 56)
    start, size = struct.unpack("<II", head[10:18])
    if size == 12:  # OS/2
        width, height, _, depth = struct.unpack("<HHHH", head[18:26])
        return BmpHeader(start, width, height, depth, 0, ())
    width, height, _, depth, compression = struct.unpack("<iiHHI", head[18:34])
    masks: tuple[int, ...] = ()
    if compression in _BIT_FIELDS:
        masks = struct.unpack("<4I", head[54:70].ljust(16, b"\0"))
        if size < 56 and compression == 3:  # three masks behind a header that knows none; the fourth is of no meaning
            masks = (*masks[:3], 0)
    return BmpHeader(start, width, height, depth, compression, masks)


def check_bmp(header: BmpHeader) -> None:
    """LureError for the rare kinds that are whole but not read."""
    if header.depth not in (1, 4, 8, 16, 24, 32) or header.compression not in (0, *_RLE, *_BIT_FIELDS):
        kind = f"{header.depth} bits a pixel, compression {header.compression}"
        raise LureError(f"BMP of a kind that is not read ({kind})", CONVERT)


def bmp_ends(file: BinaryIO) -> bool:
    """Whether all rows are there; the length of the file that its header names is often wrong."""
    header, size = bmp_header(file), file.seek(0, os.SEEK_END)
    if header.compression in _RLE:
        file.seek(max(header.start, size - 16))
        return b"\0\1" in file.read()  # the mark of the end
    return header.compression not in (0, *_BIT_FIELDS) or header.start + header.row * abs(header.height) <= size


def bit_fields_header(header: BmpHeader, max_pixels: int) -> Header:
    """As `Header`; LureError as `decode_bit_fields`."""
    _check(header, max_pixels)
    return Header(header.width, abs(header.height), 3, header.bits, "unsigned", bool(header.masks[3]))


def _check(header: BmpHeader, max_pixels: int) -> None:
    check_size(max(header.width, 0), abs(header.height), max_pixels)
    for mask in header.masks:
        low = mask & -mask
        if mask >= 1 << header.depth or (mask and (mask // low) & (mask // low + 1)) or mask.bit_count() > 16:
            raise LureError(f"BMP with bit fields that are not understood ({mask:#x})", CONVERT)
    if 0 in header.masks[:3]:
        raise LureError("BMP with bit fields of no bits", CONVERT)


def decode_bit_fields(file: BinaryIO, header: BmpHeader, max_pixels: int) -> RawPicture:
    """Decode a BMP whose channels are bit fields: uint8 (H, W, 3 or 4), or uint16 if one has more than 8 bits; each
    over the whole range of the type. An alpha channel that is 0 everywhere is none, as other readers take it.

    Raises:
        LureError: too large, cut short, or masks with gaps.
    """
    import numpy as np

    _check(header, max_pixels)
    height = abs(header.height)
    file.seek(header.start)
    data = file.read(header.row * height)
    if len(data) < header.row * height:
        raise LureError("the file is cut short", EXPORT_AGAIN)
    numbers = np.frombuffer(data, f"<u{header.depth // 8}").reshape(height, -1)[:, : header.width]
    if header.height > 0:
        numbers = numbers[::-1]
    channels = [_channel(numbers, mask, header.bits) for mask in header.masks if mask]
    if len(channels) == 4 and not channels[3].any():
        channels.pop()
    return RawPicture(np.stack(channels, axis=2), None, None)


def _channel(numbers: np.ndarray, mask: int, bits: int) -> np.ndarray:
    import numpy as np

    low, most = mask & -mask, mask // (mask & -mask)
    table = (np.arange(most + 1) * (2**bits - 1) + most // 2) // most
    channel: np.ndarray = table.astype(np.uint8 if bits == 8 else np.uint16)[(numbers & mask) // low]
    return channel
