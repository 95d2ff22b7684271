"""Reading for a job: ranges, transparency, what is counted and noted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from lure_cli.tasks.inference.inputs import read_pair, read_single
from lure_cli.tasks.inference.options import ReadOptions
from lure_cli.tasks.paths.pairing import Pair

SIZE = 48, 64
VIS = (np.indices((*SIZE, 3)).sum(0) * 2 % 251).astype(np.uint8)
THERMAL = (np.indices(SIZE).sum(0) * 2).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.dstack([VIS, THERMAL])).save("four.png")
    Image.fromarray(THERMAL).save("ir.png")
    Image.fromarray(VIS).save("vis.png")
    return tmp_path


def pair(ir: str, vis: str) -> Pair:
    return Pair("a", Path(ir), Path(vis), Path("out.png"))


def test_an_alpha_channel_that_is_a_picture_is_noted(folder: Path) -> None:
    kept = read_pair(pair("ir.png", "four.png"), ReadOptions())
    assert kept.alpha is not None and [note.kind for note in kept.notes] == ["alpha"]
    assert "--alpha ir" in kept.notes[0].text
    dropped = read_pair(pair("ir.png", "four.png"), ReadOptions(alpha="drop"))
    assert dropped.alpha is None and not dropped.notes
    cut = np.full(SIZE, 255, np.uint8)
    cut[:20], cut[20] = 0, 128  # a cut-out with a soft edge
    Image.fromarray(np.dstack([VIS, cut])).save("cut.png")
    plain = read_single(Path("cut.png"), "vis", ReadOptions())
    assert plain.alpha is not None and not plain.notes


def test_alpha_as_the_infrared_image(folder: Path) -> None:
    for ir in ("four.png", "./four.png"):
        inputs = read_pair(pair(ir, "four.png"), ReadOptions(alpha="ir"))
        assert inputs.alpha is None
        np.testing.assert_array_equal(inputs.ir[..., 0], THERMAL / np.float32(255))
        np.testing.assert_array_equal(inputs.vis, VIS / np.float32(255))
    single = read_single(Path("four.png"), "ir", ReadOptions(alpha="ir"))
    np.testing.assert_array_equal(single.x[..., 0], THERMAL / np.float32(255))


def test_fusing_files_that_hold_both(lure: Callable, folder: Path) -> None:
    expected = lure("fuse", "--ir", "ir.png", "--vis", "vis.png", "-o", "expected.png")
    one = lure("fuse", "--vis", "four.png", "--alpha", "ir", "-o", "one.png")
    assert (expected.code, one.code) == (0, 0)
    np.testing.assert_array_equal(*(np.asarray(Image.open(name)) for name in ("one.png", "expected.png")))
    Path("set").mkdir()
    for name in ("a", "b"):
        Path(f"set/{name}.png").write_bytes(Path("four.png").read_bytes())
    assert lure("fuse", "--ir", "set", "--vis", "set", "--alpha", "ir", "-o", "out").code == 0
    assert {path.name for path in Path("out").iterdir()} == {"a.png", "b.png"}
    for args, fault in (
        (["fuse", "--vis", "four.png"], "no infrared image"),
        (["fuse", "--vis", "four.png", "--alpha", "no"], "--alpha"),
        (["fuse", "--ir", "ir.png", "--vis", "vis.png", "--alpha", "no"], "--alpha no"),
        (["restore", "--vis", "four.png", "--alpha", "ir"], "--alpha ir"),
        (["restore", "--vis", "four.png", "--ir-range", "full"], "--vis-range"),
        (["restore", "--ir", "ir.png", "--vis-range", "full"], "--ir-range"),
    ):
        refused = lure(*args)
        assert refused.code == 2 and fault in refused.err
    opaque = lure("fuse", "--vis", "vis.png", "--alpha", "ir", "-o", "none.png")
    assert opaque.code == 1 and "no alpha channel" in opaque.err


def test_ranges_and_invalid_pixels_are_in_notes_and_records(lure: Callable, folder: Path) -> None:
    ir = THERMAL.astype(np.float32)
    ir[:2] = -9999
    tifffile.imwrite("ir.tif", ir)
    tifffile.imwrite("vis.tif", VIS.astype(np.uint16) * 16, photometric="rgb")
    inputs = read_pair(pair("ir.tif", "vis.tif"), ReadOptions())
    assert inputs.invalid == {"ir": 128} and not inputs.ir[:2].any()
    np.testing.assert_allclose(inputs.vis, VIS * (16 / 4095), atol=1e-6)
    done = lure("fuse", "--ir", "ir.tif", "--vis", "vis.tif", "-o", "out.png", "--json")
    record = json.loads(done.out)
    assert record["invalid"] == {"ir": 128} and len(record["notes"]) == 2
    assert "128 of 3072 pixels are invalid (-9999)" in done.err and "0..4095 of 16 bits" in done.err
    full = read_pair(pair("ir.tif", "vis.tif"), ReadOptions(ir_range="0,255", vis_range="full"))
    np.testing.assert_allclose(full.vis, VIS * (16 / 65535), atol=1e-6)
    assert lure("restore", "--vis", "vis.tif", "--vis-range", "0,4080", "-o", "r.png").code == 0
