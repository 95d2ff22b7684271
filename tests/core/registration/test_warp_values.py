"""Measured values on the visible grid: none is invented, none is lost at the edges."""

from __future__ import annotations

import numpy as np

from lure_cli.core.registration.alignment import Alignment, warp_values

RAMP = np.add.outer(10 * np.arange(6), np.arange(8)).astype(np.float32)
"""10 y + x, which bilinear resampling keeps."""


def shifted(dx: float, dy: float) -> Alignment:
    return Alignment((1, 0, dx, 0, 1, dy), (8, 6))


def test_a_shift_moves_values_and_leaves_nan_outside() -> None:
    moved = warp_values(RAMP, shifted(2, -1))
    np.testing.assert_array_equal(moved[1:, :-2], RAMP[:-1, 2:])
    assert np.isnan(moved[0]).all() and np.isnan(moved[:, -2:]).all()
    half = warp_values(RAMP, shifted(0.4, 0.4))  # the outermost pixels reach half a pixel further
    np.testing.assert_allclose(half[:-1, :-1], RAMP[:-1, :-1] + 4.4, atol=1e-5)
    np.testing.assert_allclose(half[-1, -1], RAMP[-1, -1])
    assert not np.isnan(half).any()
    assert np.isnan(warp_values(RAMP, shifted(0.6, 0))[:, -1]).all()


def test_from_another_size_every_pixel_has_its_value() -> None:
    larger = warp_values(RAMP, Alignment.stretched((8, 6), (16, 12)))
    y, x = (np.arange(n) / 2 - 0.25 for n in (12, 16))
    np.testing.assert_allclose(larger, np.add.outer(10 * y.clip(0, 5), x.clip(0, 7)), atol=1e-5)
    smaller = warp_values(RAMP, Alignment.stretched((8, 6), (4, 3)))
    np.testing.assert_allclose(smaller, np.add.outer(10 * (2 * np.arange(3) + 0.5), 2 * np.arange(4) + 0.5), atol=1e-5)


def test_a_resized_infrared_is_aligned_in_one_step() -> None:
    placed = Alignment.stretched((8, 6), (16, 12)).after(Alignment((1, 0, 4, 0, 1, 2), (16, 12)))
    straight = warp_values(RAMP, Alignment.stretched((8, 6), (16, 12)))
    moved = warp_values(RAMP, placed)
    np.testing.assert_allclose(moved[:-2, :-4], straight[2:, 4:], atol=1e-5)
    assert np.isnan(moved[-2:]).all() and np.isnan(moved[:, -4:]).all()


def test_nan_spoils_only_what_is_made_from_it() -> None:
    values = RAMP.copy()
    values[2, 3] = np.nan
    moved = warp_values(values, shifted(1, 0))
    assert np.isnan(moved[:, :-1]).sum() == 1 and np.isnan(moved[2, 2])
    half = warp_values(values, shifted(0.5, 0))
    assert np.argwhere(np.isnan(half[:, :-1])).tolist() == [[2, 2], [2, 3]]
    assert np.nanmax(half) <= RAMP.max() and np.nanmin(half) >= RAMP.min()
