"""The fusion methods without weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lure_cli.core import metrics
from lure_cli.core.images.picture import read_image
from lure_cli.core.metrics.baselines import (
    BASELINES,
    copy_ir,
    copy_vis,
    guided_filter_fusion,
    laplacian_pyramid,
    maximum,
    mean,
)
from tests.helpers.files import EXAMPLES, SHARED

SIZES = [(1, 1), (1, 2), (2, 1), (1, 40), (3, 2), (7, 5), (16, 16), (33, 50)]
PEERS = [("RoadScene", "FLIR_00211"), ("VIFB", "carLight"), ("MSRS", "00004N")]


def grey(path: Path) -> np.ndarray:
    """A picture's luma in whole numbers 0..255, as an 8-bit file of it holds."""
    return np.rint(read_image(path, channels=1)[:, :, 0].astype(np.float64) * 255)


def noise(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.float64)


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float64)


def test_names_in_table_order() -> None:
    assert list(BASELINES) == ["mean", "maximum", "laplacian", "guided-filter", "copy-ir", "copy-vis"]


def test_worked_by_hand() -> None:
    ir, vis = row(0, 3, 255, 10, 7), row(1, 4, 254, 30, 7)
    np.testing.assert_array_equal(mean(ir, vis), row(1, 4, 255, 20, 7))  # halves go up
    np.testing.assert_array_equal(maximum(ir, vis), row(1, 4, 255, 30, 7))
    np.testing.assert_array_equal(copy_ir(ir, vis), ir)
    np.testing.assert_array_equal(copy_vis(ir, vis), vis)


def test_rounded_and_clipped() -> None:
    x = row(-3, 10.49, 10.5, 11.5, 254.6, 300)
    for fuse in (mean, maximum, copy_ir, copy_vis):
        np.testing.assert_array_equal(fuse(x, x), row(0, 10, 11, 12, 255, 255))


def test_copies_are_new_arrays() -> None:
    x = row(1, 2)
    copy_ir(x, x)[:] = 9
    copy_vis(x, x)[:] = 9
    np.testing.assert_array_equal(x, row(1, 2))


def test_pyramid_takes_the_detail_of_one_and_the_mean_of_the_bases() -> None:
    # Two pixels become their mean at the next level: detail -20 and +20 over 120; the other has base 200.
    np.testing.assert_array_equal(laplacian_pyramid(row(200, 200), row(100, 140)), row(140, 180))


def test_pyramid_worked_by_hand() -> None:
    # Over a ground of 20, the kernel makes 100 0 0 0 into 37.5 6.25 and 0 0 0 100 into 0 25; then 21.875 and 12.5.
    # Doubled: 29.6875 21.875 10.15625 6.25 and 6.25 12.5 21.875 25. Larger details, fine: 70.3125 -21.875 -21.875 75;
    # at half size: 15.625 -15.625. Base 17.1875, so half size 32.8125 1.5625, doubled 25 17.1875 5.46875 1.5625.
    # Sum with the fine details: 95.3125 -4.6875 -16.40625 76.5625.
    fused = laplacian_pyramid(row(120, 20, 20, 20), row(20, 20, 20, 120))
    np.testing.assert_array_equal(fused, row(115, 15, 4, 97))
    np.testing.assert_array_equal(laplacian_pyramid(row(100, 0, 0, 0), row(0, 0, 0, 100)), row(95, 0, 0, 77))


def test_pyramid_mirrors_at_the_first_pixel_and_repeats_the_last() -> None:
    # Over 20: 64 0 0 0 -> 24 4 -> 14 and 0 100 0 0 -> 50 25 -> 37.5; doubled 19 14 6.5 4 and 43.75 37.5 28.125 25.
    # Fine details 45 62.5 -28.125 -25, half size 12.5 -12.5 over 25.75; 38.25 13.25 doubled is 32 25.75 16.375 13.25.
    np.testing.assert_array_equal(laplacian_pyramid(row(84, 20, 20, 20), row(20, 120, 20, 20)), row(97, 108, 8, 8))


def test_pyramid_takes_the_positive_of_opposite_details() -> None:
    np.testing.assert_array_equal(laplacian_pyramid(row(100, 140), row(140, 100)), row(140, 140))


def test_pyramid_of_one_image_brightened() -> None:
    x = 50 + noise((61, 47)) / 4
    np.testing.assert_array_equal(laplacian_pyramid(x + 80, x), np.floor(x + 40.5))


def test_guided_filter_takes_the_source_with_structure() -> None:
    texture, flat = noise((21, 400)), np.full((21, 200), 90.0)
    ir = np.hstack([flat, texture[:, 200:]])
    vis = np.hstack([texture[:, :200], flat])
    fused = guided_filter_fusion(ir, vis)
    far = np.r_[0:90, 310:400]  # further from the seam than two filters of radius 45 and the Gaussian reach
    np.testing.assert_array_equal(fused[:, far], texture[:, far])


def test_guided_filter_gives_equals_to_the_infrared() -> None:
    np.testing.assert_array_equal(
        guided_filter_fusion(np.full((9, 9), 60.0), np.full((9, 9), 200.0)), np.full((9, 9), 60)
    )


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("name", BASELINES)
def test_whole_numbers_of_the_sources_shape(name: str, shape: tuple[int, int]) -> None:
    ir, vis = noise(shape), noise(shape, 1)
    before = ir.copy(), vis.copy()
    fused = BASELINES[name](ir, vis)
    assert fused.shape == shape
    assert fused.dtype == np.float64
    assert np.isin(fused, np.arange(256)).all()
    np.testing.assert_array_equal((ir, vis), before)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("name", BASELINES)
def test_an_image_with_itself_gives_it_back(name: str, shape: tuple[int, int]) -> None:
    x = noise(shape)
    within = 1 if name in ("laplacian", "guided-filter") else 0
    assert np.abs(BASELINES[name](x, x) - x).max() <= within


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("name", ["mean", "maximum", "laplacian"])
def test_sources_swapped(name: str, shape: tuple[int, int]) -> None:
    ir, vis = noise(shape), noise(shape, 1)
    np.testing.assert_array_equal(BASELINES[name](ir, vis), BASELINES[name](vis, ir))


@pytest.mark.parametrize("level", [0, 77, 255])
@pytest.mark.parametrize("name", BASELINES)
def test_constant_images(name: str, level: int) -> None:
    x = np.full((19, 30), float(level))
    np.testing.assert_array_equal(BASELINES[name](x, x), x)


@pytest.mark.parametrize(
    ("name", "level", "deviation", "step"),
    [
        ("mean", 71.1674, 24.0626, 3.3423),
        ("maximum", 95.2944, 27.5351, 3.5897),
        ("laplacian", 70.5594, 30.7197, 6.4790),
        ("guided-filter", 63.3694, 29.9762, 5.3516),
        ("copy-ir", 81.6561, 37.9035, 3.3080),
        ("copy-vis", 60.1797, 30.8117, 5.5282),
    ],
)
def test_an_example_as_when_compared_with_the_peers(name: str, level: float, deviation: float, step: float) -> None:
    """Holds radii, epsilons and levels where the data folder is missing; the values are those of this code."""
    fused = BASELINES[name](*(grey(EXAMPLES / "pairs" / side / "gate.png") for side in ("ir", "vis")))
    values = fused.mean(), fused.std(), np.abs(np.diff(fused)).mean()
    assert values == pytest.approx((level, deviation, step), abs=1e-3)


@pytest.mark.parametrize("name", BASELINES)
def test_turning_the_pair_turns_the_result(name: str) -> None:
    ir, vis = (grey(EXAMPLES / "pairs" / side / "gate.png") for side in ("ir", "vis"))
    assert np.abs(BASELINES[name](ir, vis) - BASELINES[name](ir.T, vis.T).T).max() <= 1


@pytest.mark.shared
@pytest.mark.parametrize(("folder", "name"), PEERS)
def test_agrees_with_the_measured_peers(folder: str, name: str) -> None:
    """Against what an independent evaluator measured of other programs' results, which round single pixels otherwise.

    `lure eval` is held to the same numbers more closely, on pairs without such pixels: see its tests.
    """
    test, peers = SHARED / "data" / "fusion" / folder / "test", SHARED / "peers"
    ir, vis = (grey(next((test / side).glob(f"{name}.*"))) for side in ("ir", "vi"))
    tables = json.loads((peers / "tables.json").read_text())["clean"][folder]["per_image"]
    for peer, fuse in (("maximum", maximum), ("gff", guided_filter_fusion), ("laplacian", laplacian_pyramid)):
        fused = fuse(ir, vis)
        for column, measure in (
            ("EN", metrics.entropy),
            ("SD", metrics.standard_deviation),
            ("SF", metrics.spatial_frequency),
            ("AG", metrics.average_gradient),
        ):
            assert measure(fused) == pytest.approx(tables[peer][name][column], rel=1e-5), (peer, column)
