from __future__ import annotations

import warnings

import numpy as np
import pytest

from lure_cli.core.images.picture import Picture, read_picture
from lure_cli.core.images.value_range import ValueRange, parse_range
from lure_cli.errors import LureError
from tests.helpers.images import tiff_file

FULL, AUTO = ValueRange("full"), ValueRange("auto")


def thermal(low: float, high: float, kind: type[np.generic]) -> np.ndarray:
    """A ramp between two numbers, of 400 pixels."""
    return np.linspace(low, high, 400).astype(kind).reshape(20, 20)


def mapped(image: np.ndarray, value_range: ValueRange | None) -> Picture:
    picture = read_picture(tiff_file(image), channels=1, value_range=value_range)
    assert picture.x.dtype == np.float32 and picture.x.shape == (*image.shape, 1)
    return picture


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", ValueRange("auto")),
        (" Full ", ValueRange("full")),
        ("percentile", ValueRange("percentile", 0.5, 99.5)),
        ("percentile:1,99", ValueRange("percentile", 1, 99)),
        ("percentile:0,100", ValueRange("percentile", 0, 100)),
        ("7000,9000", ValueRange("values", 7000, 9000)),
        ("-20.5, 4e1", ValueRange("values", -20.5, 40)),
    ],
)
def test_ranges_are_parsed(text: str, expected: ValueRange) -> None:
    assert parse_range(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "1", "1,2,3", "2,1", "1,1", "nan,1", "0,inf", "percentile:", "percentile:-1,5", "percentile:1,101"],
)
def test_other_ranges_are_refused(text: str) -> None:
    with pytest.raises(LureError, match="value range") as caught:
        parse_range(text)
    assert f"'{text}'" in caught.value.message and "MIN,MAX" in caught.value.hint


def test_auto_leaves_what_fills_its_range() -> None:
    for image in (thermal(100, 110, np.uint8), thermal(9000, 40000, np.uint16), thermal(0.25, 0.5, np.float32)):
        picture = mapped(image, AUTO)
        top = 1 if image.dtype.kind == "f" else np.iinfo(image.dtype).max
        np.testing.assert_array_equal(picture.x[..., 0], image / np.float32(top))
        assert picture.mapping is None


@pytest.mark.parametrize(
    ("kind", "low", "high", "name", "bits"),
    [
        (np.uint16, 7100, 9230, "16 bits", 16),
        (np.int16, -300, 1200, "16 signed bits", 16),
        (np.uint32, 70_000, 90_000, "32 bits", 32),
        (np.int32, -70_000, 90_000, "32 signed bits", 32),
        (np.float32, -12.5, 41.25, "floats", 32),
        (np.float64, 1e9, 1e9 + 1, "floats", 32),
    ],
)
def test_auto_spreads_percentiles(kind: type[np.generic], low: float, high: float, name: str, bits: int) -> None:
    image = thermal(low, high, kind)
    picture = mapped(image, AUTO)
    a, b = np.percentile(image.astype(np.float64), (0.5, 99.5))
    np.testing.assert_allclose(picture.x[..., 0], np.clip((image - a) / (b - a), 0, 1), atol=2e-6)
    assert picture.mapping == f"{a:.7g}..{b:.7g} of {name} -> 0..1 (percentiles 0.5 and 99.5)"
    assert picture.bits == bits and picture.x.min() == 0 and picture.x.max() == 1
    again = mapped(image, ValueRange("percentile"))
    np.testing.assert_array_equal(again.x, picture.x)


def test_percentiles_of_ones_own() -> None:
    image = thermal(0, 255, np.uint8)
    picture = mapped(image, ValueRange("percentile", 10, 90))
    a, b = np.percentile(image, (10, 90))
    np.testing.assert_allclose(picture.x[..., 0], np.clip((image - a) / (b - a), 0, 1), atol=1e-6)
    assert picture.mapping == f"{a:g}..{b:g} of 8 bits -> 0..1 (percentiles 10 and 90)"


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
def test_numbers_given(kind: type[np.generic]) -> None:
    image = np.array([[0, 20, 45, 70, 90]] * 2).astype(kind)
    picture = mapped(image, ValueRange("values", 20, 70))
    assert picture.x[0, :, 0].tolist() == [0, 0, 0.5, 1, 1]
    assert picture.mapping is not None and picture.mapping.startswith("20..70 of ") and "(as given)" in picture.mapping


def test_the_full_range_of_signed_integers() -> None:
    image = np.array([[-32768, 0, 32767]] * 2, np.int16)
    for value_range in (None, FULL):
        picture = mapped(image, value_range)
        assert picture.x[0, :, 0].tolist() == [0, np.float32(32768 / 65535), 1] and picture.mapping is None


def test_an_image_of_one_number() -> None:
    for image, value in ((np.full((9, 9), 7000, np.uint16), np.float32(7000) / 65535), (np.full((9, 9), 0.25), 0.25)):
        picture = mapped(image, AUTO)
        assert picture.mapping is None
        np.testing.assert_allclose(picture.x, value, rtol=1e-6)
    picture = mapped(np.full((9, 9), -40, np.float32), AUTO)
    assert (picture.x == 0.5).all() and picture.mapping == "-40 of floats -> 0.5 (all pixels are equal)"


def test_an_almost_empty_image() -> None:
    image = np.full((40, 40), 300, np.uint16)
    image[3, 4] = 400
    picture = mapped(image, AUTO)
    assert picture.x[3, 4] == 1 and picture.x.sum() == 1
    assert picture.mapping == "300..400 of 16 bits -> 0..1 (minimum and maximum)"


@pytest.mark.parametrize("value_range", [None, FULL])
def test_floats_need_a_range_or_to_be_in_0_to_1(value_range: ValueRange | None) -> None:
    np.testing.assert_array_equal(mapped(thermal(0, 1, np.float32), value_range).x[..., 0], thermal(0, 1, np.float32))
    for low, high in ((0, 1.01), (-0.01, 1), (20, 30)):
        with pytest.raises(LureError, match="floats of unknown range") as caught:
            mapped(thermal(low, high, np.float32), value_range)
        assert "--ir-range" in caught.value.hint


@pytest.mark.parametrize("value_range", [None, AUTO, ValueRange("values", 0, 1), ValueRange("percentile")])
def test_numbers_that_are_none_are_counted(value_range: ValueRange | None) -> None:
    image = thermal(0, 1, np.float32)
    image[2, 3], image[4, 5], image[6, 7] = np.nan, np.inf, -np.inf
    with pytest.raises(LureError, match="3 of its 400 numbers are NaN or infinite"):
        mapped(image, value_range)


def test_numbers_too_far_apart() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LureError, match="too far apart"):
            mapped(np.where(thermal(0, 1, np.float64) > 0.5, 1.7e308, -1.7e308), AUTO)
