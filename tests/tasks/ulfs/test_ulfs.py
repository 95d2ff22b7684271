"""`lure plot ulfs`: samples, probe, distances and the figure."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lure_cli.config import ModelConfig, Provenance
from lure_cli.core.model.checkpoint import new_model, save_model
from lure_cli.core.model.latents import pool, remaining_distance
from lure_cli.core.text.encoders import build_text_encoder
from lure_cli.core.training.layout import read_layout
from lure_cli.tasks.ulfs.probe import fit_probes
from lure_cli.tasks.ulfs.samples import UlfsOptions, draw_samples
from tests.helpers.files import Outcome, save_png

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

Run = Callable[..., Outcome]
IMAGES = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth scenes of 48x40 pixels: fusion pairs for train and test, two real hazy pairs, and one dark image."""
    root = tmp_path_factory.mktemp("ulfs") / "data"
    rng = np.random.default_rng(0)

    def scene(planes: int, level: float = 0.5) -> np.ndarray:
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
        x = np.asarray(coarse.resize((48, 40), Image.Resampling.BICUBIC)) * 0.5 + 255 * (level - 0.25)
        return x.clip(0, 255).astype(np.uint8)[..., slice(None) if planes == 3 else 0]

    for split in ("train", "test"):
        for i in range(IMAGES):
            save_png(root / "fusion" / "set" / split / "ir" / f"{i}.png", scene(1))
            save_png(root / "fusion" / "set" / split / "vi" / f"{i}.png", scene(3))
    save_png(root / "clean" / "visible" / "night" / "dark.png", scene(3, 0.2))
    for i in range(2):
        clean = scene(3)
        haze = root / "restoration" / "visible" / "haze" / "real" / "train"
        save_png(haze / "clean" / f"{i}.png", clean)
        save_png(haze / "degraded" / f"{i}.png", (clean * 0.5 + 110).astype(np.uint8))
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that does something, at random, to what a prompt names."""
    cfg = ModelConfig(widths=(16, 16, 16), encoder_blocks=(1, 1, 1), expansions=(1, 1, 1), fusion_blocks=(0, 0, 0))
    text = build_text_encoder("vocabulary", cfg.text_dim)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = new_model(cfg, text)
        for name, p in model.named_parameters():
            if "project" in name or "tga" in name:
                torch.nn.init.normal_(p, std=0.05)
    path = tmp_path_factory.mktemp("weights") / "middle.safetensors"
    save_model(path, model, text, Provenance(stage=1, steps=1234), torch.float32)
    return path


def _options(folder: Path, **more: object) -> UlfsOptions:
    return UlfsOptions(("init",), folder, samples=10, size=32, **more)  # type: ignore[arg-type]


def test_pooled_latents_and_distances() -> None:
    """Against sums written out."""
    g = torch.Generator().manual_seed(0)
    x, raw, clean = (tuple(torch.randn(2, c, s, s, generator=g) for c, s in ((3, 8), (5, 4))) for _ in range(3))
    pooled = pool(x)
    assert pooled.shape == (2, 2 * (3 + 5))
    assert pooled[1, 2] == pytest.approx(float(x[0][1, 2].mean()), abs=1e-6)
    assert pooled[0, 6 + 5 + 4] == pytest.approx(float(np.std(x[1][0, 4].numpy())), abs=1e-6)
    half = tuple((a + b) / 2 for a, b in zip(raw, clean, strict=True))
    assert remaining_distance(raw, raw, clean).tolist() == pytest.approx([1, 1])
    assert remaining_distance(clean, raw, clean).tolist() == pytest.approx([0, 0])
    assert remaining_distance(half, raw, clean).tolist() == pytest.approx([0.5, 0.5])
    ratios = [
        np.linalg.norm((a - c)[0].numpy()) / np.linalg.norm((b - c)[0].numpy())
        for a, b, c in zip(x, raw, clean, strict=True)
    ]
    assert float(remaining_distance(x, raw, clean)[0]) == pytest.approx(np.mean(ratios), rel=1e-5)
    assert remaining_distance(clean, clean, clean).isnan().all()


def test_samples(folder: Path) -> None:
    groups = list(draw_samples(read_layout(folder), _options(folder)))
    again = list(draw_samples(read_layout(folder), _options(folder)))
    other = list(draw_samples(read_layout(folder), _options(folder, seed=1)))
    assert [g.name for g in groups if g.modality == "vis"] == [
        f"visible {t}" for t in ("none", "haze", "rain", "snow", "lowlight", "overexposure", "noise", "blur", "lowres")
    ] + ["visible haze (real)"]
    assert all(torch.equal(a.x, b.x) for a, b in zip(groups, again, strict=True))
    assert not torch.equal(groups[1].x, other[1].x)
    for g in groups:
        assert g.x.shape == g.y.shape == (2 if g.real else 10, 1 if g.modality == "ir" else 3, 32, 32)
        assert torch.equal(g.x, g.y) == (g.task == "none")
    vis = [g for g in groups if g.modality == "vis" and not g.real]
    assert all(g.sources == vis[0].sources and torch.equal(g.y, vis[0].y) for g in vis)  # the same scenes in every task
    assert len(set(vis[0].sources)) == 10 and not any("night" in s for s in vis[0].sources)
    assert all("/train/" in s for g in groups for s in g.sources)
    tested = list(draw_samples(read_layout(folder), _options(folder, split="test")))
    assert all("/test/" in s for g in tested for s in g.sources) and not any(g.real for g in tested)


def test_probe_finds_what_is_there_and_nothing_else(folder: Path) -> None:
    """Tasks that lie apart are all told; tasks that are one are not, however different the scenes are."""
    groups = list(draw_samples(read_layout(folder), _options(folder)))
    rng = np.random.default_rng(0)
    scenes: dict[str, np.ndarray] = {}
    together, apart = [], []
    for i, g in enumerate(groups):
        for source in g.sources:
            scene = scenes.setdefault(f"{g.modality}{source}", rng.normal(size=20))
            together.append(scene)
            apart.append(np.concatenate([scene, 5 * np.eye(len(groups))[i]]))
    probes = fit_probes([np.array(p) for p in (apart, together, together, together)], groups, (10, 8))
    for scope, tasks in (("vis", 9), ("ir", 6), ("all", 15)):
        probe = probes[scope]
        assert probe.tasks == tasks and probe.chance == pytest.approx(1 / tasks)
        assert probe.accuracy == 1 and probe.error == 0 and probe.scales[1] == 1
    assert probes["vis"].scales[0] == pytest.approx(1 / 9)  # the first 20 numbers say only which scene it is
    assert probes["vis"].perfect == pytest.approx(1 / 9) and probes["ir"].perfect == pytest.approx(1 / 6)


def test_untrained_against_random(lure: Run, folder: Path, weights: Path, tmp_path: Path) -> None:
    """An untrained network leaves all as it is: distance 1, no mark of the prompt. The other does something."""
    figure, table = tmp_path / "new" / "ulfs.png", tmp_path / "numbers.csv"
    args = ["plot", "ulfs", "init", f"later={weights}", "--data", folder, "--samples", "10", "--size", "32"]
    done = lure(*args, "-o", figure, "--csv", table, "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    init, later = record["weights"]
    assert (init["name"], init["steps"], later["name"], later["steps"]) == ("init", 0, "later", 1234)
    assert set(init["distance"].values()) == {1.0} and "infrared stripe" in init["distance"]
    assert record["images"]["visible haze (real)"] == 2
    for scope, tasks in (("vis", 9), ("ir", 6)):
        probe = init["probe"][scope]
        assert probe["accuracy"] == probe["nothing_done"] > 1.5 / tasks
        assert probe["prompt_alone"] == probe["perfect"] == pytest.approx(1 / tasks)
        assert later["probe"][scope]["prompt_alone"] > 1.5 / tasks
    assert later["distance"]["all"] != 1
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    values = {(r["weights"], r["measure"], r["of"]): float(r["value"]) for r in rows}
    assert values["later", "distance", "visible rain"] == pytest.approx(later["distance"]["visible rain"])
    assert values["init", "probe_chance", "both"] == pytest.approx(1 / 15)
    with Image.open(figure) as image:
        assert image.format == "PNG" and image.width > 1200
        seen = {tuple(c) for c in np.asarray(image.convert("RGB")).reshape(-1, 3)[::7]}
    assert len(seen) > 50  # it is not an empty frame


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["init:lure-huge"], "model 'lure-huge' is not known"),
        (["init", "--split", "val"], "split 'val'"),
        (["init", "--samples", "3"], "too few"),
        (["init", "--size", "33"], "crops of 33 pixels"),
        (["init", "--size", "64"], "0 infrared images of 64 pixels or more"),
        (["init", "init"], "two weights are called 'init'"),
        (["init", "-o", "figure.jpg"], "the figure is a PNG file"),
        (["nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_bad_options(
    lure: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = lure("plot", "ulfs", "--data", folder, *(["--size", "32"] if "--size" not in more else []), *more)
    assert done.code == 2 and message in done.err and "hint:" in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["matplotlib", "sklearn"])
def test_without_the_extra(lure: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    done = lure("plot", "ulfs", "init", "--data", folder)
    assert done.code == 2 and "is not installed" in done.err and "lure-cli[plot]" in done.err
