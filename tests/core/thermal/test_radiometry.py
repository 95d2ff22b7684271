"""Numbers that become temperatures."""

from __future__ import annotations

import numpy as np

from lure_cli.core.thermal.radiometry import to_celsius


def test_units_of_numbers() -> None:
    np.testing.assert_allclose(to_celsius(np.array([27315, 30315], np.uint16), "ck"), [0, 30], atol=1e-4)
    np.testing.assert_allclose(to_celsius(np.array([300.0]), "k"), [26.85], atol=1e-4)
    assert to_celsius(np.array([[-3]], np.int16), "c").dtype == np.float32
