"""Carrying out a plan of clips: damage, interruption, failures, memory, progress."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lure_cli.core.video.reader import VideoFile
from lure_cli.errors import LureError
from lure_cli.tasks.inference.request import ModelOutput, Request
from lure_cli.tasks.inference.stream import Fused
from lure_cli.tasks.video.result import ClipResult, Progress
from lure_cli.tasks.video.run import fuse_clips
from lure_cli.tasks.video.target import ClipTarget
from tests.helpers.clips import Both, level, make_clip, only, pairs_of, plan, read_clip
from tests.helpers.files import Outcome

Run = Callable[..., Outcome]


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
