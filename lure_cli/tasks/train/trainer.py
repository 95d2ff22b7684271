"""Training: one loop for both stages."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch

from lure_cli.config import MODELS, SWITCHES, Provenance, TrainConfig
from lure_cli.core.devices import native_bf16, place
from lure_cli.core.model.checkpoint import (
    load_model,
    load_state,
    load_tensors,
    new_model,
    save_model,
    save_state,
    with_tone,
)
from lure_cli.core.model.lure import ANCHORED, Lure
from lure_cli.core.text.encoders import OpenClipEncoder, TextEncoder, build_text_encoder
from lure_cli.core.text.vocabulary import ALL
from lure_cli.core.training.batches import Draw
from lure_cli.core.training.corpus import ENOUGH, find_corpus, hold_out
from lure_cli.core.training.distributed import Group
from lure_cli.core.training.gradients import Gradients
from lure_cli.core.training.loader import affordable, drawn
from lure_cli.core.training.muon import Muon, move_towards
from lure_cli.core.training.sampler import Sampler
from lure_cli.errors import LureError
from lure_cli.tasks.train.config import check_config
from lure_cli.tasks.train.log import (
    Record,
    StepValues,
    TrainLog,
    Values,
    checkout,
    means,
    measured,
    read_values,
    write_config,
)
from lure_cli.tasks.train.stages import TextVectors, batch_size, split_batch, stage1_loss, stage2_loss
from lure_cli.tasks.train.validation import Outcome, Progress, restoration_cases, validate_fusion, validate_restoration
from lure_cli.tasks.weights.find import resolve_weights
from lure_cli.tasks.weights.hub import Notify


class Trainer:
    """The state of one run: model, averaged weights, optimiser, step, seconds trained, best validation.

    A run ends after `cfg.steps` steps or, where `cfg.minutes` are given, after so much time, which does not count what
    comes before the first step of each start (reading images, a GPU's search for the fastest algorithms).

    Files in `cfg.out`: `weights.safetensors` (averaged, half precision: what `lure fuse` loads), `best.safetensors`
    (the same at the best validation), `state.safetensors` (everything needed to go on), `step-*.safetensors` (the
    averaged weights at `cfg.snapshots`), `log.jsonl`, `tensorboard/`, `config.json`.

    Started several times by `accelerate launch`, each process computes its part of every batch, and the main one
    alone writes; the folders must be the same for all.

    Raises:
        LureError: bad data folder, unknown model, stage II without `init`, or nothing to resume from.
    """

    def __init__(self, cfg: TrainConfig, resume: bool = False) -> None:
        check_config(cfg)
        self.cfg, self.out, self.step, self.seconds = cfg, Path(cfg.out), 0, 0.0
        self.progress, self._saved = Progress(), 0
        if cfg.threads:
            torch.set_num_threads(cfg.threads)
        self.corpus, self.held = hold_out(find_corpus(Path(cfg.data), cfg.exclude), cfg.holdout)
        if not self.corpus.fusion:
            raise LureError(
                f"{cfg.data}: no fusion pairs under fusion/<set>/train", "the training guide shows the layout"
            )
        self.group = Group(cfg.device)
        self.device, parts = self.group.device, cfg.shards * self.group.size
        if min(cfg.batch_vis, cfg.batch_ir if cfg.stage == 1 else cfg.batch_vis) < parts or cfg.shards < 1:
            what = f"{cfg.shards} shards in {self.group.size} processes" if self.group.size > 1 else f"{parts} shards"
            raise LureError(f"{what} of a batch with fewer crops", "lower shards or raise the batch")
        self._threads = ThreadPoolExecutor(cfg.shards)
        if self.device.type == "cuda":  # crops have one size, so the search for the fastest algorithms pays
            torch.backends.cudnn.benchmark = True
            torch.set_float32_matmul_precision("high")
        self.amp = cfg.amp and native_bf16(self.device)
        self.model, self.text, before = self._initial_model()
        self.vectors = TextVectors(self.text)
        self.sampler = Sampler(self.corpus, cfg, texts=isinstance(self.text, OpenClipEncoder))
        seen = self.corpus.sets() if cfg.stage == 1 else tuple(self.corpus.fusion)
        self.sets = tuple(sorted({*before.data, *seen}))
        self.degradations = ALL if cfg.stage == 1 else before.degradations
        self.revision = checkout()[0]
        place(self.model, self.device)
        self.trained = self._trained_parameters()
        for name, p in self.model.named_parameters():
            p.requires_grad_(name in self.trained)
        self.average = {k: p.detach().clone() for k, p in self.trained.items()}
        self.optimizer = Muon(self.trained.values(), cfg.lr, cfg.weight_decay)
        self._gradients = Gradients(list(self.trained.values()), cfg.shards)
        self._skipped = torch.zeros((), device=self.device)
        if resume:
            self._load_state()
        elif (self.out / "state.safetensors").exists():
            raise LureError(f"{self.out}: holds a run already", "go on with --resume, or choose another folder")
        self.group.copy_from_main([*self.model.state_dict().values(), *self.average.values()])

    def _initial_model(self) -> tuple[Lure, TextEncoder, Provenance]:
        if self.cfg.init:
            model, text, before = load_model(resolve_weights(self.cfg.init))
            for name in SWITCHES:
                if getattr(model.cfg, name) and not getattr(self.cfg, name):
                    raise LureError(f"{self.cfg.init}: has been trained with {name}", "train without --init instead")
            learns = self.cfg.stage == 1 and self.cfg.airlight  # stage II leaves the encoders as they are
            return with_tone(model, learns or None) if self.cfg.tone else model, text, before
        if self.cfg.stage == 2:
            raise LureError("stage II needs the weights of stage I", "give them with --init")
        switches = {name: getattr(self.cfg, name) for name in SWITCHES}
        switches["airlight"] &= switches["tone"]  # it is a part of that
        model_cfg = dataclasses.replace(MODELS[self.cfg.model], **switches)
        text = build_text_encoder(self.cfg.text_encoder, model_cfg.text_dim)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.cfg.seed)
            return new_model(model_cfg, text), text, Provenance()

    def _trained_parameters(self) -> dict[str, torch.nn.Parameter]:
        """Stage I: encoders (and decoder, if asked). Stage II: fusion module and decoder; the rest is frozen.

        Under `anchored`, stage I leaves alone what alone shapes a clean image's latent (stem and downsampling): the
        target of L_unified stands still, and a fusion module fits all later encoders of the same run.
        """
        stage1 = ("encoders.", "decoder.") if self.cfg.train_decoder else ("encoders.",)
        parts = stage1 if self.cfg.stage == 1 else ("fusion.", "decoder.")
        fixed = ANCHORED if self.cfg.anchored else ()
        named = self.model.named_parameters()
        return {k: p for k, p in named if k.startswith(parts) and not any(f in k for f in fixed)}

    def run(
        self,
        on_log: Callable[[Record], None] | None = None,
        until: int | None = None,
        stop: Callable[[], object] = lambda: False,
        notify: Notify = lambda _: None,
    ) -> None:
        """Train to the end, writing log and checkpoints. What ends it early, errors too, ends it with a checkpoint.

        Args:
            on_log: gets every log record, in the main process.
            until: stop at this step.
            stop: asked after each step; once it says yes, a checkpoint is written and training ends.
            notify: shows a line that a person may want to know.
        """
        opened: AbstractContextManager[TrainLog | None] = nullcontext()
        if self.group.main:  # it alone writes
            opened = TrainLog(self.out, self.step, self.cfg, notify)
        self._saved = self.step
        try:
            with opened as log:
                self._train(log, on_log, until, stop, notify)
        except Exception:
            if self.group.main and self.step > self._saved:
                with suppress(Exception):  # such as the one that is on its way
                    self.save()
            raise

    def _train(
        self,
        log: TrainLog | None,
        on_log: Callable[[Record], None] | None,
        until: int | None,
        stop: Callable[[], object],
        notify: Notify,
    ) -> None:
        """See `run`; log: None in all but the main process."""
        cfg = self.cfg
        validate = None
        if log:
            run = {"device": str(self.device), "processes": self.group.size}
            run |= {"train": self.corpus.counts(), "held_out": self.held.counts()}
            write_config(self.out / "config.json", cfg, run)
            validate = self.prepare_validation(notify)
            if self.step == 0:
                self._keep_and_validate(validate, log)
        first, before, waited = self.step, self.seconds, 0.0
        end = min(sys.maxsize if cfg.minutes else cfg.steps, until or sys.maxsize)
        steps = range(first, first if self.exhausted or self.finished else end)
        pending: list[StepValues] = []
        with self._batches(steps, notify) as batches:
            begun = asked = saved = logged = time.monotonic()
            started: float | None = None  # when the first step was done
            for batch in batches:
                waited += time.monotonic() - asked
                pending.append(self.train_step(batch))
                started = started or time.monotonic()
                seconds = before + time.monotonic() - started
                stopped, self.seconds = self.group.agree(bool(stop()), seconds)
                last = stopped or self.finished or self.step == end
                if self.step % cfg.log_every == 0 or last:
                    now = time.monotonic()
                    took = max(now - logged, 1e-9)  # some systems' clocks stand still for a moment
                    record = self._record(pending) | {"seconds": round(now - begun, 1)}
                    rate = len(pending) / took
                    left = 60 * cfg.minutes - self.seconds if cfg.minutes else (cfg.steps - self.step) / rate
                    record |= {"steps_per_second": round(rate, 3), "waiting": round(waited / took, 3)}
                    record |= {"seconds_left": round(max(0.0, left), 1)}
                    pending, waited, logged = [], 0.0, now
                    if log:
                        log.write(record)
                        if on_log:
                            on_log(record)
                if log:
                    self._keep_and_validate(validate, log)
                    if time.monotonic() - saved > 60 * cfg.checkpoint_minutes:
                        self.save()
                        saved = time.monotonic()
                if self.step % cfg.validate_every == 0:
                    last = self.group.agree(last or self.exhausted)[0]
                if last:
                    break
                asked = time.monotonic()
            if self.group.main:
                self.save()  # before the workers, which finish what they draw, have ended

    def _batches(self, steps: range, notify: Notify) -> AbstractContextManager[Iterator[Any]]:
        """This process's part of the batches of these steps."""
        cfg, workers = self.cfg, self.cfg.workers
        draw = Draw(self.sampler, slice(self.group.rank, None, self.group.size))
        if workers and steps:
            if sys.platform == "linux":  # there the workers are forked, and share what is in memory by then
                threads = torch.get_num_threads()
                torch.set_num_threads(1)  # of each of those that read
                self.sampler.preload(min(16, os.cpu_count() or 1))
                torch.set_num_threads(threads)
            workers = affordable(workers, draw.nbytes())
            if workers < cfg.workers:
                notify(f"note: {workers} of {cfg.workers} workers: shared memory (/dev/shm) has no room for more")
        return drawn(draw, steps, workers, pin=self.device.type == "cuda")

    def train_step(self, batch: Any) -> StepValues:
        """One optimiser step from this process's part of a batch; values for the log. A step whose loss or gradient is
        not finite changes nothing, and is counted. The host does not wait for the device.

        The gradient is that of the mean over the whole batch: each shard counts by its number of images. Only what
        L_unified draws from the statistics of several images (the spread of channels, the two modalities' moments)
        stays within a shard, so 2 processes train as one with twice the shards does.
        """
        cfg, gradients = self.cfg, self._gradients
        if cfg.shards == 1:
            values = [self._backward(0, batch)]
        else:
            values = list(self._threads.map(self._backward, range(cfg.shards), split_batch(batch, cfg.shards)))
        flat = gradients.sum()
        if self.group.size > 1:
            flat.copy_(self.group.sum([flat])[0])
        loss, norm, finite = gradients.clip(cfg.grad_clip)
        for p, gradient in zip(self.trained.values(), gradients.views[0], strict=True):
            p.grad = gradient
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.optimizer.step(go=finite)
        self.step += 1
        self._skipped += 1 - finite
        decay = min(cfg.ema, self.step / (9 + self.step))  # follow quickly at first
        with torch.no_grad():
            move_towards(list(self.average.values()), list(self.trained.values()), finite * (1 - decay))
        return StepValues(values, loss, norm, finite)

    def _backward(self, shard: int, batch: Any) -> Values:
        """Leave loss and gradients of one shard in `_gradients`; values for the log. Runs in a thread of its own."""
        cfg = self.cfg
        if cfg.stage == 1:
            restoration = stage1_loss(self.model, self.vectors, batch, cfg, self.amp)
            loss, values = restoration.total, measured(restoration)
        else:
            loss, parts = stage2_loss(self.model, self.vectors, batch, cfg, self.amp)
            values = Values(parts)
        images = cfg.batch_vis + (cfg.batch_ir if cfg.stage == 1 else 0)
        found = torch.autograd.grad(loss, list(self.trained.values()))
        self._gradients.put(shard, loss, found, batch_size(batch) / images)
        return values

    def _record(self, steps: Sequence[StepValues]) -> Record:
        """The means of what these steps of all processes left."""
        everywhere = self.group.gather(read_values(steps))
        means_ = means([record for each in everywhere for record in each])
        record: Record = {k: round(v, 5) for k, v in sorted(means_.items())}
        return record | {"step": self.step, "lr": self.learning_rate(self.step), "skipped": self.skipped}

    def learning_rate(self, step: int) -> float:
        """Linear warm-up in steps, then a cosine down to 1 % of the learning rate, in steps or in time."""
        warm = min(1.0, (step + 1) / max(1, self.cfg.warmup))
        cosine = 0.5 * (1 + math.cos(math.pi * self._done(step)))
        return self.cfg.lr * warm * (0.01 + 0.99 * cosine)

    def _done(self, step: int) -> float:
        """The share of the run that is done at a step, in [0, 1]."""
        minutes = self.cfg.minutes
        return min(1.0, self.seconds / 60 / minutes if minutes else step / max(1, self.cfg.steps))

    @property
    def skipped(self) -> int:
        """Number of steps that were not finite."""
        return int(self._skipped)

    @property
    def finished(self) -> bool:
        """Whether the run has had its time, or its steps."""
        return self._done(self.step) >= 1

    @property
    def exhausted(self) -> bool:
        """Whether the last `cfg.patience` validations were no better than one before."""
        return 0 < self.cfg.patience <= self.progress.since

    def prepare_validation(self, notify: Notify) -> Callable[[Lure], Outcome] | None:
        """A function that validates a model; None where nothing is held out."""
        cfg, sampler = self.cfg, Sampler(self.held, self.cfg)
        if cfg.stage == 1 and (cases := restoration_cases(sampler, cfg.validation_crops)):
            return lambda model: validate_restoration(model, self.vectors, cases, cfg)
        if cfg.stage == 2 and (pairs := sampler.fixed_pairs(4 * cfg.validation_crops)):
            return lambda model: validate_fusion(model, self.vectors, pairs, cfg)
        if cfg.holdout:
            notify(f"note: no validation: no set has the {ENOUGH} images from which on some are held out")
        return None

    def _keep_and_validate(self, validate: Callable[[Lure], Outcome] | None, log: TrainLog) -> None:
        """Keep the averaged weights, or validate them, if this step is one for that."""
        if self.step in self.cfg.snapshots:
            self._save_weights(f"step-{self.step:08d}.safetensors")
        if validate and (self.step % self.cfg.validate_every == 0 or self.finished):
            searching = torch.backends.cudnn.benchmark
            torch.backends.cudnn.benchmark = False  # batches of many sizes, each seen once or twice
            outcome = validate(self.averaged_model())
            torch.backends.cudnn.benchmark = searching
            best = self.progress.add(outcome.score, self.step)
            log.write_validation(self.step, outcome, best, self._done(self.step))
            if best:
                self._save_weights("best.safetensors")

    def save(self) -> None:
        """Write `state.safetensors` and `weights.safetensors`, each whole or not at all."""
        metadata: dict[str, Any] = {"step": self.step, "seconds": self.seconds, "skipped": self.skipped}
        metadata |= {"config": dataclasses.asdict(self.cfg), "progress": dataclasses.asdict(self.progress)}
        save_state(self.out / "state.safetensors", self.model, self.average, self.optimizer, metadata)
        self._save_weights("weights.safetensors")
        self._saved = self.step

    def _save_weights(self, name: str) -> None:
        save_model(self.out / name, self.averaged_model(), self.text, self._provenance(), torch.float16)

    def averaged_model(self) -> Lure:
        """A copy of the model with the averaged weights."""
        model = copy.deepcopy(self.model)
        model.load_state_dict(self.average, strict=False)
        return model

    def _provenance(self) -> Provenance:
        cfg, names = self.cfg, self.degradations
        return Provenance(cfg.stage, self.step, cfg.seed, self.sets, self.revision, cfg.licence, degradations=names)

    def _load_state(self) -> None:
        path = self.out / "state.safetensors"
        tensors, metadata = load_tensors(path)
        old = metadata.get("config", {})
        for key in ("stage", "model", "seed", "holdout"):
            if old.get(key, 0.0) != getattr(self.cfg, key):
                raise LureError(
                    f"{path}: was trained with {key} = {old.get(key)!r}, not {getattr(self.cfg, key)!r}",
                    "resume with the same settings, or choose another folder",
                )
        try:
            load_state(tensors, self.model, self.average, self.optimizer)
        except (KeyError, RuntimeError) as e:
            reason = str(e).splitlines()[0]
            raise LureError(f"{path}: does not fit the model ({reason})", "choose another folder") from e
        self.step, self.seconds = metadata["step"], metadata.get("seconds", 0.0)
        self._skipped.fill_(metadata["skipped"])
        self.progress = Progress(**metadata.get("progress", {}))
