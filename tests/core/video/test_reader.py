"""Clips in: colours and bits as they were meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lure_cli.core.video.reader import VideoFile
from tests.helpers.clips import make_clip, number

COLOURS = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (120, 60, 200), (30, 200, 180)]


@pytest.mark.parametrize("matrix", [1, 5])
@pytest.mark.parametrize("span", [1, 2])
def test_colours_are_read_by_matrix_and_range(tmp_path: Path, matrix: int, span: int) -> None:
    flat = [np.full((48, 64, 3), c, np.uint8) for c in COLOURS]
    make_clip(tmp_path / "a.mp4", flat, colour=(matrix, span), fmt="yuv444p" if span == 1 else "yuvj444p")
    with VideoFile(str(tmp_path / "a.mp4"), grey=False) as clip:
        read = [f.pixels[24, 32] for f in clip.frames()]
    assert np.abs(np.array(read, int) - COLOURS).max() <= 4


@pytest.mark.parametrize(("codec", "fmt"), [("libx265", "yuv420p10le"), ("ffv1", "gray10le"), ("ffv1", "gray12le")])
def test_ten_and_twelve_bits_are_scaled_to_sixteen(tmp_path: Path, codec: str, fmt: str) -> None:
    make_clip(tmp_path / "a.mkv", 6, codec=codec, fmt=fmt)
    with VideoFile(str(tmp_path / "a.mkv"), grey=True) as clip:
        read = [f.pixels for f in clip.frames()]
    assert {x.dtype for x in read} == {np.dtype(np.uint16)}
    assert [x.shape for x in read] == [(48, 64, 1)] * 6
    assert [number(x) for x in read] == list(range(6))


def test_grey_of_limited_range(tmp_path: Path) -> None:
    """Which FFmpeg's own conversion takes for full range."""
    levels = [0, 60, 128, 200, 255]
    frames = [np.full((48, 64), round(16 + v * 219 / 255), np.uint8) for v in levels]
    make_clip(tmp_path / "limited.mp4", frames, fmt="gray", colour=(1, 1))
    make_clip(tmp_path / "full.mp4", [np.full((48, 64), v, np.uint8) for v in levels], fmt="gray", colour=(1, 2))
    for name in ("limited.mp4", "full.mp4"):
        with VideoFile(str(tmp_path / name), grey=True) as clip:
            read = [int(f.pixels[24, 32, 0]) for f in clip.frames()]
        assert np.abs(np.array(read) - levels).max() <= 2, name


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("scale", [1, 2])
def test_clips_are_shown_as_their_display_matrix_says(
    tmp_path: Path, turns: int, mirrored: bool, scale: int, grey: bool
) -> None:
    """All eight: each stored pixel stands where the matrix puts it, (x, y) at (a x + c y, b x + d y)."""
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:16], stored[:, :24] = 90, 200  # no two of the eight are alike
    shown = np.rot90(stored, turns)
    linear = np.array([[1, 0], [0, 1]])
    for _ in range(turns):  # against the clock, y downwards
        linear = np.array([[0, 1], [-1, 0]]) @ linear
    if mirrored:
        shown, linear = shown[:, ::-1], np.diag([-1, 1]) @ linear
    (a, c), (b, d) = scale * (linear << 16)
    matrix = [int(n) for n in (a, b, 0, c, d, 0, 0, 0, 1 << 30)]
    make_clip(tmp_path / "a.mp4", [stored] * 2, matrix=matrix)
    with VideoFile(str(tmp_path / "a.mp4"), grey=grey) as clip:
        pixels = [f.pixels for f in clip.frames()]
        assert clip.info.size == (shown.shape[1], shown.shape[0])
        assert np.abs(clip.sample(1)[0].astype(int) - shown[..., : 1 if grey else 3]).mean() < 5
    assert all(np.abs(x.astype(int) - shown[..., : 1 if grey else 3]).mean() < 5 for x in pixels)


def test_a_display_matrix_that_shows_nothing_is_no_orientation(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", 2, matrix=[0] * 9)
    with VideoFile(str(tmp_path / "a.mp4"), grey=True) as clip:
        assert [f.pixels.shape for f in clip.frames()] == [(48, 64, 1)] * 2
