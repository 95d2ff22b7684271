"""Metrics of clips: the plain way with torch, clips whose motion is known, and TV-L1's own precision."""

from __future__ import annotations

import numpy as np
import pytest

from lure_cli.core.metrics import flow_difference, motion_smoothness, self_warping_error
from lure_cli.core.metrics.flicker import Motion, optical_flow, warp

SIZE = (60, 80)


def scene(rows: float, columns: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A smooth picture, moved by so many pixels down and to the right; exact at any place."""
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    y, x = y - rows, x - columns
    return 128 + 40 * np.sin(x / 5) * np.cos(y / 6) + 30 * np.sin((x + 2 * y) / 9) + 20 * np.cos((x - y) / 4)


def constant(rows: float, columns: float) -> np.ndarray:
    return np.broadcast_to(np.array([rows, columns], float)[:, None, None], (2, *SIZE))


def moving(rows: float, columns: float) -> Motion:
    """Motion of so many pixels a frame."""
    return Motion(
        constant(-rows, -columns), constant(rows, columns), constant(rows, columns), constant(-rows, -columns)
    )


# --- the plain way ---------------------------------------------------------------------------------------------------


def by_torch(x: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """(H, W, C) sampled at its places plus the displacement."""
    import torch

    h, w = x.shape[:2]
    y, z = np.mgrid[:h, :w] + flow
    grid = torch.from_numpy(np.stack((2 * z / (w - 1) - 1, 2 * y / (h - 1) - 1), -1))[None]
    picture = torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))[None]
    moved = torch.nn.functional.grid_sample(picture, grid, "bilinear", "border", align_corners=True)
    return moved[0].numpy().transpose(1, 2, 0)


@pytest.fixture(scope="module")
def example() -> tuple[list[np.ndarray], list[Motion]]:
    """Three frames of noise, and three motions of up to 2 pixels."""
    rng = np.random.default_rng(0)
    motions = []
    for _ in range(3):
        there = rng.uniform(-0.7, 0.7, (2, 2, *SIZE)) + rng.uniform(-2, 2, (2, 2, 1, 1))
        back = -there + rng.uniform(-0.5, 0.5, there.shape)
        motions.append(Motion(there[0], back[0], there[1], back[1]))
    return [rng.uniform(0, 255, (*SIZE, 3)) for _ in range(3)], motions


def test_warping_against_torch(example: tuple[list[np.ndarray], list[Motion]]) -> None:
    (frame, *_), (motion, *_) = example
    assert warp(frame, motion.to_previous) == pytest.approx(by_torch(frame, motion.to_previous))
    assert warp(frame[..., 0], 9 * motion.to_next) == pytest.approx(
        by_torch(frame[..., :1], 9 * motion.to_next)[..., 0]
    )


def test_flowd_the_plain_way(example: tuple[list[np.ndarray], list[Motion]]) -> None:
    (previous, current, _), (motion, *_) = example
    distances = np.sqrt(((current - by_torch(previous, motion.to_previous)) ** 2).sum(axis=2))
    assert flow_difference(previous, current, motion.to_previous) == pytest.approx(distances.mean())


def test_biswe_the_plain_way(example: tuple[list[np.ndarray], list[Motion]]) -> None:
    (previous, current, following), (own, *sources) = example
    expected = 0.0
    for frame, side in ((previous, ("to_previous", "from_previous")), (following, ("to_next", "from_next"))):
        mask = np.ones(SIZE, bool)
        for source in sources:
            there, back = (getattr(source, s) for s in side)
            left = there + by_torch(back.transpose(1, 2, 0), there).transpose(2, 0, 1)
            mask &= np.hypot(*left) < 1.0
        assert 0.05 < mask.mean() < 0.95  # or the test would not test it
        error = np.abs(current - by_torch(frame, getattr(own, side[0]))).mean(axis=2)
        expected += (mask * error).sum() / mask.sum()
    assert self_warping_error(previous, current, following, own, sources) == pytest.approx(expected)


def test_ms2r_the_plain_way(example: tuple[list[np.ndarray], list[Motion]]) -> None:
    _, (own, ir, vis) = example
    change = [m.to_next - m.from_previous for m in (own, ir, vis)]
    expected = 0.5 * (np.abs(change[0] - change[1]).mean() + np.abs(change[0] - change[2]).mean())
    assert motion_smoothness(own, (ir, vis)) == pytest.approx(expected)


# --- known motion ----------------------------------------------------------------------------------------------------


def test_a_steady_pan_costs_only_the_edge_and_interpolation() -> None:
    previous, current = (scene(2.0 * t, -3.0 * t) for t in range(2))
    steady = moving(2, -3)
    inside = np.abs(current - warp(previous, steady.to_previous))[4:-4, 4:-4]
    assert inside.max() < 1e-9
    assert motion_smoothness(steady, (steady, steady)) == 0
    brighter = [np.repeat(x[4:-4, 4:-4, None], 3, axis=2) for x in (warp(previous, steady.to_previous), current + 5)]
    assert flow_difference(*brighter, constant(0, 0)[:, 4:-4, 4:-4]) == pytest.approx(5 * 3**0.5)


def test_where_a_source_does_not_see_both_frames_nothing_counts() -> None:
    frames = [scene(0, 0), scene(0, 0), scene(0, 0)]
    frames[1][:, :40] += 50
    still, half = moving(0, 0), constant(0, 0).copy()
    half[:, :, :40] = 3  # there, but not back
    seen = Motion(half, constant(0, 0), half, constant(0, 0))
    assert self_warping_error(*frames, still, (still, still)) == pytest.approx(50)
    assert self_warping_error(*frames, still, (still, seen)) == 0
    nowhere = Motion(constant(3, 3), constant(0, 0), constant(3, 3), constant(0, 0))
    assert self_warping_error(*frames, still, (still, nowhere)) == 0


def test_tv_l1_sees_a_known_motion() -> None:
    flow = optical_flow(scene(0, 0), scene(1.4, -2.3))
    assert np.abs(flow - constant(1.4, -2.3))[:, 8:-8, 8:-8].mean() < 0.1


def measured_motion(frames: list[np.ndarray]) -> Motion:
    a, b, c = frames
    return Motion(optical_flow(b, a), optical_flow(a, b), optical_flow(b, c), optical_flow(c, b))


def test_flicker_and_jitter_as_they_were_put_in() -> None:
    """A pan of 1 pixel a frame: fused steadily, with brightness going up and down by 6, and trembling by a pixel."""
    source = [scene(0, 1.0 * t) for t in range(3)]
    motion = measured_motion(source)
    flickering = [x + 6 * (-1) ** t for t, x in enumerate(source)]
    steady = self_warping_error(*source, motion, (motion, motion))
    own = measured_motion(flickering)
    assert steady < 1.5
    assert self_warping_error(*flickering, motion, (motion, motion)) == pytest.approx(24, rel=0.08)
    colour = [np.repeat(x[..., None], 3, axis=2) for x in flickering]
    assert flow_difference(colour[0], colour[1], motion.to_previous) == pytest.approx(12 * 3**0.5, rel=0.08)
    trembling = measured_motion([scene(0.5 * (-1) ** t, 1.0 * t) for t in range(3)])
    # down by 1, then up by 1: the displacement changes by 2 in one of two directions
    assert motion_smoothness(trembling, (motion, motion)) == pytest.approx(1.0, rel=0.15)
    assert motion_smoothness(motion, (motion, motion)) == 0
    # TV-L1 takes some of the flicker for motion, which hides it from BiSWE and shows it in MS2R
    assert self_warping_error(*flickering, own, (motion, motion)) < 20
    assert motion_smoothness(own, (motion, motion)) > 0.5
