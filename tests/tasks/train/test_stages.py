"""The loss of each stage: its parts add up, and the identity loses nothing on clean images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lure_cli.config import MODELS, TrainConfig
from lure_cli.core.model.checkpoint import new_model
from lure_cli.core.text.encoders import VocabularyEncoder
from lure_cli.core.training.losses import level_loss
from lure_cli.core.training.sampler import Sample
from lure_cli.tasks.train.log import StepValues, measured, read_values
from lure_cli.tasks.train.stages import TextVectors, batch_size, fuse_clean, split_batch, stage1_loss, stage2_loss

TEXT = VocabularyEncoder()
VECTORS = TextVectors(TEXT)
CFG = TrainConfig(crop=32)


def _sample(planes: int, names: tuple[str, ...]) -> Sample:
    y = torch.rand(planes, 32, 32)
    x = (0.5 * y).clamp(0, 1) if names else y
    return Sample(x, y, x.repeat(3, 1, 1), names)


@pytest.fixture(scope="module")
def batch() -> dict[str, list[Sample]]:
    torch.manual_seed(0)
    vis = [_sample(3, ()), _sample(3, ("lowlight",)), _sample(3, ("lowlight", "noise"))]
    return {"vis": vis, "ir": [_sample(1, ()), _sample(1, ("lowcontrast",))]}


@torch.no_grad()
def test_the_parts_of_stage_one_add_up(batch: dict[str, list[Sample]]) -> None:
    torch.manual_seed(1)
    model = new_model(MODELS["lure-small"], TEXT)
    whole = stage1_loss(model, VECTORS, batch, CFG)
    plain = stage1_loss(model, VECTORS, batch, replace(CFG, unified=False))
    assert set(whole.parts) == {"content_vis", "content_ir", "modality"} and not plain.parts
    unbound = replace(CFG, w_content=0.0, w_distribution=0.0)
    assert float(stage1_loss(model, VECTORS, batch, unbound).total) == float(plain.total)
    content = stage1_loss(model, VECTORS, batch, replace(CFG, w_distribution=0.0))
    weighted = CFG.w_content * float(whole.parts["content_vis"] + whole.parts["content_ir"])
    assert float(content.total - plain.total) == pytest.approx(weighted, rel=1e-4)
    assert {m: x.shape for m, x in whole.restored.items()} == {"vis": (3, 3, 32, 32), "ir": (2, 1, 32, 32)}
    one = torch.ones(())
    (logged,) = read_values([StepValues([measured(whole)], 2 * one, one, one)])
    assert logged["loss"] == 2 and set(whole.parts) < set(logged)
    assert set(logged) - set(whole.parts) - {"loss", "grad_norm"} == {
        "psnr_vis_none",
        "gain_vis_lowlight",
        "psnr_ir_none",
        "gain_ir_lowcontrast",
    }
    assert logged["psnr_vis_none"] > 50 and abs(logged["gain_vis_lowlight"]) < 0.1  # untrained: the identity
    one = stage1_loss(model, VECTORS, {"vis": batch["vis"], "ir": []}, CFG)
    assert set(one.parts) == {"content_vis"} and set(one.restored) == {"vis"}


def test_a_tone_curve_learns_from_its_own_loss_alone(batch: dict[str, list[Sample]]) -> None:
    torch.manual_seed(1)
    model = new_model(MODELS["lure-small"], TEXT)
    curves = {m: model.encoders[m].tone.out.weight for m in ("vis", "ir")}  # type: ignore[union-attr]
    loss = {w: stage1_loss(model, VECTORS, batch, replace(CFG, w_tone=w)).total for w in (0.0, 0.5)}
    for m, found in zip(curves, torch.autograd.grad(loss[0.5] - loss[0.0], list(curves.values())), strict=True):
        assert found.abs().max() > 1e-6, m
    clean = {"vis": batch["vis"][:1], "ir": batch["ir"][:1]}  # nothing to light
    unlit = [stage1_loss(model, VECTORS, clean, replace(CFG, w_tone=w)).total for w in (0.0, 0.5)]
    assert torch.equal(*unlit) and bool(loss[0.5] > loss[0.0])


@torch.no_grad()
def test_the_level_counts_where_the_light_was_changed(batch: dict[str, list[Sample]]) -> None:
    x, y = torch.full((2, 3, 32, 32), 0.5), torch.full((2, 3, 32, 32), 0.5)
    y[1] += 0.2
    y[1, :, ::2] += 0.1  # mean 0.25 above, whatever the rows do
    torch.testing.assert_close(level_loss(x, y), torch.tensor([0.0, 0.25]))
    torch.manual_seed(1)
    model = new_model(MODELS["lure-small"], TEXT)
    for part, counts in ((batch, True), ({m: each[:1] for m, each in batch.items()}, False)):
        none, some = (float(stage1_loss(model, VECTORS, part, replace(CFG, w_level=w)).total) for w in (0.0, 0.5))
        assert (some > none) == counts


@torch.no_grad()
def test_stage_two_keeps_single_images(batch: dict[str, list[Sample]]) -> None:
    torch.manual_seed(1)
    model = new_model(MODELS["lure-small"], TEXT)
    pairs = torch.stack([s.y for s in batch["ir"]]), torch.stack([s.y for s in batch["vis"][:2]])
    loss, parts = stage2_loss(model, VECTORS, pairs, CFG)
    weights = {"int": CFG.w_int, "grad": CFG.w_fuse_grad, "ssim": CFG.w_fuse_ssim, "color": CFG.w_color}
    weights |= {"keep": CFG.w_keep}
    assert float(loss) == pytest.approx(sum(weights[k] * float(v) for k, v in parts.items()), rel=1e-4)
    assert float(parts["keep"]) == pytest.approx(0, abs=1e-5)
    assert fuse_clean(model, VECTORS, pairs).shape == (2, 3, 32, 32)


def test_shards_make_up_the_batch(batch: dict[str, list[Sample]]) -> None:
    shards = split_batch(batch, 2)
    assert [batch_size(shard) for shard in shards] == [3, 2] and batch_size(batch) == 5
    pairs = torch.zeros(5, 1, 8, 8), torch.zeros(5, 3, 8, 8)
    assert [batch_size(shard) for shard in split_batch(pairs, 2)] == [3, 2]
