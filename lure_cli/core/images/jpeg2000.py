"""JPEG 2000 where Pillow does not do: its codestream's header, and 16-bit colour and odd depths, which Pillow reads
with 8 bits."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from lure_cli.core.images.formats import JPEG2000
from lure_cli.core.images.guards import CONVERT, EXPORT_AGAIN, check_size
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

_CODESTREAM, _ = JPEG2000.signatures
_GREY, _SRGB = b"\0\0\0\x11", b"\0\0\0\x10"
"""Colour spaces, as the box `colr` numbers them."""


class Components(NamedTuple):
    """What a codestream holds: how many channels, and how many bits each has (1 to 16, unsigned)."""

    channels: int
    bits: int

    @property
    def is_deep(self) -> bool:
        """Whether Pillow would change its numbers: several channels of 16 bits, or other depths than 8 and 16."""
        return self.bits != 8 and (self.bits != 16 or self.channels > 1)

    @property
    def white(self) -> int | None:
        """The largest number, where it is not that of 8 or 16 bits."""
        return None if self.bits in (8, 16) else (1 << self.bits) - 1


def check_jpeg2000(file: BinaryIO, max_pixels: int) -> Components:
    """Read the codestream's header, as the header of the file around it may say otherwise.

    Raises:
        LureError: damaged, too large, or other numbers than are understood.
    """
    start = _codestream_start(file)
    file.seek(start)
    header = file.read(42)
    if len(header) < 42 or not header.startswith(_CODESTREAM):
        raise LureError("damaged: no JPEG 2000 codestream", EXPORT_AGAIN)
    fields = struct.unpack(">8IH", header[8:])
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, channels = fields
    check_size(max(right - left, 0), max(bottom - top, 0), max_pixels)
    if tile_width * tile_height == 0 or tile_left > left or tile_top > top:
        raise LureError("damaged: its tiles have no size", EXPORT_AGAIN)
    if not 1 <= channels <= 4:
        raise LureError(f"{channels} channels", CONVERT)
    components = file.read(3 * channels)
    kinds = set(components[::3])
    if len(components) < 3 * channels or len(kinds) > 1 or max(kinds) > 15:  # bits - 1; from 128 on signed
        raise LureError("JPEG 2000 with other numbers than 1 to 16 bits, unsigned, in all channels", CONVERT)
    stored = Components(channels, kinds.pop() + 1)
    if stored.is_deep:
        if set(components[1::3]) | set(components[2::3]) != {1}:
            raise LureError("deep JPEG 2000 whose channels differ in size", CONVERT)
        _check_colours(file, start)
    return stored


def _codestream_start(file: BinaryIO) -> int:
    """Where the codestream of a JPEG 2000 file starts."""
    file.seek(0)
    if file.read(4) == _CODESTREAM:
        return 0
    end, start = file.seek(0, os.SEEK_END), 0
    while start < end:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8).ljust(8, b"\0"))
        is_long = length == 1
        if is_long:
            length = int.from_bytes(file.read(8), "big")
        if kind == b"jp2c":
            return start + (16 if is_long else 8)
        if length < 8:
            break
        start += length
    raise LureError("damaged: no JPEG 2000 codestream", EXPORT_AGAIN)


def _check_colours(file: BinaryIO, start: int) -> None:
    """Refuse palettes and colour spaces, named in the boxes before the codestream, that imagecodecs would ignore."""
    file.seek(0)
    boxes = file.read(start)
    at = boxes.find(b"colr\x01")
    if b"pclr" in boxes or (at >= 0 and boxes[at + 7 : at + 11] not in (_SRGB, _GREY)):
        raise LureError("deep JPEG 2000 that is neither grey nor RGB", CONVERT)


def decode_deep_jpeg2000(file: BinaryIO, channels: int) -> np.ndarray:
    """Decode what `check_jpeg2000` calls deep: uint8 or uint16 (H, W, channels), its numbers kept."""
    import imagecodecs

    file.seek(0)
    pixels: np.ndarray = imagecodecs.jpeg2k_decode(file.read())
    if (pixels.ndim == 2 and channels != 1) or pixels.shape[2:] not in ((), (channels,)) or pixels.dtype.kind != "u":
        raise LureError("JPEG 2000 whose channels differ", CONVERT)
    return pixels
