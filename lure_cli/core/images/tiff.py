"""TIFF files: layouts, colours, metadata. tifffile reads them, as libtiff writes notes about damage to stderr."""

from __future__ import annotations

import io
import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from lure_cli.core.images.exif import ORIENTATION, TEXTS, exif_to_keep, swaps_sides, upright
from lure_cli.core.images.guards import CONVERT, EXPORT_AGAIN, check_size
from lure_cli.core.images.pillow import quiet_pillow
from lure_cli.core.images.stored import Georeference, Header, RawPicture
from lure_cli.core.images.tiff_colours import (
    BLACK_IS_ZERO,
    CMYK,
    JPEG,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    decode_subsampled,
    segment_places,
    to_grey_or_rgb,
)
from lure_cli.core.images.tiff_pages import choose_page
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np


_COMPRESSIONS = (1, 5, 8, 32946, 32773, 34925, 50000)
"""None, LZW, deflate (two numbers), PackBits, LZMA, Zstandard; JPEG is taken apart here."""
_CODECS = {2: "CCITT", 3: "fax", 4: "fax", 6: "old-style JPEG", 7: "JPEG", 33003: "JPEG 2000", 34712: "JPEG 2000"}
_CODECS |= {34887: "LERC", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL"}
_GEOREFERENCE = {33550: 12, 33922: 12, 34264: 12, 34735: 3, 34736: 12, 34737: 2}
"""Pixel scale, tie points, transformation, keys, and the numbers and texts of the keys; with their types."""
_MOST_VALUES = 100_000
_NODATA = 42113
"""GDAL's tag."""


def decode_tiff(file: BinaryIO, max_pixels: int) -> RawPicture:
    """Decode a TIFF file; LureError, or whatever tifffile raises at a damaged one."""
    exif = _read_exif(file)
    with _main_page(file, max_pixels) as page:
        if page.compression == JPEG:
            pixels = _decode_jpegs(file, page)
        elif page.photometric == YCBCR and page.is_subsampled:
            pixels = decode_subsampled(file, page)
        else:
            pixels = page.asarray(maxworkers=1)
            if page.axes == "SYX":
                pixels = pixels.transpose(1, 2, 0)
            if page.predictor == 2 and 8 < page.bitspersample < 16:
                pixels = pixels & (2**page.bitspersample - 1)  # differences of packed numbers wrap where they end
        icc = page.iccprofile
        pixels = to_grey_or_rgb(pixels.reshape(page.imagelength, page.imagewidth, -1), page, icc)
        orientation = page.tags.valueof(ORIENTATION, 1)
        if page.photometric == CMYK or not isinstance(icc, bytes):
            icc = None
        georeference = _read_georeference(page)
        if georeference and orientation in range(2, 9):
            georeference = {}  # it was that of the picture as it lay
        nodata = _read_nodata(page)
    return RawPicture(upright(pixels, orientation), icc, exif, georeference, nodata)


def tiff_header(file: BinaryIO, max_pixels: int) -> Header:
    """The header of a TIFF file, which is also checked to be whole; nothing is decoded. Raises as `decode_tiff`."""
    with _main_page(file, max_pixels) as page:
        size, samples = (int(page.imagewidth), int(page.imagelength)), int(page.samplesperpixel)
        photometric, bits = int(page.photometric), int(page.bitspersample)
        kinds: dict[int, Literal["unsigned", "signed", "float"]] = {2: "signed", 3: "float"}
        numbers = kinds.get(int(page.sampleformat), "unsigned")
        turned = swaps_sides(page.tags.valueof(ORIENTATION, 1))
    width, height = size[::-1] if turned else size
    colour = photometric in (PALETTE, CMYK) or samples >= 3
    return Header(width, height, 3 if colour else 1, bits, numbers, samples in (2, 4) and photometric != CMYK)


@contextmanager
def _main_page(file: BinaryIO, max_pixels: int) -> Iterator[Any]:
    """The page of the picture, once its size, layout and extent have been checked."""
    import tifffile

    # Its notes about damaged files would stand beside the error that says the same.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    file.seek(0)
    with tifffile.TiffFile(file) as tif:
        page = choose_page(tif, file, max_pixels)
        _settle_subsampling(page)
        if page.is_tiled:
            check_size(int(page.tilewidth), int(page.tilelength), max_pixels, int(page.tiledepth))
        _check_layout(page)
        _check_segments(file, page)
        yield page


def _settle_subsampling(page: Any) -> None:
    """The tag means nothing where there is no chroma. Where there is and the tag is missing, it is 2 x 2 by TIFF 6.0,
    but many write all of the chroma then: the length tells, if it is not compressed."""
    whole = int(page.imagewidth) * int(page.imagelength) * 3
    if page.photometric != YCBCR:
        page.subsampling = None
    elif page.subsampling is None and page.compression == 1 and 0 < sum(page.databytecounts) < whole:
        page.subsampling = (2, 2)


def _check_layout(page: Any) -> None:
    """Refuse what would not be understood in full."""
    bits, samples, layout = page.bitspersample, int(page.samplesperpixel), int(page.sampleformat)
    photometric, compression = int(page.photometric), int(page.compression)
    whole = layout in (1, 4)  # unsigned or undefined; 2 is signed, 3 float
    if bits not in {1: (*range(1, 17), 32), 2: (8, 16, 32), 3: (16, 24, 32, 64)}.get(1 if whole else layout, ()):
        kind = {2: " signed", 3: " floating", 5: " complex", 6: " complex"}.get(layout, "")
        raise LureError(f"numbers that are not understood ({bits}{kind} bits, sample format {layout})", CONVERT)
    known = {WHITE_IS_ZERO: (1, 2), BLACK_IS_ZERO: (1, 2), RGB: (3, 4), PALETTE: (1, 2), CMYK: (4,), YCBCR: (3,)}
    plain = photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
    fits = plain or (whole and (bits == 8 if photometric in (CMYK, YCBCR) else bits <= 16))
    # Alpha that is packed would need a largest value of its own.
    packed_alpha = samples in (2, 4) and (8 < bits < 16 or (photometric == PALETTE and bits != 8))
    if samples not in known.get(photometric, ()) or not fits or packed_alpha:
        raise LureError(f"{samples} channels of {bits} bits that are neither grey nor RGB", CONVERT)
    if samples > 1 and page.planarconfig not in (1, 2):  # side by side, or in planes, of which some would stay unset
        raise LureError("damaged: it does not say how its channels are stored", EXPORT_AGAIN)
    as_jpeg = compression == JPEG and bits == 8 and samples == {BLACK_IS_ZERO: 1, CMYK: 4}.get(photometric, 3)
    if not (compression in _COMPRESSIONS or (as_jpeg and photometric != PALETTE and page.planarconfig == 1)):
        name = f" ({_CODECS[compression]}, {samples} x {bits} bits)" if compression in _CODECS else ""
        raise LureError(f"unsupported compression {compression}{name}", "save it uncompressed, or with LZW or deflate")


def _check_segments(file: BinaryIO, page: Any) -> None:
    """Refuse what tifffile would fill with zeros: strips or tiles that are missing, empty, or beyond the end."""
    size = file.seek(0, os.SEEK_END)
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if page.is_contiguous and not page.is_subsampled and segments and segments[0][0] > 0:
        segments = [(segments[0][0], int(page.nbytes))]  # what is read, whatever the file calls its length
    elif page.compression != JPEG and any(segment == (0, 0) for segment in segments):
        raise LureError("some of its strips or tiles hold nothing (a sparse file)", "write it again with all of them")
    if page.photometric == YCBCR and page.is_subsampled:
        _, _, h, w = next(segment_places(page, int(page.imagewidth), int(page.imagelength)))
        expected = -(-int(page.imagelength) // h) * -(-int(page.imagewidth) // w)
    else:
        expected = 1 if page.is_contiguous else math.prod(page.chunked)
    if len(segments) < expected or any(start <= 0 or count <= 0 or start + count > size for start, count in segments):
        raise LureError("the file is cut short", EXPORT_AGAIN)


def _decode_jpegs(file: BinaryIO, page: Any) -> np.ndarray:
    """Every strip or tile is a JPEG, which Pillow refuses where it is cut short; tifffile's own codec fills it up."""
    import numpy as np
    from PIL import Image

    width, height, samples = int(page.imagewidth), int(page.imagelength), int(page.samplesperpixel)
    tables = (page.jpegtables or b"\xff\xd8\xff\xd9")[2:-2]
    # What the numbers are is said by the TIFF; inside the JPEG an Adobe marker does, and the last one counts.
    marker = b"\xff\xee\0\x0eAdobe"
    adobe = marker + b"\0\x64\0\0\0\0" + bytes([page.photometric == YCBCR])
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[samples]
    pixels = np.empty((height, width, samples), np.uint8)
    segments = zip(page.dataoffsets, page.databytecounts, strict=True)
    for (top, left, h, w), (start, count) in zip(segment_places(page, width, height), segments, strict=False):
        file.seek(start)
        data = file.read(count)[2:].replace(marker, b"\xff\xed" + marker[2:])
        if _is_lossless(data):
            raise LureError("unsupported compression 7 (lossless JPEG)", "save it uncompressed, or with LZW or deflate")
        with quiet_pillow():
            part = Image.open(io.BytesIO(b"\xff\xd8" + tables + adobe + data), formats=("JPEG",))
        if part.size != (w, h) or part.mode != mode:
            raise LureError("damaged: a JPEG strip or tile of another size or kind", EXPORT_AGAIN)
        room = pixels[top : top + h, left : left + w]
        room[:] = np.asarray(part).reshape(h, w, samples)[: room.shape[0], : room.shape[1]]
    return ~pixels if mode == "CMYK" else pixels  # which Pillow turns round, as JPEG files have it, but not TIFF


def _is_lossless(data: bytes) -> bool:
    """Whether a JPEG, without its first mark, is of the lossless kind (SOF3), as its header says."""
    at = 0
    while data[at : at + 1] == b"\xff" and (mark := data[at + 1 : at + 2]) not in (b"", b"\xda"):
        if mark == b"\xc3":
            return True
        at += 2 + max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)
    return False


def _read_nodata(page: Any) -> float | None:
    """The number that means "no data", as GDAL writes it."""
    with suppress(ValueError, TypeError):
        return float(str(page.tags.valueof(_NODATA)).strip("\0 "))
    return None


def _read_exif(file: BinaryIO) -> bytes | None:
    from PIL import Image

    exif = Image.Exif()
    kept = None
    with quiet_pillow(), suppress(Exception):  # a damaged note does not spoil the pixels
        file.seek(0)
        exif.load_from_fp(file)
        kept = exif_to_keep(exif)
    return kept


def _read_georeference(page: Any) -> Georeference | None:
    """The tags of a GeoTIFF that say where on earth it lies; empty if they are there but damaged."""
    tags = [page.tags[code] for code in _GEOREFERENCE if code in page.tags]
    if not tags:
        return None
    georeference: Georeference = {}
    with suppress(ValueError, TypeError):
        for tag in tags:
            if tag.dtype != _GEOREFERENCE[tag.code] or tag.count > _MOST_VALUES:
                return {}
            georeference[tag.code] = tag.value if tag.dtype == 2 else tuple(tag.value)
        return georeference
    return {}


def with_georeference(exif: bytes | None, georeference: Georeference) -> bytes:
    """EXIF to which a georeference is added, for Pillow to write both into a TIFF."""
    from PIL import Image

    notes = Image.Exif()
    if exif is not None:
        notes.load(exif)
    for code, value in georeference.items():
        notes[code] = value
    return notes.tobytes()


def encode_tiff(
    pixels: np.ndarray, icc: bytes | None, exif: bytes | None, georeference: Georeference | None = None
) -> bytes:
    """Encode uint8 or uint16 (H, W, 1 to 4), uncompressed; of the EXIF only `TEXTS` are kept."""
    import tifffile
    from PIL import Image

    notes = Image.Exif()
    if exif is not None:
        notes.load(exif)
    texts = {tag: str(notes[tag]).encode("latin-1", "replace") for tag in TEXTS if tag in notes}
    extra: list[tuple[Any, ...]] = [(tag, 2, len(text) + 1, text + b"\0", True) for tag, text in texts.items()]
    extra += _georeference_tags(georeference)
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
        extratags=extra,
    )
    return buffer.getvalue()


def encode_temperatures(celsius: np.ndarray, georeference: Georeference | None = None) -> bytes:
    """Encode float32 (H, W), degrees Celsius, uncompressed; NaN is declared as what GDAL calls "no data"."""
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        celsius,
        photometric="minisblack",
        description="temperature in degrees Celsius",
        metadata=None,
        software=False,
        extratags=[(_NODATA, 2, 4, b"nan\0", True), *_georeference_tags(georeference)],
    )
    return buffer.getvalue()


def _georeference_tags(georeference: Georeference | None) -> list[tuple[Any, ...]]:
    """As tifffile takes tags: number, type, count, value, once."""
    tags: list[tuple[Any, ...]] = []
    for tag, value in (georeference or {}).items():
        values = value.encode("latin-1", "replace") + b"\0" if isinstance(value, str) else value
        tags.append((tag, _GEOREFERENCE[tag], len(values), values, True))
    return tags
