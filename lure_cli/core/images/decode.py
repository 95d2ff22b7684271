"""Image files, as they are stored: what each format needs before a pixel is trusted.

Pillow decodes what it keeps in full; 16-bit colour PNG and JPEG 2000 go to imagecodecs, as Pillow would cut them to 8
bits, and TIFFs to tifffile, as libtiff writes notes about damage to stderr. Sizes are checked in the header, before a
decoder takes memory for them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from lure_cli.core.images.colour import cmyk_to_rgb, opaque_value
from lure_cli.core.images.deep import J2K_MAGIC, JP2_MAGIC, check_jpeg2000, decode_deep_jpeg2000, decode_deep_png
from lure_cli.core.images.exif import ORIENTATION, exif_to_keep, upright
from lure_cli.core.images.guards import CONVERT, EXPORT_AGAIN, check_header, quiet_pillow, webp_size
from lure_cli.core.images.tiff import TIFF_MAGIC, RawPicture, decode_tiff
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "JPEG2000")


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
        pixels, icc, exif = decode_tiff(file, max_pixels)
    else:
        pixels, icc, exif = _decode_pillow(file, head, max_pixels)
    pixels = np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1), pixels.dtype.newbyteorder("="))
    alpha = None
    if pixels.shape[2] in (2, 4):
        pixels, alpha = pixels[..., :-1], pixels[..., -1:]
        if (alpha == opaque_value(alpha.dtype)).all():
            alpha = None
    return Decoded(np.ascontiguousarray(pixels), alpha, icc, exif)


def _decode_pillow(file: BinaryIO, head: bytes, max_pixels: int) -> RawPicture:
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
        pixels = decode_deep_jpeg2000(file, channels)
    elif image.format == "PNG" and head[24:26] in (b"\x10\x02", b"\x10\x04", b"\x10\x06"):  # bit depth, colour type
        pixels = decode_deep_png(file, head)
    elif image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        pixels = np.asarray(image).astype(np.uint16)
    else:
        pixels, key = _eight_bits(cmyk_to_rgb(image, icc) if image.mode == "CMYK" else image), None
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
        note = exif_to_keep(exif)
    return upright(pixels, orientation), icc, note


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
