"""What Pillow reads with 8 bits alone: PNG and JPEG 2000 of 16 bits."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from lure_cli.core.images.guards import CONVERT, EXPORT_AGAIN, check_header
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np


PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
J2K_MAGIC = b"\xff\x4f\xff\x51"
JP2_MAGIC = b"\0\0\0\x0cjP  \r\n\x87\n"


def decode_deep_png(file: BinaryIO, head: bytes) -> np.ndarray:
    """16-bit colour or alpha. libpng, which writes notes about damage to stderr, is handed only what has been checked:
    the header, and pixel data of exactly the right length."""
    import imagecodecs

    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head[16:29])
    row = {2: 6, 4: 4, 6: 8}[colour]  # bytes a pixel
    length = sum(h * (1 + w * row) for w, h in _png_passes(width, height, interlaced) if w and h)
    inflate = zlib.decompressobj()
    rows = b"".join(_inflated(inflate, _png_data(file), length))
    if len(rows) != length or not inflate.eof:
        raise LureError("the file is cut short", EXPORT_AGAIN)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    pixels: np.ndarray = imagecodecs.png_decode(PNG_MAGIC + b"".join(png_chunk(*part) for part in parts))
    return pixels


def _png_passes(width: int, height: int, interlaced: int) -> list[tuple[int, int]]:
    """(width, height) of each pass; of one, or of the seven of Adam7."""
    if not interlaced:
        return [(width, height)]
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    return [(-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in steps]


def _png_data(file: BinaryIO) -> Iterator[bytes]:
    """The content of the IDAT chunks."""
    file.seek(len(PNG_MAGIC))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            data = file.read(length)
            if file.read(4) != struct.pack(">I", zlib.crc32(kind + data)):
                raise LureError("damaged: a checksum is wrong", EXPORT_AGAIN)
            yield data
        elif kind == b"IEND":
            return
        else:
            file.seek(length + 4, os.SEEK_CUR)


def _inflated(inflate: Any, parts: Iterator[bytes], length: int) -> Iterator[bytes]:
    """At most one byte more than `length`, however much the data would swell."""
    left = length + 1
    for part in parts:
        data = inflate.decompress(part, left)
        left -= len(data)
        yield data
        if left <= 0:
            return


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG file, with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def check_jpeg2000(file: BinaryIO, max_pixels: int) -> tuple[int, int]:
    """Channels and bits, from the codestream, as the header of the file around it may say otherwise."""
    start = _codestream(file)
    file.seek(start)
    marker = file.read(42)
    if len(marker) < 42 or not marker.startswith(J2K_MAGIC):
        raise LureError("damaged: no JPEG 2000 codestream", EXPORT_AGAIN)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, channels = struct.unpack(
        ">8IH", marker[8:42]
    )
    check_header(max(right - left, 0), max(bottom - top, 0), 1, max_pixels)
    if tile_width * tile_height == 0 or tile_left > left or tile_top > top:
        raise LureError("damaged: its tiles have no size", EXPORT_AGAIN)
    if not 1 <= channels <= 4:
        raise LureError(f"{channels} channels", CONVERT)
    components = file.read(3 * channels)
    kinds = set(components[::3])
    if len(components) < 3 * channels or len(kinds) > 1 or not kinds <= {7, 15}:  # bits - 1; from 128 on signed
        raise LureError("JPEG 2000 with other numbers than unsigned 8 or 16 bits", CONVERT)
    bits = kinds.pop() + 1
    if bits == 16 and channels > 1:
        file.seek(0)
        header = file.read(start)
        at = header.find(b"colr\x01")
        if b"pclr" in header or (at >= 0 and header[at + 7 : at + 11] not in (b"\0\0\0\x10", b"\0\0\0\x11")):
            raise LureError("16-bit JPEG 2000 that is neither grey nor RGB", CONVERT)
    return channels, bits


def _codestream(file: BinaryIO) -> int:
    """Where the codestream of a JPEG 2000 file starts."""
    file.seek(0)
    if file.read(4) == J2K_MAGIC:
        return 0
    end, start = file.seek(0, os.SEEK_END), 0
    while start < end:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8).ljust(8, b"\0"))
        long = length == 1
        if long:
            length = int.from_bytes(file.read(8), "big")
        if kind == b"jp2c":
            return start + (16 if long else 8)
        if length < 8:
            break
        start += length
    raise LureError("damaged: no JPEG 2000 codestream", EXPORT_AGAIN)


def decode_deep_jpeg2000(file: BinaryIO, channels: int) -> np.ndarray:
    import imagecodecs

    file.seek(0)
    pixels: np.ndarray = imagecodecs.jpeg2k_decode(file.read())
    if pixels.ndim != 3 or pixels.shape[2] != channels or pixels.dtype != "uint16":
        raise LureError("JPEG 2000 whose channels differ", CONVERT)
    return pixels
