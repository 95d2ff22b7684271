from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from lure_cli.core.images.picture import read_picture
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


def test_jpeg2000_of_other_numbers_is_refused() -> None:
    twelve = imagecodecs.jpeg2k_encode(GREY16 >> 4, level=0, reversible=True, bitspersample=12)
    with pytest.raises(LureError, match="8 or 16 bits"):
        read_picture(twelve, channels=1)
