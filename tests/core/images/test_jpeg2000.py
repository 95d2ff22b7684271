from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from lure_cli.core.images.picture import read_picture
from lure_cli.core.images.value_range import ValueRange
from lure_cli.errors import LureError
from tests.helpers.images import GREY16, RGB16, RGBA16, encoded, same


@pytest.mark.parametrize("image", [RGB16, RGBA16])
def test_16_bit_jpeg2000(image: np.ndarray) -> None:
    for codec in ("jp2", "j2k"):
        same(
            read_picture(imagecodecs.jpeg2k_encode(image, level=0, reversible=True, codecformat=codec), channels=3),
            image,
        )
    same(read_picture(encoded(GREY16, "JPEG2000"), channels=1), GREY16)


@pytest.mark.parametrize("bits", [4, 9, 10, 12, 14])
@pytest.mark.parametrize("image", [GREY16, RGB16, RGBA16])
def test_jpeg2000_of_other_depths(image: np.ndarray, bits: int) -> None:
    numbers = (image >> (16 - bits)).astype(np.uint8 if bits < 9 else np.uint16)
    content = imagecodecs.jpeg2k_encode(numbers, level=0, reversible=True, bitspersample=bits)
    planes = numbers.reshape(12, 17, -1)[..., : 3 if image.ndim == 3 else 1]
    picture = read_picture(content, channels=3 if image.ndim == 3 else 1)
    white = 2**bits - 1
    np.testing.assert_allclose(picture.x, planes / white, atol=1e-5)
    assert (picture.alpha is None) == (numbers.shape[2:] != (4,))
    if picture.alpha is not None:
        np.testing.assert_allclose(picture.alpha, numbers[..., 3:] / white, atol=1e-5)
    given = read_picture(content, channels=planes.shape[2], value_range=ValueRange("values", 0, white / 2))
    np.testing.assert_allclose(given.x, np.minimum(planes / (white / 2), 1), atol=1e-5)


def test_jpeg2000_of_other_numbers_is_refused() -> None:
    signed = imagecodecs.jpeg2k_encode(GREY16.astype(np.int16), level=0, reversible=True)
    with pytest.raises(LureError, match="1 to 16 bits, unsigned"):
        read_picture(signed, channels=1)
