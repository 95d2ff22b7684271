"""Two clips as one stream of pairs: by index, by time, by numbers; sizes, swapped sides, alignment."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lure_cli.core.registration.alignment import Alignment
from lure_cli.core.thermal.radiometry import Radiometry
from tests.helpers.clips import SIZE, av, level, make_clip, only, pairs_of, read_clip
from tests.helpers.files import Outcome, save_png

Run = Callable[..., Outcome]


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


def test_ranges_of_numbered_pictures_hold_for_the_clip(fuse: Run, here: Path) -> None:
    ramp = np.linspace(0, 1000, 48 * 64).reshape(48, 64).astype(np.uint16)
    for i in range(3):
        thermal = 29000 + ramp
        thermal[:4] = 0
        save_png(here / "a" / f"{i}.png", thermal)
        save_png(here / "b" / f"{i}.png", ramp * np.uint16(i + 1))
    done = fuse("a", "b", "p/{frame}.png", fps="25")
    assert done.code == 0, done.err
    assert "768 of 9216 pixels are invalid (0) and black, for the whole clip" in done.err
    assert "b: 0..4095 of 16 bits -> 0..1 (white of 12 bits, as the largest is 3000), for the whole clip" in done.err


def test_a_clip_of_temperatures_has_its_range_in_degrees(fuse: Run, here: Path) -> None:
    degrees = np.linspace(10, 30, 48 * 64).reshape(48, 64)
    for i in range(3):
        thermal = np.rint(100 * degrees + 27315).astype(np.uint16)
        thermal[:4] = 65535
        save_png(here / "a" / f"{i}.png", thermal)
        save_png(here / "b" / f"{i}.png", np.full((48, 64, 3), level(i), np.uint8))
    unit = Radiometry(unit="ck")
    done = fuse("a", "b", "p/{frame}.png", fps="25", ir_range="15,25", radiometry=unit)
    assert done.code == 0, done.err
    assert "15.00..25.00 °C -> 0..1 (as given); 768 of 9216 pixels are invalid (65535) and black" in done.err
    refused = fuse("b", "a", "q/{frame}.png", fps="25", radiometry=unit)
    assert refused.code == 1 and "b does not hold temperatures" in refused.err
    refused = fuse("a", "b", "q/{frame}.png", fps="25", temperature="heat")
    assert refused.code == 2 and "--temperature is for images" in refused.err
    refused = fuse("a", "b", "q/{frame}.png", fps="25", radiometry=Radiometry(emissivity=0.9))
    assert refused.code == 1 and "a: it is not radiometric: it holds no raw data that --emissivity" in refused.err


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
    assert gap.code == 2  # as a dry run would say
    assert "number 11 is missing" in gap.err


def test_numbers_that_begin_elsewhere(fuse: Run, here: Path) -> None:
    for i in range(3):
        save_png(here / "a" / f"{i}.png", np.full((48, 64), level(i), np.uint8))
        save_png(here / "b" / f"{i + 1}.png", np.full((48, 64), level(i), np.uint8))
    refused = fuse("a", "b", "out.mp4", fps="5")
    assert refused.code == 1
    assert "begins with number 0" in refused.err
    assert fuse("a", "b", "out.mp4", fps="5", sync="index").code == 0


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


def test_a_rig_places_the_infrared_from_the_first_frame_on(
    fuse: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    frame = np.zeros((24, 32, 3), np.uint8)
    frame[:, 16:] = 200
    make_clip(here / "ir.mp4", [frame] * 3)
    make_clip(here / "vis.mp4", 3)
    rig = Alignment((0.5, 0.0, 3.75, 0.0, 0.5, -0.25), (64, 48), source=(32, 24))  # half as large, 8 pixels to the left
    done = fuse("ir.mp4", "vis.mp4", "out.mkv", codec="ffv1", rig=rig, as_json=True)
    assert done.code == 0, done.err
    assert Alignment.from_record(json.loads(done.out)["alignment"]) == rig
    assert "the whole clip: moved 8.0 px" in done.err
    frames = [x for _, x in read_clip(here / "out.mkv")]
    assert len(frames) == 3
    for x in frames:  # the last columns lie beyond the infrared, and are the visible frame
        assert x[:, :20, 0].max() < 40 and x[:, 28:52, 0].min() > 160 and x[:, 60:, 0].max() < 60
    other = Alignment(rig.matrix, (64, 40), source=(32, 24))
    refused = fuse("ir.mp4", "vis.mp4", "no.mkv", codec="ffv1", rig=other)
    assert refused.code == 1
    assert "ir.mp4 and vis.mp4: the visible image is 64x48, but the transform was estimated for 64x40" in refused.err


def test_swapped_clips_are_noticed(fuse: Run, here: Path) -> None:
    colour = np.zeros((48, 64, 3), np.uint8)
    colour[..., 0] = 200
    make_clip(here / "a.mp4", [colour] * 2)
    make_clip(here / "b.mp4", 2)
    swapped = fuse("a.mp4", "b.mp4", "out.mp4")
    assert "note: a.mp4 is in colour and b.mp4 is grey: were infrared and visible swapped?" in swapped.err
    right = fuse("b.mp4", "a.mp4", "right.mp4")
    assert "note" not in right.err


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
