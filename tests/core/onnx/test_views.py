"""What numpy computes beside the graph is what torch computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lure_cli.core import pixels
from lure_cli.core.engine.steady import SteadyViews
from lure_cli.core.model import context
from lure_cli.core.onnx import views
from tests.helpers.models import tiny

SIZES = [(1, 1), (1, 7), (5, 1), (2, 2), (3, 31), (8, 8), (31, 33), (32, 64), (45, 97), (130, 201)]


def image(channels: int, height: int, width: int, batch: int = 2) -> np.ndarray:
    return np.random.default_rng(height * width).random((batch, channels, height, width), np.float32)


@pytest.mark.parametrize("multiple", [2, 8, 16])
@pytest.mark.parametrize("size", SIZES)
def test_padding(size: tuple[int, int], multiple: int) -> None:
    x = image(3, *size)
    expected = pixels.pad_to_multiple(torch.from_numpy(x), multiple)
    assert np.array_equal(views.pad_to_multiple(x, multiple), expected.numpy())


@pytest.mark.parametrize("extremes", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_the_view_of_a_whole_image(size: tuple[int, int], channels: int, extremes: bool) -> None:
    x = image(channels, *size)
    padded = pixels.pad_to_multiple(torch.from_numpy(x), 8)
    expected = context.context_view(padded, extremes).numpy()
    view = views.context_view(x, 8, extremes)
    assert view.dtype == np.float32
    np.testing.assert_allclose(view, expected, atol=5e-7, rtol=0)


def test_grey_and_luma_of_both_kinds() -> None:
    x = image(3, 5, 9, batch=3)
    x[1] = x[1, :1]
    x[2, 1:] = x[2, :1]
    x[2, 2, 4, 8] += 1e-6
    t = torch.from_numpy(x)
    assert pixels.is_grey(x).tolist() == pixels.is_grey(t).tolist() == [[[[False]]], [[[True]]], [[[False]]]]
    np.testing.assert_allclose(pixels.luma(x), pixels.luma(t).numpy(), atol=1e-7)
    assert pixels.luma(x).dtype == np.float32
    y = image(3, 5, 9, batch=3)[::-1]
    np.testing.assert_allclose(
        tiny().grey_as(t, torch.from_numpy(y.copy())).numpy(), np.where(pixels.is_grey(x), pixels.luma(y), y), atol=1e-7
    )


def test_steadiness_of_both_kinds() -> None:
    """With a cut in the middle."""
    numpys, torchs = SteadyViews(), SteadyViews()
    for i in range(8):
        pair = tuple(image(9 // 3 * c, 32, 32, 1) * (1 + 0.01 * i) + (i > 4) for c in (1, 3))
        expected = torchs.step(tuple(map(torch.from_numpy, pair)))
        for a, b in zip(numpys.step(pair), expected, strict=True):
            np.testing.assert_allclose(a, b.numpy(), atol=1e-6)
        assert np.array_equal(numpys.again(pair)[0], pair[0]) == (i in (0, 5))
