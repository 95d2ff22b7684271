"""Images to try reading and writing on, and what they are made into."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from lure_cli.core.images.picture import Picture, read_image
from lure_cli.errors import LureError

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (12, 17, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (12, 17), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (12, 17, 3), dtype=np.uint16)
GREY16 = RNG.integers(0, 65536, (12, 17), dtype=np.uint16)
RGBA = np.dstack([RGB, GREY])
RGBA16 = np.dstack([RGB16, GREY16])
X = RGB / np.float32(255)
ALPHA, ALPHA16 = GREY[..., None] / np.float32(255), GREY16[..., None] / np.float32(65535)


def save(path: Path, image: np.ndarray | Image.Image, **options: Any) -> Path:
    """Write a file by Pillow."""
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def png(width: int, height: int, depth: int, colour: int, rows: bytes = b"") -> bytes:
    """A PNG file with this header, whatever its pixel data is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(tags: dict[int, int]) -> bytes:
    """A TIFF file of these tags and no pixels."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)


def encoded(image: np.ndarray, kind: str, **options: Any) -> bytes:
    """The content of a file by Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def opened(path: Path) -> Image.Image:
    """As Pillow sees it, from memory: by name it leaves some TIFFs (uncompressed palette and grey) unrotated."""
    return Image.open(io.BytesIO(path.read_bytes()))


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R BT.601, (H, W, 1)."""
    return (rgb.astype(float) @ [0.299, 0.587, 0.114])[..., None]


def opaque(image: np.ndarray) -> np.ndarray:
    """With an alpha channel that hides nothing."""
    return np.dstack([image, np.full(image.shape[:2], np.iinfo(image.dtype).max, image.dtype)])


def refused(path: Path, **options: Any) -> LureError:
    """The error of reading a file, which names it once and warns of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LureError) as caught:
            read_image(path, channels=3, **options)
    assert str(path) in caught.value.message
    assert caught.value.message.count(str(path)) == 1
    assert caught.value.hint
    return caught.value


def tiff_file(image: np.ndarray, **options: Any) -> bytes:
    """The content of a file by tifffile."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, **options)
    return buffer.getvalue()


def same(picture: Picture, stored: np.ndarray) -> None:
    """Colour and alpha are these stored numbers, over their full range, to the last bit."""
    x = (stored if stored.ndim == 3 else stored[..., None]) / np.float32(np.iinfo(stored.dtype).max)
    transparent = x.shape[2] in (2, 4)
    np.testing.assert_array_equal(picture.x, x[..., :-1] if transparent else x)
    assert picture.x.dtype == np.float32 and picture.bits == 8 * stored.dtype.itemsize
    if transparent:
        assert picture.alpha is not None and picture.alpha.dtype == np.float32
        np.testing.assert_array_equal(picture.alpha, x[..., -1:])
    else:
        assert picture.alpha is None


def profile(space: str) -> bytes:
    """A colour profile: sRGB, or one that only says that it is of another space."""
    if space == "RGB":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = bytearray(profile("RGB"))
    content[16:20] = f"{space:<4}".encode()
    return bytes(content)


def notes(orientation: int = 6) -> bytes:
    """EXIF of a camera, with things to keep and things to drop."""
    exif = Image.Exif()
    exif[271], exif[33432], exif[274], exif[282] = "K\xe4mera", "me", orientation, 72.0
    exif[34665] = {33434: IFDRational(1, 50), 40962: 17, 40963: 12, 37500: b"maker"}
    exif[34853] = {1: "N"}
    return exif.tobytes()


# Whole files, and two whose headers lie.
BIG = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
PNG, JPEG, WEBP, BMP = (encoded(BIG, kind) for kind in ("PNG", "JPEG", "WEBP", "BMP"))
TIFF = encoded(BIG, "TIFF")
# The width holds two numbers; times the height they would be a sequence of that many.
PAIR_OF_WIDTHS = tiff({256: 8, 257: 2**31 - 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 1}).replace(
    struct.pack("<HHII", 256, 4, 1, 8), struct.pack("<HHIHH", 256, 3, 2, 8, 8)
)
HUGE_TIFF = tiff({256: 100_000, 257: 100_000, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 100_000, 279: 1})
