"""What a training run writes besides weights: log.jsonl, TensorBoard's event files, config.json."""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from lure_cli.config import TrainConfig
from lure_cli.core.files import sweep, write_file
from lure_cli.core.pixels import psnr
from lure_cli.tasks.train.stages import RestorationLoss
from lure_cli.tasks.train.validation import Outcome
from lure_cli.tasks.weights.hub import Notify
from lure_cli.version import __version__

Record = dict[str, Any]
"""One line of the log: step, loss and its parts, learning rate, seconds since the start and left, the share of the time
that went into waiting for batches; stage I also has dB gained per task. Or step and `validation`, the outcome of
one."""
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
        self._pictured = -1
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

    def write_validation(self, step: int, outcome: Outcome, best: bool, done: float) -> None:
        """The outcome of a validation, whether it is the best so far, and how much of the run is done, in [0, 1]."""
        self._line({"step": step, "validation": {**outcome.record, "best": best}})
        for key, value in outcome.record.items():
            values = {f"{key}/{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
            self._scalars("validation", values, step)
        if self._events and (part := int(done * PICTURES + 1e-6)) != self._pictured:
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


@dataclass(frozen=True)
class Values:
    """What a shard of a batch leaves for the log, still on the device.

    Attributes:
        parts: of the loss, 0-d.
        gains: of each image (B,) the dB that `keys` names: gained by its task, if it has one degradation; the PSNR of
            clean ones; None for all others.
    """

    parts: Mapping[str, Tensor]
    gains: Sequence[tuple[Sequence[str | None], Tensor]] = ()


@dataclass(frozen=True)
class StepValues:
    """What a step leaves for the log, still on the device: that of its shards, and 0-d the loss, the norm of the
    gradients, and whether they were finite (1 or 0)."""

    shards: Sequence[Values]
    loss: Tensor
    grad_norm: Tensor
    finite: Tensor


def measured(loss: RestorationLoss) -> Values:
    """What stage I logs of a batch."""
    gained = []
    for m, crops in loss.crops.items():
        keys = [f"psnr_{m}_none" if not n else f"gain_{m}_{n[0]}" if len(n) == 1 else None for n in crops.names]
        after, before = psnr(loss.restored[m].detach(), crops.y), psnr(crops.x, crops.y)
        asked = torch.tensor([float(bool(names)) for names in crops.names])
        gained.append((keys, after - before * asked.to(before.device, non_blocking=True)))
    return Values(loss.parts, gained)


def read_values(steps: Sequence[StepValues]) -> list[dict[str, float]]:
    """The values of each step that was finite, means over shards, read from the device at once."""
    if not steps:
        return []
    tensors = [t for step in steps for t in _tensors(step)]
    numbers = iter(torch.cat([t.detach().reshape(-1).float() for t in tensors]).tolist())
    records = []
    for step in steps:
        shards = []
        for shard in step.shards:
            parts = {key: next(numbers) for key in shard.parts}
            gained = [(key, next(numbers)) for keys, _ in shard.gains for key in keys]
            shards.append(parts | means({key: value} for key, value in gained if key))
        record = means(shards) | {key: next(numbers) for key in ("loss", "grad_norm")}
        if next(numbers):
            records.append(record)
    return records


def _tensors(step: StepValues) -> Iterator[Tensor]:
    """In the order in which `read_values` takes them."""
    for shard in step.shards:
        yield from shard.parts.values()
        yield from (values for _, values in shard.gains)
    yield from (step.loss, step.grad_norm, step.finite)


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
