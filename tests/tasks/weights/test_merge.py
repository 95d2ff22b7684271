"""`lure weights join`: parts of runs from one start make one model, others are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lure_cli.config import ModelConfig, Provenance
from lure_cli.core.model.checkpoint import load_model, new_model, save_model
from lure_cli.core.text.encoders import VocabularyEncoder
from tests.helpers.files import Outcome

SMALL = ModelConfig("tiny", (16, 16), (1, 1), (1,), (0, 0), (1, 1), (1, 1), condition_dim=8)


def make(path: Path, moved: tuple[str, ...], stage: int, seed: int = 0, model: ModelConfig = SMALL) -> str:
    """Weights of a start that `seed` determines, whose parameters that contain one of `moved` were trained."""
    text = VocabularyEncoder(model.text_dim)
    torch.manual_seed(seed)
    lure = new_model(model, text)
    with torch.no_grad():
        for name, p in lure.named_parameters():
            if any(m in name for m in moved) and ".stem." not in name and ".down." not in name:
                p.add_(torch.randn_like(p) * len(path.stem))
    licence = "ours" if stage == 2 else "research only"
    record = Provenance(stage, 100 * stage, seed, (path.stem, "all"), "abc", licence)
    save_model(path, lure, text, record, torch.float16)
    return str(path)


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, str]:
    """What the options of the command are given."""
    stage1 = {m: make(tmp_path / f"{m}.safetensors", ("encoders.",), 1) for m in ("vis", "ir")}
    return stage1 | {"fusion": make(tmp_path / "fusion.safetensors", ("fusion.", "decoder."), 2)}


def args(runs: dict[str, str], out: Path) -> list[str | Path]:
    return ["weights", "join", *(a for k, v in runs.items() for a in (f"--{k}", v)), "-o", out]


def test_each_part_comes_from_its_run(runs: dict[str, str], tmp_path: Path, lure: Callable[..., Outcome]) -> None:
    done = lure(*args(runs, tmp_path / "joined.safetensors"))
    assert (done.code, done.out) == (0, f"{tmp_path / 'joined.safetensors'}\n"), done.err
    model, _, record = load_model(tmp_path / "joined.safetensors")
    sources = {k: load_model(Path(v))[0].state_dict() for k, v in runs.items()}
    apart = 0
    for key, value in model.state_dict().items():
        part = "vis" if ".vis." in key else "ir" if ".ir." in key else "fusion"
        assert torch.equal(value, sources[part][key]), key
        apart += not torch.equal(value, sources["fusion"][key])
    assert apart > 10
    assert (record.stage, record.steps, record.licence) == (2, 200, "research only; ours")
    assert record.data == ("all", "fusion", "ir", "vis")
    assert record.parts[0] == "vis: stage 1, 100 steps, seed 0, revision abc"
    assert "parts: vis: stage 1" in lure("weights", "info", tmp_path / "joined.safetensors").out
    again = lure(*args(runs, tmp_path / "joined.safetensors"))
    assert (again.code, "exists already" in again.err) == (2, True)
    assert lure(*args(runs, tmp_path / "joined.safetensors"), "--overwrite").code == 0


def test_the_visible_part_says_whether_its_curve_sees_the_air(
    runs: dict[str, str], tmp_path: Path, lure: Callable[..., Outcome]
) -> None:
    tone = dataclasses.replace(SMALL, tone=True)
    seeing = dataclasses.replace(tone, airlight=True)
    for name, model, parts in (("vis", seeing, ("encoders.",)), ("ir", tone, ("encoders.",)), ("fusion", tone, ())):
        runs[name] = make(tmp_path / f"{name}.safetensors", parts, 2 if name == "fusion" else 1, model=model)
    done = lure(*args(runs, tmp_path / "joined.safetensors"))
    assert done.code == 0, done.err
    joined, vis = (load_model(Path(p))[0] for p in (tmp_path / "joined.safetensors", runs["vis"]))
    assert joined.cfg.airlight
    for key, value in vis.encoders["vis"].state_dict().items():
        assert torch.equal(joined.encoders["vis"].state_dict()[key], value), key
    swapped = runs | {"vis": runs["ir"], "ir": runs["vis"]}
    assert lure(*args(swapped, tmp_path / "other.safetensors")).code == 0
    assert not load_model(tmp_path / "other.safetensors")[0].cfg.airlight


def test_what_does_not_fit_is_refused(runs: dict[str, str], tmp_path: Path, lure: Callable[..., Outcome]) -> None:
    wide = dataclasses.replace(SMALL, condition_dim=16)
    for changed, message in (
        ({"vis": make(tmp_path / "a.safetensors", (), 1, seed=1)}, "encoders.vis.stem.weight differs"),
        ({"ir": make(tmp_path / "b.safetensors", ("decoder.",), 1)}, "decoder.up.0.weight differs"),
        ({"ir": make(tmp_path / "c.safetensors", (), 1, model=wide)}, "different models"),
        ({"fusion": str(tmp_path / "none.safetensors")}, "no such weight file"),
    ):
        done = lure(*args(runs | changed, tmp_path / "joined.safetensors"))
        assert done.code == 2
        assert message in done.err
        assert not (tmp_path / "joined.safetensors").exists()
    assert "not the name of a weight file" in lure(*args(runs, tmp_path / "joined.bin")).err
    (tmp_path / "file").touch()
    assert "cannot be written" in lure(*args(runs, tmp_path / "file" / "joined.safetensors")).err
