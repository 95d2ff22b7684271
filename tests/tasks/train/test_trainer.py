"""Training runs as a whole: held-out validation, what is written, interruption, kill -9, several processes."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lure_cli.core.model.checkpoint import load_model, load_tensors
from lure_cli.core.training.corpus import find_corpus, hold_out
from lure_cli.core.training.crops import CropReader
from lure_cli.core.training.sampler import Sampler
from lure_cli.errors import LureError
from lure_cli.tasks.train import log as train_log
from lure_cli.tasks.train import validation
from lure_cli.tasks.train.trainer import Trainer
from tests.helpers.files import Outcome
from tests.helpers.runs import as_settings, command, config, log, make_tiled


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiled(tmp_path_factory.mktemp("tiled"))


def validations(out: Path) -> dict[int, dict[str, Any]]:
    return {r["step"]: r["validation"] for r in log(out) if "validation" in r}


def test_what_is_held_out(tiled: Path, data: Path) -> None:
    corpus = find_corpus(tiled)
    train, held = hold_out(corpus, 0.2)
    names = {pair[0].stem for pair in held.fusion["demo"]}
    assert 1 <= len(names) <= 12
    for part in (train, held):
        pools = [part.fusion["demo"], part.restoration["vis", "haze"]["mist"], part.clean["vis"].get("few", [])]
        for files in (files for pool in pools for files in pool):
            assert (files[0].stem in names) == (part is held)  # an image is on one side in all sets that have it
    for name, count in corpus.counts().items():
        assert train.counts()[name] + held.counts().get(name, 0) == count
    assert hold_out(corpus, 0.2) == (train, held)
    assert hold_out(corpus, 0.0)[0].counts() == corpus.counts()
    assert hold_out(corpus, 1e-9)[1].counts()["fusion/demo"] == 1  # one at least
    assert min(hold_out(corpus, 0.999)[0].counts().values()) == 1
    assert not hold_out(find_corpus(data), 0.2)[1].counts()  # sets of three pictures


def test_held_out_images_are_never_trained_on(tiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(config(tiled, tmp_path / "r", holdout=0.3, batch_vis=30, batch_ir=10))
    held = {p for pair in trainer.held.fusion["demo"] for p in pair}
    held |= {p for pair in trainer.held.restoration["vis", "haze"]["mist"] for p in pair}
    drawn: set[Path] = set()
    load = CropReader._load
    monkeypatch.setattr(CropReader, "_load", lambda s, path, planes: (drawn.add(path), load(s, path, planes))[1])
    for step in range(6):
        trainer.sampler.stage1(step)
        trainer.sampler.stage2(step)
    assert len(drawn) > 40
    assert not drawn & held
    trainer.prepare_validation(print)
    assert drawn & held


def test_validation_looks_at_the_same_crops_in_every_run(tiled: Path, tmp_path: Path) -> None:
    held = hold_out(find_corpus(tiled), 0.2)[1]
    runs = [config(tiled, tmp_path), config(tiled, tmp_path, seed=3, batch_vis=7, validation_crops=2)]
    a, b = (validation.restoration_cases(Sampler(held, cfg), 2) for cfg in runs)
    assert set(a["vis"]) > {"none", "haze", "haze_real", "lowlight+noise"}
    assert "haze_real" not in a["ir"]
    assert set(a["ir"]) > {"none", "stripe", "lowcontrast+stripe"}
    for m, tasks in a.items():
        for name, samples in tasks.items():
            assert len(samples) == 2
            for one, other in zip(samples, b[m][name], strict=True):
                assert torch.equal(one.x, other.x)
                assert torch.equal(one.y, other.y)
                assert ((one.x - one.y).abs().max() > 0) == (name != "none")
    pairs = [Sampler(held, cfg).fixed_pairs(3) for cfg in runs]
    assert torch.equal(pairs[0][1], pairs[1][1])


@pytest.mark.parametrize("stage", [1, 2])
def test_validation_best_and_resuming(stage: int, tiled: Path, tmp_path: Path) -> None:
    init = {"lr": 3e-3}
    if stage == 2:
        Trainer(config(tiled, tmp_path / "s1", steps=1, holdout=0.0)).run()
        init = {"lr": 2e-4, "init": str(tmp_path / "s1" / "weights.safetensors")}
        assert not validations(tmp_path / "s1")
    cfg = config(tiled, tmp_path / "whole", stage=stage, snapshots=[0, 3], **init)
    whole = Trainer(cfg)
    whole.run()
    seen = validations(cfg_out := tmp_path / "whole")
    assert list(seen) == [0, 2, 4]
    if stage == 1:  # the untrained model is the identity
        first = seen[0]
        assert first["psnr_input"]["vis_haze_real"] == pytest.approx(first["psnr"]["vis_haze_real"], abs=0.05)
        assert first["psnr"]["ir_none"] > 50
        assert first["score"] == pytest.approx(0, abs=0.05)
        assert "vis_none" not in first["psnr_input"]
        assert len(first["psnr"]) == 11 + 1 + 7  # visible with composites, real haze, infrared
    else:
        assert {"int", "grad", "ssim", "color", "loss"} <= set(seen[0])
        assert seen[0]["keep"] == pytest.approx(0, abs=1e-5) != seen[4]["keep"]  # the untrained decoder is exact
    assert seen[4] != seen[0]
    scores = {step: v["score"] if stage == 1 else -v["loss"] for step, v in seen.items()}
    best = max(scores, key=lambda step: scores[step])
    assert load_model(cfg_out / "best.safetensors")[2].steps == best == whole.progress.step
    assert [load_model(cfg_out / f"step-{n:08d}.safetensors")[2].steps for n in (0, 3)] == [0, 3]

    cfg = config(tiled, tmp_path / "parts", stage=stage, **init)
    Trainer(cfg).run(until=3)
    with (tmp_path / "parts" / "log.jsonl").open("a") as f:  # as a run would have left that was killed later on
        f.write('{"step": 4, "loss": 9.0}\n{"step": 5, "lo')
    resumed = Trainer(cfg, resume=True)
    assert resumed.progress.step in (0, 2)
    resumed.run()
    assert resumed.progress == whole.progress
    assert validations(tmp_path / "parts") == seen
    assert [r["step"] for r in log(tmp_path / "parts") if "loss" in r] == [1, 2, 3, 4]
    a, b = (load_tensors(tmp_path / d / "best.safetensors")[0] for d in ("whole", "parts"))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_patience_and_the_best_weights(tiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([1.0, 3.0, float("nan"), 2.0, 9.0])
    monkeypatch.setattr(
        Trainer, "prepare_validation", lambda *_: lambda model: validation.Outcome(next(scores), {"loss": 0.0})
    )
    cfg = config(tiled, tmp_path / "r", steps=50, patience=2, validate_every=1)
    trainer = Trainer(cfg)
    trainer.run(until=2)
    assert (trainer.step, trainer.exhausted) == (2, False)
    resumed = Trainer(cfg, resume=True)
    resumed.run()
    assert (resumed.step, resumed.exhausted, resumed.progress.step) == (3, True, 1)
    assert load_model(tmp_path / "r" / "best.safetensors")[2].steps == 1
    again = Trainer(cfg, resume=True)
    again.run()
    assert again.step == 3


def test_bad_settings_and_small_sets(data: Path, tiled: Path, tmp_path: Path) -> None:
    for key, value in (("holdout", 1.0), ("validate_every", 0), ("validation_crops", 0), ("patience", -1)):
        with pytest.raises(LureError, match=key):
            Trainer(config(tiled, tmp_path / "r", **{key: value}))
    messages: list[str] = []
    Trainer(config(data, tmp_path / "r", steps=1)).run(notify=messages.append)  # sets of three pictures
    assert len(messages) == 1
    assert "no validation" in messages[0]
    assert not (tmp_path / "r" / "best.safetensors").exists()
    with pytest.raises(LureError, match="holdout"):  # the other half of the data would be validated on
        Trainer(config(data, tmp_path / "r", holdout=0.5), resume=True)


def test_event_files_and_config(tiled: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cfg = config(tiled, tmp_path / "r", tensorboard=True)
    Trainer(cfg).run(until=3)
    Trainer(cfg, resume=True).run()
    events = EventAccumulator(str(tmp_path / "r" / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    scalars, images = events.Tags()["scalars"], events.Tags()["images"]
    assert {"train/loss", "validation/loss", "validation/score", "validation/psnr/vis_haze_real"} <= set(scalars)
    assert [e.step for e in events.Scalars("train/loss")] == [1, 2, 3, 4]
    seen = validations(tmp_path / "r")
    values = [e.value for e in events.Scalars("validation/psnr/ir_stripe")]
    assert values == pytest.approx([v["psnr"]["ir_stripe"] for v in seen.values()], abs=1e-4)
    picture = events.Images("validation/vis_haze_real")[0]
    assert (picture.width, picture.height) == (3 * 32, 32)
    assert "validation/ir_none" in images
    written = json.loads((tmp_path / "r" / "config.json").read_text())
    assert written["crop"] == 32
    assert written["run"]["train"]["fusion/demo"] + written["run"]["held_out"]["fusion/demo"] == 24
    assert written["run"]["versions"]["torch"] == torch.__version__
    assert isinstance(written["run"]["dirty"], bool)


def test_no_tensorboard_is_said_once(tiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    messages: list[str] = []
    with train_log.TrainLog(tmp_path / "r", 0, config(tiled, tmp_path, tensorboard=True), messages.append) as out:
        out.write({"step": 1, "loss": 1.0})
    assert len(messages) == 1
    assert "lure-cli[train]" in messages[0]
    assert log(tmp_path / "r") == [{"step": 1, "loss": 1.0}]


@pytest.mark.parametrize("stage", [1, 2])
def test_unequal_shards_take_the_step_of_the_whole_batch(stage: int, tiled: Path, tmp_path: Path) -> None:
    """Without L_unified, that is, which is defined within a shard."""
    init = {}
    if stage == 2:
        Trainer(config(tiled, tmp_path / "s1", steps=1, holdout=0.0)).run()
        init = {"init": str(tmp_path / "s1" / "weights.safetensors")}
    runs = []
    for shards in (1, 2):
        cfg = config(tiled, tmp_path / str(shards), stage=stage, shards=shards, batch_vis=5, unified=False, **init)
        trainer = Trainer(cfg)
        draw = trainer.sampler.stage1 if stage == 1 else trainer.sampler.stage2
        runs.append([trainer.train_step(draw(step)) for step in range(2)])
    for one, two in zip(*runs, strict=True):
        assert float(two.loss) == pytest.approx(float(one.loss), rel=1e-5)
        assert float(two.grad_norm) == pytest.approx(float(one.grad_norm), rel=1e-3)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_saved(
    number: signal.Signals, code: int, tiled: Path, tmp_path: Path, lure: Callable[..., Outcome]
) -> None:
    out = tmp_path / "r"

    def interrupt() -> None:
        while not (out / "log.jsonl").exists() or not (out / "log.jsonl").read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    settings = as_settings({"steps": 100000, "holdout": 0.0})
    thread = threading.Thread(target=interrupt)
    thread.start()
    done = lure("train", "stage1", "--data", tiled, "--out", out, *settings)
    thread.join()
    assert done.code == code
    assert done.out == ""
    step = load_tensors(out / "state.safetensors")[1]["step"]
    assert f"interrupted at step {step} of 100000" in done.err
    assert log(out)[-1]["step"] == step == load_model(out / "weights.safetensors")[2].steps


KILLED = """
import os, signal, sys
import safetensors.torch
from lure_cli.cli import main
calls, save = 0, safetensors.torch.save_file
def dies(tensors, path, metadata):
    global calls
    calls += 1
    save(tensors, path, metadata)
    if calls == 4:  # the second checkpoint: its state is written, its weights are half
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
safetensors.torch.save_file = dies
main(sys.argv[1:])
"""


def test_kill_9_while_saving_loses_one_checkpoint_at_most(tiled: Path, tmp_path: Path) -> None:
    changes = {"steps": 3, "checkpoint_minutes": 0.0, "holdout": 0.0}
    cfg = config(tiled, tmp_path / "r", **changes)
    settings = as_settings(changes)
    args, env = command("-c", KILLED, "train", "stage1", "--data", tiled, "--out", tmp_path / "r", *settings)
    done = subprocess.run(args, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert load_model(tmp_path / "r" / "weights.safetensors")[2].steps == 1  # whole, if one checkpoint old
    left = [p for p in (tmp_path / "r").iterdir() if p.name.startswith(".lure-")]
    assert len(left) == 1
    os.utime(left[0], (0, 0))  # old enough that nobody can be writing it any more
    resumed = Trainer(cfg, resume=True)
    assert resumed.step == 2
    resumed.run()
    assert not left[0].exists()
    whole = Trainer(config(tiled, tmp_path / "whole", **changes))
    whole.run()
    a, b = (load_tensors(tmp_path / d / "weights.safetensors")[0] for d in ("r", "whole"))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_two_processes_train_as_one(tiled: Path, tmp_path: Path) -> None:
    """One process, then two, then one again, against one throughout; all from one checkpoint to the next."""
    changes = {"batch_vis": 3, "holdout": 0.2, "lr": 1e-3}
    for out in ("one", "mixed"):
        Trainer(config(tiled, tmp_path / out, shards=2, **changes)).run(until=2)
        if out == "one":
            Trainer(config(tiled, tmp_path / out, shards=2, **changes), resume=True).run()
            continue
        settings = as_settings(changes | {"workers": 1})  # of each process
        if importlib.util.find_spec("accelerate"):
            how = ["accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--main_process_port=0"]
        else:
            how = ["torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        args, env = command("-m", *how, "-m", "lure_cli", "train", "stage1", "--data", tiled, "--out", tmp_path / out)
        done = subprocess.run([*args, "--resume", "--device=cpu", *settings], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{tmp_path / out / 'weights.safetensors'}\n"
        assert "in 2 processes" in done.stderr
        assert json.loads((tmp_path / out / "config.json").read_text())["run"]["processes"] == 2
    for out in ("one", "mixed"):
        Trainer(config(tiled, tmp_path / out, shards=2, steps=6, **changes), resume=True).run()
    one, mixed = (log(tmp_path / out) for out in ("one", "mixed"))
    assert [r["step"] for r in mixed] == [r["step"] for r in one]
    for a, b in zip(one, mixed, strict=True):
        if "validation" in a:
            assert b["validation"]["score"] == pytest.approx(a["validation"]["score"], abs=2e-3)
            continue
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-3)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-2)
        assert b.keys() == a.keys()  # what either process saw is in the log
    a, b = (load_tensors(tmp_path / out / "weights.safetensors")[0] for out in ("one", "mixed"))
    assert max(float((a[k].float() - b[k].float()).abs().max()) for k in a) < 2e-3


def test_processes_that_cannot_work_together(tiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(key, value)
    for key in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(key, raising=False)
    with pytest.raises(LureError, match="cannot reach the others"):
        Trainer(config(tiled, tmp_path / "r"))
