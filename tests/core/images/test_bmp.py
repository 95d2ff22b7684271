"""BMP: bit fields, and whether all rows are there."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from lure_cli.core.images.header import read_header
from lure_cli.core.images.picture import read_picture
from lure_cli.errors import LureError
from tests.helpers.images import RGB, RGB16, RGBA16, encoded


def bit_fields(image: np.ndarray, depth: int, masks: tuple[int, ...], size: int = 40, top_down: bool = False) -> bytes:
    """A BMP of an image's highest bits."""
    numbers = np.zeros(image.shape[:2], np.uint64)
    for mask, channel in zip(masks, np.moveaxis(image, 2, 0), strict=True):
        kept = channel.astype(np.uint64) >> np.uint64(16 - mask.bit_count())
        numbers |= kept << np.uint64((mask & -mask).bit_length() - 1)
    h, w = numbers.shape
    rows = [r.astype(f"<u{depth // 8}").tobytes() for r in (numbers if top_down else numbers[::-1])]
    rest = struct.pack(f"<{len(masks)}I", *masks).ljust(size - 40, b"\0")
    header = struct.pack("<IiiHHIIiiII", size, w, -h if top_down else h, 1, depth, 3, 0, 0, 0, 0, 0) + rest
    data = b"".join(row.ljust((len(row) + 3) // 4 * 4, b"\0") for row in rows)
    return b"BM" + struct.pack("<III", 0, 0, 14 + len(header)) + header + data


@pytest.mark.parametrize(
    ("depth", "masks"),
    [
        (32, (0x3FF, 0xFFC00, 0x3FF00000)),
        (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)),
        (32, (0x7FF, 0x3FF800, 0xFFC00000)),
        (32, (0xFF00, 0xFF0000, 0xFF000000, 0xFF)),
        (16, (0xF800, 0x7E0, 0x1F)),
        (16, (0x7C00, 0x3E0, 0x1F)),
        (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
        (16, (0xF00, 0xF0, 0xF, 0xF000)),
    ],
)
@pytest.mark.parametrize("top_down", [False, True])
def test_bit_fields(tmp_path: Path, depth: int, masks: tuple[int, ...], top_down: bool) -> None:
    image = (RGB16, RGBA16)[len(masks) == 4]
    path = tmp_path / "a.bmp"
    path.write_bytes(bit_fields(image, depth, masks, 108 if len(masks) == 4 else 40, top_down))
    picture, header = read_picture(path, channels=3), read_header(path)
    most = [2 ** mask.bit_count() - 1 for mask in masks]
    expected = np.stack([(image[..., i] >> (16 - m.bit_length())) / m for i, m in enumerate(most)], axis=2)
    deep = max(most) > 255
    np.testing.assert_allclose(picture.x, expected[..., :3], atol=1e-5 if deep else 0.002)
    assert picture.bits == header.bits == (16 if deep else 8)
    if len(masks) == 4:
        assert picture.alpha is not None and header.alpha
        np.testing.assert_allclose(picture.alpha[..., 0], expected[..., 3], atol=0.002)


def test_an_alpha_channel_of_zeros_is_none() -> None:
    image = RGBA16.copy()
    image[..., 3] = 0
    assert read_picture(bit_fields(image, 32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), 108), channels=3).alpha is None


def test_bit_fields_that_cannot_be() -> None:
    whole = bit_fields(RGB16, 32, (0x3FF, 0xFFC00, 0x3FF00000))
    for masks, words in (((0, 0xFF, 0xFF00), "no bits"), ((0x5, 0xF0, 0xF00), "0x5"), ((0xFFFFFFFF, 1, 2), "fields")):
        with pytest.raises(LureError, match=words):
            read_picture(whole[:54] + struct.pack("<3I", *masks) + whole[66:], channels=3)
    with pytest.raises(LureError, match="cut short"):
        read_picture(whole[:-1], channels=3)


@pytest.mark.parametrize("named", [0, 1, 1 << 30])
def test_the_length_that_a_bmp_names_is_not_believed(tmp_path: Path, named: int) -> None:
    whole, path = encoded(RGB, "BMP"), tmp_path / "a.bmp"
    path.write_bytes(whole[:2] + struct.pack("<I", named) + whole[6:])
    assert read_header(path).width == read_picture(path, channels=3).x.shape[1] == 17
    path.write_bytes(whole[:2] + struct.pack("<I", named) + whole[6:-1])
    with pytest.raises(LureError, match="cut short"):
        read_header(path)


def test_kinds_that_are_not_read_are_not_called_damaged() -> None:
    whole = encoded(RGB, "BMP")
    for depth, compression in ((2, 0), (0, 4), (0, 5), (64, 0)):
        content = whole[:28] + struct.pack("<HI", depth, compression) + whole[34:]
        with pytest.raises(LureError, match="of a kind that is not read"):
            read_picture(content, channels=3)
