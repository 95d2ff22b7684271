from __future__ import annotations

import struct
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pytest

from lure_cli.core.images.picture import read_picture
from lure_cli.errors import LureError
from tests.helpers.images import GREY16, RGB16, RGBA16, png, same


@pytest.mark.parametrize("image", [GREY16, np.dstack([GREY16, GREY16[::-1]]), RGB16, RGBA16])
def test_16_bit_pngs_are_read_in_full(image: np.ndarray) -> None:
    same(read_picture(imagecodecs.png_encode(image), channels=3 if image.shape[-1] in (3, 4) else 1), image)


def test_an_interlaced_16_bit_png_is_read_in_full() -> None:
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = b"".join(b"\0" + r.astype(">u2").tobytes() for x, y, dx, dy in steps for r in RGB16[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", 17, 12, 16, 2, 0, 0, 1)
    plain = png(17, 12, 16, 2, rows)
    content = plain.replace(plain[16:29], header).replace(plain[29:33], struct.pack(">I", zlib.crc32(b"IHDR" + header)))
    same(read_picture(content, channels=3), RGB16)


@pytest.mark.parametrize("image", [GREY16, RGB16])
def test_the_transparent_colour_of_a_16_bit_png(image: np.ndarray) -> None:
    whole = imagecodecs.png_encode(image)
    key = struct.pack(f">{image[0, 0].size}H", *image[0, 0].reshape(-1).tolist())
    chunk = struct.pack(">I", len(key)) + b"tRNS" + key + struct.pack(">I", zlib.crc32(b"tRNS" + key))
    picture = read_picture(whole[:33] + chunk + whole[33:], channels=3)
    assert picture.alpha is not None and picture.alpha.sum() == picture.alpha.size - 1 and picture.alpha[0, 0] == 0


def test_a_png_that_swells_is_not_followed() -> None:
    for size, words in ((8 * (1 + 8 * 6) - 1, "cut short"), (50_000_000, "cut short")):
        tracemalloc.start()
        with pytest.raises(LureError, match=words):
            read_picture(png(8, 8, 16, 2, bytes(size)), channels=3)
        assert tracemalloc.get_traced_memory()[1] < 52_000_000  # making the file takes as much
        tracemalloc.stop()


def chunk(kind: bytes, data: bytes, wrong: int = 0) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ wrong)


PIXELS = png(2, 1, 8, 2, b"\0" + bytes(range(6)))


@pytest.mark.parametrize("at", [33, -12], ids=["before the pixels", "behind"])
@pytest.mark.parametrize("kind", [b"tIME", b"tEXt", b"gAMA", b"pHYs", b"eXIf", b"zTXt"])
def test_a_wrong_checksum_of_a_note_is_passed_over(kind: bytes, at: int) -> None:
    picture = read_picture(PIXELS[:at] + chunk(kind, b"x\0" + bytes(7), wrong=1) + PIXELS[at:], channels=3)
    assert picture.x.ravel().tolist() == pytest.approx([n / 255 for n in range(6)])


def test_a_wrong_checksum_of_what_the_pixels_need_is_damage() -> None:
    palette = png(2, 1, 8, 3, b"\0\0\1")
    for content in (
        PIXELS[:29] + bytes([PIXELS[29] ^ 1]) + PIXELS[30:],
        palette[:33] + chunk(b"PLTE", bytes(6), wrong=1) + palette[33:],
        PIXELS[:33] + chunk(b"tRNS", bytes(6), wrong=1) + PIXELS[33:],
    ):
        with pytest.raises(LureError, match="damaged: a checksum is wrong"):
            read_picture(content, channels=3)


@pytest.mark.parametrize("at", [33, -12], ids=["before the pixels", "behind"])
def test_long_texts_and_profiles(at: int) -> None:
    packed = zlib.compress(bytes(3_000_000))
    for note in (b"zTXt", b"settings\0\0" + packed), (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed):
        assert read_picture(PIXELS[:at] + chunk(*note) + PIXELS[at:], channels=3).x.shape == (1, 2, 3)
    icc = bytes(16) + b"RGB " + bytes(2_000_000)
    content = PIXELS[:33] + chunk(b"iCCP", b"profile\0\0" + zlib.compress(icc)) + PIXELS[33:]
    assert read_picture(content, channels=3).metadata.icc == icc
