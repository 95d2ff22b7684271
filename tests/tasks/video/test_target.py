"""Clips out: sound, odd sizes, rotation, colours, 16 bits."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lure_cli.tasks.inference.request import ModelOutput, Request
from tests.helpers.clips import Both, av, make_clip, pairs_of, read_clip, sound_of
from tests.helpers.files import Outcome

Run = Callable[..., Outcome]

COLOURS = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (120, 60, 200), (30, 200, 180)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_sound_is_copied_as_it_is(fuse: Run, here: Path, suffix: str) -> None:
    make_clip(here / "ir.mp4", 12)
    make_clip(here / "vis.mp4", 12, sound="libmp3lame")
    assert fuse("ir.mp4", "vis.mp4", f"out{suffix}").code == 0
    before, after = sound_of(here / "vis.mp4"), sound_of(here / f"out{suffix}")
    assert [content for _, content in after] == [content for _, content in before]
    shift = {round(float(a - b), 2) for (a, _), (b, _) in zip(after, before, strict=True)}
    assert len(shift) == 1
    assert abs(shift.pop()) < 0.06
    assert pairs_of(here / f"out{suffix}") == [(i, i) for i in range(12)]


def test_sound_that_does_not_fit_is_said(fuse: Run, here: Path) -> None:
    make_clip(here / "ir.mp4", 5)
    make_clip(here / "vis.mp4", 5, sound="aac")
    done = fuse("ir.mp4", "vis.mp4", "out.webm")
    assert done.code == 0
    assert "sound (aac) is left out" in done.err
    assert pairs_of(here / "out.webm") == [(i, i) for i in range(5)]


def test_sound_ends_with_the_frames(fuse: Run, here: Path) -> None:
    make_clip(here / "ir.mp4", 8)
    make_clip(here / "vis.mp4", 25, sound="aac", gop=25)
    done = fuse("ir.mp4", "vis.mp4", "out.mp4")
    assert done.code == 0
    assert "vis.mp4 is longer: 17 frames of it have no partner and are left out" in done.err
    assert len(read_clip(here / "out.mp4")) == 8
    assert 0.25 < sound_of(here / "out.mp4")[-1][0] < 8 / 25 + 0.05


@pytest.mark.parametrize("size", [(63, 47), (64, 47)])
def test_odd_sizes_keep_their_size(fuse: Run, here: Path, size: tuple[int, int]) -> None:
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.avi", 4, size=size, codec="ffv1", fmt="bgr0")
    done = fuse("ir.avi", "vis.avi", "out.mp4")
    assert done.code == 0, done.err
    assert "size is odd" in done.err
    assert read_clip(here / "out.mp4")[0][1].shape == (size[1], size[0], 3)
    assert pairs_of(here / "out.mp4") == [(i, i) for i in range(4)]


def test_rotated_clips_are_set_upright(fuse: Run, here: Path) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :32] = 200  # left half bright
    make_clip(here / "vis.mp4", [picture] * 3, turn=-90, aspect=Fraction(4, 3))
    upright = np.rot90(picture, -1)
    make_clip(here / "ir.mp4", [upright] * 3)
    done = fuse("ir.mp4", "vis.mp4", "out.mkv")
    assert done.code == 0, done.err
    x = read_clip(here / "out.mkv")[0][1]
    assert x.shape == (64, 48, 3)
    assert np.abs(x[..., 1].astype(int) - upright[..., 0]).mean() < 8
    with av.open("out.mkv") as out:
        assert out.streams.video[0].sample_aspect_ratio == Fraction(3, 4)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "auto"), ("a.webm", "auto"), ("a.mkv", "h265"), ("a.avi", "mpeg4")]
)
def test_colours_survive_writing(fuse: Run, here: Path, name: str, codec: str) -> None:
    """As another reader shows them; the matrix is said in the file."""

    class Visible(Both):
        def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
            return ModelOutput(vis.astype(np.float32) / 255, request.prompt, {})

    for side in ("ir", "vis"):
        make_clip(here / f"{side}.mkv", [np.full((48, 64, 3), c, np.uint8) for c in COLOURS], codec="ffv1", fmt="bgr0")
    assert fuse("ir.mkv", "vis.mkv", name, Visible(), codec=codec).code == 0
    read = np.array([x[24, 32] for _, x in read_clip(here / name)], int)
    assert np.abs(read - COLOURS).max() <= 5


def test_sixteen_bits_in_and_out(fuse: Run, here: Path) -> None:
    """A thermal clip of 14 bits: one range for all of it, so that a warmer frame is brighter."""
    rng = np.random.default_rng(0)
    base = rng.integers(7000, 9000, (48, 64))
    frames = [(base + 40 * i).astype(np.uint16) for i in range(6)]
    make_clip(here / "ir.mkv", frames, codec="ffv1", fmt="gray16le")
    make_clip(here / "vis.mp4", 6)
    done = fuse("ir.mkv", "vis.mp4", "out.mkv", bits=16, ir_range="7000,9500")
    assert done.code == 0, done.err
    read = read_clip(here / "out.mkv", "rgb48le")
    for (_, x), frame in zip(read, frames, strict=True):
        expected = (frame.astype(np.float64) - 7000) / 2500 * 65535
        assert np.abs(x[..., 0] - expected).max() <= 1.5
    done = fuse("ir.mkv", "vis.mp4", "auto.mkv", bits=16)
    assert "for the whole clip" in done.err
    means = [float(x[..., 0].mean()) for _, x in read_clip(here / "auto.mkv", "rgb48le")]
    steps = np.diff(means) / 65535
    assert (steps > 0.01).all()  # with a range of each frame's own they would all be alike
    assert np.ptp(steps) < 0.005
