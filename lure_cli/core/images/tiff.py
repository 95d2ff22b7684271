"""TIFF files: layouts, colours, metadata."""

from __future__ import annotations

import io
import logging
import math
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from lure_cli.core.images.colour import FLATTEN, cmyk_to_rgb, opaque_value
from lure_cli.core.images.exif import ICC, ORIENTATION, exif_to_keep, upright
from lure_cli.core.images.guards import CONVERT, EXPORT_AGAIN, check_header, quiet_pillow
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np


TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


# Of TIFF: none, LZW, deflate (two numbers), PackBits, LZMA, Zstandard; JPEG is taken apart here.
_TIFF_COMPRESSIONS = (1, 5, 8, 32946, 32773, 34925, 50000)
_TIFF_JPEG = 7
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6


RawPicture = tuple["np.ndarray", bytes | None, bytes | None]
"""Upright pixels with 1 to 4 channels, colour profile, EXIF."""


def decode_tiff(file: BinaryIO, max_pixels: int) -> RawPicture:
    import tifffile

    # Its notes about damaged files would stand beside the error that says the same.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    icc, exif = _tiff_metadata(file)
    file.seek(0)
    with tifffile.TiffFile(file) as tif:
        page: Any = tif.pages.first
        # A damaged width may be a tuple, which `*` would repeat; int() refuses it.
        width, height = int(page.imagewidth), int(page.imagelength)
        check_header(width, height, max(len(tif.pages), int(page.imagedepth)), max_pixels)
        if page.is_tiled:
            check_header(int(page.tilewidth), int(page.tilelength), int(page.tiledepth), max_pixels)
        check_layout(page)
        check_segments(file, page)
        if page.compression == _TIFF_JPEG:
            pixels = _tiff_of_jpegs(file, page)
        else:
            pixels = page.asarray(maxworkers=1)
            if page.axes == "SYX":
                pixels = pixels.transpose(1, 2, 0)
        pixels = _tiff_colours(pixels.reshape(height, width, -1), page, icc)
        orientation = page.tags.valueof(ORIENTATION, 1)
        if page.photometric == _CMYK:
            icc = None
    return upright(pixels, orientation), icc, exif


def check_layout(page: Any) -> None:
    """Refuse what would not be understood in full."""
    bits, samples, layout = page.bitspersample, int(page.samplesperpixel), int(page.sampleformat)
    photometric, compression = int(page.photometric), int(page.compression)
    whole = layout in (1, 4)  # unsigned or undefined; 2 is signed, 3 float
    if bits not in {1: (1, 2, 4, 8, 16, 32), 2: (8, 16, 32), 3: (16, 32, 64)}.get(1 if whole else layout, ()):
        raise LureError(f"numbers that are not understood ({bits} bits, sample format {layout})", CONVERT)
    known = {_WHITE_IS_ZERO: (1, 2), _BLACK_IS_ZERO: (1, 2), _RGB: (3, 4), _PALETTE: (1,), _CMYK: (4,), _YCBCR: (3,)}
    plain = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
    if samples not in known.get(photometric, ()) or not (plain or (whole and bits <= 8)):
        raise LureError(f"{samples} channels of {bits} bits that are neither grey nor RGB", CONVERT)
    as_jpeg = compression == _TIFF_JPEG and bits == 8 and photometric in (_BLACK_IS_ZERO, _RGB, _YCBCR)
    if not (compression in _TIFF_COMPRESSIONS or (as_jpeg and samples in (1, 3) and page.planarconfig == 1)):
        raise LureError(f"unsupported compression {compression}", "save it uncompressed, or with LZW or deflate")


def _tiff_of_jpegs(file: BinaryIO, page: Any) -> np.ndarray:
    """Every strip or tile is a JPEG, which Pillow refuses where it is cut short; tifffile's own codec fills it up."""
    import numpy as np
    from PIL import Image

    width, height, samples = int(page.imagewidth), int(page.imagelength), int(page.samplesperpixel)
    w, h = (page.tilewidth, page.tilelength) if page.is_tiled else (width, min(page.rowsperstrip, height))
    tables = (page.jpegtables or b"\xff\xd8\xff\xd9")[2:-2]
    # What the numbers are is said by the TIFF; inside the JPEG an Adobe marker does.
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([page.photometric == _YCBCR])
    pixels = np.empty((height, width, samples), np.uint8)
    across = -(-width // w)
    for index, (start, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        top, left = index // across * h, index % across * w
        file.seek(start)
        with quiet_pillow():
            part = Image.open(io.BytesIO(b"\xff\xd8" + tables + adobe + file.read(count)[2:]), formats=("JPEG",))
        room = pixels[top : top + h, left : left + w]
        expected = (w, h) if page.is_tiled else (w, len(room))
        if part.size != expected or part.mode != ("L" if samples == 1 else "RGB"):
            raise LureError("damaged: a JPEG strip or tile of another size or kind", EXPORT_AGAIN)
        room[:] = np.asarray(part).reshape(expected[1], w, samples)[: len(room), : room.shape[1]]
    return pixels


def _tiff_colours(pixels: np.ndarray, page: Any, icc: bytes | None) -> np.ndarray:
    """Numbers as stored, (H, W, C) -> grey or RGB, with alpha if there is one."""
    import numpy as np
    from PIL import Image

    photometric = int(page.photometric)
    if photometric == _PALETTE:
        colours = np.asarray(page.colormap)[:, : 2**page.bitspersample] >> 8  # 16 bits, of which files use the upper 8
        return colours.T[pixels[..., 0]].astype(np.uint8)
    if page.bitspersample < 8:
        pixels = pixels.astype(np.uint8) * np.uint8(255 // (2**page.bitspersample - 1))
    size = pixels.shape[1], pixels.shape[0]
    if photometric == _CMYK:
        return np.asarray(cmyk_to_rgb(Image.frombytes("CMYK", size, pixels.tobytes()), icc))
    if photometric == _YCBCR and page.compression != _TIFF_JPEG:
        return np.asarray(Image.frombytes("YCbCr", size, pixels.tobytes()).convert("RGB"))
    if photometric == _WHITE_IS_ZERO:
        if pixels.dtype.kind == "f" or pixels.shape[2] > 1:
            raise LureError("white as zero, with floats or alpha", CONVERT)
        return ~pixels
    return _straight(pixels, tuple(int(e) for e in page.extrasamples))


def check_segments(file: BinaryIO, page: Any) -> None:
    """Refuse what tifffile would fill with zeros: strips or tiles that are missing, empty, or beyond the end."""
    size = file.seek(0, os.SEEK_END)
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    expected = 1 if page.is_contiguous else math.prod(page.chunked)
    if len(segments) < expected or any(start <= 0 or count <= 0 or start + count > size for start, count in segments):
        raise LureError("the file is cut short", EXPORT_AGAIN)


def _straight(pixels: np.ndarray, extra: tuple[int, ...]) -> np.ndarray:
    """Colour that does not hold its alpha yet; refuses a further channel of which nobody says what it is."""
    import numpy as np

    if pixels.shape[2] not in (2, 4):
        return pixels
    colour, alpha = pixels[..., :-1], pixels[..., -1:]
    opaque = opaque_value(pixels.dtype)
    if extra[-1:] == (2,) or (alpha == opaque).all():  # unassociated
        return pixels
    if extra[-1:] != (1,):  # associated: the colour was multiplied by it
        raise LureError("has transparent pixels or a fourth channel", FLATTEN)
    share = alpha.astype(np.float64) / opaque
    full = np.clip(np.divide(colour, share, out=np.zeros(colour.shape), where=share > 0), 0, opaque)
    full = full if pixels.dtype.kind == "f" else np.rint(full)
    return np.concatenate([full.astype(pixels.dtype), alpha], axis=2)


def _tiff_metadata(file: BinaryIO) -> tuple[bytes | None, bytes | None]:
    from PIL import Image

    found = Image.Exif()
    icc = note = None
    with quiet_pillow(), suppress(Exception):  # as for the others
        file.seek(0)
        found.load_from_fp(file)
        icc = found.get(ICC)
        note = exif_to_keep(found)
    return (icc if isinstance(icc, bytes) else None), note
