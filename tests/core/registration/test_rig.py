"""A rig from pairs of the scene: cameras of different size, lens distortion, and how far off a known transform is."""

from __future__ import annotations

import numpy as np
import pytest

from lure_cli.core.registration import estimate
from lure_cli.core.registration.alignment import Alignment, warp
from lure_cli.core.registration.estimate import estimate_once
from lure_cli.core.registration.lens import LEAST_PAIRS, fit_lens
from lure_cli.core.registration.residual import drift, residual
from lure_cli.errors import LureError
from tests.benchmarks.align import similarity
from tests.helpers.rigs import NAMES, SIZE, apart, example, raw_infrared

Pairs = list[tuple[np.ndarray, np.ndarray]]
STILL = Alignment((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), SIZE)


def moved(*by: float) -> Alignment:
    return Alignment(tuple(similarity(*by, SIZE).ravel().tolist()), SIZE)


def pairs_of(rig: Alignment, mirrored: bool = True) -> Pairs:
    """The examples by this rig; with `mirrored` each of them twice, so that there are enough for a lens."""
    examples = [example(name) for name in NAMES]
    if mirrored:
        examples += [(ir[:, ::-1], vis[:, ::-1]) for ir, vis in examples]
    return [(raw_infrared(ir, rig), vis) for ir, vis in examples]


def test_cameras_of_different_size_and_view_have_one_transform() -> None:
    pytest.importorskip("SimpleITK")
    # 250 x 200 pixels that show 294 x 235 of the visible image's 320 x 240, off its centre, a little turned.
    rig = Alignment((0.85, 0.012, -8.0, -0.012, 0.85, -4.0), SIZE, source=(250, 200))
    found = estimate_once(pairs_of(rig, mirrored=False)[1:])
    assert (found.size, found.source_size) == (SIZE, (250, 200))
    assert apart(found, rig).mean() < 1.0
    assert found.confidence > 0.5


def test_one_camera_has_one_size() -> None:
    pytest.importorskip("SimpleITK")
    (ir, vis), other = pairs_of(STILL, mirrored=False)[:2]
    with pytest.raises(LureError, match="visible images to align differ in size: 320x200, 320x240"):
        estimate_once([(ir, vis[:200]), other])


@pytest.mark.parametrize("k1", [0.06, -0.05])
def test_distortion_is_found(k1: float) -> None:
    rig = Alignment(STILL.matrix, SIZE, distortion=(k1, 0.0))
    found = fit_lens(pairs_of(rig), STILL, "auto")
    assert apart(found, STILL).max() > 5  # there is something to find
    assert apart(found, rig).mean() < 0.2
    assert apart(found, rig).max() < 0.5


def test_distortion_is_found_beside_a_movement_that_is_off() -> None:
    rig = Alignment(moved(4, -3, 0.5, 1.01).matrix, SIZE, distortion=(0.05, 0.0))
    found = fit_lens(pairs_of(rig), moved(3, -2, 0.3, 1.02), "auto")
    assert apart(found, rig).max() < 0.8


def test_pairs_without_distortion_get_none() -> None:
    by = moved(4, -3, 0.5, 1.01)
    assert fit_lens(pairs_of(by), by, "auto") is by


def test_few_pairs_show_no_distortion() -> None:
    pairs = pairs_of(Alignment(STILL.matrix, SIZE, distortion=(0.06, 0.0)))[: LEAST_PAIRS - 1]
    assert fit_lens(pairs, STILL, "auto") is STILL


def test_what_is_left_after_a_transform_is_measured() -> None:
    rig, believed = moved(4, -3, 0.5, 1.01), moved(1, -1, 0.2, 1.0)
    found = [residual(warp(ir, believed), vis, believed) for ir, vis in pairs_of(rig, mirrored=False)]
    true = apart(rig, believed).mean()
    assert true > 3
    assert all(abs(r.moved - true) < 0.7 for r in found)
    assert all(r.is_sure for r in found)
    assert drift(found) == pytest.approx(true, abs=0.3)
    ir, vis = pairs_of(rig, mirrored=False)[0]
    assert residual(warp(ir, rig), vis, rig).moved < 1


def test_the_error_of_one_pair_is_no_drift() -> None:
    pairs = pairs_of(STILL, mirrored=False)
    ir, vis = pairs[0]
    pairs[0] = raw_infrared(ir, moved(6, 0, 0, 1)), vis
    found = [residual(ir, vis, STILL) for ir, vis in pairs]
    assert found[0].moved > 5
    assert drift(found) < 1


def test_a_pair_that_shows_nothing_says_so() -> None:
    _, vis = example("gate")
    noise = np.random.default_rng(0).random(vis.shape, np.float32)
    assert not residual(noise, vis, STILL).is_sure
    far = Alignment((1, 0, 500, 0, 1, 0), SIZE)  # no pixel of the infrared is shown
    assert residual(noise, vis, far).confidence == 0


def test_views_too_far_apart_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "require_simpleitk", lambda: None)
    seen = []

    def search(pairs: Pairs, model: str) -> Alignment:
        ir, vis = pairs[0]
        assert ir.shape == vis.shape
        seen.append(vis.shape[1::-1])
        return Alignment(STILL.matrix, vis.shape[1::-1], 0.1)

    monkeypatch.setattr(estimate, "search", search)
    ir, vis = np.zeros((100, 125, 1), np.float32), np.zeros((240, 320, 1), np.float32)
    with pytest.raises(LureError) as caught:
        estimate_once([(ir, vis)])
    assert seen == [(320, 240), (300, 240)]  # as wide as the visible image, cut above and below; as high
    assert "crop the wider view" in caught.value.hint
