"""PBM, PGM and PPM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lure_cli.core.images.header import read_header
from lure_cli.core.images.picture import read_picture, read_pixels
from lure_cli.core.images.value_range import ValueRange
from lure_cli.errors import LureError
from tests.helpers.images import GREY, GREY16, RGB, RGB16, encoded, same


def pnm(kind: int, numbers: np.ndarray, white: int) -> bytes:
    h, w = numbers.shape[:2]
    head = f"P{kind}\n# a camera\n{w} {h}\n{white}\n".encode()
    if kind < 4:
        return head + b"\n".join(b"%d" % n for n in numbers.ravel())
    return head + numbers.astype(">u2" if white > 255 else "u1").tobytes()


def test_8_bits() -> None:
    same(read_picture(encoded(GREY, "PPM"), channels=1), GREY)
    same(read_picture(encoded(RGB, "PPM"), channels=3), RGB)
    same(read_picture(pnm(2, GREY, 255), channels=1), GREY)
    same(read_picture(pnm(3, RGB, 255), channels=3), RGB)


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
@pytest.mark.parametrize(("kind", "image"), [(2, GREY16), (5, GREY16), (3, RGB16), (6, RGB16)])
def test_deep(tmp_path: Path, kind: int, image: np.ndarray, bits: int) -> None:
    white, channels = 2**bits - 1, 3 if image.ndim == 3 else 1
    numbers = image >> (16 - bits)
    expected = numbers.reshape(12, 17, -1) / white
    path = tmp_path / "a.pnm"
    path.write_bytes(pnm(kind, numbers, white))
    for value_range in (None, ValueRange()):
        picture = read_picture(path, channels=channels, value_range=value_range)
        np.testing.assert_allclose(picture.x, expected, atol=1e-5)
        assert picture.mapping is None
    given = read_picture(path, channels=channels, value_range=ValueRange("values", 0, white / 2))
    np.testing.assert_allclose(given.x, np.minimum(expected * 2, 1), atol=1e-5)
    np.testing.assert_allclose(read_pixels(path) / 65535, expected, atol=1e-5)
    assert read_header(path).bits == bits


def test_narrow_thermal_is_stretched_and_named_in_the_files_numbers() -> None:
    picture = read_picture(pnm(5, GREY16 % 200 + 3000, 16383), channels=1, value_range=ValueRange())
    assert picture.mapping and picture.mapping.startswith("30") and picture.x.max() == 1


def test_bitmaps() -> None:
    expected = [[0, 1, 0], [1, 0, 1]]
    for content in (b"P1 # c\n3 2\n101010", b"P1 3 2\n1 0 1\n0 1 0\n", b"P4 3 2\n\xa0\x40"):
        assert read_picture(content, channels=1).x[..., 0].tolist() == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"P5 4 4 255\n" + bytes(15), "cut short"),
        (b"P2 2 1 255\n1  ", "cut short"),
        (b"P2 2 1 100\n100 101", "over 100"),
        (b"P5 2 1 4095\n\x0f\xff\x10\x00", "over 4095"),
        (b"P5 2 1 70000\n0000", "70000"),
        (b"P5 0 1 255\n", "no pixels"),
        (b"P6 99999 99999 255\n", "over the limit"),
        (b"P5 2 1 255\nabP5 2 1 255\nab", "several images"),
        (b"P5 2 x\n", "header"),
    ],
)
def test_what_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(LureError, match=words):
        read_picture(content, channels=1)


def test_a_black_border_does_not_flatten_14_bits() -> None:
    numbers = np.kron(GREY16 % 200 + 7000, np.ones((8, 8), np.uint16))
    numbers[:20] = 0
    picture = read_picture(pnm(5, numbers, 16383), channels=1, value_range=ValueRange())
    assert picture.mapping and picture.x[20:].max() - picture.x[20:].min() > 0.9
