"""Image files in and out: every readable file becomes one float32 array in [0, 1].

numpy, Pillow, imageio and tifffile are imported where they are used, so that a dry run, which needs only the list
of suffixes, stays free of them.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

SUFFIXES: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""Suffixes of the files that are read and written; compare with `has_image_suffix`, which ignores case."""

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"lossless": True},
}
_PILLOW_LIMIT = threading.Lock()
_EXPORT_AGAIN = "copy or export the file again and check that an image viewer opens it"
_FLATTEN = "flatten the image or save it without the extra channel"
_CONVERT = "convert it to 8-bit or 16-bit unsigned grey or RGB"


def has_image_suffix(path: Path) -> bool:
    """Whether the path ends in one of `SUFFIXES`, in upper or lower case."""
    return path.suffix.lower() in SUFFIXES


def read_image(path: str | Path, *, channels: Literal[1, 3], max_pixels: int = 200_000_000) -> np.ndarray:
    """Read one still image; its content, not its suffix, says which type it is.

    Args:
        path: a PNG, JPEG, TIFF, BMP or WebP file of 1 to 8 bits, or a 16-bit grey PNG, grey TIFF or RGB TIFF.
        channels: 1 gives luma (0.299 R + 0.587 G + 0.114 B; equal channels keep their value), 3 gives RGB (grey is
            replicated).
        max_pixels: the largest width x height, taken from the header before any pixel is decoded.

    Returns:
        float32 (H, W, channels) in [0, 1]: 8-bit values over 255, 16-bit values over 65535 (the full range, whatever
        range the sensor used). EXIF orientation is applied; an opaque alpha channel is dropped. Of a JPEG that also
        holds previews or gain maps (MPO), the first, main image is read.

    Raises:
        LureError: as `read_pixels`.
    """
    import numpy as np

    pixels = read_pixels(path, max_pixels=max_pixels)
    top = np.iinfo(pixels.dtype).max
    x: np.ndarray = np.divide(pixels, top, dtype=np.float32, order="C")
    return to_channels(x, channels)


def read_pixels(path: str | Path, *, max_pixels: int = 200_000_000) -> np.ndarray:
    """Read one still image as it is stored: uint8 or uint16, (H, W, 1) if grey, (H, W, 3) if colour.

    Args and what is read: as `read_image`.

    Raises:
        LureError: the file is missing, unreadable, damaged, too large, no such image, transparent, holds several
            frames, or holds numbers whose range is unknown or that would silently lose precision.
    """
    try:
        with _open(Path(path)) as file:
            pixels = _decode(file, max_pixels)
    except LureError as error:
        raise LureError(f"{path}: {error.message}", error.hint) from error
    except Exception as error:  # decoders raise anything at a bad file: struct.error, SyntaxError, KeyError, ...
        fault = str(error) or type(error).__name__
        raise LureError(f"{path}: damaged or cut short, it cannot be decoded ({fault})", _EXPORT_AGAIN) from error
    upright: np.ndarray = pixels.reshape(*pixels.shape[:2], -1)
    return upright


def to_channels(x: np.ndarray, channels: Literal[1, 3]) -> np.ndarray:
    """(H, W, 1) or (H, W, 3) -> (H, W, channels): grey is replicated, colour becomes its luma (ITU-R BT.601)."""
    import numpy as np

    if x.shape[2] == channels:
        return x
    if channels == 3:
        return np.repeat(x, 3, axis=2)
    red, green, blue = x[..., :1], x[..., 1:2], x[..., 2:]
    # The weights sum to one; written as differences, equal channels give their exact value.
    luma: np.ndarray = green + np.float32(0.299) * (red - green) + np.float32(0.114) * (blue - green)
    return luma


def write_image(path: Path, x: np.ndarray) -> None:
    """Write an 8-bit image, whole or not at all; an existing file is replaced only once the new one is complete.

    Args:
        path: its suffix sets the type: PNG, JPEG (quality 95, 4:4:4), TIFF, BMP or WebP (lossless). Missing folders
            are made.
        x: float (H, W, 3), written as RGB, or (H, W, 1) or (H, W), written as grey. Values are clipped to [0, 1] and
            rounded, half up, to 0..255.

    Raises:
        LureError: the suffix is unknown or the file cannot be written; no temporary file is left.
        ValueError: x has another shape or holds NaN or infinite values.
    """
    import imageio.v3 as iio
    import numpy as np

    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise LureError(f"{path}: '{suffix}' is no known image type", f"use one of {', '.join(SUFFIXES)}")
    if x.ndim == 3 and x.shape[2] == 1:
        x = x[..., 0]
    if x.ndim != 2 and not (x.ndim == 3 and x.shape[2] == 3):
        raise ValueError(f"expected (H, W), (H, W, 1) or (H, W, 3), got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("the image holds NaN or infinite values")
    pixels = np.floor(np.clip(x, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    # In the same folder, so that the move is atomic; a short name, so that it fits where the final one does.
    temporary = path.parent / f".lure-{uuid.uuid4().hex}{suffix}"
    # Told the mode, imageio cannot take a grey image 3 pixels wide for a stack of rows.
    options = {"mode": "L" if pixels.ndim == 2 else "RGB", "is_batch": False, **_SAVE_OPTIONS.get(suffix, {})}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            iio.imwrite(file, pixels, plugin="pillow", extension=suffix, **options)
        os.replace(temporary, path)
    except Exception as error:  # encoders raise several types, for example at a size that the format cannot hold
        fault = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise LureError(
            f"{path}: cannot be written ({fault})",
            "check that the folder is writable, the disk has room and the format allows this size",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _open(path: Path) -> BinaryIO:
    try:
        if path.is_file():
            return path.open("rb")
        if path.is_dir():
            raise LureError("a folder, not an image file", "name one file here")
        what = "not a regular file" if path.exists() else "no such file"
        raise LureError(what, "check the spelling of the path")
    except OSError as error:
        raise LureError(f"cannot be opened ({error.strerror})", "check that you may read it") from error


def _decode(file: BinaryIO, max_pixels: int) -> np.ndarray:
    """The upright pixels, uint8 or uint16, (H, W), (H, W, 1) or (H, W, 3); the caller names the file in errors."""
    head = file.read(26)
    file.seek(0)
    if not head:
        raise LureError("the file is empty", _EXPORT_AGAIN)
    if head.startswith(b"\x89PNG") and head[24:25] == b"\x10" and head[25:26] in (b"\x02", b"\x04", b"\x06"):
        # From the header (IHDR: bit depth, colour type), as Pillow would cut these to 8 bits without a word.
        raise LureError("a 16-bit PNG in colour or with alpha cannot be read in full", "save it as a 16-bit TIFF")
    pixels = _decode_tiff(file, max_pixels) if head.startswith(_TIFF_MAGIC) else None
    if pixels is None:
        file.seek(0)
        pixels = _decode_pillow(file, max_pixels)
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        if (pixels[..., -1] != (255 if pixels.dtype == "uint8" else 65535)).any():
            raise LureError("has transparent pixels or a fourth channel", _FLATTEN)
        pixels = pixels[..., :-1]
    return pixels


def _decode_tiff(file: BinaryIO, max_pixels: int) -> np.ndarray | None:
    """Grey and RGB of 8 or 16 bits; None leaves the file to Pillow: palettes, CMYK, few bits, some compressions."""
    import tifffile

    # Its notes about damaged files would stand beside the error that says the same.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with tifffile.TiffFile(file) as tif:
        page: Any = tif.pages.first
        # A damaged width may be a tuple, which `*` would repeat; int() refuses it.
        _check_header(int(page.imagewidth), int(page.imagelength), max(len(tif.pages), page.imagedepth), max_pixels)
        bits, samples, photometric = page.bitspersample, page.samplesperpixel, int(page.photometric)
        if page.sampleformat not in (1, 4) or bits not in (1, 2, 4, 8, 16):  # 1: unsigned, 4: undefined
            raise LureError(f"numbers of unknown range ({bits}-bit, signed or float)", _CONVERT)
        plain = photometric in (0, 1, 2)  # grey from white, grey from black, RGB
        if samples > 4 or (bits == 16 and not plain):
            raise LureError(f"{samples} channels of {bits} bits that are neither grey nor RGB", _CONVERT)
        if bits < 8 or not plain:
            return None
        size = file.seek(0, os.SEEK_END)
        if any(start + count > size for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)):
            raise LureError("the file is cut short", _EXPORT_AGAIN)  # tifffile would fill the gap with zeros
        try:
            pixels: np.ndarray = page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            if bits == 16 and (samples > 1 or photometric == 0):  # Pillow would cut it to 8 bits, or not invert it
                raise LureError(f"unsupported compression {page.compression.name}", "save it uncompressed") from error
            return None
        if page.axes == "SYX":
            pixels = pixels.transpose(1, 2, 0)
        return _upright(~pixels if photometric == 0 else pixels, page.tags.valueof(274, 1))


def _decode_pillow(file: BinaryIO, max_pixels: int) -> np.ndarray:
    import imageio.v3 as iio
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with _without_pillow_limit():
            header = Image.open(file, formats=("PNG", "JPEG", "TIFF", "BMP", "WEBP"))
    except UnidentifiedImageError as error:
        raise LureError("no image, or its header is damaged", f"known types: {', '.join(SUFFIXES)}") from error
    still = header.format in ("MPO", "TIFF")  # a JPEG with previews; TIFF pages have been counted
    _check_header(*header.size, 1 if still else getattr(header, "n_frames", 1), max_pixels)
    deep = header.mode.startswith("I;16") or (header.mode == "I" and header.format == "PNG")
    if header.mode in ("I", "F") and not deep:
        raise LureError("numbers of unknown range (32-bit or float)", _CONVERT)
    if deep and header.has_transparency_data:
        raise LureError("has transparent pixels", _FLATTEN)
    if deep:
        mode = header.mode
    elif header.has_transparency_data:
        mode = "RGBA"
    else:
        mode = "L" if header.mode in ("1", "L") else "RGB"
    # Pillow turns a TIFF upright itself.
    orientation = 1 if header.format == "TIFF" else header.getexif().get(274, 1)
    file.seek(0)
    with _without_pillow_limit():
        reader = iio.imopen(file, "r", plugin="pillow")
    with reader:
        # imageio's own rotation flips the wrong axis where the mode changes, for example from palette to RGB.
        pixels = reader.read(index=0, mode=mode)
    return _upright(pixels.astype(np.uint16) if deep else pixels, orientation)


def _check_header(width: int, height: int, frames: int, max_pixels: int) -> None:
    if width * height == 0:
        raise LureError("has no pixels", _EXPORT_AGAIN)
    if width * height > max_pixels:
        raise LureError(f"{width} x {height} is over the limit of {max_pixels} pixels", "crop or shrink the image")
    if frames > 1:
        raise LureError(f"holds {frames} frames or pages", "save the one frame that is meant as its own file")


@contextmanager
def _without_pillow_limit() -> Iterator[None]:
    """Lift Pillow's pixel limit, a global that is looked at when a file is opened; `max_pixels` rules instead."""
    from PIL import Image

    with _PILLOW_LIMIT:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _upright(pixels: np.ndarray, orientation: object) -> np.ndarray:
    """Apply an EXIF or TIFF orientation, 1..8; any other value counts as 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
