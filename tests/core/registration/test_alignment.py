"""Transforms between images of different sizes: composed, made to fit, bent, and applied in one step."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lure_cli.core.registration.alignment import Alignment, describe, inside, warp, warp_values
from lure_cli.errors import LureError
from tests.helpers.rigs import apart, example, raw_infrared

RIG = Alignment((0.52, 0.01, -4.0, -0.01, 0.5, 6.0), (320, 240), 0.9, (160, 128), (0.04, -0.01))


def test_a_stretched_image_covers_the_grid_and_moves_nothing() -> None:
    stretched = Alignment.stretched((160, 120), (320, 240))
    assert stretched.moved == pytest.approx(0, abs=1e-9)
    assert stretched.scale == pytest.approx(1)
    assert inside(stretched).all()
    assert not stretched.is_identity
    assert Alignment.stretched((320, 240), (320, 240)).is_identity


def test_one_transform_after_another_is_one() -> None:
    first = Alignment((0.9, 0.1, 3, -0.1, 0.9, 5), (200, 100))
    second = Alignment.stretched((400, 150), (200, 100))
    both = second.after(first)
    x, y = np.array([0.0, 50, 199]), np.array([0.0, 80, 99])
    assert np.allclose(both.lead(x, y), second.lead(*first.lead(x, y)))
    assert (both.size, both.source_size) == ((200, 100), (400, 150))


def test_a_rig_fits_images_of_the_same_cameras_at_another_resolution() -> None:
    half = RIG.fitted((80, 64), (160, 120))
    x, y = np.array([10.0, 300, 319]), np.array([5.0, 100, 239])
    u, v = RIG.lead(x, y)
    halved = half.lead((x + 0.5) / 2 - 0.5, (y + 0.5) / 2 - 0.5)
    assert np.allclose(halved, ((u + 0.5) / 2 - 0.5, (v + 0.5) / 2 - 0.5))
    assert half.confidence == RIG.confidence
    assert RIG.fitted((160, 128), (320, 240)) is RIG


@pytest.mark.parametrize(
    "source, size, kind", [((160, 120), (320, 240), "infrared"), ((160, 128), (320, 256), "visible")]
)
def test_a_rig_fits_no_other_proportions(source: tuple[int, int], size: tuple[int, int], kind: str) -> None:
    with pytest.raises(LureError, match=f"the {kind} image is .* but the transform was estimated for"):
        RIG.fitted(source, size)


def test_a_bent_image_is_warped_straight() -> None:
    ir, _ = example("street")
    rig = Alignment((1, 0, 0, 0, 1, 0), (320, 240), distortion=(0.06, -0.01))
    raw = raw_infrared(ir, rig)
    inner = np.s_[20:-20, 20:-20]
    before, after = (np.abs(x - ir)[inner].mean() for x in (raw, warp(raw, rig)))
    assert after < before / 5
    without = Alignment(rig.matrix, rig.size)
    assert apart(rig, without).max() == pytest.approx(200 * 0.05, rel=0.02)  # at the corners: r = 1
    assert "distortion 0.0600, -0.0100" in describe(rig)


def test_an_infrared_that_shrinks_is_blurred_first() -> None:
    checks = (np.indices((240, 320)).sum(0) % 2).astype(np.float32)[..., None]
    shrunk = warp(checks, Alignment.stretched((320, 240), (100, 75)))
    assert shrunk.shape == (75, 100, 1)
    assert np.abs(shrunk - 0.5).max() < 0.1  # points of a checkerboard would be black and white


def test_what_lies_beyond_the_infrared_is_known() -> None:
    narrow = Alignment((1, 0, -10, 0, 1, 0), (40, 20), source=(20, 20))
    shown = inside(narrow)
    assert shown[:, 10:30].all()
    assert shown.sum() == 20 * 20


def test_values_are_those_measured_and_nothing_beyond() -> None:
    celsius = np.arange(20 * 20, dtype=np.float32).reshape(20, 20)
    placed = warp_values(celsius, Alignment((1, 0, -10, 0, 1, 0), (40, 20), source=(20, 20)))
    assert np.array_equal(placed[:, 10:30], celsius)
    assert np.isnan(placed[:, :10]).all() and np.isnan(placed[:, 30:]).all()
    larger = warp_values(celsius, Alignment.stretched((20, 20), (40, 40)))
    assert np.isfinite(larger).all()
    assert larger.min() >= celsius.min() and larger.max() <= celsius.max()


def test_values_near_one_that_is_missing_are_missing() -> None:
    celsius = np.full((20, 20), 30, np.float32)
    celsius[10, 10] = math.nan
    larger = warp_values(celsius, Alignment.stretched((20, 20), (60, 60)))
    assert np.isnan(larger[31, 31])
    assert np.isfinite(larger[:20]).all()


def test_a_record_gives_the_same_transform() -> None:
    assert Alignment.from_record(RIG.record()) == RIG
