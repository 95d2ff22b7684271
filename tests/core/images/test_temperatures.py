"""Files whose numbers are temperatures: degrees, ranges in degrees, what is no measurement, what is refused."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
import tifffile

from lure_cli.core.images.picture import Picture, read_picture
from lure_cli.core.images.tiff import encode_temperatures
from lure_cli.core.images.value_range import parse_range
from lure_cli.core.thermal.radiometry import Radiometry
from lure_cli.errors import LureError
from tests.helpers.images import tiff_file
from tests.helpers.tiffs import GEO

RNG = np.random.default_rng(3)
SCENE = (np.linspace(10, 40, 48 * 64).reshape(48, 64) + RNG.normal(0, 0.2, (48, 64))).round(2)
"""Degrees Celsius."""
CK = np.rint(100 * SCENE + 27315).astype(np.uint16)


def read(content: bytes, unit: str = "ck", ir_range: str = "auto") -> Picture:
    return read_picture(content, channels=1, value_range=parse_range(ir_range), radiometry=Radiometry(unit=unit))


@pytest.mark.parametrize(
    ("numbers", "unit"),
    [
        (CK, "ck"),
        (CK.astype(np.int32), "ck"),
        ((SCENE + 273.15).astype(np.float32), "k"),
        (SCENE.astype(np.float64), "c"),
        (np.rint(SCENE).astype(np.int16), "c"),
        (np.dstack([CK] * 3), "ck"),
    ],
)
def test_numbers_are_read_as_degrees(numbers: np.ndarray, unit: str) -> None:
    celsius = read(tiff_file(numbers), unit).celsius
    assert celsius is not None and celsius.dtype == np.float32 and celsius.shape == SCENE.shape
    assert np.abs(celsius - SCENE).max() < (0.51 if numbers.dtype == np.int16 else 0.005)


def test_a_png_of_16_bits_holds_them_too() -> None:
    np.testing.assert_allclose(read(imagecodecs.png_encode(CK)).celsius, SCENE, atol=0.005)


def test_a_range_in_degrees_is_that_of_the_files_own_numbers() -> None:
    degrees = read(tiff_file(CK), ir_range="15,31.5")
    numbers = read_picture(tiff_file(CK), channels=1, value_range=parse_range("28815,30465"))
    np.testing.assert_array_equal(degrees.x, numbers.x)
    assert degrees.mapping == "15.00..31.50 °C -> 0..1 (as given)"
    assert numbers.celsius is None


def test_auto_is_by_percentiles_however_far_they_lie_apart() -> None:
    hot = np.linspace(0, 300, 48 * 64).reshape(48, 64)  # 30000 centikelvins, which fill half of 16 bits
    picture = read(tiff_file(np.rint(100 * hot + 27315).astype(np.uint16)))
    assert picture.mapping is not None and "percentiles 0.5 and 99.5" in picture.mapping
    assert 0 < (picture.x == 0).mean() < 0.02 and 0 < (picture.x == 1).mean() < 0.02
    near = read(tiff_file(np.linspace(0, 1, 400).astype(np.float32).reshape(20, 20)), "c")
    assert near.mapping is not None and near.mapping.startswith("0.0") and "°C" in near.mapping
    even = read(tiff_file(np.full((20, 20), 29315, np.uint16)))
    assert (even.x == 0.5).all() and np.abs(even.celsius - 20).max() < 1e-4


@pytest.mark.parametrize("ir_range", ["auto", "percentile:2,98", "15,30"])
def test_what_was_not_measured_is_nan_and_black(ir_range: str) -> None:
    numbers = CK.copy()
    numbers[:3], numbers[-2:, :9] = 65535, 0
    picture = read(tiff_file(numbers), ir_range=ir_range)
    lost = (numbers == 65535) | (numbers == 0)
    assert picture.celsius is not None
    np.testing.assert_array_equal(np.isnan(picture.celsius), lost)
    assert picture.invalid == lost.sum() and (picture.x[lost] == 0).all()
    np.testing.assert_allclose(picture.celsius[~lost], SCENE[~lost], atol=0.005)


def test_named_no_data_nan_and_what_is_below_absolute_zero() -> None:
    numbers = CK.astype(np.float32) / 100
    numbers[0, 0], numbers[0, 1], numbers[0, 2], numbers[0, 3] = np.nan, np.inf, -3, 500
    picture = read(tiff_file(numbers, extratags=[(42113, 2, 4, "500", True)]), "k", "15,30")
    assert picture.celsius is not None
    assert np.argwhere(np.isnan(picture.celsius)).tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]


def test_a_cold_thing_before_an_even_wall_is_measured() -> None:
    """By the wall's own spread its numbers are as isolated as those of dead pixels, which stand alone."""
    wall = 21 + RNG.normal(0, 0.05, (60, 80))
    wall[20:26, 30:37] = 4.5
    numbers = np.rint(100 * wall + 27315).astype(np.uint16)
    thing = read(tiff_file(numbers))
    assert thing.celsius is not None and thing.invalid == 0
    assert abs(thing.celsius[22, 33] - 4.5) < 0.01
    numbers[20:26, 30:37] = 29415
    numbers[::9, ::11] = 20000
    dead = read(tiff_file(numbers))
    assert dead.celsius is not None
    np.testing.assert_array_equal(np.isnan(dead.celsius), numbers == 20000)


def test_at_the_edge_of_no_data_mixed_pixels_are_left_out_and_cold_ones_elsewhere_kept() -> None:
    numbers = CK.copy()
    numbers[:6] = 0
    numbers[6] = 9000  # by interpolation
    numbers[30, 21] = 25000
    picture = read(tiff_file(numbers))
    assert picture.celsius is not None
    np.testing.assert_array_equal(np.isnan(picture.celsius), np.arange(48)[:, None].repeat(64, 1) < 7)


def test_the_hottest_pixel_of_a_large_image_with_no_data_is_kept() -> None:
    """Only every few numbers are looked at to find what is isolated."""
    numbers = np.tile(CK, (24, 16))
    numbers[:2] = 65535
    numbers[301, 402] = 31800
    celsius = read(tiff_file(numbers)).celsius
    assert celsius is not None
    assert np.unravel_index(np.nanargmax(celsius), celsius.shape) == (301, 402)
    assert np.isnan(celsius).sum() == 2 * numbers.shape[1]


@pytest.mark.parametrize(
    ("numbers", "unit", "ir_range", "text"),
    [
        ((SCENE * 5).astype(np.uint8), "c", "auto", "8 bits a pixel"),
        (np.dstack([CK, CK, CK + 1]), "ck", "auto", "in colour"),
        (np.dstack([np.where(SCENE > 39, np.nan, SCENE), SCENE, SCENE + 1]), "c", "auto", "in colour"),
        (CK, "ck", "full", "no full range"),
        (CK, "c", "auto", "no temperatures in degrees Celsius"),
        (CK, "k", "15,30", "no temperatures in kelvin"),
        (np.zeros((20, 20), np.uint16), "ck", "auto", "no data"),
    ],
)
def test_what_cannot_be_temperatures_is_refused(numbers: np.ndarray, unit: str, ir_range: str, text: str) -> None:
    with pytest.raises(LureError, match=text) as caught:
        read(tiff_file(numbers, photometric="rgb" if numbers.ndim == 3 else "minisblack"), unit, ir_range)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["emissivity", "reflected", "distance"])
def test_plain_numbers_have_no_emissivity(name: str) -> None:
    with pytest.raises(LureError, match=f"not radiometric.*--{name}"):
        read_picture(tiff_file(CK), channels=1, radiometry=Radiometry(unit="ck", **{name: 0.9}))


def test_a_file_of_temperatures_says_what_it_is() -> None:
    celsius = np.where(SCENE > 30, np.nan, SCENE).astype(np.float32)
    place = {tag: values for tag, _, _, values, _ in GEO[:3]}
    content = encode_temperatures(celsius, place)
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(content)), celsius)
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        tags = tif.pages[0].tags
        assert tags[270].value == "temperature in degrees Celsius" and tags[42113].value == "nan"
        assert {tag: tags[tag].value for tag in place} == place
    again = read(content, "c").celsius
    np.testing.assert_array_equal(again, celsius)
