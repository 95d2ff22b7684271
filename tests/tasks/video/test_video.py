"""Clips: frame-exact pairing, time stamps, sound, colours, damage, live sources, interruption."""

from __future__ import annotations

import http.server
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from lure_cli.cli.output import show_error
from lure_cli.cli.video import fuse_video
from lure_cli.core.video.reader import VideoFile
from lure_cli.core.video.source import is_live, is_video
from lure_cli.errors import LureError
from lure_cli.tasks.inference.inputs import ReadOptions
from lure_cli.tasks.inference.plan import FuseOptions
from lure_cli.tasks.inference.request import ModelOutput, Request
from lure_cli.tasks.inference.stream import Fused
from lure_cli.tasks.video.plan import ClipPlan, VideoOptions, plan_video
from lure_cli.tasks.video.result import ClipResult, Progress
from lure_cli.tasks.video.run import fuse_clips
from lure_cli.tasks.video.target import ClipTarget
from tests.helpers.clips import SIZE, av, level, make_clip, number, read_clip, sound_of
from tests.helpers.files import Outcome, save_png

Run = Callable[..., Outcome]


class Both:
    """In the place of the model: red is the infrared, green the visible image's red, blue its blue."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
        self.requests.append(request)
        v = vis.astype(np.float32) / (np.iinfo(vis.dtype).max if vis.dtype.kind == "u" else 1)
        assert ir.shape[2] == 1
        assert ir.dtype == np.float32
        return ModelOutput(np.concatenate([ir, v[..., :1], v[..., 2:]], 2), request.prompt, {})

    def detect(self, image: np.ndarray, modality: str) -> tuple[()]:
        return ()


def plan(ir: str, vis: str, output: str | None, **options: Any) -> ClipPlan:
    """The plan of `lure fuse` with these options, named as there."""

    def those_of(kind: type) -> dict[str, Any]:
        return {name: options.pop(name) for name in [*options] if name in kind.__dataclass_fields__}

    read, clips = ReadOptions(**those_of(ReadOptions)), those_of(VideoOptions)
    return plan_video(VideoOptions(FuseOptions(Path(), Path(), output, read=read, **options), ir, vis, **clips))


@pytest.fixture
def fuse(capfd: pytest.CaptureFixture[str]) -> Run:
    """`lure fuse` of clips with `Both`, or another fuser, in the place of the model."""

    def run(
        ir: str,
        vis: str,
        output: str | None = None,
        fuser: Both | None = None,
        *,
        as_json: bool = False,
        quiet: bool = False,
        dry_run: bool = False,
        **options: Any,
    ) -> Outcome:
        capfd.readouterr()
        code = 0
        try:
            fuse_video(
                plan(ir, vis, output, **options), dry_run=dry_run, as_json=as_json, quiet=quiet, fuser=fuser or Both()
            )
        except LureError as error:
            show_error(error)
            code = 2
        except typer.Exit as end:
            code = end.exit_code
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pairs_of(path: Path) -> list[tuple[int, int]]:
    """Which infrared and which visible frame each fused frame was made of."""
    return [(number(x[..., 0]), number(x[..., 1])) for _, x in read_clip(path)]


def only(folder: Path, *names: str) -> None:
    """Nothing else is there, hidden files included."""
    assert sorted(p.name for p in folder.iterdir()) == sorted(names)


def test_frame_with_frame(fuse: Run, here: Path) -> None:
    make_clip(here / "ir.mp4", 12)
    make_clip(here / "vis.mp4", 12, sound="aac", rate=Fraction(30000, 1001), aspect=Fraction(4, 3))
    make_clip(here / "ir.mp4", 12, rate=Fraction(30000, 1001))
    done = fuse("ir.mp4", "vis.mp4", "out.mp4", as_json=True)
    assert done.code == 0, done.err
    assert pairs_of(here / "out.mp4") == [(i, i) for i in range(12)]
    assert [t for t, _ in read_clip(here / "out.mp4")] == [t for t, _ in read_clip(here / "vis.mp4")]
    record = json.loads(done.out)
    assert (record["frames"], record["fps"], record["truncated"], record["sync"]) == (12, "30000/1001", None, "index")
    with av.open("out.mp4") as out:
        s = out.streams.video[0]
        assert s.average_rate == Fraction(30000, 1001)
        assert s.sample_aspect_ratio == Fraction(4, 3)
        assert (s.width, s.height) == SIZE
        assert s.codec_context.color_range == 1
        assert s.codec_context.colorspace == 6  # BT.601 at this size
    only(here, "ir.mp4", "vis.mp4", "out.mp4")


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


def test_unequal_lengths_can_be_refused(fuse: Run, here: Path) -> None:
    make_clip(here / "ir.mkv", 12)
    make_clip(here / "vis.mp4", 9)
    done = fuse("ir.mkv", "vis.mp4", "out.mp4", length="equal")
    assert done.code == 1
    assert "error: ir.mkv is longer: 3 frames of it have no partner" in done.err
    only(here, "ir.mkv", "vis.mp4")


def test_rates_that_differ(fuse: Run, here: Path) -> None:
    make_clip(here / "ir.mp4", 5, rate=10)
    make_clip(here / "vis.mp4", 12, rate=25)
    refused = fuse("ir.mp4", "vis.mp4", "out.mp4")
    assert refused.code == 1
    assert "error: ir.mp4 has 10 frames a second, vis.mp4 has 25" in refused.err
    assert "hint: --sync time" in refused.err
    assert fuse("ir.mp4", "vis.mp4", "out.mp4", sync="time").code == 0
    expected = [(min(range(5), key=lambda i: (abs(i / 10 - v / 25), -i)), v) for v in range(12)]
    assert pairs_of(here / "out.mp4") == expected
    assert fuse("ir.mp4", "vis.mp4", "index.mp4", sync="index").code == 0
    assert pairs_of(here / "index.mp4") == [(i, i) for i in range(5)]


def test_variable_frame_rate_is_kept(fuse: Run, here: Path) -> None:
    times = [Fraction(t, 100) for t in (0, 4, 8, 20, 24, 40, 41, 50)]
    make_clip(here / "vis.mp4", 8, times=times)
    make_clip(here / "ir.mp4", 8, times=times)
    for name in ("out.mp4", "out.mkv"):
        assert fuse("ir.mp4", "vis.mp4", name).code == 0
        read = read_clip(here / name)
        assert [round(float(t), 3) for t, _ in read] == [round(float(t), 3) for t in times]
        assert pairs_of(here / name) == [(i, i) for i in range(8)]


def test_frames_that_were_lost_stop_pairing_by_number(fuse: Run, here: Path) -> None:
    times = [Fraction(i, 25) for i in range(12)]
    make_clip(here / "ir.mkv", 12, times=times)
    make_clip(here / "vis.mkv", 12, times=times[:6] + [t + Fraction(1, 25) for t in times[6:]])
    done = fuse("ir.mkv", "vis.mkv", "out.mp4")
    assert done.code == 1
    assert "warning: vis.mkv lacks frames: from frame 6 on it is 0.04 s ahead of ir.mkv" in done.err
    assert pairs_of(here / "out.mp4") == [(i, i) for i in range(6)]
    assert fuse("ir.mkv", "vis.mkv", "index.mp4", sync="index").code == 0
    assert pairs_of(here / "index.mp4") == [(i, i) for i in range(12)]
    assert fuse("ir.mkv", "vis.mkv", "time.mp4", sync="time").code == 0
    assert pairs_of(here / "time.mp4")[:11] == [(i + (i > 5), i) for i in range(11)]


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


COLOURS = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (120, 60, 200), (30, 200, 180)]


@pytest.mark.parametrize("matrix", [1, 5])
@pytest.mark.parametrize("span", [1, 2])
def test_colours_are_read_by_matrix_and_range(here: Path, matrix: int, span: int) -> None:
    flat = [np.full((48, 64, 3), c, np.uint8) for c in COLOURS]
    make_clip(here / "a.mp4", flat, colour=(matrix, span), fmt="yuv444p" if span == 1 else "yuvj444p")
    with VideoFile(str(here / "a.mp4"), grey=False) as clip:
        read = [f.pixels[24, 32] for f in clip.frames()]
    assert np.abs(np.array(read, int) - COLOURS).max() <= 4


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


@pytest.mark.parametrize(("codec", "fmt"), [("libx265", "yuv420p10le"), ("ffv1", "gray10le"), ("ffv1", "gray12le")])
def test_ten_and_twelve_bits_are_scaled_to_sixteen(here: Path, codec: str, fmt: str) -> None:
    make_clip(here / "a.mkv", 6, codec=codec, fmt=fmt)
    with VideoFile(str(here / "a.mkv"), grey=True) as clip:
        read = [f.pixels for f in clip.frames()]
    assert {x.dtype for x in read} == {np.dtype(np.uint16)}
    assert [x.shape for x in read] == [(48, 64, 1)] * 6
    assert [number(x) for x in read] == list(range(6))


def test_grey_of_limited_range(here: Path) -> None:
    """Which FFmpeg's own conversion takes for full range."""
    levels = [0, 60, 128, 200, 255]
    frames = [np.full((48, 64), round(16 + v * 219 / 255), np.uint8) for v in levels]
    make_clip(here / "limited.mp4", frames, fmt="gray", colour=(1, 1))
    make_clip(here / "full.mp4", [np.full((48, 64), v, np.uint8) for v in levels], fmt="gray", colour=(1, 2))
    for name in ("limited.mp4", "full.mp4"):
        with VideoFile(str(here / name), grey=True) as clip:
            read = [int(f.pixels[24, 32, 0]) for f in clip.frames()]
        assert np.abs(np.array(read) - levels).max() <= 2, name


def test_numbered_pictures_in_and_out(fuse: Run, here: Path) -> None:
    for i in range(9):
        for side in ("a", "b"):
            save_png(here / side / f"f_{i + 8}.png", np.full((48, 64, 3), level(i), np.uint8))
    refused = fuse("a", "b", "out.mp4")
    assert refused.code == 2
    assert "--fps 25" in refused.err
    assert fuse("a", "b", "out.mp4", fps="30000/1001").code == 0
    assert pairs_of(here / "out.mp4") == [(i, i) for i in range(9)]  # 8, 9, 10: by number, not by name
    with av.open("out.mp4") as out:
        assert out.streams.video[0].average_rate == Fraction(30000, 1001)
    make_clip(here / "vis.mp4", 9)
    assert fuse("a", "vis.mp4", "p/{frame:03d}.png").code == 0
    only(here / "p", *(f"{i:03d}.png" for i in range(9)))
    (here / "p" / "004.png").unlink()
    refused = fuse("a", "vis.mp4", "p/{frame:03d}.png")
    assert refused.code == 2
    assert "000.png exists already" in refused.err
    again = fuse("a", "vis.mp4", "p/{frame:03d}.png", skip_existing=True)
    assert again.code == 0
    assert "8 pictures were there already" in again.err
    (here / "a" / "f_11.png").unlink()
    gap = fuse("a", "vis.mp4", "gap.mp4")
    assert gap.code == 1
    assert "number 11 is missing" in gap.err


def test_numbers_that_begin_elsewhere(fuse: Run, here: Path) -> None:
    for i in range(3):
        save_png(here / "a" / f"{i}.png", np.full((48, 64), level(i), np.uint8))
        save_png(here / "b" / f"{i + 1}.png", np.full((48, 64), level(i), np.uint8))
    refused = fuse("a", "b", "out.mp4", fps="5")
    assert refused.code == 1
    assert "begins with number 0" in refused.err
    assert fuse("a", "b", "out.mp4", fps="5", sync="index").code == 0


def test_folders_of_clips(fuse: Run, here: Path) -> None:
    for name in ("one", "two"):
        for side in ("ir", "vis"):
            (here / side).mkdir(exist_ok=True)
            make_clip(here / side / f"{name}_{side}.mp4", 4)
    done = fuse("ir", "vis", "out/", as_json=True)
    assert done.code == 0, done.err
    assert [json.loads(line)["name"] for line in done.out.splitlines()] == ["one", "two"]
    only(here / "out", "one.mp4", "two.mp4")
    planned = fuse("ir", "vis/*.mp4", "other/{stem}.mkv", dry_run=True)
    assert planned.code == 0
    assert "-> other/two.mkv" in planned.out


@pytest.mark.parametrize(("suffix", "options"), [(".mp4", {"movflags": "+faststart"}), (".mkv", {}), (".avi", {})])
def test_a_clip_that_is_cut_off(fuse: Run, here: Path, suffix: str, options: dict[str, str]) -> None:
    noise = np.random.default_rng(0).integers(-15, 15, (48, 64, 3))
    frames = [np.clip(noise * (-1) ** i + level(i), 0, 255).astype(np.uint8) for i in range(24)]
    make_clip(here / "ir.mp4", frames)
    whole = make_clip(here / f"vis{suffix}", frames, options=options).read_bytes()
    (here / f"vis{suffix}").write_bytes(whole[: len(whole) * 6 // 10])
    done = fuse("ir.mp4", f"vis{suffix}", "out.mkv", codec="ffv1", as_json=True)
    assert done.code == 1
    assert "warning: " in done.err
    record = json.loads(done.out)
    assert record["status"] == "done"
    assert record["truncated"]
    pairs = pairs_of(here / "out.mkv")
    assert 8 <= len(pairs) == record["frames"] < 24
    assert pairs == [(i, i) for i in range(len(pairs))]


def test_damage_in_the_middle(fuse: Run, here: Path) -> None:
    rng = np.random.default_rng(1)
    frames = [np.clip(rng.integers(-15, 15, (48, 64, 3)) + level(i), 0, 255).astype(np.uint8) for i in range(24)]
    make_clip(here / "vis.mp4", frames)
    data = bytearray(make_clip(here / "ir.mp4", frames).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = rng.bytes(2000)
    (here / "ir.mp4").write_bytes(data)
    done = fuse("ir.mp4", "vis.mp4", "out.mkv", codec="ffv1")
    assert done.code == 1
    assert "warning: ir.mp4: it is damaged" in done.err
    pairs = pairs_of(here / "out.mkv")
    assert 6 <= len(pairs) < 20
    assert pairs == [(i, i) for i in range(len(pairs))]


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"\x00\x00\x00\x18ftypmp42" + b"\0" * 400, os.urandom(9000)])
def test_what_is_no_clip(fuse: Run, here: Path, content: bytes) -> None:
    make_clip(here / "vis.mp4", 3)
    (here / "ir.mp4").write_bytes(content)
    done = fuse("ir.mp4", "vis.mp4", "out.mp4")
    assert done.code == 1
    assert "error: ir.mp4: " in done.err
    only(here, "ir.mp4", "vis.mp4")


def test_cut_before_the_index(fuse: Run, here: Path) -> None:
    whole = make_clip(here / "vis.mp4", 9).read_bytes()
    (here / "ir.mp4").write_bytes(whole[: len(whole) // 2])
    done = fuse("ir.mp4", "vis.mp4", "out.mp4")
    assert done.code == 1
    assert "error: ir.mp4: cannot be read as a clip" in done.err


def test_sizes(fuse: Run, here: Path) -> None:
    make_clip(here / "ir.mp4", 3, size=(32, 24))
    make_clip(here / "vis.mp4", 3)
    refused = fuse("ir.mp4", "vis.mp4", "out.mp4")
    assert refused.code == 1
    assert "ir.mp4 is 32x24 but vis.mp4 is 64x48" in refused.err
    assert fuse("ir.mp4", "vis.mp4", "out.mp4", resize_ir=True).code == 0
    large = fuse("ir.mp4", "vis.mp4", "big.mp4", max_pixels=1000)
    assert large.code == 1
    assert "vis.mp4: 64x48 has more than 1,000 pixels" in large.err


@pytest.mark.parametrize(
    ("args", "fault"),
    [
        (["-o", "out.gif"], "no type of clip"),
        (["-o", "vis.mp4", "--overwrite"], "is also an input"),
        (["-o", "ir.mp4"], "is also an input"),
        (["-o", "-"], "standard input and output"),
        (["-o", "out.mp4", "--sync", "magic"], "--sync magic"),
        (["-o", "out.mp4", "--length", "longest"], "--length longest"),
        (["-o", "out.mp4", "--check-every", "0"], "--check-every 0"),
        (["-o", "out.mp4", "--fps", "25"], "--fps is for folders"),
        (["-o", "out.mp4", "--fps", "x"], "--fps x"),
        (["-o", "out.mp4", "--bits", "16"], ".mkv"),
        (["-o", "out.webm", "--codec", "h264"], "do not hold h264"),
        (["-o", "out.mp4", "--codec", "divx"], "codec 'divx'"),
        (["-o", "out.mp4", "--crf", "90"], "--crf 90"),
        (["-o", "out.mp4", "--engine", "ray"], "engine local"),
        (["-o", "out.mp4", "--shard", "1/2"], "--shard"),
        (["-o", "{frame}/{what}.png"], "template"),
        (["-o", "{frame.png"], "template"),
        (["-o", "{what}.mp4"], "template"),
        (["-o", "{stem.__class__}.mp4"], "template"),
        (["-o", "out.mp4", "--prompt", "a song about love"], "prompt"),
    ],
)
def test_what_cannot_be_meant(lure: Run, here: Path, args: list[str], fault: str) -> None:
    make_clip(here / "ir.mp4", 2)
    make_clip(here / "vis.mp4", 2)
    before = {p.name: p.read_bytes() for p in here.iterdir()}
    done = lure("fuse", "--ir", "ir.mp4", "--vis", "vis.mp4", *args)
    assert done.code == 2, done.err
    assert fault in done.err
    assert "hint: " in done.err
    assert {p.name: p.read_bytes() for p in here.iterdir()} == before


def test_options_of_clips_are_refused_for_images(lure: Run, examples: Path) -> None:
    done = lure("fuse", "--ir", "examples/street/ir.png", "--vis", "examples/street/vis.png", "--fps", "5")
    assert done.code == 2
    assert "are for clips" in done.err


def test_existing_output(fuse: Run, here: Path) -> None:
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.mp4", 3)
    (here / "out.mp4").write_bytes(b"old")
    refused = fuse("ir.mp4", "vis.mp4", "out.mp4")
    assert refused.code == 2
    assert "out.mp4 exists already" in refused.err
    skipped = fuse("ir.mp4", "vis.mp4", "out.mp4", skip_existing=True)
    assert skipped.code == 0
    assert "skipped: out.mp4 exists" in skipped.err
    assert (here / "out.mp4").read_bytes() == b"old"
    assert fuse("ir.mp4", "vis.mp4", "out.mp4", overwrite=True).code == 0
    assert pairs_of(here / "out.mp4") == [(i, i) for i in range(3)]


def test_an_interrupted_clip_is_whole(fuse: Run, here: Path) -> None:
    import signal

    class Slow(Both):
        def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
            if len(self.requests) == 5:
                signal.raise_signal(signal.SIGINT)
            return super().fuse_request(ir, vis, request)

    for side in ("ir", "vis"):
        make_clip(here / f"{side}.mp4", 20)
    done = fuse("ir.mp4", "vis.mp4", "out.mp4", Slow(), as_json=True)
    assert done.code == 130
    assert "out.mp4 holds the 6 frames" in done.err
    assert json.loads(done.out)["interrupted"] is True
    assert pairs_of(here / "out.mp4") == [(i, i) for i in range(6)]


def test_interrupted_before_the_first_frame(here: Path) -> None:
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.mp4", 3)
    asked = iter([False])
    events = fuse_clips(plan("ir.mp4", "vis.mp4", "out.mp4"), lambda: next(asked, True), Both())
    results = [e for e in events if isinstance(e, ClipResult)]
    assert [(r.status, r.interrupted, r.frames) for r in results] == [("failed", True, 0)]
    only(here, "ir.mp4", "vis.mp4")


def test_a_failure_in_the_middle_leaves_nothing(fuse: Run, here: Path) -> None:
    class Broken(Both):
        def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
            if len(self.requests) == 3:
                raise LureError("no memory", "buy some")
            return super().fuse_request(ir, vis, request)

    for side in ("ir", "vis"):
        make_clip(here / f"{side}.mp4", 9)
    done = fuse("ir.mp4", "vis.mp4", "out.mp4", Broken())
    assert done.code == 1
    assert "error: no memory" in done.err
    only(here, "ir.mp4", "vis.mp4")


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_a_full_disk(fuse: Run, here: Path) -> None:
    import resource

    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(40)]
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.mp4", frames)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        done = fuse("ir.mp4", "vis.mp4", "out.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.code == 1
    assert "error: out.mp4: cannot be written (File too large)" in done.err
    only(here, "ir.mp4", "vis.mp4")


def test_without_pyav(fuse: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(here / "ir.mp4", 2)
    make_clip(here / "vis.mp4", 2)
    monkeypatch.setitem(sys.modules, "av", None)
    done = fuse("ir.mp4", "vis.mp4", "out.mp4")
    assert done.code == 2
    assert 'pip install "lure-cli[video]"' in done.err


def test_recognised_by_content(here: Path) -> None:
    for suffix in (".mp4", ".mkv", ".avi", ".ts"):
        clip = make_clip(here / f"a{suffix}", 3)
        bare = clip.rename(here / f"clip{suffix[1:]}")
        assert is_video(str(bare)), suffix
    (here / "text").write_text("ftyp " * 100)
    assert not is_video(str(here / "text"))
    assert not is_video("a.png")
    assert is_video("rtsp://camera/1")
    assert is_live("/dev/video0")
    assert is_live("v4l2:/dev/video1")
    assert not is_live("C:/clips/a.mp4")
    assert not is_live("a:b.mp4")


@pytest.fixture
def server(here: Path) -> Iterator[str]:
    """An http server that sends a transport stream without saying how long it is, as a camera does."""
    go_on = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not (here / self.path[1:].removesuffix("?hang")).exists():
                self.send_error(404)
                return
            data = (here / self.path[1:].removesuffix("?hang")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            for start in range(0, len(data), 1316):
                self.wfile.write(data[start : start + 1316])
                time.sleep(0.01)
            if self.path.endswith("?hang"):
                go_on.wait(20)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as it:
        thread = threading.Thread(target=it.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{it.server_port}"
        go_on.set()
        it.shutdown()
        thread.join()


def test_network_streams(fuse: Run, here: Path, server: str) -> None:
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.ts", 12)
    done = fuse(f"{server}/ir.ts", f"{server}/vis.ts", "out.mkv", as_json=True)
    assert done.code == 0, done.err
    assert pairs_of(here / "out.mkv") == [(i, i) for i in range(12)]
    assert json.loads(done.out)["sync"] == "time"
    unnamed = fuse(f"{server}/ir.ts", f"{server}/vis.ts", None)
    assert unnamed.code == 2
    assert "give -o" in unnamed.err
    gone = fuse(f"{server}/none.ts", f"{server}/vis.ts", "x.mkv")
    assert gone.code == 1
    assert "cannot be read as a clip" in gone.err
    only(here, "ir.ts", "vis.ts", "out.mkv")


def test_a_stream_that_falls_silent(fuse: Run, here: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came is a whole file; the rest is not waited for without end."""
    from lure_cli.core.video import reader as video

    monkeypatch.setattr(video, "PATIENCE", 1.5)
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.ts", 12)
    begun = time.monotonic()
    done = fuse("ir.ts", f"{server}/vis.ts?hang", "out.mkv")
    assert done.code == 0, done.err
    assert time.monotonic() - begun < 12
    assert "vis.ts?hang ended (" in done.err
    pairs = pairs_of(here / "out.mkv")
    assert len(pairs) >= 6
    assert pairs == [(i, i) for i in range(len(pairs))]


def test_headers_that_lie(fuse: Run, here: Path) -> None:
    """The container says 64x48, the coded stream 320x240: the limit holds for what would be decoded."""
    make_clip(here / "vis.mp4", 3)
    data = make_clip(here / "ir.mp4", 3, size=(320, 240)).read_bytes()
    entry = data.index(b"avc1", data.index(b"stsd"))
    size = b"\x01\x40\x00\xf0"
    assert data[entry + 28 : entry + 32] == size
    (here / "ir.mp4").write_bytes(data[: entry + 28] + b"\x00\x40\x00\x30" + data[entry + 32 :])
    done = fuse("ir.mp4", "vis.mp4", "out.mp4", max_pixels=10000)
    assert done.code == 1
    assert "error: ir.mp4: " in done.err
    only(here, "ir.mp4", "vis.mp4")


def test_swapped_clips_are_noticed(fuse: Run, here: Path) -> None:
    colour = np.zeros((48, 64, 3), np.uint8)
    colour[..., 0] = 200
    make_clip(here / "a.mp4", [colour] * 2)
    make_clip(here / "b.mp4", 2)
    swapped = fuse("a.mp4", "b.mp4", "out.mp4")
    assert "note: a.mp4 is in colour and b.mp4 is grey: were infrared and visible swapped?" in swapped.err
    right = fuse("b.mp4", "a.mp4", "right.mp4")
    assert "note" not in right.err


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from lure_cli.cli import video as shown
    from lure_cli.tasks.video.plan import ClipPair

    clock = iter(np.arange(0, 100, 0.5))
    monkeypatch.setattr(shown.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    line, pair = shown._ProgressLine(), ClipPair("drone", "a", "b", "c")
    for i in range(1, 9):
        line.show(Progress(pair, i, 20))
    line.end()
    lines = capsys.readouterr().err.split("\r\x1b[K")[1:]
    assert lines[:2] == [
        "drone: frame 3 of 20, 2.00 a second, about 0:00:08 left",
        "drone: frame 5 of 20, 2.00 a second, about 0:00:08 left",
    ]
    assert lines[-1] == ""


def test_a_camera_faster_than_the_model(fuse: Run, here: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest frames are taken, partners stay partners, what was skipped is said."""
    from lure_cli.tasks.video import sync as frames

    class Slow(Both):
        def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
            time.sleep(0.05)
            return super().fuse_request(ir, vis, request)

    monkeypatch.setattr(frames, "is_realtime", lambda source: True)
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.ts", 28, sound="aac" if side == "vis" else None)
    done = fuse(f"{server}/ir.ts", f"{server}/vis.ts", "out.mkv", Slow(), as_json=True)
    assert done.code == 0, done.err
    assert "live frames were skipped" in done.err
    pairs = pairs_of(here / "out.mkv")
    assert 8 <= len(pairs) < 28
    assert all(abs(i - v) <= 1 for i, v in pairs), pairs  # the partner itself may have been skipped
    assert sorted({v for _, v in pairs}) == [v for _, v in pairs]
    assert len(sound_of(here / "out.mkv")) >= len(sound_of(here / "vis.ts")) - 10


def test_memory_stays_flat(fuse: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more than a few frames are decoded ahead of those that are written."""
    from lure_cli.tasks.inference import stream

    ahead: list[int] = []
    read = 0
    frame = VideoFile._frame

    def count(self: VideoFile, item: Any, index: int) -> Any:
        nonlocal read
        read = max(read, index)
        return frame(self, item, index)

    write = ClipTarget.write

    def track(self: Any, fused: Fused) -> Fused:
        ahead.append(read - fused.index)
        return write(self, fused)

    monkeypatch.setattr(VideoFile, "_frame", count)
    monkeypatch.setattr(ClipTarget, "write", track)
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.mp4", [np.zeros((32, 32, 3), np.uint8)] * 200)
    assert fuse("ir.mp4", "vis.mp4", "out.mp4", quiet=True).code == 0
    assert len(ahead) == 200
    assert max(ahead) <= 2 * stream.START + 4


def test_one_alignment_for_the_clip(fuse: Run, examples: Path) -> None:
    pytest.importorskip("SimpleITK")
    from PIL import Image

    with Image.open("examples/pairs/ir/drone.png") as image:
        ir = np.asarray(image.convert("L").resize((160, 120)))
    with Image.open("examples/pairs/vis/drone.png") as image:
        vis = np.asarray(image.convert("RGB").resize((160, 120)))
    moved = np.roll(ir, (0, 6), (0, 1))
    make_clip(Path("ir.mp4"), [np.repeat(moved[..., None], 3, 2)] * 2)
    make_clip(Path("vis.mp4"), [vis] * 2)
    done = fuse("ir.mp4", "vis.mp4", "out.mkv", codec="ffv1", align="auto", as_json=True)
    assert done.code == 0, done.err
    matrix = json.loads(done.out)["alignment"]["matrix"]
    assert abs(matrix[0][2] - 6) < 2.5
    assert abs(matrix[1][2]) < 2.5
    pictures = [x for _, x in read_clip(Path("out.mkv"))]
    assert np.abs(pictures[0][20:-20, 20:-20, 0].astype(int) - ir[20:-20, 20:-20]).mean() < 12


def test_the_shipped_model(lure: Run, here: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [np.clip(rng.normal(110, 12, (48, 64, 3)) + 3 * i, 0, 255).astype(np.uint8) for i in range(4)]
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.mp4", frames)
    done = lure("fuse", "--ir", "ir.mp4", "--vis", "vis.mp4", "-o", "out.mp4", "--prompt", "auto", "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["frames"] == 4
    assert record["prompts"][0]["frame"] == 0
    assert len(read_clip(here / "out.mp4")) == 4
