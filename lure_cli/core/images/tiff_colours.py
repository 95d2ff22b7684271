"""The numbers of a TIFF file -> grey or RGB, with alpha if there is one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from lure_cli.core.images.colour import cmyk_to_rgb, opaque_value
from lure_cli.core.images.guards import CONVERT, EXPORT_AGAIN, FLATTEN
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

JPEG = 7
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
"""Photometric interpretations."""
_ASSOCIATED, _UNASSOCIATED = (1,), (2,)
"""Alpha by which the colour was multiplied, and by which it was not, as the tag ExtraSamples says it."""
_COEFFICIENTS, _REFERENCE = 529, 532
_BT601 = (0.299, 0.587, 0.114)
_FULL_SCALE = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)
"""Black and white of Y, Cb and Cr where the file says nothing."""
_ROWS = 256


def to_grey_or_rgb(pixels: np.ndarray, page: Any, icc: bytes | None) -> np.ndarray:
    """Numbers as stored, (H, W, C) -> grey or RGB, (H, W, 1 to 4); of less than 8 bits they become 8 bits."""
    import numpy as np

    photometric, bits = int(page.photometric), int(page.bitspersample)
    if photometric == PALETTE:
        colours = _colour_map(page, bits)[pixels[..., 0].astype(np.uint16)]
        if pixels.shape[2] == 1:
            return colours
        pixels = np.concatenate([colours, pixels[..., 1:]], axis=2)
    if bits < 8:
        shades = np.rint(np.arange(2**bits) * (255 / (2**bits - 1))).astype(np.uint8)
        pixels = shades[pixels.astype(np.uint8)]
    size = pixels.shape[1], pixels.shape[0]
    if photometric == CMYK:
        return np.asarray(cmyk_to_rgb(_cmyk(size, pixels), icc))
    if photometric == YCBCR and page.compression != JPEG:
        return _ycbcr_to_rgb(pixels, page)
    if photometric == WHITE_IS_ZERO:
        if pixels.dtype.kind == "f" or pixels.shape[2] > 1:
            raise LureError("white as zero, with floats or alpha", CONVERT)
        return pixels ^ pixels.dtype.type(2**bits - 1) if 8 < bits < 16 else ~pixels
    return _unmultiplied(pixels, tuple(int(e) for e in page.extrasamples))


def _colour_map(page: Any, bits: int) -> np.ndarray:
    """uint8 (2**bits, 3). It has 16 bits, of which the upper 8 count; some programs write 0 to 255 into it, which is
    recognised as libtiff does, by every entry."""
    import numpy as np

    colours = np.asarray(page.colormap)[:, : 2**bits]
    if colours.shape != (3, 2**bits):
        raise LureError("damaged: its colour map is not whole", EXPORT_AGAIN)
    return (colours if colours.max() < 256 else colours >> 8).T.astype(np.uint8)


def _cmyk(size: tuple[int, int], pixels: np.ndarray) -> Any:
    from PIL import Image

    return Image.frombytes("CMYK", size, pixels.tobytes())


def _ycbcr_to_rgb(pixels: np.ndarray, page: Any) -> np.ndarray:
    """uint8 (H, W, 3) by the file's own coefficients, black and white (TIFF 6.0, sections 20 and 21)."""
    import numpy as np

    red, green, blue = _numbers(page, _COEFFICIENTS, _BT601)
    reference = _numbers(page, _REFERENCE, _FULL_SCALE)
    low, scale = np.array(reference[::2], np.float32), np.array([255, 127, 127], np.float32)
    spans = np.array(reference[1::2], np.float32) - low
    if not (spans.all() and green):
        raise LureError("damaged: its reference black and white or its coefficients make no sense", EXPORT_AGAIN)
    of_cb = [0, -blue * (2 - 2 * blue) / green, 2 - 2 * blue]
    of_cr = [2 - 2 * red, -red * (2 - 2 * red) / green, 0]
    to_rgb = np.array([[1, 1, 1], of_cb, of_cr], np.float32)
    rgb = np.empty_like(pixels)
    with np.errstate(all="ignore"):
        for top in range(0, len(pixels), _ROWS):
            part = (pixels[top : top + _ROWS] - low) * (scale / spans)
            part = np.nan_to_num(part @ to_rgb)
            rgb[top : top + _ROWS] = np.rint(np.clip(part, 0, 255)).astype(np.uint8)
    return rgb


def _numbers(page: Any, code: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """The values of a tag, rational or not, as floats."""
    tag = page.tags.get(code)
    if tag is None:
        return default
    values = [float(value) for value in tag.value]
    if tag.dtype in (5, 10):  # numerators and denominators
        values = [a / b if b else math.nan for a, b in zip(values[::2], values[1::2], strict=True)]
    if len(values) != len(default) or not all(math.isfinite(value) for value in values):
        raise LureError(f"damaged: its {tag.name} makes no sense", EXPORT_AGAIN)
    return tuple(values)


def segment_places(page: Any, width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Top, left, height and width of each strip or tile; tiles reach beyond the picture, the last strip does not."""
    if page.is_tiled:
        w, h = int(page.tilewidth), int(page.tilelength)
    else:
        w, h = width, min(int(page.rowsperstrip), height)
    for top in range(0, height, h):
        for left in range(0, width, w):
            yield top, left, h if page.is_tiled else min(h, height - top), w


def decode_subsampled(file: BinaryIO, page: Any) -> np.ndarray:
    """uint8 (H, W, 3), Y, Cb and Cr, of a file whose chroma has fewer pixels, stored without JPEG in blocks; each
    chroma value counts for all pixels of its block, as libtiff does it."""
    import imagecodecs
    import numpy as np
    import tifffile

    width, height = int(page.imagewidth), int(page.imagelength)
    across, down = (int(n) for n in page.subsampling)
    if page.planarconfig != 1:
        raise LureError("subsampled chroma in planes of its own", CONVERT)
    if across not in (1, 2, 4) or down not in (1, 2, 4) or page.predictor != 1:
        raise LureError(f"chroma that is subsampled in an unusual way ({across} x {down})", CONVERT)
    pixels = np.empty((height, width, 3), np.uint8)
    places = segment_places(page, width, height)
    segments = zip(page.dataoffsets, page.databytecounts, strict=True)
    for (top, left, h, w), (start, count) in zip(places, segments, strict=False):
        rows, columns, block = -(-h // down), -(-w // across), across * down + 2
        file.seek(start)
        data: bytes | bytearray = file.read(count)
        if page.fillorder == 2:
            data = imagecodecs.bitorder_decode(data)
        if page.compression != 1:
            data = tifffile.TIFF.DECOMPRESSORS[page.compression](data, out=rows * columns * block)
        if len(data) < rows * columns * block:
            raise LureError("damaged: a strip or tile that is too short", EXPORT_AGAIN)
        blocks = np.frombuffer(data, np.uint8, rows * columns * block).reshape(rows, columns, block)
        part = np.empty((rows, down, columns, across, 3), np.uint8)
        part[..., 0] = blocks[..., :-2].reshape(rows, columns, down, across).transpose(0, 2, 1, 3)
        part[..., 1:] = blocks[:, None, :, None, -2:]
        room = pixels[top : top + h, left : left + w]
        room[:] = part.reshape(rows * down, columns * across, 3)[: room.shape[0], : room.shape[1]]
    return pixels


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
