"""Units of temperatures, and what is told of an image of them."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from lure_cli.core.thermal.temperature import Temperatures, check_unit, from_celsius, to_celsius
from lure_cli.errors import LureError


@pytest.mark.parametrize(
    ("numbers", "unit"),
    [
        (np.array([27315, 29815, 65534, 1], np.uint16), "ck"),
        (np.array([273.15, 298.15, 655.34, 0.01], np.float32), "k"),
        (np.array([0, 25, 382.19, -273.14], np.float64), "c"),
    ],
)
def test_numbers_become_degrees(numbers: np.ndarray, unit: str) -> None:
    celsius = to_celsius(numbers, unit)
    assert celsius.dtype == np.float32
    np.testing.assert_allclose(celsius, [0, 25, 382.19, -273.14], atol=1e-4)
    np.testing.assert_allclose([from_celsius(float(t), unit) for t in celsius], numbers, rtol=1e-5, atol=1e-2)


def test_every_centikelvin_is_exact() -> None:
    numbers = np.arange(65536, dtype=np.uint16)
    assert np.abs(to_celsius(numbers, "ck") - (numbers.astype(np.float64) / 100 - 273.15)).max() < 5e-5
    assert from_celsius(15, "ck") == 28815


@pytest.mark.parametrize(
    ("middle", "unit", "text", "hint"),
    [
        (29315, "k", "29041.8 °C", "--unit ck would make it 20.0 °C"),
        (29315, "c", "29315.0 °C", "--unit ck would make it 20.0 °C"),
        (293.15, "ck", "-270.2 °C", "--unit k would make it 20.0 °C"),
        (20, "k", "-253.1 °C", "--unit c would make it 20.0 °C"),
        (1e7, "c", "10000000.0 °C", "look up"),
    ],
)
def test_a_wrong_unit_is_noticed(middle: float, unit: str, text: str, hint: str) -> None:
    with pytest.raises(LureError, match="no temperatures") as caught:
        check_unit(middle, unit)
    assert text in caught.value.message and hint in caught.value.hint


def test_a_plausible_scene_is_let_through() -> None:
    for middle, unit in ((7715, "ck"), (1773.15, "k"), (-40, "c"), (29315, "ck")):
        check_unit(middle, unit)


def test_what_is_told_of_an_image() -> None:
    celsius = np.full((3, 4), 20, np.float32)
    celsius[1, 3], celsius[2, 0], celsius[0, 0] = 83.456, -5.004, np.nan
    told = Temperatures.of(celsius)
    assert told is not None
    mean = round((9 * 20 + 83.456 - 5.004) / 11, 2)
    expected = {"min": -5.0, "mean": mean, "max": 83.46, "hottest": [3, 1], "coldest": [0, 2]}
    assert told.record() == expected
    assert str(told) == "-5.0 to 83.5 °C, hottest at 3,1"
    assert Temperatures.from_record(json.loads(json.dumps(asdict(told)))) == told
    assert Temperatures.of(np.full((3, 4), np.nan, np.float32)) is None
