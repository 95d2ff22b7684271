"""Image files, as they are stored: what each format needs before a pixel is trusted.

Pillow decodes what it keeps in full; 16-bit colour PNG and JPEG 2000 go to imagecodecs, as Pillow would cut them to 8
bits, and TIFFs to tifffile, as libtiff writes notes about damage to stderr. Sizes are checked in the header, before a
decoder takes memory for them.
"""

from __future__ import annotations

import io
import logging
import math
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

EXPORT_AGAIN = "copy or export the file again and check that an image viewer opens it"
CONVERT = "convert it to 8-bit or 16-bit unsigned grey or RGB"
_FLATTEN = "flatten the image or save it without the extra channel"
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "JPEG2000")
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
J2K_MAGIC = b"\xff\x4f\xff\x51"
JP2_MAGIC = b"\0\0\0\x0cjP  \r\n\x87\n"
# Of TIFF: none, LZW, deflate (two numbers), PackBits, LZMA, Zstandard; JPEG is taken apart here.
_TIFF_COMPRESSIONS = (1, 5, 8, 32946, 32773, 34925, 50000)
_TIFF_JPEG = 7
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
ORIENTATION, _ICC, _EXIF_IFD, _GPS_IFD = 274, 34675, 34665, 34853
# Description, make, model, software, time, artist, computer, copyright, and Windows' own five: what still holds of a
# picture made from this one. Not the thumbnail, sizes, or how the pixels were stored.
_EXIF_KEPT = (270, 271, 272, 305, 306, 315, 316, 33432, *range(40091, 40096))
_EXIF_DROPPED = (37500, 40962, 40963, 40965)  # maker's note (its offsets break), width, height, interoperability
_PILLOW = threading.Lock()


@dataclass(frozen=True)
class Decoded:
    """A still image, upright.

    Attributes:
        pixels: (H, W, 1) if grey, (H, W, 3) if colour; any integer or float type, in the machine's byte order.
        alpha: (H, W, 1) of the same type; None if there is none or all of it is opaque.
        icc: the embedded colour profile; None for what was converted to sRGB on the way.
        exif: what is worth keeping, from `Exif\\0\\0` on, without an orientation to apply.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    icc: bytes | None
    exif: bytes | None


def decode(file: BinaryIO, max_pixels: int) -> Decoded:
    """Decode a file of known or unknown type; its content says which one it is.

    Raises:
        LureError: no image, too large, several frames, or numbers that are not understood; without the file's name.
        Exception: whatever a decoder raises at a damaged file.
    """
    import numpy as np

    head = file.read(32)
    file.seek(0)
    if not head:
        raise LureError("the file is empty", EXPORT_AGAIN)
    if head.startswith(TIFF_MAGIC):
        pixels, icc, exif = _decode_tiff(file, max_pixels)
    else:
        pixels, icc, exif = _decode_pillow(file, head, max_pixels)
    pixels = np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1), pixels.dtype.newbyteorder("="))
    alpha = None
    if pixels.shape[2] in (2, 4):
        pixels, alpha = pixels[..., :-1], pixels[..., -1:]
        if (alpha == _opaque(alpha.dtype)).all():
            alpha = None
    return Decoded(np.ascontiguousarray(pixels), alpha, icc, exif)


def _opaque(dtype: np.dtype[Any]) -> int:
    import numpy as np

    return int(np.iinfo(dtype).max) if dtype.kind in "iu" else 1


# --- TIFF ----------------------------------------------------------------------------------------------------------

_Found = tuple["np.ndarray", bytes | None, bytes | None]
"""Upright pixels with 1 to 4 channels, colour profile, EXIF."""


def _decode_tiff(file: BinaryIO, max_pixels: int) -> _Found:
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
    return _upright(pixels, orientation), icc, exif


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
        return np.asarray(_cmyk_to_rgb(Image.frombytes("CMYK", size, pixels.tobytes()), icc))
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
    opaque = _opaque(pixels.dtype)
    if extra[-1:] == (2,) or (alpha == opaque).all():  # unassociated
        return pixels
    if extra[-1:] != (1,):  # associated: the colour was multiplied by it
        raise LureError("has transparent pixels or a fourth channel", _FLATTEN)
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
        icc = found.get(_ICC)
        note = _exif_to_keep(found)
    return (icc if isinstance(icc, bytes) else None), note


# --- the other formats ---------------------------------------------------------------------------------------------


def _decode_pillow(file: BinaryIO, head: bytes, max_pixels: int) -> _Found:
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    if head[8:12] == b"WEBP":
        check_header(*webp_size(head), 1, max_pixels)  # Pillow takes the memory when it opens the file
    channels = bits = 0
    if head.startswith((J2K_MAGIC, JP2_MAGIC)):
        channels, bits = check_jpeg2000(file, max_pixels)
    file.seek(0)
    try:
        with quiet_pillow():
            image: Image.Image = Image.open(file, formats=FORMATS)
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a JPEG with previews
    except UnidentifiedImageError as error:
        known = "known types: PNG, JPEG, TIFF, BMP, WebP, JPEG 2000"
        raise LureError("no image, or its header is damaged", known) from error
    check_header(*image.size, frames, max_pixels)
    deep_jpeg2000 = bits == 16 and channels > 1
    if not deep_jpeg2000:
        image.load()  # some notes of a PNG stand behind its pixels
    icc, key = image.info.get("icc_profile"), image.info.get("transparency")
    if deep_jpeg2000:
        pixels = _decode_deep_jpeg2000(file, channels)
    elif image.format == "PNG" and head[24:26] in (b"\x10\x02", b"\x10\x04", b"\x10\x06"):  # bit depth, colour type
        pixels = _decode_deep_png(file, head)
    elif image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        pixels = np.asarray(image).astype(np.uint16)
    else:
        pixels, key = _eight_bits(_cmyk_to_rgb(image, icc) if image.mode == "CMYK" else image), None
        icc = None if image.mode == "CMYK" else icc
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if key is not None:  # one colour of a 16-bit PNG is transparent
        seen = (pixels != np.asarray(key, np.uint16)).any(axis=2, keepdims=True)
        pixels = np.concatenate([pixels, np.where(seen, np.uint16(65535), np.uint16(0))], axis=2)
    orientation, note = 1, None
    with quiet_pillow(), suppress(Exception):  # the pixels are there; a damaged note does not spoil them
        exif = image.getexif()
        orientation = exif.get(ORIENTATION, 1)
        note = _exif_to_keep(exif)
    return _upright(pixels, orientation), icc, note


def _eight_bits(image: Image.Image) -> np.ndarray:
    """uint8 (H, W) or (H, W, 2 to 4), the last of an even number being alpha."""
    import numpy as np

    if image.mode in ("I", "F", "LAB", "HSV"):
        raise LureError(f"colours or numbers that are not understood ({image.mode})", CONVERT)
    if image.mode in ("L", "RGB", "LA", "RGBA") and "transparency" not in image.info:
        return np.asarray(image)
    if image.has_transparency_data:
        return np.asarray(image.convert("RGBA"))
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def _cmyk_to_rgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """By the embedded profile, so that the result is sRGB; without a usable one as Pillow does it."""
    from PIL import ImageCms

    if icc and icc[16:20] == b"CMYK":
        with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            made = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if made is not None:
                return made
    return image.convert("RGB")


def _decode_deep_png(file: BinaryIO, head: bytes) -> np.ndarray:
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


def webp_size(head: bytes) -> tuple[int, int]:
    """Width and height, from the first 32 bytes of a WebP file."""
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        size = int.from_bytes(head[21:25], "little")
        return (size & 0x3FFF) + 1, (size >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


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


def _decode_deep_jpeg2000(file: BinaryIO, channels: int) -> np.ndarray:
    import imagecodecs

    file.seek(0)
    pixels: np.ndarray = imagecodecs.jpeg2k_decode(file.read())
    if pixels.ndim != 3 or pixels.shape[2] != channels or pixels.dtype != "uint16":
        raise LureError("JPEG 2000 whose channels differ", CONVERT)
    return pixels


# --- common --------------------------------------------------------------------------------------------------------


def check_header(width: int, height: int, frames: int, max_pixels: int) -> None:
    """Refuse what no still image of a bearable size is.

    Raises:
        LureError: no pixels, more than `max_pixels`, or several frames.
    """
    if width * height == 0:
        raise LureError("has no pixels", EXPORT_AGAIN)
    if width * height > max_pixels:
        raise LureError(f"{width} x {height} is over the limit of {max_pixels} pixels", "crop or shrink the image")
    if frames > 1:
        raise LureError(f"holds {frames} frames or pages", "save the one frame that is meant as its own file")


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Without warnings about damage, which are errors of ours or of no matter, and without Pillow's pixel limit, which
    is looked at when a file is opened; `max_pixels` rules instead. Both are global: one thread at a time."""
    from PIL import Image

    with _PILLOW, warnings.catch_warnings(action="ignore"):
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _exif_to_keep(found: Image.Exif) -> bytes | None:
    """What `_EXIF_KEPT` names, the details of the exposure and the place, for upright pixels; None if there is none."""
    from PIL import Image

    kept = Image.Exif()
    for tag in _EXIF_KEPT:
        if tag in found:
            value = found[tag]
            # Read as Latin-1, whatever it is, but written as ASCII.
            kept[tag] = value.encode("latin-1") if isinstance(value, str) else value
    for ifd in (_EXIF_IFD, _GPS_IFD):
        values = {tag: value for tag, value in found.get_ifd(ifd).items() if tag not in _EXIF_DROPPED}
        if values:
            kept[ifd] = values
    if not len(kept):
        return None
    kept[ORIENTATION] = 1
    return kept.tobytes()


def _upright(pixels: np.ndarray, orientation: object) -> np.ndarray:
    """Apply an EXIF or TIFF orientation, 1..8; any other value counts as 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
