"""Files that Pillow opens: PNG, JPEG, BMP, WebP, JPEG 2000, GIF, AVIF. It decodes what it keeps in full; deep colour,
which it would cut to 8 bits, goes to imagecodecs."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from lure_cli.core.images.avif import avif_depth, decode_deep_avif
from lure_cli.core.images.bmp import bit_fields_header, bmp_header, check_bmp, decode_bit_fields
from lure_cli.core.images.colour import cmyk_to_rgb
from lure_cli.core.images.exif import ORIENTATION, exif_to_keep, swaps_sides, upright
from lure_cli.core.images.formats import AVIF, BMP, JPEG, JPEG2000, PNG, WEBP, Format, unknown_format
from lure_cli.core.images.guards import CONVERT, check_size
from lure_cli.core.images.jpeg import completed_jpeg
from lure_cli.core.images.jpeg2000 import check_jpeg2000, decode_deep_jpeg2000
from lure_cli.core.images.png import decode_deep_png, mended_png, png_header
from lure_cli.core.images.stored import Header, RawPicture
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_GLOBALS = threading.Lock()


def decode_pillow(file: BinaryIO, file_format: Format, max_pixels: int, first_frame: bool = False) -> RawPicture:
    """Decode a file of a type that Pillow opens, of an animated one the first frame if that is wanted; LureError, or
    whatever Pillow raises at a damaged one."""
    import numpy as np

    if file_format is BMP:
        check_bmp(header := bmp_header(file))
        if header.has_bit_fields:
            return decode_bit_fields(file, header, max_pixels)
    components = check_jpeg2000(file, max_pixels) if file_format is JPEG2000 else None
    depth = avif_depth(file) if file_format is AVIF else 8
    is_deep, white = depth > 8 or (components is not None and components.is_deep), None
    image, profile = _open_mended(file, file_format, max_pixels, load=not is_deep, first_frame=first_frame)
    icc, key = image.info.get("icc_profile", profile), image.info.get("transparency")
    if components is not None and components.is_deep:
        pixels, white = decode_deep_jpeg2000(file, components.channels), components.white
    elif depth > 8:
        pixels, white = decode_deep_avif(file, image.size), (1 << depth) - 1
    elif file_format is PNG and png_header(file).is_deep:
        pixels = decode_deep_png(file)
    elif image.mode.startswith("I;16") or (image.mode == "I" and file_format is PNG):
        pixels = np.asarray(image).astype(np.uint16)
    elif image.mode == "CMYK":
        pixels, icc, key = np.asarray(cmyk_to_rgb(image, icc)), None, None
    else:
        pixels, key = _eight_bits(image), None
    if key is not None:
        pixels = _with_colour_key(pixels, key)
    orientation, notes = 1, None
    with quiet_pillow(), suppress(Exception):  # the pixels are there; a damaged note does not spoil them
        exif = image.getexif()
        orientation = exif.get(ORIENTATION, 1)
        notes = exif_to_keep(exif)
    return RawPicture(upright(pixels, orientation), icc, notes, white=white)


def exif_of(file: BinaryIO) -> bytes | None:
    """What is worth keeping of the notes of a JPEG, for pixels that are upright; see `exif_to_keep`."""
    from PIL import Image

    file.seek(0)
    with quiet_pillow(), suppress(Exception):  # a damaged note does not spoil the pixels
        return exif_to_keep(Image.open(file, formats=(JPEG.pillow,)).getexif())
    return None


def pillow_header(file: BinaryIO, file_format: Format, max_pixels: int) -> Header:
    """The header of a file of a type that Pillow opens; nothing is decoded. Raises as `decode_pillow`."""
    if file_format is BMP:
        check_bmp(header := bmp_header(file))
        if header.has_bit_fields:
            return bit_fields_header(header, max_pixels)
    components = check_jpeg2000(file, max_pixels) if file_format is JPEG2000 else None
    image, _ = _open_mended(file, file_format, max_pixels, load=False)
    with quiet_pillow():
        has_exif = file_format is not PNG or "exif" in image.info  # without, Pillow would decode the whole PNG
        turned = has_exif and swaps_sides(image.getexif().get(ORIENTATION, 1))
    width, height = image.size[::-1] if turned else image.size
    bits = components.bits if components is not None else png_header(file).depth if file_format is PNG else 8
    if file_format is AVIF:
        bits = avif_depth(file)
    grey = image.mode in ("1", "L", "LA", "La", "I") or image.mode.startswith("I;16")
    alpha = image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info
    return Header(width, height, 1 if grey else 3, bits, "unsigned", alpha)


def _open_mended(
    file: BinaryIO, file_format: Format, max_pixels: int, *, load: bool, first_frame: bool = False
) -> tuple[Image.Image, bytes | None]:
    """As `_open`, the pixels decoded if wanted; also files whose only fault is one that viewers pass over: the end mark
    of a JPEG, the notes of a PNG. And a colour profile that Pillow does not read."""

    def opened(file: BinaryIO) -> Image.Image:
        image = _open(file, file_format, max_pixels, first_frame)
        if load:
            image.load()  # some notes of a PNG stand behind its pixels
        return image

    try:
        return opened(file), None
    except MemoryError:
        raise
    except Exception:  # Pillow raises several types at a fault; LureError is one of an unknown type
        if file_format is PNG and (mended := mended_png(file)) is not None:
            return opened(mended[0]), mended[1]
        if file_format is JPEG and load:
            with quiet_pillow():
                completed = completed_jpeg(file)
            if completed is not None:
                return opened(completed), None
        raise


def _open(file: BinaryIO, file_format: Format, max_pixels: int, first_frame: bool) -> Image.Image:
    """Read the header and check size and frames; no pixel is decoded."""
    from PIL import Image, UnidentifiedImageError

    if file_format is WEBP:
        check_size(*_webp_size(file), max_pixels)  # Pillow takes the memory when it opens the file
    file.seek(0)
    try:
        with quiet_pillow():
            image: Image.Image = Image.open(file, formats=(file_format.pillow,))
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a JPEG with previews
    except UnidentifiedImageError as error:
        raise unknown_format() from error
    if frames > 1 and not first_frame:
        raise LureError(
            f"holds {frames} frames or pages",
            "save the one frame that is meant as its own file; lure fuse and restore: --frame first takes the first",
        )
    check_size(*image.size, max_pixels)
    return image


def _webp_size(file: BinaryIO) -> tuple[int, int]:
    """Width and height, from the first chunk of a WebP file."""
    file.seek(0)
    head = file.read(32)
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        size = int.from_bytes(head[21:25], "little")
        return (size & 0x3FFF) + 1, (size >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


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


def _with_colour_key(pixels: np.ndarray, key: object) -> np.ndarray:
    """uint16 (H, W) or (H, W, C) -> (H, W, C + 1): transparent where a 16-bit PNG has the colour that it names so."""
    import numpy as np

    pixels = pixels.reshape(*pixels.shape[:2], -1)
    seen = (pixels != np.asarray(key, np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([pixels, np.where(seen, np.uint16(65535), np.uint16(0))], axis=2)


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Without warnings about damage, which are errors of ours or of no matter, and without Pillow's pixel limit, which
    is looked at when a file is opened; `max_pixels` rules instead. Both are global: one thread at a time."""
    from PIL import Image

    with _GLOBALS, warnings.catch_warnings(action="ignore"):
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
