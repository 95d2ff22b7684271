"""The Python API and the shipped weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from lure_cli import Fuser
from lure_cli.config import MODELS
from lure_cli.core.files import sha256
from lure_cli.core.images.picture import read_image
from lure_cli.core.model.checkpoint import load_model
from lure_cli.errors import LureError
from lure_cli.tasks.weights.find import SHIPPED, TERMS, shipped_path
from tests.helpers.files import EXAMPLES, ROOT
from tests.helpers.ship import BYTES, golden, is_close

GATE = EXAMPLES / "pairs" / "ir" / "gate.png", EXAMPLES / "pairs" / "vis" / "gate.png"


@pytest.fixture(scope="module")
def fuser() -> Fuser:
    return Fuser.from_pretrained("lure-small", device="cpu", dtype="fp32")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a - b) ** 2) + 1e-12))


@pytest.mark.parametrize("name", SHIPPED)
def test_record_matches_the_shipped_file(name: str) -> None:
    path = shipped_path(name)
    assert path is not None
    assert sha256(path) == SHIPPED[name].sha256
    assert path.stat().st_size <= BYTES[name]
    model, _, provenance = load_model(path)
    assert (model.cfg, provenance.licence) == (MODELS[name], TERMS)


@pytest.mark.parametrize("name", SHIPPED)
def test_golden_output_within_one_grey_level(name: str) -> None:
    """Written by `tests/helpers/ship.py`."""
    for pair, fused in golden(name).items():
        assert is_close(fused, ROOT / "tests" / "golden" / name / f"{pair}.png"), pair


def test_bf16_is_close(fuser: Fuser) -> None:
    fast = Fuser.from_pretrained("lure-small", device="cpu", dtype="bf16")
    assert psnr(fast(*GATE), fuser(*GATE)) > 38


def test_arrays_and_files_agree(fuser: Fuser) -> None:
    expected = fuser(*GATE, prompt="low light")
    ir, vis = (np.asarray(Image.open(p)) for p in GATE)
    assert expected.dtype == np.float32
    for a, b in (
        (ir, vis),
        (ir[:, :, None], vis),
        (np.repeat(ir[:, :, None], 3, axis=2), vis),
        (ir.astype(np.float64) / 255, vis.astype(np.float32) / 255),
        (ir.astype(np.uint16) * 257, vis.astype(np.uint16) * 257),
    ):
        np.testing.assert_allclose(fuser(a, b, prompt="low light"), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("array", "fault"),
    [
        (np.zeros((4, 4, 2), np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), "shape"),
        (np.zeros((3, 4, 4), np.uint8), "shape"),
        (np.zeros((4, 4), complex), "complex"),
        (np.full((4, 4), "a"), "type <U1"),
        (np.full((4, 4), np.nan), "infrared image: .* NaN"),
        (np.ma.masked_all((4, 4)), "masked"),
        ([[1, 2], [3]], "list"),
        (None, "object"),
        (b"", "type"),
        (torch.zeros(3, 4, 4), "tensor of shape"),
        (Image.new("RGBA", (4, 4)), "transparent"),
        (np.zeros((5, 4), np.uint8), "4x5"),
    ],
)
def test_bad_images_are_refused(array: Any, fault: str, fuser: Fuser) -> None:
    with pytest.raises(LureError, match=fault):
        fuser(array, np.zeros((4, 4, 3), np.uint8))


def raw() -> tuple[np.ndarray, np.ndarray]:
    """A thermal frame in 100ths of kelvin, and a visible image."""
    ir, vis = (np.asarray(Image.open(p))[:96, :128] for p in GATE)
    return ir.astype(np.uint16) * 8 + 29000, vis


@pytest.mark.parametrize("option", ["auto", "full", "percentile", "29000,31000"])
@pytest.mark.parametrize("kind", [np.uint16, np.int32, ">u2", np.float32])
def test_an_array_is_fused_as_the_file_of_its_numbers(kind: Any, option: str, fuser: Fuser, tmp_path: Path) -> None:
    ir, vis = raw()
    tifffile.imwrite(tmp_path / "a.tif", ir.astype(kind))
    if kind is np.float32 and option == "full":
        for source in (tmp_path / "a.tif", ir.astype(kind)):
            with pytest.raises(LureError, match="floats of unknown range"):
                fuser(source, vis, ir_range=option)
        return
    expected = fuser(tmp_path / "a.tif", vis, ir_range=option)
    np.testing.assert_array_equal(fuser(ir.astype(kind), vis, ir_range=option), expected)


def test_visible_arrays_of_other_types(fuser: Fuser) -> None:
    ir, vis = raw()
    expected = fuser(ir, vis)
    for array in (vis.astype(np.int16), vis.astype(np.uint32), vis.astype(np.float32)):
        np.testing.assert_allclose(fuser(ir, array), expected, atol=1e-5)
        np.testing.assert_allclose(fuser(ir, array * array.dtype.type(16), vis_range="0,4080"), expected, atol=1e-5)
        restored = fuser.restore(array, "vis", value_range="0,255")
        np.testing.assert_allclose(restored, fuser.restore(vis, "vis"), atol=1e-5)
    (streamed,) = fuser.stream([ir], [vis.astype(np.uint16)])
    np.testing.assert_allclose(streamed, expected, atol=1e-5)


def test_a_stream_of_visible_images_keeps_the_widest_range(fuser: Fuser) -> None:
    ir, vis = raw()
    dark, light = (vis // 64).astype(np.uint16), vis.astype(np.uint16) * 16
    _first, second, third = fuser.stream([ir] * 3, [dark, light, dark])
    np.testing.assert_allclose(second, fuser(ir, light), atol=1e-5)
    np.testing.assert_allclose(third, fuser(ir, dark, vis_range="0,4095"), atol=1e-5)


def test_other_kinds_of_images_are_taken(fuser: Fuser) -> None:
    ir, vis = (np.asarray(Image.open(p))[:96, :128] for p in GATE)
    expected = fuser(ir, vis)
    for a, b in (
        (Image.fromarray(ir), Image.fromarray(vis)),
        (Image.fromarray(ir).convert("RGB"), Image.fromarray(vis).convert("RGBA")),
        (torch.tensor(ir), torch.tensor(vis)),
        (torch.tensor(ir) / 255, torch.tensor(vis)),
        (ir.tolist(), vis.tolist()),
        (np.ma.masked_array(ir, np.zeros(ir.shape, bool)), np.ma.masked_array(vis)),
    ):
        if isinstance(a, list):  # integers of 64 bits have no full range of a picture
            np.testing.assert_allclose(fuser(a, b, ir_range="0,255"), expected, atol=1e-5)
        else:
            np.testing.assert_allclose(fuser(a, b), expected, atol=1e-5)


@pytest.mark.parametrize("how", ["mask", "nan", "nodata"])
def test_invalid_pixels_are_black_and_counted(how: str, fuser: Fuser) -> None:
    ir, vis = raw()
    array = ir.astype(np.float32)
    array[20:30] = {"mask": 40000, "nan": np.nan, "nodata": -9999}[how]
    mask = np.zeros(ir.shape, bool)
    mask[20:30] = True
    with pytest.warns(UserWarning, match=r"the infrared image: .*1280 of 12288 pixels are"):
        fused = fuser(np.ma.masked_array(array, mask) if how == "mask" else array, vis)
    black = np.clip((ir - 29000) / 2048, 0, 1)
    black[mask] = 0
    assert np.abs(fused - fuser(black, vis)).mean() < 0.15


def test_no_prompt_leaves_a_clean_image_nearly_alone(fuser: Fuser) -> None:
    """p0 near the identity, through the shipped decoder, which stage II tuned for fused features."""
    for modality, path in (("vis", GATE[1]), ("ir", GATE[0])):
        x = read_image(path, channels=3 if modality == "vis" else 1)
        assert psnr(fuser.restore(path, modality), x) > 45  # type: ignore[arg-type]


def test_prompts_matter_and_help(fuser: Fuser) -> None:
    clean = read_image(EXAMPLES / "street" / "vis.png", channels=3)
    hazy = EXAMPLES / "street" / "vis_hazy.png"
    scores = {p: psnr(fuser.restore(hazy, "vis", p), clean) for p in ("haze", None, "noise")}
    assert scores["haze"] > scores[None] + 3
    assert scores["haze"] > scores["noise"] + 3  # type: ignore[index]
    noisy, sharp = EXAMPLES / "street" / "ir_noisy.png", read_image(EXAMPLES / "street" / "ir.png", channels=1)
    assert psnr(fuser.restore(noisy, "ir", "noise"), sharp) > psnr(read_image(noisy, channels=1), sharp) + 3


def test_fused_people_are_bright_and_colours_stay(fuser: Fuser) -> None:
    """On the rendered street: what is hot stands out, what is coloured stays coloured."""
    ir, vis = (EXAMPLES / "street" / n for n in ("ir.png", "vis.png"))
    fused, x_ir, x_vis = fuser(ir, vis), read_image(ir, channels=1)[..., 0], read_image(vis, channels=3)
    hot = (x_ir > 0.7) & (x_vis.mean(2) < 0.2)
    assert hot.sum() > 300
    assert fused[hot].mean() > x_vis[hot].mean() + 0.15
    coloured = (x_vis.max(2) - x_vis.min(2)) > 0.3
    assert coloured.sum() > 1000
    chroma = [a[coloured] - a[coloured].mean(1, keepdims=True) for a in (fused, x_vis)]
    assert np.corrcoef(chroma[0].ravel(), chroma[1].ravel())[0, 1] > 0.8


def test_grey_visible_gives_grey(fuser: Fuser) -> None:
    grey = np.asarray(Image.open(GATE[1]).convert("L"))
    fused = fuser(GATE[0], grey)
    assert np.array_equal(fused[..., 0], fused[..., 1])
    assert np.array_equal(fused[..., 0], fused[..., 2])


@pytest.mark.shared
@pytest.mark.parametrize("name", ["MSRS", "RoadScene", "LLVIP", "VIFB"])
def test_real_pairs_have_their_size_and_no_tint(name: str, fuser: Fuser) -> None:
    root = ROOT.parent / "shared" / "data" / "fusion" / name / "test"
    for ir in sorted((root / "ir").iterdir())[:2]:
        vis = next(p for p in (root / "vi").iterdir() if p.stem == ir.stem)
        fused, x = fuser(ir, vis), read_image(Path(vis), channels=3)
        assert fused.shape == x.shape
        tint = (fused - fused.mean(2, keepdims=True)).mean((0, 1)) - (x - x.mean(2, keepdims=True)).mean((0, 1))
        assert np.abs(tint).max() < 0.02
