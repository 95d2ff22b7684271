"""Pixels into the bytes of an image file."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

from lure_cli.core.images.deep import png_chunk
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

SUFFIXES: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".jp2", ".j2k")
"""Suffixes of the files that are read and written."""

_DEEP = (".png", ".tif", ".tiff")
_FLAT = (".jpg", ".jpeg", ".bmp")
_PILLOW: dict[str, tuple[str, dict[str, Any]]] = {
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".bmp": ("BMP", {}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),  # exact: colour under transparent pixels stays
    ".jp2": ("JPEG2000", {}),
    ".j2k": ("JPEG2000", {"no_jp2": True}),
}
_MODES = ("L", "LA", "RGB", "RGBA")  # by the number of channels
_JPEG_EXIF = 65533  # bytes that fit into its segment
_TIFF_TEXTS = (270, 271, 272, 305, 306, 315, 316, 33432)


def check_output(suffix: str, bits: int, alpha: bool) -> None:
    """Whether a type of file can hold such an image; asked before any work is done for it.

    Args:
        suffix: as ".png", in upper or lower case.
        bits: per channel; 16 goes into PNG and TIFF.
        alpha: whether some of it is transparent, which goes into all but JPEG and BMP.

    Raises:
        LureError: it cannot; the message says what, without a file's name.
    """
    known = suffix.lower()
    if known not in SUFFIXES:
        raise LureError(f"'{suffix}' is no known image type", f"use one of {', '.join(SUFFIXES)}")
    if bits not in (8, 16):
        raise LureError(f"{bits} bits per channel cannot be written", "use 8 or 16")
    if bits == 16 and known not in _DEEP:
        raise LureError(f"'{suffix}' files are not written with 16 bits", "choose .png or .tif, or 8 bits")
    if alpha and known in _FLAT:
        raise LureError(f"'{suffix}' files cannot hold transparency", "choose .png")


def encode(pixels: np.ndarray, suffix: str, icc: bytes | None, exif: bytes | None) -> bytes:
    """Encode pixels; the type has been checked with `check_output`.

    Args:
        pixels: uint8 or uint16 (H, W, C); 1: grey, 2: grey and alpha, 3: RGB, 4: RGB and alpha.
        suffix: in lower case.
        icc: a colour profile; left out where it is not one for this number of channels, and in BMP and JPEG 2000.
        exif: from `Exif\\0\\0` on; left out in BMP, JPEG 2000, and JPEG if too long for it. Of a 16-bit TIFF only the
            texts are kept: description, make, model, software, time, artist, computer, copyright.

    Raises:
        Exception: whatever the encoder raises, for example at a size that the format cannot hold.
    """
    channels = pixels.shape[2]
    if icc is not None and icc[16:20] != (b"GRAY" if channels < 3 else b"RGB "):
        icc = None
    if suffix == ".png":
        return _encode_png(pixels, icc, exif)
    if pixels.dtype == "uint16":
        return _encode_deep_tiff(pixels, icc, exif)
    from PIL import Image

    kind, options = _PILLOW[suffix]
    if icc is not None and kind in ("JPEG", "TIFF", "WEBP"):
        options = options | {"icc_profile": icc}
    if exif is not None and (kind in ("TIFF", "WEBP") or (kind == "JPEG" and len(exif) <= _JPEG_EXIF)):
        options = options | {"exif": exif}
    buffer = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    assert image.mode == _MODES[channels - 1]
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _encode_png(pixels: np.ndarray, icc: bytes | None, exif: bytes | None) -> bytes:
    """With the Paeth filter and run lengths alone: a sixth of the time of Pillow's default, at 7 % more bytes."""
    import imagecodecs

    options = imagecodecs.PNG
    data = bytes(
        imagecodecs.png_encode(
            pixels[..., 0] if pixels.shape[2] == 1 else pixels,
            level=1,
            strategy=options.STRATEGY.RLE,
            filter=options.FILTER.PAETH,
        )
    )
    notes = b""
    if icc is not None:
        notes += png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if exif is not None:
        notes += png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    end_of_header = 33
    return data[:end_of_header] + notes + data[end_of_header:]


def _encode_deep_tiff(pixels: np.ndarray, icc: bytes | None, exif: bytes | None) -> bytes:
    import tifffile
    from PIL import Image

    notes = Image.Exif()
    if exif is not None:
        notes.load(exif)
    texts = {tag: str(notes[tag]).encode("latin-1", "replace") for tag in _TIFF_TEXTS if tag in notes}
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
