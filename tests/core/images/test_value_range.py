from __future__ import annotations

import warnings

import numpy as np
import pytest

from lure_cli.core.images.picture import Picture, read_picture
from lure_cli.core.images.value_range import ValueRange, apply_range, parse_range, resolve_range
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
    picture = mapped(image, value_range)
    assert picture.invalid == 3 and picture.x[[2, 4, 6], [3, 5, 7]].tolist() == [[0]] * 3
    assert picture.mapping is not None and "3 of 400 pixels are invalid (NaN, infinite) and black" in picture.mapping
    with pytest.raises(LureError, match="all of its pixels are NaN"):
        mapped(np.full((4, 4), np.nan, np.float32), value_range)


def scene(kind: type[np.generic], offset: float, scale: float) -> np.ndarray:
    """A thermal scene of 96 x 128 pixels: a smooth ground of some spread, and a warm blob of 150 pixels."""
    y, x = np.mgrid[:96, :128]
    ground = np.sin(x / 17) + np.cos(y / 11) + 0.1 * np.sin(x * y)
    return (offset + scale * (ground + 4 * np.exp(-((x - 90) ** 2 + (y - 40) ** 2) / 60))).astype(kind)


def speckle(count: int) -> np.ndarray:
    """(96, 128), single pixels that are true, none beside another."""
    mask = np.zeros((96, 128), bool)
    mask.ravel()[np.linspace(200, mask.size - 200, count).astype(int)] = True
    return mask


BORDER = np.pad(np.zeros((80, 110), bool), ((6, 10), (8, 10)), constant_values=True)


@pytest.mark.parametrize("option", ["auto", "percentile"])
@pytest.mark.parametrize(
    ("kind", "offset", "scale", "number", "where"),
    [
        (np.uint16, 29500, 300, 0, BORDER),
        (np.uint16, 29500, 300, 0, speckle(80)),
        (np.uint16, 29500, 300, 65535, BORDER),
        (np.uint16, 29500, 300, 65535, speckle(80)),
        (np.uint16, 7500, 150, 16383, speckle(80)),  # hot pixels of a 14-bit sensor
        (np.int16, 2000, 200, -32768, BORDER),
        (np.int16, 2000, 200, -9999, BORDER),
        (np.uint32, 29500, 300, 2**32 - 1, BORDER),
        (np.float32, 22, 3, -9999, BORDER),
        (np.float32, 22, 3, np.finfo(np.float32).min, BORDER),
        (np.float32, 22, 3, np.finfo(np.float32).max, BORDER),
        (np.float32, 295, 3, 0, BORDER),
        (np.float64, 22, 3, -273.15, BORDER),
        (np.float32, 0.4, 0.05, -9999, BORDER),
    ],
)
def test_isolated_numbers_are_no_measurement(
    kind: type[np.generic], offset: float, scale: float, number: float, where: np.ndarray, option: str
) -> None:
    whole = scene(kind, offset, scale)
    image = np.where(where, np.asarray(number).astype(kind), whole)
    picture = mapped(image, parse_range(option))
    assert picture.invalid == where.sum() and not picture.x[where].any()
    assert picture.mapping is not None and f"{picture.invalid} of 12288 pixels are invalid" in picture.mapping
    if offset > 1 or option == "percentile":  # else floats in [0, 1], which stay as they are
        assert np.ptp(np.percentile(picture.x[~where], (2, 98))) > 0.6
    resolved, _, _ = resolve_range([whole[~where].reshape(-1, 1, 1)], parse_range(option))
    np.testing.assert_allclose(
        picture.x[~where], apply_range(whole[~where].reshape(-1, 1, 1), resolved)[:, 0], atol=1e-6
    )


def test_the_edge_of_a_warped_image_is_left_out_too() -> None:
    image = scene(np.uint16, 29500, 300).astype(float)
    image[BORDER] = 0
    image[1:-1] = (image[:-2] + 2 * image[1:-1] + image[2:]) / 4  # as interpolation mixes it
    image[:, 1:-1] = (image[:, :-2] + 2 * image[:, 1:-1] + image[:, 2:]) / 4
    picture = mapped(image.astype(np.uint16), AUTO)
    assert np.ptp(np.percentile(picture.x[12:80, 14:112], (2, 98))) > 0.6
    assert not picture.x[0].any()


def test_several_kinds_of_invalid_pixels() -> None:
    image = scene(np.uint16, 29500, 300)
    image[:4], image[-4:] = 0, 65535
    picture = mapped(image, AUTO)
    assert picture.invalid == 8 * 128 and not picture.x[:4].any() and not picture.x[-4:].any()


@pytest.mark.parametrize("number", [-9999.0, 21.0, float("nan")])
def test_the_number_that_gdal_names(number: float) -> None:
    image = scene(np.float32, 22, 3)
    image[30:40, 50:60] = number
    content = tiff_file(image, extratags=[(42113, 2, 0, f"{number:g}", True)])
    for value_range in (AUTO, ValueRange("values", 15, 40)):
        picture = read_picture(content, channels=1, value_range=value_range)
        assert picture.invalid == 100 and not picture.x[30:40, 50:60].any() and picture.x[41, 50] > 0


def test_dead_pixels_of_many_numbers() -> None:
    rng = np.random.default_rng(0)
    for low, high in ((0, 60), (45000, 65000)):
        image = scene(np.uint16, 29500, 300)
        dead = speckle(80)
        image[dead] = rng.integers(low, high, 80)
        picture = mapped(image, AUTO)
        assert picture.invalid == 80 and not picture.x[dead].any()


def test_what_a_scene_holds_is_measured() -> None:
    fire = scene(np.uint16, 7500, 150)
    fire[40:52, 60:72] = 16383  # saturated
    cold = scene(np.float32, 22, 3)
    cold[:30] -= 60  # the sky
    dark = np.clip(scene(np.uint16, 3000, 900).astype(int) - 2500, 0, None).astype(np.uint16)
    for image in (fire, cold, dark, scene(np.uint16, 29500, 300)):
        picture = mapped(image, AUTO)
        assert picture.invalid == 0 and picture.mapping is not None and "invalid" not in picture.mapping
    assert mapped(fire, AUTO).x[45, 65] == 1
    small = np.where(BORDER, 0, scene(np.uint8, 120, 20)).astype(np.uint8)
    small[40:44, 40:44] = 255
    picture = mapped(small, AUTO)
    assert picture.invalid == 0 and picture.mapping is None
    np.testing.assert_array_equal(picture.x[..., 0], small / np.float32(255))


@pytest.mark.parametrize(
    ("kind", "low", "high", "top"),
    [
        (np.uint16, 0, 200, 255),
        (np.uint16, 30, 1023, 1023),
        (np.uint16, 0, 4000, 4095),
        (np.uint16, 0, 16383, 16383),
        (np.uint16, 0, 16384, 65535),
        (np.int16, 0, 253, 255),
        (np.int16, 100, 30000, 32767),
        (np.int32, 0, 60000, 65535),
        (np.uint32, 0, 255, 255),
        (np.uint32, 0, 2**31, 2**32 - 1),
        (np.float32, 0, 1, 1),
        (np.float32, -0.01, 1.02, 1),
        (np.float64, 0, 253, 255),
        (np.float32, -2, 261, 255),
        (np.float32, 0, 65535, 65535),
    ],
)
def test_the_white_of_visible_images(kind: type[np.generic], low: float, high: float, top: float) -> None:
    image = np.repeat(thermal(low, high, kind)[..., None], 3, axis=2)
    picture = read_picture(tiff_file(image, photometric="rgb"), channels=3, value_range=parse_range("auto", "vis"))
    np.testing.assert_allclose(picture.x, np.clip(image / np.float64(top), 0, 1), atol=1e-6)
    plain = (kind == np.float32 and low == 0 and high == 1) or (image.dtype.kind == "u" and top == np.iinfo(kind).max)
    assert (picture.mapping is None) == plain
    assert plain or f"0..{top}" in str(picture.mapping)


def test_visible_images_that_need_percentiles_or_say_what_is_invalid() -> None:
    auto = parse_range("auto", "vis")
    assert "percentiles" in str(mapped(thermal(-3000, 3000, np.int16), auto).mapping)
    image = scene(np.float32, 100, 30)
    image[:5] = -9999
    picture = mapped(image, auto)
    assert picture.invalid == 5 * 128 and not picture.x[:5].any() and "0..255 of floats" in str(picture.mapping)
    with pytest.raises(LureError, match="unknown range") as caught:
        mapped(image, parse_range("full", "vis"))
    assert "--vis-range" in caught.value.hint and "--ir-range" not in caught.value.hint


def test_numbers_too_far_apart() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LureError, match="too far apart"):
            mapped(np.where(thermal(0, 1, np.float64) > 0.5, 1.7e308, -1.7e308), AUTO)
