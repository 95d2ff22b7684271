"""Who draws the batches, how long a run takes, and what is left of one that ends early."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lure_cli.core.model.checkpoint import load_model, load_tensors, save_tensors
from lure_cli.core.training.sampler import Sampler
from lure_cli.errors import LureError
from lure_cli.tasks.train import trainer as trainer_module
from lure_cli.tasks.train.config import PRESETS, resolve_config
from lure_cli.tasks.train.trainer import Trainer
from tests.helpers.files import Outcome
from tests.helpers.runs import as_settings, command, config, log, make_tiled


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiled(tmp_path_factory.mktemp("tiled"))


class Clock:
    """Of a machine on which a step takes a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        step = Trainer.train_step

        def train_step(trainer: Trainer, batch: Any) -> Any:
            self.now += 1
            return step(trainer, batch)

        monkeypatch.setattr(trainer_module, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(Trainer, "train_step", train_step)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_tensors(out / "weights.safetensors")[0]


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("stage", [1, 2])
def test_workers_make_no_difference_nor_does_resuming(stage: int, tiled: Path, tmp_path: Path) -> None:
    init: dict[str, Any] = {"eight_bits": True}
    if stage == 2:
        Trainer(config(tiled, tmp_path / "s1", steps=1, holdout=0.0)).run()
        init["init"] = str(tmp_path / "s1" / "weights.safetensors")
    cfg = config(tiled, tmp_path / "whole", stage=stage, steps=5, holdout=0.0, **init)
    Trainer(cfg).run()
    parts = replace(cfg, out=str(tmp_path / "parts"))
    Trainer(replace(parts, workers=2)).run(until=2)
    Trainer(replace(parts, workers=1), resume=True).run(until=4)
    Trainer(replace(parts, workers=0), resume=True).run()
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    drop = ("seconds", "steps_per_second", "seconds_left", "waiting")
    logs = [[{k: v for k, v in r.items() if k not in drop} for r in log(tmp_path / d)] for d in ("whole", "parts")]
    assert logs[0] == logs[1]


def test_a_run_by_the_clock(tiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps of a second after the first, which does not count; stopped in the middle and resumed, one more."""
    Clock(monkeypatch)
    cfg = config(tiled, tmp_path / "r", minutes=1 / 6, steps=3, lr=1e-3, validate_every=100, holdout=0.2)
    first = Trainer(cfg)
    first.run(until=5)
    assert (first.step, first.seconds, first.finished) == (5, 4.0, False)
    assert load_tensors(tmp_path / "r" / "state.safetensors")[1]["seconds"] == 4.0
    second = Trainer(cfg, resume=True)
    assert second.seconds == 4.0
    second.run()
    assert (second.step, second.seconds, second.finished) == (12, 10.0, True)
    records = [r for r in log(tmp_path / "r") if "loss" in r]
    rates = [r["lr"] for r in records]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1e-5)
    middle = next(r for r in records if r["seconds_left"] == 5.0)
    assert middle["lr"] == pytest.approx(1e-3 * (0.01 + 0.99 * 0.5))
    assert [r["step"] for r in log(tmp_path / "r") if "validation" in r] == [0, 12]  # before and at the end
    again = Trainer(cfg, resume=True)
    again.run()
    assert again.step == 12
    longer = Trainer(replace(cfg, minutes=0.2), resume=True)  # may be had any time
    longer.run()
    assert longer.step == 15


def test_a_step_that_is_not_finite_leaves_no_trace(tiled: Path, tmp_path: Path) -> None:
    whole, broken = (Trainer(config(tiled, tmp_path / n, holdout=0.0)) for n in ("a", "b"))
    for step in range(3):
        batch = broken.sampler.stage1(step)
        for each in (whole, broken):
            each.train_step(batch)
    before = [t.clone() for t in (*broken.average.values(), *broken.model.state_dict().values())]
    batch["ir"][0].x.fill_(float("inf"))
    values = broken.train_step(batch)
    assert float(values.finite) == 0
    assert (broken.step, broken.skipped) == (4, 1)
    after = (*broken.average.values(), *broken.model.state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    for p, q in zip(whole.trained.values(), broken.trained.values(), strict=True):
        assert all(torch.equal(v, broken.optimizer.state[q][k]) for k, v in whole.optimizer.state[p].items())


def test_checkpoints_of_before_go_on(tiled: Path, tmp_path: Path) -> None:
    """They have no seconds, and tensors lie in memory as files have them."""
    cfg = config(tiled, tmp_path / "r", holdout=0.0)
    Trainer(cfg).run(until=2)
    path = tmp_path / "r" / "state.safetensors"
    tensors, metadata = load_tensors(path)
    assert metadata.pop("seconds") > 0
    del metadata["config"]["workers"], metadata["config"]["minutes"]
    save_tensors(path, tensors, metadata)
    resumed = Trainer(cfg, resume=True)
    assert resumed.seconds == 0
    for p in resumed.trained.values():
        for key, value in resumed.optimizer.state[p].items():
            assert key == "step" or value.stride() == p.stride()
    resumed.run()
    Trainer(replace(cfg, out=str(tmp_path / "whole"))).run()
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "r"))


def test_steps_or_minutes_whichever_is_asked_for() -> None:
    for stage in (1, 2):
        for name in PRESETS:
            assert resolve_config(stage, name).stage == stage
        assert resolve_config(stage, "cpu") == resolve_config(stage)
        gpu = resolve_config(stage, "gpu")
        assert gpu.minutes > 0 and gpu.workers > 0 and gpu.eight_bits
        assert resolve_config(stage, "gpu", {"steps": 7}).minutes == 0
        assert resolve_config(stage, "gpu", settings=["steps=7"]).minutes == 0
        assert resolve_config(stage, "gpu", {"steps": 7, "minutes": 2.0}).minutes == 2
        assert resolve_config(stage, None, {"minutes": 2.0}).minutes == 2
    with pytest.raises(LureError, match="neither a file nor a preset") as caught:
        resolve_config(1, "tpu")
    assert "cpu, gpu" in caught.value.hint
    with pytest.raises(LureError, match=r"none\.toml: cannot be read"):
        resolve_config(1, "none.toml")


def test_settings_that_no_run_can_have(tiled: Path, tmp_path: Path) -> None:
    for key, value in (("workers", -1), ("minutes", -1.0)):
        with pytest.raises(LureError, match=key):
            Trainer(config(tiled, tmp_path / "r", **{key: value}))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_leaves_what_there_is(
    workers: int, tiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lure: Callable[..., Outcome]
) -> None:
    draw = Sampler.stage1

    def fails(sampler: Sampler, step: int, part: slice = slice(None)) -> Any:
        if step == 3:
            raise LureError("a picture is damaged", "get it again")
        return draw(sampler, step, part)

    monkeypatch.setattr(Sampler, "stage1", fails)
    settings = as_settings({"holdout": 0.0, "workers": workers, "steps": 5})
    done = lure("train", "stage1", "--data", tiled, "--out", tmp_path / "r", *settings)
    assert done.code == 2
    assert "error: a picture is damaged\nhint: get it again" in done.err
    assert load_model(tmp_path / "r" / "weights.safetensors")[2].steps == 3
    monkeypatch.setattr(Sampler, "stage1", draw)
    Trainer(config(tiled, tmp_path / "r", holdout=0.0, steps=5), resume=True).run()
    Trainer(config(tiled, tmp_path / "whole", holdout=0.0, steps=5)).run()
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "r"))


def test_an_error_before_the_first_step_writes_nothing(
    tiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Any:
        raise LureError("a picture is damaged", "get it again")

    monkeypatch.setattr(Sampler, "stage1", fails)
    with pytest.raises(LureError, match="damaged"):
        Trainer(config(tiled, tmp_path / "r", holdout=0.0)).run()
    assert not (tmp_path / "r" / "state.safetensors").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="process groups")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_ends_a_run_by_the_clock(
    number: signal.Signals, tiled: Path, tmp_path: Path
) -> None:
    """As Ctrl-C in a terminal and `timeout` send it: to the workers as well."""
    out = tmp_path / "r"
    settings = ["--config=gpu", "--minutes=60", "--device=cpu", *as_settings({"holdout": 0.0, "workers": 2})]
    settings.remove("--set=steps=4")
    args, env = command("-m", "lure_cli", "train", "stage1", "--data", tiled, "--out", out, *settings)
    run = subprocess.Popen(args, env=env, text=True, stderr=subprocess.PIPE, start_new_session=True)
    assert run.stderr
    while not (out / "log.jsonl").exists() or not (out / "log.jsonl").read_text():
        assert run.poll() is None
        time.sleep(0.02)
    workers = {int(pid) for pid in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()}
    assert len(workers) == 2
    os.killpg(run.pid, number)
    err = run.communicate(timeout=60)[1]
    assert run.returncode == 128 + number, err
    assert re.search(r"interrupted after 0\.\d of 60 minutes, step \d+: all is saved", err)
    assert "Traceback" not in err
    assert re.search(r"left=\d", err)
    step = load_tensors(out / "state.safetensors")[1]["step"]
    assert step == log(out)[-1]["step"] == load_model(out / "weights.safetensors")[2].steps
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_workers_do_not_outlive_a_killed_run(tiled: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    settings = as_settings({"holdout": 0.0, "workers": 2, "steps": 10**6})
    args, env = command("-m", "lure_cli", "train", "stage1", "--data", tiled, "--out", out, *settings)
    run = subprocess.Popen(args, env=env, stderr=subprocess.DEVNULL)
    while not (out / "log.jsonl").exists() or not (out / "log.jsonl").read_text():
        assert run.poll() is None
        time.sleep(0.02)
    workers = {int(pid) for pid in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()}
    assert len(workers) == 2
    run.kill()
    run.wait()
    until = time.monotonic() + 60
    while left := [pid for pid in workers if _alive(pid)]:
        assert time.monotonic() < until, left
        time.sleep(0.2)


def _alive(pid: int) -> bool:
    """Zombies, whose new parent has not asked for them yet, do not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
