"""Degradations, data, losses and the training loop."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from lure_cli.config import TrainConfig, from_mapping, load_toml, parse_setting
from lure_cli.core.images.picture import read_image
from lure_cli.core.metrics.fidelity import edge_preservation, visual_information_fidelity
from lure_cli.core.model.checkpoint import load_model
from lure_cli.core.pixels import luma
from lure_cli.core.text.vocabulary import DEGRADATIONS
from lure_cli.core.training import losses
from lure_cli.core.training.corpus import find_corpus
from lure_cli.core.training.degradations import ORDER, RECIPES, degrade, degrade_alike
from lure_cli.core.training.fields import Scene
from lure_cli.core.training.muon import Muon
from lure_cli.core.training.sampler import Sampler
from lure_cli.core.training.weather import lifted_rain
from lure_cli.errors import LureError
from lure_cli.tasks.train.config import resolve_config
from lure_cli.tasks.train.log import read_values
from lure_cli.tasks.train.stages import split_batch, stage1_loss
from lure_cli.tasks.train.trainer import Trainer
from tests.helpers.files import make_data


def config(data: Path, out: Path, **changes: object) -> TrainConfig:
    """A run that takes seconds."""
    values = {"data": str(data), "out": str(out), "batch_vis": 2, "batch_ir": 2, "crop": 32, "steps": 4, "log_every": 1}
    return from_mapping(TrainConfig, values | {"warmup": 1, "light_ramp": 0, "amp": False, **changes}, "test")


def picture() -> torch.Tensor:
    """A lit clean crop (3, 96, 96)."""
    from tests.helpers.files import EXAMPLES

    image = torch.from_numpy(read_image(EXAMPLES / "pairs" / "vis" / "drone.png", channels=3))
    return image.permute(2, 0, 1)[:, 60:156, 100:196].contiguous()


@pytest.mark.parametrize(("modality", "name"), [(m, n) for m, names in DEGRADATIONS.items() for n in names])
def test_degradations_are_seeded_bounded_and_visible(modality: str, name: str) -> None:
    clean = picture() if modality == "vis" else picture()[:1]
    strengths = []
    for seed in range(8):
        x = degrade(clean, (name,), modality, torch.Generator().manual_seed(seed))
        again = degrade(clean, (name,), modality, torch.Generator().manual_seed(seed))
        assert x.shape == clean.shape
        assert 0 <= x.min() <= x.max() <= 1
        assert torch.equal(x, again)
        strengths.append(float((x - clean).abs().mean()))
    assert min(strengths) > 1e-4
    assert max(strengths) > 1.5 * min(strengths)  # the severity is drawn


def test_glare_beside_a_black_area_is_a_number() -> None:
    """A smooth map swings below zero beside an edge; a negative light has no power."""
    x = torch.nn.functional.interpolate(torch.eye(6).expand(1, 3, 6, 6), size=(48, 48), mode="nearest")[0]
    for seed in range(400):
        assert degrade(x, ("overexposure",), "vis", torch.Generator().manual_seed(seed)).isfinite().all(), seed


def test_degradations_do_what_their_names_say() -> None:
    clean = picture()
    degraded = {n: degrade(clean, (n,), "vis", torch.Generator().manual_seed(1)) for n in DEGRADATIONS["vis"]}
    detail = {n: float((x[..., 1:] - x[..., :-1]).abs().mean()) for n, x in {**degraded, "clean": clean}.items()}
    assert degraded["lowlight"].mean() < clean.mean() < degraded["overexposure"].mean()
    assert detail["blur"] < detail["clean"] < detail["noise"]
    assert detail["lowres"] < detail["clean"]
    assert degraded["haze"].std() < clean.std()
    grey = clean[:1]
    stripes = degrade(grey, ("stripe",), "ir", torch.Generator().manual_seed(2)) - grey
    assert max(stripes.mean(1).std(), stripes.mean(2).std()) > 5 * min(stripes.mean(1).std(), stripes.mean(2).std())
    flat = degrade(grey, ("lowcontrast",), "ir", torch.Generator().manual_seed(2))
    assert flat.std() < 0.7 * grey.std()
    assert set(ORDER) == set(RECIPES)
    with pytest.raises(KeyError):
        degrade(grey, ("haze",), "ir", torch.Generator())


def test_corpus_and_batches(data: Path, tmp_path: Path) -> None:
    cfg = config(data, tmp_path, batch_vis=40, batch_ir=20)
    corpus = find_corpus(data)
    assert corpus.sets() == ("demo",)
    assert ("vis", "haze") in corpus.restoration
    sampler = Sampler(corpus, cfg)
    batch = sampler.stage1(5)
    assert (len(batch["vis"]), len(batch["ir"])) == (40, 20)
    for modality, samples in batch.items():
        for s in samples:
            assert s.x.shape == s.y.shape == ({"vis": 3, "ir": 1}[modality], 32, 32)
            assert set(s.names) <= set(DEGRADATIONS[modality])
            if not s.names:
                assert torch.equal(s.x, s.y)
    kinds = {s.names for s in batch["vis"]}
    assert () in kinds
    assert len(kinds) > 4
    again = Sampler(corpus, cfg).stage1(5)
    assert all(torch.equal(a.x, b.x) for a, b in zip(batch["vis"], again["vis"], strict=True))
    assert not torch.equal(batch["vis"][0].x, sampler.stage1(6)["vis"][0].x)
    ir, vis = sampler.stage2(0)
    assert ir.shape == (40, 1, 32, 32)
    assert vis.shape == (40, 3, 32, 32)


def test_batches_do_not_depend_on_the_cache(data: Path, tmp_path: Path) -> None:
    batches = [Sampler(find_corpus(data), config(data, tmp_path, cache_gib=g)).stage2(3)[1] for g in (4.0, 1e-9)]
    assert torch.equal(*batches)


def test_data_faults_are_named(tmp_path: Path) -> None:
    root = make_data(tmp_path / "d")
    with pytest.raises(LureError, match="no such folder"):
        find_corpus(tmp_path / "none")
    (root / "fusion" / "demo" / "test").mkdir()
    (root / "restoration" / "visible" / "hase").mkdir()
    with pytest.raises(LureError, match="hase"):
        find_corpus(root)
    (root / "restoration" / "visible" / "hase").rmdir()
    (root / "fusion" / "demo" / "train" / "ir" / "gate.png").unlink()
    with pytest.raises(LureError, match="gate"):
        find_corpus(root)
    with pytest.raises(LureError, match="no fusion pairs"):
        Trainer(config(root, tmp_path / "run", exclude=("demo",)))


def test_losses_are_zero_for_equals_and_grow_with_the_error() -> None:
    y = picture()[None]
    values = [float(losses.reconstruction_loss((y + e).clamp(0, 1), y, 0.2, 0.5).sum()) for e in (0.0, 0.05, 0.2)]
    assert values[0] == pytest.approx(1e-3, abs=1e-4)  # Charbonnier's epsilon
    assert values[0] < values[1] < values[2]
    weights = losses.task_weights(torch.cat([y, (y + 0.2).clamp(0, 1)]), y.expand(2, -1, -1, -1), 0.2, 0.5)
    assert weights[0] > 3 * weights[1] > 0
    latent = tuple(torch.randn(2, 4, s, s) for s in (8, 4))
    other = tuple(f + 1 for f in latent)
    assert losses.content_loss(latent, latent) == 0
    assert losses.content_loss(other, latent) > 0.5
    for per_image in (True, False):
        assert losses.moment_distance(latent, latent, per_image) == 0
        assert losses.moment_distance(other, latent, per_image) > 0.5


def test_ssim_agrees_with_the_textbook_formula() -> None:
    x, y = torch.rand(1, 1, 7, 7, dtype=torch.float64), torch.rand(1, 1, 7, 7, dtype=torch.float64)
    cov = ((x - x.mean()) * (y - y.mean())).mean()
    expected = (2 * x.mean() * y.mean() + 1e-4) * (2 * cov + 9e-4)
    expected = expected / ((x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (x.var(correction=0) + y.var(correction=0) + 9e-4))
    torch.testing.assert_close(losses.ssim_map(x, y).double().squeeze(), expected, atol=1e-5, rtol=1e-4)


def test_the_fusion_losses_agree_with_the_evaluator() -> None:
    vis = luma(picture()[None])
    ir = (0.2 + 0.6 * vis.flip(3) ** 2).mul(255).round() / 255
    vis = vis.mul(255).round() / 255
    fused = (0.6 * vis + 0.4 * ir).mul(255).round() / 255
    fused, ir, vis = (torch.nn.functional.pad(x, (4, 4, 4, 4)) for x in (fused, ir, vis))  # a border is an edge or not
    f, a, b = (x[0, 0].mul(255).round().double().numpy() for x in (fused, ir, vis))
    expected = visual_information_fidelity(f, a, b)
    far = 100.0  # no bound on the contrast
    assert float(losses.information_fidelity(fused, ir, far)) == pytest.approx(expected[1], abs=2e-3)
    assert float(losses.information_fidelity(fused, vis, far)) == pytest.approx(expected[2], abs=2e-3)
    # The evaluator's angles jump for nearly horizontal edges, which a loss must not.
    assert float(losses.edge_preservation(fused, ir, vis)) == pytest.approx(edge_preservation(f, a, b)[0], abs=0.05)


def test_contrast_beyond_the_sources_own_is_no_information() -> None:
    vis = 0.3 + 0.2 * luma(picture()[None])
    stretched = (vis - vis.mean()) * 1.5 + vis.mean()
    own = losses.information_fidelity(vis, vis)
    bounded, free = (losses.information_fidelity(stretched, vis, gain=g) for g in (1.0, 100.0))
    assert float(free) > float(own) + 0.1
    assert float(bounded) <= float(own) + 1e-3


def test_fusion_loss_prefers_a_fused_picture() -> None:
    vis = picture()[None]
    ir = torch.zeros(1, 1, 96, 96)
    ir[..., 30:60, 40:60] = 1.0
    weights = losses.FusionWeights(5.0, 10.0, 0.5, 10.0, vif=1.0, edge=1.0)
    target = losses.intensity_target(ir, luma(vis), "maximum")
    fused = (vis + target - luma(vis)).clamp(0, 1)
    scores = {
        n: float(losses.fusion_loss(x, ir, vis, "maximum", weights)[0]) for n, x in (("fused", fused), ("vis", vis))
    }
    scores["ir"] = float(losses.fusion_loss(ir.expand(-1, 3, -1, -1), ir, vis, "maximum", weights)[0])
    assert scores["fused"] < scores["vis"] < scores["ir"]
    soft = losses.intensity_target(ir, luma(vis), "saliency")
    assert (soft <= target + 1e-6).all()
    assert soft[..., 40:50, 45:55].mean() > 0.95


def run(cfg: TrainConfig, **kwargs: int) -> Trainer:
    trainer = Trainer(cfg)
    trainer.run(**kwargs)
    return trainer


def first_stage(stage: int, data: Path, folder: Path) -> dict[str, str]:
    """What a run of this stage starts from."""
    if stage == 1:
        return {}
    run(config(data, folder / "s1", steps=1))
    return {"init": str(folder / "s1" / "weights.safetensors")}


def test_a_prompt_may_name_a_part_of_what_is_wrong(data: Path, tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(3)
    x, y = degrade_alike([(Scene(picture()), ("noise", "haze")), (Scene(picture()), ("haze",))], "vis", g)
    assert (y - picture()).abs().mean() > 0.02
    rest = (x - y) - (x - y).mean()
    assert rest.std() > 0.005
    assert abs(float(torch.corrcoef(torch.stack((rest.flatten(), y.flatten())))[0, 1])) < 0.2  # noise alone
    cfg = config(
        data, tmp_path, pseudo_ratio=0.0, ignore_ratio=0.0, composite_ratio=1.0, partial_ratio=1.0, real_ratio=0.0
    )
    samples = [s for i in range(8) for s in Sampler(find_corpus(data), cfg).stage1(i)["vis"]]
    assert all(len(s.names) == 1 for s in samples)


def test_the_context_is_that_of_the_whole_image(data: Path, tmp_path: Path) -> None:
    cfg = config(data, tmp_path, pseudo_ratio=0.0, ignore_ratio=0.0, composite_ratio=0.0, real_ratio=0.0)
    samples = [s for i in range(40) for s in Sampler(find_corpus(data), cfg).stage1(i)["vis"]]
    assert all(s.whole.shape == (9, 32, 32) for s in samples)
    dark = [s for s in samples if s.names == ("lowlight",)]
    assert dark and all(s.whole[:3].mean() < 0.9 * s.y.mean() for s in dark)
    for s in samples:
        thumbnail, low, high = s.whole.split(3)
        assert (low <= thumbnail + 1e-3).all() and (thumbnail <= high + 1e-3).all()
        pooled = torch.nn.functional.avg_pool2d(s.x, 2)  # grain and streaks, drawn for the crop alone, count as well
        assert (low[:, 0, 0] <= pooled.amin((1, 2)) + 1e-3).all()
        assert (high[:, 0, 0] >= pooled.amax((1, 2)) - 1e-3).all()


def test_rain_lifted_from_a_real_pair_is_heavy_or_light() -> None:
    g = torch.Generator().manual_seed(0)
    layer = 0.1 + 0.3 * torch.rand((1, *picture().shape[1:]), generator=g).expand(3, -1, -1) ** 3  # streaks over a veil
    clean = picture() * 0.4
    added = [lifted_rain(clean, layer, g) - clean for _ in range(40)]
    assert all((a > -1e-6).all() and a.max() > 0 for a in added)
    light = [a for a in added if (a == 0).float().mean() > 0.25]
    assert 10 <= len(light) <= 30


def test_information_needs_large_crops(data: Path, tmp_path: Path) -> None:
    with pytest.raises(LureError, match="crop = 32"):
        Trainer(config(data, tmp_path, stage=2, w_vif=1.0))


def test_the_models_switches_are_keys_of_a_run(data: Path, tmp_path: Path) -> None:
    run(config(data, tmp_path / "a", steps=1, inner_residual=False))
    weights = tmp_path / "a" / "weights.safetensors"
    assert not load_model(weights)[0].cfg.inner_residual
    run(config(data, tmp_path / "b", steps=1, init=str(weights)))  # keeps what it starts from
    assert not load_model(tmp_path / "b" / "weights.safetensors")[0].cfg.inner_residual
    with pytest.raises(LureError, match="text_guided_attention"):
        Trainer(config(data, tmp_path / "c", init=str(weights), text_guided_attention=False))


@pytest.mark.parametrize("stage", [1, 2])
def test_a_resumed_run_equals_an_uninterrupted_one(stage: int, data: Path, tmp_path: Path) -> None:
    init = first_stage(stage, data, tmp_path)
    whole = run(config(data, tmp_path / "whole", stage=stage, shards=2, threads=1, **init))
    cfg = config(data, tmp_path / "parts", stage=stage, shards=2, threads=1, **init)
    run(cfg, until=2)
    resumed = Trainer(cfg, resume=True)
    assert resumed.step == 2
    resumed.run()
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key
    a, b = (load_model(tmp_path / d / "weights.safetensors")[0].state_dict() for d in ("whole", "parts"))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_stage_two_changes_no_frozen_parameter(data: Path, tmp_path: Path) -> None:
    first = run(config(data, tmp_path / "s1", steps=3))
    second = run(config(data, tmp_path / "s2", stage=2, init=str(tmp_path / "s1" / "weights.safetensors"), steps=3))
    before = load_model(tmp_path / "s1" / "weights.safetensors")[0].state_dict()
    after = second.model.state_dict()
    moved = {k for k in before if not torch.equal(before[k], after[k])}
    assert moved
    assert all(k.startswith(("fusion.", "decoder.")) for k in moved)
    assert any(k.startswith("fusion.") for k in moved)
    assert any(k.startswith("decoder.") for k in moved)
    assert not any(k.startswith("fusion.") for k in first.trained)
    assert load_model(tmp_path / "s2" / "weights.safetensors")[2].data == ("demo",)


@pytest.mark.parametrize("stage", [1, 2])
def test_thirty_steps_lower_the_loss(stage: int, data: Path, tmp_path: Path) -> None:
    init = first_stage(stage, data, tmp_path)
    trainer = Trainer(config(data, tmp_path / "run", stage=stage, steps=30, lr=2e-3, **init))
    batch = trainer.sampler.stage1(0) if stage == 1 else trainer.sampler.stage2(0)
    values = [float(trainer.train_step(batch).loss) for _ in range(30)]
    assert sum(values[-3:]) < 0.9 * sum(values[:3])


def test_log_config_and_switches(data: Path, tmp_path: Path) -> None:
    cfg = config(data, tmp_path / "r", unified=False, pseudo_degradation=False, ignore_ratio=0.0, steps=3)
    seen: list[dict[str, object]] = []
    Trainer(cfg).run(seen.append)
    lines = [json.loads(line) for line in (tmp_path / "r" / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in lines] == [1, 2, 3]
    assert lines == seen
    assert all("content_vis" not in r and "psnr_vis_none" not in r for r in lines)
    assert json.loads((tmp_path / "r" / "config.json").read_text())["unified"] is False


def test_a_step_without_finite_loss_is_skipped_and_counted(data: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(data, tmp_path / "r"))
    batch = trainer.sampler.stage1(0)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    batch["vis"][0].x.fill_(float("nan"))
    assert read_values([trainer.train_step(batch)]) == []
    assert (trainer.step, trainer.skipped) == (1, 1)
    assert all(torch.equal(v, before[k]) for k, v in trainer.model.state_dict().items())


def test_runs_are_not_mixed_up(data: Path, tmp_path: Path) -> None:
    cfg = config(data, tmp_path / "r", steps=1)
    run(cfg)
    with pytest.raises(LureError, match="holds a run already"):
        Trainer(cfg)
    with pytest.raises(LureError, match="seed"):
        Trainer(config(data, tmp_path / "r", seed=1), resume=True)
    with pytest.raises(LureError, match="cannot be read"):
        Trainer(config(data, tmp_path / "other"), resume=True)
    with pytest.raises(LureError, match="stage I"):
        Trainer(config(data, tmp_path / "x", stage=2))
    with pytest.raises(LureError, match="shards"):
        Trainer(config(data, tmp_path / "x", shards=3))
    shutil.copy(tmp_path / "r" / "state.safetensors", tmp_path / "state.safetensors")
    with pytest.raises(LureError, match="not weights"):
        load_model(tmp_path / "state.safetensors")


@pytest.mark.parametrize("stage", [1, 2])
def test_presets_are_valid(stage: int) -> None:
    cfg = resolve_config(stage, flags={"data": "d", "steps": 5, "out": None}, settings=["lr=2e-3", "model=lure-base"])
    assert (cfg.stage, cfg.data, cfg.steps, cfg.lr, cfg.model) == (stage, "d", 5, 2e-3, "lure-base")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("learning_rte = 1", "unknown key 'learning_rte'", "did you mean"),
        ("stepps = 1", "unknown key 'stepps'", "steps"),
        ("steps = 'many'", "'steps' must be int", ""),
        ("steps = true", "'steps' must be int", ""),
        ("exclude = 'x'", "'exclude' must be", ""),
        ("stage = 2", "is for stage 2", "stage2"),
        ("steps = ", "not valid TOML", ""),
    ],
)
def test_bad_configs_are_refused(text: str, message: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(LureError) as caught:
        resolve_config(1, path)
    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert hint in caught.value.hint


def test_settings_and_missing_files(tmp_path: Path) -> None:
    assert parse_setting("lr=1e-4") == ("lr", 1e-4)
    assert parse_setting("exclude=['A', 'B']") == ("exclude", ["A", "B"])
    assert parse_setting("model=lure-base") == ("model", "lure-base")
    with pytest.raises(LureError, match="not key=value"):
        parse_setting("lr")
    with pytest.raises(LureError, match="cannot be read"):
        load_toml(tmp_path / "none.toml")


@pytest.mark.parametrize("shards", [1, 2])
def test_steps_equal_those_of_the_plain_optimiser(shards: int, data: Path, tmp_path: Path) -> None:
    """Gradients reach the weights that they belong to, whatever memory layout either has."""
    ours, plain = (Trainer(config(data, tmp_path / n, shards=shards)) for n in ("a", "b"))
    start = {k: p.detach().clone() for k, p in plain.trained.items()}
    optimizer = Muon(plain.trained.values(), 1e-3, 1e-4)
    for step in range(4):  # in the first, the blocks' last layers are zero and hold all other gradients back
        batch = ours.sampler.stage1(step)
        optimizer.param_groups[0]["lr"] = ours.learning_rate(ours.step)
        ours.train_step(batch)
        optimizer.zero_grad()
        for shard in split_batch(batch, shards):
            (stage1_loss(plain.model, plain.vectors, shard, plain.cfg).total / shards).backward()
        torch.nn.utils.clip_grad_norm_(plain.trained.values(), 1.0)
        optimizer.step()
    moved = {k: (p.detach() - start[k], ours.trained[k].detach() - start[k]) for k, p in plain.trained.items()}
    apart = {k: float((a - b).norm() / a.norm()) for k, (a, b) in moved.items() if a.norm() > 0}
    assert {"encoders.vis.refine.0.blocks.0.mix.weight", "encoders.vis.layers.1.blocks.0.mix.weight"} <= set(apart)
    assert max(apart.values()) < 0.3, apart
