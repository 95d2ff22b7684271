"""Plans of clips: what is refused before a clip is opened."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.clips import make_clip, only, pairs_of
from tests.helpers.files import Outcome

Run = Callable[..., Outcome]


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
        (["-o", "udp://127.0.0.1"], "it has no port"),
        (["-o", "udp://:5000"], "it has no host"),
        (["-o", "udp://127.0.0.1:port"], "malformed address"),
        (["-o", "udp://127.0.0.1:5000/a"], "udp has no paths"),
        (["-o", "udp://me:secret@127.0.0.1:5000"], "udp://me:***@127.0.0.1:5000"),
        (["-o", "rtsp://127.0.0.1/a b"], "characters"),
        (["-o", "rtp://127.0.0.1:5000?a=1"], "no options"),
        (["-o", "file:///x.mp4"], "use one of udp://"),
        (["-o", "tee://x.mp4"], "nothing is sent to tee://"),
        (["-o", "http://127.0.0.1:5000/x"], "nothing is sent to http://"),
        (["-o", "udp://127.0.0.1:5000/{frame}.png"], "characters"),
        (["-o", "live/%d.m3u8"], "no name for a playlist"),
        (["-o", "live/{frame}.m3u8"], "no name for a playlist"),
        (["-o", "udp://127.0.0.1:5000", "--bits", "16"], "--bits are for files"),
        (["-o", "udp://127.0.0.1:5000", "--codec", "vp9"], "are for files"),
        (["-o", "udp://127.0.0.1:5000", "-o", "udp://127.0.0.1:5000"], "given twice"),
        (["-o", "udp://127.0.0.1:5000", "--skip-existing"], "--skip-existing is for files"),
        (["-o", "a.mp4", "-o", "b.mp4"], "-o is given 2 files"),
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


def test_frames_of_an_earlier_run_are_noticed(fuse: Run, here: Path) -> None:
    """Also where the first one is missing; other pictures in the folder do not matter."""
    for side in ("ir", "vis"):
        make_clip(here / f"{side}.mp4", 3)
    (here / "p").mkdir()
    (here / "p" / "vis_2_x.png").write_bytes(b"another")
    assert fuse("ir.mp4", "vis.mp4", "p/{stem}_{frame}.png", dry_run=True).code == 0
    (here / "p" / f"{here.name}_2.png").write_bytes(b"old")
    refused = fuse("ir.mp4", "vis.mp4", "p/{stem}_{frame}.png")
    assert refused.code == 2
    assert f"p/{here.name}_2.png exists already" in refused.err


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


def test_without_pyav(fuse: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(here / "ir.mp4", 2)
    make_clip(here / "vis.mp4", 2)
    monkeypatch.setitem(sys.modules, "av", None)
    done = fuse("ir.mp4", "vis.mp4", "out.mp4")
    assert done.code == 2
    assert 'pip install "lure-cli[video]"' in done.err
