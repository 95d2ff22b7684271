"""Fusing by a rig: files, folders and arrays, with nothing estimated and the infrared resampled once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lure_cli import Fuser
from lure_cli.core.images.picture import read_image
from lure_cli.core.registration.alignment import Alignment, warp
from lure_cli.core.registration.transform_file import write_transform
from lure_cli.errors import LureError
from lure_cli.tasks.inference.inputs import read_pair
from lure_cli.tasks.inference.options import ReadOptions
from lure_cli.tasks.paths.pairing import Pair
from tests.helpers.files import Outcome, save_png
from tests.helpers.folders import FOLDERS, make_folder

Run = Callable[..., Outcome]
RIG = Alignment((0.5, 0.01, 2.0, -0.01, 0.5, 1.0), (80, 64), 0.9, (48, 40), (0.03, 0.0))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pairs in `i` and `v`, the infrared 48x40, the visible 80x64, and `rig.json`; SimpleITK cannot be loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    for name in make_folder(2, (64, 80)):
        with Image.open(f"i/{name}.png") as image:
            image.resize((48, 40)).save(f"i/{name}.png")
    write_transform(Path("rig.json"), RIG)
    return tmp_path


@pytest.fixture(scope="module")
def plain() -> Fuser:
    return Fuser.from_pretrained("lure-small", device="cpu", dtype="fp32")


def by_hand(fuser: Fuser, name: str, rig: Alignment = RIG) -> np.ndarray:
    """The pair fused, its infrared warped beforehand."""
    ir = warp(read_image(f"i/{name}.png", channels=1), rig)
    return fuser(ir, read_image(f"v/{name}.png", channels=3), ir_range="full")


def test_a_folder_is_fused_by_a_rig(here: Path, lure: Run, plain: Fuser) -> None:
    done = lure(*FOLDERS, "--rig", "rig.json", "--json", "--dtype", "fp32")
    assert done.code == 0, done.err
    assert done.err.count("note: all pairs: moved") == 1
    for record in map(json.loads, done.out.splitlines()):
        assert Alignment.from_record(record["alignment"]) == RIG
        fused = np.asarray(Image.open(record["output"]), np.float32) / 255
        assert fused.shape == (64, 80, 3)
        assert np.abs(fused - by_hand(plain, record["name"])).max() < 1 / 255


def test_the_infrared_is_resampled_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair("p0000", Path("i/p0000.png"), Path("v/p0000.png"), Path("x.png"))
    raw = read_image(pair.ir, channels=1)
    inputs = read_pair(pair, ReadOptions(rig=RIG), surrounded=False)
    assert np.array_equal(inputs.ir, warp(raw, RIG))
    # Resized and aligned: what was estimated on the resized image is one transform from the raw one.
    from lure_cli.core.registration import estimate

    monkeypatch.setattr(estimate, "require_simpleitk", lambda: None)
    monkeypatch.setattr(estimate, "search", lambda pairs, model: Alignment((1, 0, 3, 0, 1, 0), (80, 64), 0.9))
    aligned = read_pair(pair, ReadOptions(align="auto", resize_ir=True), surrounded=False)
    assert aligned.alignment is not None
    assert aligned.alignment.source_size == (48, 40)
    assert aligned.alignment.shift == pytest.approx((3, 0))
    assert np.array_equal(aligned.ir, warp(raw, aligned.alignment))


def test_another_resolution_of_the_same_cameras_is_said(here: Path, lure: Run) -> None:
    for folder, size in (("i", (24, 20)), ("v", (40, 32))):
        for path in Path(folder).iterdir():
            with Image.open(path) as image:
                image.resize(size).save(path)
    done = lure(*FOLDERS, "--rig", "rig.json")
    assert done.code == 0, done.err
    assert "estimated for 48x40 on 80x64 and scaled" in done.err


def test_a_pair_that_is_not_of_the_rig_fails_alone(here: Path, lure: Run) -> None:
    save_png(Path("i/p0001.png"), np.zeros((40, 40), np.uint8))
    done = lure(*FOLDERS, "--rig", "rig.json")
    assert done.code == 1
    assert "error: i/p0001.png and v/p0001.png: the infrared image is 40x40, but the transform was estim" in done.err
    assert sorted(p.name for p in Path("out").iterdir()) == ["p0000.png"]


@pytest.mark.parametrize(
    "options, text",
    [
        (["--align", "auto"], "--rig excludes"),
        (["--resize-ir"], "--rig excludes"),
        (["--align-once"], "--align"),
    ],
)
def test_what_excludes_a_rig(here: Path, lure: Run, options: list[str], text: str) -> None:
    done = lure(*FOLDERS, "--rig", "rig.json", *options)
    assert done.code == 2
    assert text in done.err
    assert not Path("out").exists()


def test_a_file_that_holds_no_rig_is_refused(here: Path, lure: Run) -> None:
    Path("bad.json").write_text("{}")
    for name in ("bad.json", "missing.json"):
        done = lure(*FOLDERS, "--rig", name)
        assert done.code == 2
        assert done.err.startswith(f"error: {name}: ") and done.err.splitlines()[1].startswith("hint: ")
        with pytest.raises(LureError, match=name):
            Fuser.from_pretrained(rig=name)


@pytest.fixture
def fuser(here: Path, plain: Fuser) -> Fuser:
    """As `plain`, with the rig."""
    return Fuser(plain.engine, plain.provenance, rig="rig.json")


def test_a_fuser_with_a_rig_takes_files_arrays_and_streams(fuser: Fuser, plain: Fuser) -> None:
    expected = [by_hand(plain, name) for name in ("p0000", "p0001")]
    irs, viss = ([f"{folder}/{name}.png" for name in ("p0000", "p0001")] for folder in "iv")
    assert np.allclose(fuser(irs[0], viss[0]), expected[0], atol=1e-6)
    arrays = [[np.asarray(Image.open(path)) for path in paths] for paths in (irs, viss)]
    assert np.allclose(fuser(arrays[0][1], arrays[1][1]), expected[1], atol=1e-6)
    for streamed, one in zip(fuser.stream(*arrays), expected, strict=True):
        assert np.allclose(streamed, one, atol=1e-6)


def test_what_a_fuser_with_a_rig_refuses(fuser: Fuser) -> None:
    with pytest.raises(LureError, match="the infrared image is 40x40, but the transform was estimated for 48x40"):
        fuser(np.zeros((40, 40), np.uint8), "v/p0000.png")
    with pytest.raises(LureError, match="has a rig"):
        fuser.batch(torch.zeros(1, 1, 64, 80), torch.zeros(1, 3, 64, 80))
