"""TIFF files of kinds that tifffile and Pillow do not write: their tags and numbers, byte by byte."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import tifffile

RATIONAL = 5
GEO: list[tuple[int, int, int, Any, bool]] = [
    (33550, 12, 3, (0.5, 0.5, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 500000.0, 4000000.0, 0.0), True),
    (34735, 3, 12, (1, 1, 0, 2, 1024, 0, 1, 1, 1026, 34737, 7, 0), True),
    (34737, 2, 8, b"UTM 33|\0", True),
]
"""The place of a GeoTIFF, as tifffile takes tags."""


def raw_tiff(tags: dict[int, tuple[int, Any]], strips: list[bytes], byteorder: str = "<") -> bytes:
    """A TIFF file: tag -> (type, values), and the bytes of its strips as they are stored."""
    places = np.cumsum([8, *(len(strip) for strip in strips)])
    tags = tags | {273: (4, places[:-1].tolist()), 279: (4, [len(strip) for strip in strips])}
    start = int(places[-1]) + (places[-1] % 2)
    beyond = start + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, (kind, numbers) in sorted(tags.items()):
        each = list(numbers) if isinstance(numbers, (list, tuple)) else [numbers]
        flat = [part for n in each for part in (round(n * 10000), 10000)] if kind == RATIONAL else each
        data = struct.pack(f"{byteorder}{len(flat)}{ {3: 'H', 4: 'I', RATIONAL: 'I'}[kind] }", *flat)
        entries += struct.pack(f"{byteorder}HHI", tag, kind, len(each))
        if len(data) <= 4:
            entries += data.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{byteorder}I", beyond + len(values))
            values += data
    head = (b"II*\0" if byteorder == "<" else b"MM\0*") + struct.pack(f"{byteorder}I", start)
    directory = struct.pack(f"{byteorder}H", len(tags)) + entries + bytes(4)
    return head + b"".join(strips).ljust(start - 8, b"\0") + directory + values


def _head(width: int, height: int, bits: int, samples: int, photometric: int, rows: int) -> dict[int, tuple[int, Any]]:
    return {
        256: (4, width),
        257: (4, height),
        258: (3, [bits] * samples),
        259: (3, 1),
        262: (3, photometric),
        277: (3, samples),
        278: (4, rows),
    }


def packed_bits(image: np.ndarray, bits: int) -> bytes:
    """(H, W) or (H, W, C) -> rows of packed numbers, each begun at a whole byte."""
    rows = image.reshape(len(image), -1, 1).astype(np.uint32) >> np.arange(bits)[::-1] & 1
    return np.packbits(rows.reshape(len(image), -1).astype(np.uint8), axis=1).tobytes()


def packed_tiff(
    image: np.ndarray, bits: int, *, byteorder: str = "<", compression: int = 1, fill: int = 1, photometric: int = -1
) -> bytes:
    """Numbers of any count of bits, in strips of 5 rows; uncompressed (1), LZW (5) or deflate (8)."""
    (h, w), samples = image.shape[:2], 1 if image.ndim == 2 else image.shape[2]
    photometric = photometric if photometric >= 0 else 1 if samples == 1 else 2
    strips = [packed_bits(image[top : top + 5], bits) for top in range(0, h, 5)]
    pack = {1: bytes, 5: imagecodecs.lzw_encode, 8: zlib.compress}[compression]
    strips = [bytes(pack(strip)) for strip in strips]
    if fill == 2:
        strips = [bytes(imagecodecs.bitorder_decode(strip)) for strip in strips]
    tags = _head(w, h, bits, samples, photometric, 5) | {259: (3, compression), 266: (3, fill)}
    return raw_tiff(tags, strips, byteorder)


def palette_tiff(bits: int, top: int = 255, image: np.ndarray | None = None) -> bytes:
    """A palette of red rising, green falling and blue folded, from 0 to `top`."""
    count = 2**bits
    image = np.arange(24 * 19).reshape(24, 19) % count if image is None else image
    up = np.rint(np.arange(count) * (top / (count - 1))).astype(int)
    tags = _head(image.shape[1], image.shape[0], bits, 1, 3, len(image))
    return raw_tiff(tags | {320: (3, [*up, *up[::-1], *(up * 3 % (top + 1))])}, [packed_bits(image, bits)])


def ycbcr_tiff(
    image: np.ndarray,
    subsampling: tuple[int, int],
    *,
    reference: tuple[float, ...] | None = None,
    coefficients: tuple[float, ...] | None = None,
    compression: int = 1,
    rows: int = 8,
) -> bytes:
    """uint8 (H, W, 3), Y, Cb and Cr, of which chroma is the mean of its blocks; uncompressed or PackBits (32773)."""
    across, down = subsampling
    (h, w), strips = image.shape[:2], []
    for top in range(0, h, rows):
        part = image[top : top + rows]
        part = np.pad(part, ((0, -len(part) % down), (0, -w % across), (0, 0)), mode="edge")
        part = part.reshape(len(part) // down, down, part.shape[1] // across, across, 3)
        luma = part[..., 0].transpose(0, 2, 1, 3).reshape(part.shape[0], part.shape[2], -1)
        chroma = np.rint(part[..., 1:].mean(axis=(1, 3))).astype(np.uint8)
        strip = np.concatenate([luma, chroma], axis=2).tobytes()
        strips.append(strip if compression == 1 else bytes(imagecodecs.packbits_encode(strip)))
    tags = _head(w, h, 8, 3, 6, rows) | {259: (3, compression), 530: (3, list(subsampling))}
    if reference:
        tags[532] = (RATIONAL, reference)
    if coefficients:
        tags[529] = (RATIONAL, coefficients)
    return raw_tiff(tags, strips)


def pages_tiff(*pages: tuple[int, np.ndarray]) -> bytes:
    """Pages with their NewSubfileType."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as tif:
        for kind, image in pages:
            photometric = "rgb" if image.ndim == 3 else "minisblack"
            if kind & 4:  # which tifffile writes of bilevel pictures alone
                image = image > 99
            tif.write(image, photometric=photometric, subfiletype=kind, metadata=None)
    return buffer.getvalue()
