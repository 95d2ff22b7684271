"""Pairs of any kind: `--a` and `--b`, whose colours say what takes which place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from lure_cli.core.images.chroma import chroma
from lure_cli.errors import LureError
from lure_cli.tasks.inference.inputs import read_by_colour, read_pair
from lure_cli.tasks.inference.options import ReadOptions
from lure_cli.tasks.paths.pairing import Pair
from tests.helpers.images import luma

H, W = 48, 64
RNG = np.random.default_rng(0)
MRI = RNG.integers(0, 256, (H, W)).astype(np.uint8)
CT = np.roll(MRI, 9, 1)
PET = np.stack([MRI // 2, np.roll(MRI, 5, 0) // 3, 255 - MRI // 2], 2)
NEAR, FAR = (RNG.integers(0, 256, (H, W, 3)).astype(np.uint8) for _ in range(2))
NEAR[:, W // 2 :], FAR[:, : W // 2] = (150, 90, 60), (90, 110, 160)  # without detail
OLD = ReadOptions()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, image in (("mri", MRI), ("ct", CT), ("pet", PET), ("near", NEAR), ("far", FAR)):
        Image.fromarray(image).save(f"{name}.png")
    return tmp_path


def pair(a: str, b: str) -> Pair:
    return Pair("a", Path(a), Path(b), Path("out.png"), by_colour=True)


def test_the_coloured_one_takes_the_visible_place_whichever_it_is() -> None:
    one, other = (read_by_colour(pair(*names), OLD) for names in (("mri.png", "pet.png"), ("pet.png", "mri.png")))
    for inputs in (one, other):
        np.testing.assert_array_equal(inputs.ir[..., 0], MRI / np.float32(255))
        np.testing.assert_array_equal(inputs.vis, PET / np.float32(255))
        assert inputs.ir_colours is None and not inputs.notes


def test_of_two_grey_ones_the_first_takes_the_infrareds_place() -> None:
    inputs, expected = read_by_colour(pair("mri.png", "ct.png"), OLD), read_pair(pair("mri.png", "ct.png"), OLD)
    np.testing.assert_array_equal(inputs.ir, expected.ir)
    np.testing.assert_array_equal(inputs.vis, expected.vis)
    assert inputs.ir_colours is None


def test_of_two_coloured_ones_both_colours_are_kept() -> None:
    inputs = read_by_colour(pair("near.png", "far.png"), OLD)
    assert inputs.ir_colours is not None
    np.testing.assert_array_equal(inputs.ir_colours, NEAR / np.float32(255))
    np.testing.assert_allclose(inputs.ir[..., 0], luma(NEAR / 255)[..., 0], atol=1e-6)
    np.testing.assert_array_equal(inputs.vis, FAR / np.float32(255))


def test_another_size_is_laid_onto_the_second_one() -> None:
    Image.fromarray(PET).resize((W // 2, H // 2)).save("small.png")
    with pytest.raises(LureError, match="is 32x24 but"):
        read_by_colour(pair("small.png", "mri.png"), OLD)
    inputs = read_by_colour(pair("small.png", "mri.png"), ReadOptions(resize_ir=True))
    assert inputs.vis.shape == (H, W, 3) and inputs.ir.shape == (H, W, 1)
    np.testing.assert_array_equal(inputs.ir[..., 0], MRI / np.float32(255))
    assert np.ptp(inputs.vis, axis=2).max() > 0.5  # the colours came along


def test_numbers_of_both_are_read_alike() -> None:
    """Of 12 bits in 16, neither by percentiles of its own."""
    tifffile.imwrite("deep.tif", MRI.astype(np.uint16) * 16)
    one, other = (read_by_colour(pair(*names), OLD) for names in (("deep.tif", "mri.png"), ("mri.png", "deep.tif")))
    np.testing.assert_array_equal(one.ir[..., 0], other.vis[..., 0])
    inputs = read_by_colour(pair("deep.tif", "mri.png"), ReadOptions(ir_range="0,1600"))
    np.testing.assert_allclose(inputs.ir[..., 0], np.clip(MRI * 16.0 / 1600, 0, 1), atol=1e-6)


def test_fusing(lure: Callable) -> None:
    for names, expected, out in (
        (("--a", "mri.png", "--b", "pet.png"), ("--ir", "mri.png", "--vis", "pet.png"), "one.png"),
        (("--a", "pet.png", "--b", "mri.png"), ("--ir", "mri.png", "--vis", "pet.png"), "other.png"),
        (("--a", "ct.png", "--b", "mri.png"), ("--ir", "ct.png", "--vis", "mri.png"), "grey.png"),
    ):
        done, plain = lure("fuse", *names, "-o", out), lure("fuse", *expected, "-o", f"expected_{out}")
        assert (done.code, plain.code) == (0, 0), done.err
        assert "swapped" not in done.err and "infrared" not in done.err
        np.testing.assert_array_equal(*(np.asarray(Image.open(name)) for name in (out, f"expected_{out}")))


def test_fusing_two_coloured_ones(lure: Callable) -> None:
    done = lure("fuse", "--a", "near.png", "--b", "far.png", "-o", "both.png", "--json")
    assert done.code == 0 and lure("fuse", "--ir", "near.png", "--vis", "far.png", "-o", "plain.png").code == 0
    both, plain = (np.asarray(Image.open(name)) / np.float32(255) for name in ("both.png", "plain.png"))
    np.testing.assert_allclose(luma(both), luma(plain), atol=1.5 / 255)

    def likeness(picture: np.ndarray, source: np.ndarray, half: slice) -> float:
        parts = (chroma(x.astype(np.float32))[:, half].ravel() for x in (picture, source / 255))
        return float(np.corrcoef(*parts)[0, 1])

    left, right = slice(0, W // 2 - 4), slice(W // 2 + 4, None)
    assert likeness(both, NEAR, left) > 0.8 > 0.3 > likeness(plain, NEAR, left)
    assert likeness(both, FAR, right) > 0.8
    record = json.loads(done.out)
    assert (record["a"], record["b"]) == ("near.png", "far.png")
    assert not {"ir", "vis", "prompt", "strength"} & set(record)


def test_folders_and_what_would_be_done(lure: Callable) -> None:
    for folder, image in (("pets", PET), ("mris", MRI)):
        Path(folder).mkdir()
        for name in ("1", "2"):
            Image.fromarray(image).save(f"{folder}/{name}.png")
    planned = lure("fuse", "--a", "pets", "--b", "mris", "-o", "out", "--dry-run", "--json")
    assert [json.loads(line)["b"] for line in planned.out.splitlines()] == ["mris/1.png", "mris/2.png"]
    assert lure("fuse", "--a", "pets", "--b", "mris", "-o", "out", "-q").code == 0
    assert {path.name for path in Path("out").iterdir()} == {"1.png", "2.png"}
    table = lure("eval", "--fused", "out", "--a", "pets", "--b", "mris", "--metrics", "MI,VIF_min", "--json")
    same = lure("eval", "--fused", "out", "--ir", "pets", "--vis", "mris", "--metrics", "MI,VIF_min", "--json")
    assert table.code == 0 and json.loads(table.out)["methods"] == json.loads(same.out)["methods"]
    sheet = lure("plot", "sheet", "--fused", "out", "--a", "pets", "--b", "mris", "-o", "sheet.png", "--json")
    assert json.loads(sheet.out)["columns"] == ["a", "b", "out"]
    shown = np.asarray(Image.open("sheet.png"))
    assert np.ptp(shown[:, : shown.shape[1] // 2].astype(int), axis=2).max() > 50  # a in colour


@pytest.mark.parametrize(
    ("args", "fault"),
    [
        (("--a", "mri.png"), "belong together"),
        (("--a", "mri.png", "--b", "pet.png", "--ir", "ct.png"), "instead of --ir and --vis"),
        (("--a", "mri.png", "--b", "mri.png"), "as both inputs"),
        (("--a", "mri.png", "--b", "pet.png", "--prompt", "noise"), "--prompt is about infrared and visible"),
        (("--a", "mri.png", "--b", "pet.png", "--strength", "0.5"), "--strength is about"),
        (("--a", "mri.png", "--b", "pet.png", "--provenance", "map.png"), "--provenance is about"),
        (("--a", "mri.png", "--b", "pet.png", "--palette", "iron"), "--palette is about"),
        (("--a", "mri.png", "--b", "pet.png", "--alpha", "ir"), "--alpha ir is about"),
        (("--a", "mri.png", "--b", "pet.png", "--unit", "k"), "--unit is about"),
        (("--a", "mri.mp4", "--b", "pet.mp4"), "images, not clips"),
    ],
)
def test_refused(lure: Callable, args: tuple[str, ...], fault: str) -> None:
    refused = lure("fuse", *args, "-o", "out.png")
    assert refused.code == 2 and fault in refused.err
    assert not Path("out.png").exists()


def test_other_commands_refuse_both_names(lure: Callable) -> None:
    for command in (("eval", "--fused", "mri.png"), ("plot", "sheet")):
        refused = lure(*command, "--a", "pet.png", "--b", "mri.png", "--ir", "ct.png")
        assert refused.code == 2 and "instead of --ir and --vis" in refused.err
    assert "--a " not in lure("watch", "--help").out
