from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from lure_cli.core.images.header import read_header
from lure_cli.core.images.picture import read_picture
from lure_cli.errors import LureError
from tests.helpers.images import GREY, GREY16, RGB, RGB16, RGBA, RGBA16, same


def jxl(image: np.ndarray, **options: Any) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(image, lossless=True, **options))


@pytest.mark.parametrize("image", [GREY, RGB, RGBA, GREY16, RGB16, RGBA16])
@pytest.mark.parametrize("boxes", [False, True])
def test_jpegxl(tmp_path: Path, image: np.ndarray, boxes: bool) -> None:
    path = tmp_path / "a.jxl"
    path.write_bytes(jxl(image, usecontainer=boxes))
    same(read_picture(path, channels=3 if image.ndim == 3 else 1), image)
    header = read_header(path)
    assert (header.width, header.height, header.bits) == (17, 12, 8 * image.itemsize)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_depths_and_floats(bits: int) -> None:
    numbers, white = RGB16 >> (16 - bits), 2**bits - 1
    np.testing.assert_allclose(read_picture(jxl(numbers, bitspersample=bits), channels=3).x, numbers / white, atol=1e-5)
    floats = GREY16[..., None] / np.float32(65535)
    assert np.array_equal(read_picture(jxl(floats[..., 0]), channels=1).x, floats)


@pytest.mark.parametrize(("h", "w"), [(1, 1), (8, 256), (300, 400), (300, 301), (90, 160), (16, 2100)])
def test_the_size_in_the_header(tmp_path: Path, h: int, w: int) -> None:
    path = tmp_path / "a.jxl"
    path.write_bytes(jxl(np.zeros((h, w), np.uint8)))
    header = read_header(path)
    assert (header.height, header.width) == (h, w)
    with pytest.raises(LureError, match="over the limit"):
        read_picture(path, channels=1, max_pixels=h * w - 1)


def test_what_is_refused() -> None:
    with pytest.raises(LureError, match="several frames"):
        read_picture(bytes(imagecodecs.jpegxl_encode(np.stack([RGB, RGB]))), channels=3)
    with pytest.raises(LureError, match=r"cut short|damaged"):
        read_picture(jxl(RGB)[:-60], channels=3)
