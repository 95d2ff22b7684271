"""Pairs that are coloured by heat: what is written, noted and recorded, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from lure_cli.core.images.picture import read_pixels
from lure_cli.core.thermal.colouring import HeatColours
from lure_cli.errors import LureError
from lure_cli.tasks.inference import fuse as fusing
from lure_cli.tasks.inference.heat import with_painter
from lure_cli.tasks.inference.inputs import read_pair
from lure_cli.tasks.inference.job import Result
from lure_cli.tasks.inference.options import FuseOptions, ReadOptions
from lure_cli.tasks.inference.plan import plan_fuse
from lure_cli.tasks.inference.ray_engine import from_json, to_json
from lure_cli.tasks.inference.request import ModelOutput, Request
from lure_cli.tasks.paths.pairing import Pair
from tests.helpers.files import Outcome, save_png
from tests.helpers.tiffs import GEO

Run = Callable[..., Outcome]
RNG = np.random.default_rng(5)
H, W = 72, 96
IR = np.linspace(0, 250, H * W).reshape(H, W).astype(np.uint8)


class Visible:
    """In the place of the model: the visible image."""

    def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
        return ModelOutput(vis, request.prompt, {})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_png(Path("i.png"), IR)
    save_png(Path("v.png"), RNG.integers(0, 256, (H, W, 3), np.uint8))
    return tmp_path


def fuse(*heat: Any, vis: str = "v.png", output: str = "o.png", **options: Any) -> Result[Pair]:
    """One pair, with `Visible` for a model; `heat`: palette, from, to, legend."""
    colours = HeatColours.parse(*(*heat, *(None, None, None, False)[len(heat) :]))
    plan = plan_fuse(FuseOptions(Path("i.png"), Path(vis), output, heat=colours, overwrite=True, **options))
    (result,) = fusing.fuse(plan, fuser=Visible())  # type: ignore[arg-type]
    return result


@pytest.mark.parametrize("bits", [8, 16])
def test_only_what_is_hot_is_coloured(here: Path, bits: int) -> None:
    fuse(bits=bits)
    plain = read_pixels("o.png")
    result = fuse("iron", "80%", bits=bits)
    coloured = read_pixels("o.png")
    assert coloured.dtype == plain.dtype == f"uint{bits}"
    hot = np.percentile(IR, 80) < IR
    np.testing.assert_array_equal(coloured[~hot], plain[~hot])
    assert (coloured != plain).any(axis=2)[hot].mean() > 0.95
    assert result.record()["palette"] == {
        "name": "iron",
        "from": pytest.approx(200 / 255, abs=0.005),
        "to": pytest.approx(250 / 255),
        "unit": "range",
        "legend": 0,
    }
    assert "i.png: iron from 78 to 98 % of the infrared's range" in result.record()["notes"]


def test_the_record_comes_back_from_a_cluster(here: Path) -> None:
    result = fuse("iron", None, None, True)
    sent = json.loads(json.dumps(to_json(result)))
    assert from_json(sent, (result.item, result.request)).record()["palette"] == result.record()["palette"]


def test_without_a_palette_nothing_is_said(here: Path) -> None:
    record = fuse().record()
    assert "palette" not in record and "notes" not in record


def test_a_grey_visible_image_gets_colours_and_a_legend(here: Path) -> None:
    save_png(Path("g.png"), RNG.integers(0, 256, (H, W), np.uint8))
    result = fuse("inferno", None, None, True, vis="g.png")
    x = read_pixels("o.png")
    assert x.shape[2] == 3
    assert result.size == x.shape[1::-1] == (W + result.palette["legend"], H)
    assert result.palette["legend"] > 30
    assert "pixels wider" in result.notes[-1].text
    assert np.ptp(x[:, :W][: H // 2], axis=2).max() == 0  # the colder half is as grey as it was


def test_a_legend_is_opaque(here: Path) -> None:
    save_png(Path("a.png"), np.dstack([RNG.integers(0, 256, (H, W, 3), np.uint8), np.full((H, W), 80, np.uint8)]))
    fuse("iron", None, None, True, vis="a.png")
    with Image.open("o.png") as image:
        alpha = np.asarray(image)[..., 3]
    assert (alpha[:, :W] == 80).all() and (alpha[:, W:] == 255).all()


def test_a_georeference_still_holds_beside_a_legend(here: Path) -> None:
    tifffile.imwrite("v.tif", RNG.integers(0, 256, (H, W, 3), np.uint8), photometric="rgb", extratags=GEO)
    fuse("iron", None, None, True, vis="v.tif", output="o.tif")
    with tifffile.TiffFile("o.tif") as file:
        assert file.pages[0].tags[33922].value == GEO[1][3]  # type: ignore[union-attr]
        assert file.pages[0].shape[1] > W  # type: ignore[union-attr]


def test_a_picture_without_room_for_a_legend_fails_alone(here: Path) -> None:
    for name, size in (("small", (20, 30)), ("usual", (H, W))):
        save_png(Path(f"ir/{name}.png"), RNG.integers(0, 256, size, np.uint8))
        save_png(Path(f"vis/{name}.png"), RNG.integers(0, 256, (*size, 3), np.uint8))
    heat = HeatColours.parse("iron", None, None, True)
    plan = plan_fuse(FuseOptions(Path("ir"), Path("vis"), "out", heat=heat))
    small, usual = fusing.fuse(plan, fuser=Visible())  # type: ignore[arg-type]
    assert small.error is not None
    assert small.error.message == "ir/small.png: no legend fits into 20 pixels of height"
    assert usual.status == "done"
    assert not Path("out/small.png").exists()


def test_degrees_count_where_they_are_known(here: Path) -> None:
    pair = Pair("p", Path("i.png"), Path("v.png"), Path("o.png"))
    inputs = read_pair(pair, ReadOptions())
    celsius = (IR / 5).astype(np.float32)
    celsius[0] = np.nan
    warm = with_painter(replace(inputs, celsius=celsius), HeatColours(palette="iron", start=_limit("30")), pair)
    assert warm.painter is not None
    assert (warm.painter.scale.low, warm.painter.scale.high, warm.painter.scale.unit) == (30, 50, "celsius")
    assert warm.notes[-1].text == "i.png: iron from 30.0 to 50.0 °C"
    with pytest.raises(LureError, match=r"i\.png: --palette-from 30 means degrees"):
        with_painter(inputs, HeatColours(palette="iron", start=_limit("30")), pair)


def _limit(text: str) -> Any:
    colours = HeatColours.parse("iron", text, None, False)
    assert colours is not None
    return colours.start


def test_by_the_command(here: Path, lure: Run) -> None:
    pair = ("fuse", "--ir", "i.png", "--vis", "v.png", "-o", "o.png", "--overwrite")
    done = lure(*pair, "--palette", "hotmetal", "--palette-from", "70%", "--palette-to", "95%", "--legend", "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["palette"]["name"] == "hotmetal"
    assert record["size"] == [W + record["palette"]["legend"], H]
    cold = lure(*pair, "--palette", "iron", "--palette-from", "30")
    assert cold.code == 1
    assert "error: i.png: --palette-from 30 means degrees, but its temperatures are not known" in cold.err
    for options, message in (
        (("--palette", "irn"), "palette 'irn' is not known"),
        (("--legend",), "--palette-from, --palette-to and --legend need --palette"),
        (("--palette-from", "30"), "need --palette"),
        (("--palette", "iron", "--palette-from", "hot"), "--palette-from hot is not understood"),
    ):
        refused = lure(*pair, *options)
        assert refused.code == 2
        assert f"error: {message}" in refused.err or message in refused.err
        assert "hint:" in refused.err
