"""TIFF files: layouts, colours, metadata. tifffile reads them, as libtiff writes notes about damage to stderr."""

from __future__ import annotations

import io
import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from lure_cli.core.images.colour import cmyk_to_rgb, opaque_value
from lure_cli.core.images.exif import ICC, ORIENTATION, TEXTS, exif_to_keep, swaps_sides, upright
from lure_cli.core.images.guards import CONVERT, EXPORT_AGAIN, FLATTEN, check_size
from lure_cli.core.images.pillow import quiet_pillow
from lure_cli.core.images.stored import Header, RawPicture
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np


_COMPRESSIONS = (1, 5, 8, 32946, 32773, 34925, 50000)
"""None, LZW, deflate (two numbers), PackBits, LZMA, Zstandard; JPEG is taken apart here."""
_JPEG = 7
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_ASSOCIATED, _UNASSOCIATED = (1,), (2,)
"""Alpha by which the colour was multiplied, and by which it was not, as the tag ExtraSamples says it."""


def decode_tiff(file: BinaryIO, max_pixels: int) -> RawPicture:
    """Decode a TIFF file; LureError, or whatever tifffile raises at a damaged one."""
    icc, exif = _metadata(file)
    with _first_page(file, max_pixels) as page:
        if page.compression == _JPEG:
            pixels = _decode_jpegs(file, page)
        else:
            pixels = page.asarray(maxworkers=1)
            if page.axes == "SYX":
                pixels = pixels.transpose(1, 2, 0)
        pixels = _to_grey_or_rgb(pixels.reshape(page.imagelength, page.imagewidth, -1), page, icc)
        orientation = page.tags.valueof(ORIENTATION, 1)
        if page.photometric == _CMYK:
            icc = None
        nodata = _nodata(page)
    return RawPicture(upright(pixels, orientation), icc, exif, nodata)


def tiff_header(file: BinaryIO, max_pixels: int) -> Header:
    """The header of a TIFF file, which is also checked to be whole; nothing is decoded. Raises as `decode_tiff`."""
    with _first_page(file, max_pixels) as page:
        size, samples = (int(page.imagewidth), int(page.imagelength)), int(page.samplesperpixel)
        photometric, bits = int(page.photometric), int(page.bitspersample)
        kinds: dict[int, Literal["unsigned", "signed", "float"]] = {2: "signed", 3: "float"}
        numbers = kinds.get(int(page.sampleformat), "unsigned")
        turned = swaps_sides(page.tags.valueof(ORIENTATION, 1))
    width, height = size[::-1] if turned else size
    colour = photometric in (_PALETTE, _CMYK) or samples >= 3
    return Header(width, height, 3 if colour else 1, bits, numbers, samples in (2, 4) and photometric != _CMYK)


@contextmanager
def _first_page(file: BinaryIO, max_pixels: int) -> Iterator[Any]:
    """The only page, once its size, layout and extent have been checked."""
    import tifffile

    # Its notes about damaged files would stand beside the error that says the same.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    file.seek(0)
    with tifffile.TiffFile(file) as tif:
        page: Any = tif.pages.first
        # A damaged width may be a tuple, which `*` would repeat; int() refuses it.
        frames = max(len(tif.pages), int(page.imagedepth))
        check_size(int(page.imagewidth), int(page.imagelength), max_pixels, frames)
        if page.is_tiled:
            check_size(int(page.tilewidth), int(page.tilelength), max_pixels, int(page.tiledepth))
        _check_layout(page)
        _check_segments(file, page)
        yield page


def _check_layout(page: Any) -> None:
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
    if samples > 1 and page.planarconfig not in (1, 2):  # side by side, or in planes, of which some would stay unset
        raise LureError("damaged: it does not say how its channels are stored", EXPORT_AGAIN)
    as_jpeg = compression == _JPEG and bits == 8 and photometric in (_BLACK_IS_ZERO, _RGB, _YCBCR)
    if not (compression in _COMPRESSIONS or (as_jpeg and samples in (1, 3) and page.planarconfig == 1)):
        raise LureError(f"unsupported compression {compression}", "save it uncompressed, or with LZW or deflate")


def _check_segments(file: BinaryIO, page: Any) -> None:
    """Refuse what tifffile would fill with zeros: strips or tiles that are missing, empty, or beyond the end."""
    size = file.seek(0, os.SEEK_END)
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    expected = 1 if page.is_contiguous else math.prod(page.chunked)
    if len(segments) < expected or any(start <= 0 or count <= 0 or start + count > size for start, count in segments):
        raise LureError("the file is cut short", EXPORT_AGAIN)


def _decode_jpegs(file: BinaryIO, page: Any) -> np.ndarray:
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


def _to_grey_or_rgb(pixels: np.ndarray, page: Any, icc: bytes | None) -> np.ndarray:
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
    if photometric == _YCBCR and page.compression != _JPEG:
        return np.asarray(Image.frombytes("YCbCr", size, pixels.tobytes()).convert("RGB"))
    if photometric == _WHITE_IS_ZERO:
        if pixels.dtype.kind == "f" or pixels.shape[2] > 1:
            raise LureError("white as zero, with floats or alpha", CONVERT)
        return ~pixels
    return _unmultiplied(pixels, tuple(int(e) for e in page.extrasamples))


def _unmultiplied(pixels: np.ndarray, extra: tuple[int, ...]) -> np.ndarray:
    """Colour that does not hold its alpha yet; refuses a further channel of which nobody says what it is."""
    import numpy as np

    if pixels.shape[2] not in (2, 4):
        return pixels
    colour, alpha = pixels[..., :-1], pixels[..., -1:]
    opaque = opaque_value(pixels.dtype)
    if extra[-1:] == _UNASSOCIATED or (alpha == opaque).all():
        return pixels
    if extra[-1:] != _ASSOCIATED:
        raise LureError("has transparent pixels or a fourth channel", FLATTEN)
    share = alpha.astype(np.float64) / opaque
    full = np.clip(np.divide(colour, share, out=np.zeros(colour.shape), where=share > 0), 0, opaque)
    full = full if pixels.dtype.kind == "f" else np.rint(full)
    return np.concatenate([full.astype(pixels.dtype), alpha], axis=2)


def _nodata(page: Any) -> float | None:
    """The number that means "no data", as GDAL writes it (tag 42113)."""
    with suppress(ValueError, TypeError):
        return float(str(page.tags.valueof(42113)).strip("\0 "))
    return None


def _metadata(file: BinaryIO) -> tuple[bytes | None, bytes | None]:
    """Colour profile and EXIF."""
    from PIL import Image

    exif = Image.Exif()
    icc = kept = None
    with quiet_pillow(), suppress(Exception):  # a damaged note does not spoil the pixels
        file.seek(0)
        exif.load_from_fp(file)
        icc = exif.get(ICC)
        kept = exif_to_keep(exif)
    return (icc if isinstance(icc, bytes) else None), kept


def encode_tiff(pixels: np.ndarray, icc: bytes | None, exif: bytes | None) -> bytes:
    """Encode uint8 or uint16 (H, W, 1 to 4), uncompressed; of the EXIF only `TEXTS` are kept."""
    import tifffile
    from PIL import Image

    notes = Image.Exif()
    if exif is not None:
        notes.load(exif)
    texts = {tag: str(notes[tag]).encode("latin-1", "replace") for tag in TEXTS if tag in notes}
    channels = pixels.shape[2]
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels[..., 0] if channels == 1 else pixels,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        iccprofile=icc,
        metadata=None,
        software=False,
        extratags=[(tag, 2, len(text) + 1, text + b"\0", True) for tag, text in texts.items()],
    )
    return buffer.getvalue()
