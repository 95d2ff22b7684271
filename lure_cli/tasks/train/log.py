"""What a training run writes besides weights: log.jsonl, TensorBoard's event files, config.json."""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from lure_cli.config import TrainConfig
from lure_cli.core.files import sweep, write_file
from lure_cli.core.pixels import psnr
from lure_cli.tasks.train.stages import RestorationLoss
from lure_cli.tasks.train.validation import Outcome
from lure_cli.tasks.weights.hub import Notify
from lure_cli.version import __version__

Record = dict[str, Any]
"""One line of the log: step, loss and its parts, learning rate, seconds; stage I also has dB gained per task. Or step
and `validation`, the outcome of one."""
PICTURES = 20
"""Validations of a run whose pictures are kept at most: each takes one or two megabytes."""


class TrainLog:
    """The log of one run, open for writing.

    Args:
        out: folder of the run; `log.jsonl`, and event files in `tensorboard/`, go there.
        step: where the run starts or goes on; what an earlier try has logged beyond it is taken back.
        cfg: the run's configuration.
        notify: told once if there is no TensorBoard.
    """

    def __init__(self, out: Path, step: int, cfg: TrainConfig, notify: Notify) -> None:
        out.mkdir(parents=True, exist_ok=True)
        sweep(out)
        self._steps, self._pictured = cfg.steps, -1
        path = out / "log.jsonl"
        _cut(path, step)
        self._file = path.open("a")
        self._events: Any = None
        if cfg.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                notify(
                    'note: no TensorBoard files without it: pip install "lure-cli[train]" (or set tensorboard = false)'
                )
            else:
                self._events = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1 if step else None)

    def __enter__(self) -> TrainLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        if self._events:
            self._events.close()

    def write(self, record: Record) -> None:
        """One record of training."""
        self._line(record)
        self._scalars("train", {k: v for k, v in record.items() if k not in ("step", "seconds")}, record["step"])

    def write_validation(self, step: int, outcome: Outcome, best: bool) -> None:
        """The outcome of a validation, and whether it is the best so far."""
        self._line({"step": step, "validation": {**outcome.record, "best": best}})
        for key, value in outcome.record.items():
            values = {f"{key}/{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
            self._scalars("validation", values, step)
        if self._events and (part := step * PICTURES // max(1, self._steps)) != self._pictured:
            self._pictured = part
            for name, picture in outcome.pictures.items():
                self._events.add_image(f"validation/{name}", picture, step)

    def _line(self, record: Record) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def _scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        if self._events:
            for key, value in values.items():
                self._events.add_scalar(f"{group}/{key}", value, step)


def gains(loss: RestorationLoss) -> dict[str, float]:
    """What stage I logs of a batch: dB gained by task, of crops with one degradation; the PSNR of clean ones."""
    records = []
    for m, crops in loss.crops.items():
        after, before = psnr(loss.restored[m].detach(), crops.y), psnr(crops.x, crops.y)
        for names, a, b in zip(crops.names, after, before, strict=True):
            if not names:
                records.append({f"psnr_{m}_none": float(a)})
            elif len(names) == 1:
                records.append({f"gain_{m}_{names[0]}": float(a - b)})
    return means(records)


def means(records: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each key over the records that have it."""
    values = defaultdict[str, list[float]](list)
    for record in records:
        for k, v in record.items():
            values[k].append(v)
    return {k: sum(v) / len(v) for k, v in values.items()}


def _cut(path: Path, step: int) -> None:
    """Take back what was logged after `step`, and a line that a killed process has left half written."""
    if not path.exists():
        return
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    kept = []
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            if json.loads(line)["step"] <= step and line.endswith("\n"):
                kept.append(line)
    if kept != lines:
        write_file(path, "".join(kept).encode())


def write_config(path: Path, cfg: TrainConfig, rest: Mapping[str, Any]) -> None:
    """The resolved configuration as JSON, and under `run` what it ran with: revision, versions, and the rest."""
    revision, dirty = checkout()
    versions = {"lure-cli": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
    run = {"revision": revision, "dirty": dirty, "versions": versions, **rest}
    write_file(path, (json.dumps({**dataclasses.asdict(cfg), "run": run}, indent=1) + "\n").encode())


def checkout() -> tuple[str, bool]:
    """Git revision of the package's checkout, empty outside of one; and whether tracked files differ from it."""

    def git(*args: str) -> str:
        try:
            command = ["git", "-C", str(Path(__file__).parent), *args]
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    return git("rev-parse", "--short", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
