"""Colours of a picture that was fused from two coloured ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lure_cli.core.images.chroma import chroma, recolour, with_chroma
from lure_cli.core.images.picture import to_channels
from tests.helpers.images import luma


@pytest.fixture
def scene() -> np.ndarray:
    """Coloured texture (60, 80, 3) in [0.1, 0.9]."""
    rng = np.random.default_rng(0)
    x = gaussian_filter(rng.random((60, 80, 3)), (1, 1, 0))
    return (0.1 + 0.8 * (x - x.min()) / np.ptp(x)).astype(np.float32)


def test_luma_stays_and_colours_fit_beside_it() -> None:
    rng = np.random.default_rng(1)
    y = rng.random((20, 30, 1)).astype(np.float32)
    wanted = chroma(rng.random((20, 30, 3)).astype(np.float32))
    picture = with_chroma(y, wanted)
    assert picture.dtype == np.float32 and picture.min() >= 0 and picture.max() <= 1
    np.testing.assert_allclose(luma(picture), y, atol=1e-5)
    fits = ((y + wanted >= 0) & (y + wanted <= 1)).all(2)
    assert fits.any() and not fits.all()
    np.testing.assert_allclose(picture[fits], (y + wanted)[fits], atol=1e-6)
    scale = chroma(picture)[~fits] / wanted[~fits]  # less saturation, the same hue
    np.testing.assert_allclose(scale, scale[:, :1].repeat(3, 1), atol=1e-2)
    assert (scale < 1).all()
    black_and_white = np.array([[[0.0], [1.0]]], np.float32)
    np.testing.assert_array_equal(with_chroma(black_and_white, wanted[:1, :2]), black_and_white.repeat(3, 2))


def test_colour_comes_from_where_the_detail_comes_from(scene: np.ndarray) -> None:
    """Two focuses of one scene, and a fused luma that has all of the detail."""
    left = np.zeros((60, 80, 1), np.float32)
    left[:, :40] = 1
    blurred = gaussian_filter(scene, (3, 3, 0))
    a, b = left * scene + (1 - left) * blurred, (1 - left) * scene + left * blurred
    picture = recolour(scene, a, b)
    np.testing.assert_allclose(luma(picture), luma(scene), atol=1e-5)
    inside = np.s_[:, np.r_[0:30, 50:80]]
    error = np.abs(chroma(picture) - chroma(scene))[inside].mean()
    for other in (chroma(a), chroma(b), (chroma(a) + chroma(b)) / 2):
        assert error < 0.25 * np.abs(other - chroma(scene))[inside].mean()
    np.testing.assert_allclose(recolour(scene, b, a), picture, atol=1e-6)


def test_sources_that_agree_and_grey_ones(scene: np.ndarray) -> None:
    np.testing.assert_allclose(recolour(scene, scene, scene), scene, atol=1e-5)
    grey = to_channels(to_channels(scene, 1), 3)
    assert np.ptp(recolour(scene, grey, grey), axis=2).max() < 1e-6
    flat = np.full((1, 5, 3), [0.2, 0.4, 0.6], np.float32)  # nothing to be seen: the mean of both
    other = flat[..., ::-1]
    mean = (chroma(flat) + chroma(other)) / 2
    np.testing.assert_allclose(chroma(recolour(flat, flat, other)), mean, atol=1e-6)
