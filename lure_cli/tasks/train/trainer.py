"""Training: one loop for both stages."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

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
from lure_cli.core.training.corpus import ENOUGH, find_corpus, hold_out
from lure_cli.core.training.distributed import Group
from lure_cli.core.training.muon import Muon
from lure_cli.core.training.sampler import Sampler
from lure_cli.errors import LureError
from lure_cli.tasks.train.config import check_config
from lure_cli.tasks.train.log import Record, TrainLog, checkout, gains, means, write_config
from lure_cli.tasks.train.stages import batch_size, split_batch, stage1_loss, stage2_loss
from lure_cli.tasks.train.validation import Outcome, Progress, restoration_cases, validate_fusion, validate_restoration
from lure_cli.tasks.weights.find import resolve_weights
from lure_cli.tasks.weights.hub import Notify

B = TypeVar("B")


class Trainer:
    """The state of one run: model, averaged weights, optimiser, step, best validation.

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
        self.cfg, self.out, self.step, self.skipped = cfg, Path(cfg.out), 0, 0
        self.progress = Progress()
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
        self._workers = ThreadPoolExecutor(cfg.shards)
        self.amp = cfg.amp and native_bf16(self.device)
        self.model, self.text, before = self._initial_model()
        self.sampler = Sampler(self.corpus, cfg, texts=isinstance(self.text, OpenClipEncoder))
        drawn = self.corpus.sets() if cfg.stage == 1 else tuple(self.corpus.fusion)
        self.sets = tuple(sorted({*before.data, *drawn}))
        self.degradations = ALL if cfg.stage == 1 else before.degradations
        self.revision = checkout()[0]
        place(self.model, self.device)
        self.trained = self._trained_parameters()
        for name, p in self.model.named_parameters():
            p.requires_grad_(name in self.trained)
        self.average = {k: p.detach().clone() for k, p in self.trained.items()}
        self.optimizer = Muon(self.trained.values(), cfg.lr, cfg.weight_decay)
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
            return with_tone(model) if self.cfg.tone else model, text, before
        if self.cfg.stage == 2:
            raise LureError("stage II needs the weights of stage I", "give them with --init")
        switches = {name: getattr(self.cfg, name) for name in SWITCHES}
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
        """Train up to `cfg.steps`, writing log and checkpoints.

        Args:
            on_log: gets every log record, in the main process.
            until: stop at this step.
            stop: asked after each step; once it says yes, a checkpoint is written and training ends.
            notify: shows a line that a person may want to know.
        """
        cfg, main = self.cfg, self.group.main
        end = min(cfg.steps, until or cfg.steps)
        draw: Callable[[int, slice], Any] = self.sampler.stage1 if cfg.stage == 1 else self.sampler.stage2
        mine = slice(self.group.rank, None, self.group.size)
        opened: AbstractContextManager[TrainLog | None] = nullcontext()
        if main:  # it alone writes
            opened = TrainLog(self.out, self.step, cfg, notify)
        with opened as log:
            if log:
                run = {"device": str(self.device), "processes": self.group.size}
                run |= {"train": self.corpus.counts(), "held_out": self.held.counts()}
                write_config(self.out / "config.json", cfg, run)
                validate = self.prepare_validation(notify)
                if self.step == 0:
                    self._keep_and_validate(validate, log)
            saved = started = time.monotonic()
            first, logged = self.step, defaultdict[str, list[float]](list)
            steps = range(first, first if self.exhausted else end)
            for batch in _prefetch(lambda step: draw(step, mine), steps):
                for key, value in self.train_step(batch).items():
                    logged[key].append(value)
                if self.step % cfg.log_every == 0 or self.step == end:
                    everywhere = self.group.gather(dict(logged))
                    logged.clear()
                    seconds = time.monotonic() - started
                    record: Record = {k: round(v, 5) for k, v in sorted(_mean_over_processes(everywhere).items())}
                    record |= {"step": self.step, "lr": self.learning_rate(self.step), "skipped": self.skipped}
                    record |= {"steps_per_second": round((self.step - first) / seconds, 3)}
                    record |= {"seconds": round(seconds, 1)}
                    if log:
                        log.write(record)
                        if on_log:
                            on_log(record)
                if log:
                    self._keep_and_validate(validate, log)
                    if time.monotonic() - saved > 60 * cfg.checkpoint_minutes:
                        self.save()
                        saved = time.monotonic()
                if self.group.any(self.exhausted or bool(stop())):
                    break
        if main:
            self.save()

    def train_step(self, batch: Any) -> dict[str, float]:
        """One optimiser step from this process's part of a batch; values for the log. A step whose loss or gradient is
        not finite changes nothing, and is counted.

        The gradient is that of the mean over the whole batch: each shard counts by its number of images. Only what
        L_unified draws from the statistics of several images (the spread of channels, the two modalities' moments)
        stays within a shard, so 2 processes train as one with twice the shards does.
        """
        cfg = self.cfg
        shards, images = split_batch(batch, cfg.shards), cfg.batch_vis + (cfg.batch_ir if cfg.stage == 1 else 0)
        results = list(self._workers.map(self._gradients, shards))
        shares = [batch_size(shard) / images for shard in shards]

        def weigh(each: Sequence[Tensor]) -> Tensor:
            return torch.stack([share * value for share, value in zip(shares, each, strict=True)]).sum(0)

        values = zip(*((loss, *gradients) for loss, gradients, _ in results), strict=True)
        loss, *gradients = self.group.sum([weigh(each) for each in values])
        for p, gradient in zip(self.trained.values(), gradients, strict=True):
            p.grad = gradient
        norm = torch.nn.utils.clip_grad_norm_(self.trained.values(), cfg.grad_clip)
        self.step += 1
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            self.skipped += 1
            return {}
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step - 1)
        self.optimizer.step()
        decay = min(cfg.ema, self.step / (9 + self.step))  # follow quickly at first
        torch._foreach_lerp_(list(self.average.values()), [p.data for p in self.trained.values()], 1 - decay)
        return means(logged for _, _, logged in results) | {"loss": float(loss), "grad_norm": float(norm)}

    def _gradients(self, shard: Any) -> tuple[Tensor, tuple[Tensor, ...], dict[str, float]]:
        """Loss, gradients of the trained parameters and log values of one shard; runs in a thread of its own."""
        if self.cfg.stage == 1:
            restoration = stage1_loss(self.model, self.text, shard, self.cfg, self.amp)
            loss, logged = restoration.total, restoration.parts | gains(restoration)
        else:
            loss, logged = stage2_loss(self.model, self.text, shard, self.cfg, self.amp)
        return loss.detach(), torch.autograd.grad(loss, list(self.trained.values())), logged

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to 1 % of the learning rate."""
        warm = min(1.0, (step + 1) / max(1, self.cfg.warmup))
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.cfg.steps)))
        return self.cfg.lr * warm * (0.01 + 0.99 * cosine)

    @property
    def exhausted(self) -> bool:
        """Whether the last `cfg.patience` validations were no better than one before."""
        return 0 < self.cfg.patience <= self.progress.since

    def prepare_validation(self, notify: Notify) -> Callable[[Lure], Outcome] | None:
        """A function that validates a model; None where nothing is held out."""
        cfg, sampler = self.cfg, Sampler(self.held, self.cfg)
        if cfg.stage == 1 and (cases := restoration_cases(sampler, cfg.validation_crops)):
            return lambda model: validate_restoration(model, self.text, cases, cfg)
        if cfg.stage == 2 and (pairs := sampler.fixed_pairs(4 * cfg.validation_crops)):
            return lambda model: validate_fusion(model, self.text, pairs, cfg)
        if cfg.holdout:
            notify(f"note: no validation: no set has the {ENOUGH} images from which on some are held out")
        return None

    def _keep_and_validate(self, validate: Callable[[Lure], Outcome] | None, log: TrainLog) -> None:
        """Keep the averaged weights, or validate them, if this step is one for that."""
        if self.step in self.cfg.snapshots:
            self._save_weights(f"step-{self.step:08d}.safetensors")
        if validate and (self.step % self.cfg.validate_every == 0 or self.step == self.cfg.steps):
            outcome = validate(self.averaged_model())
            best = self.progress.add(outcome.score, self.step)
            log.write_validation(self.step, outcome, best)
            if best:
                self._save_weights("best.safetensors")

    def save(self) -> None:
        """Write `state.safetensors` and `weights.safetensors`, each whole or not at all."""
        metadata: dict[str, Any] = {"step": self.step, "skipped": self.skipped}
        metadata |= {"config": dataclasses.asdict(self.cfg), "progress": dataclasses.asdict(self.progress)}
        save_state(self.out / "state.safetensors", self.model, self.average, self.optimizer, metadata)
        self._save_weights("weights.safetensors")

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
        self.step, self.skipped = metadata["step"], metadata["skipped"]
        self.progress = Progress(**metadata.get("progress", {}))


def _prefetch(draw: Callable[[int], B], steps: range) -> Iterator[B]:
    """Draw the next batch in a second thread while the present one is trained on."""
    if not steps:
        return
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(draw, steps[0])
        for step in steps:
            batch = ahead.result()
            if step + 1 in steps:
                ahead = pool.submit(draw, step + 1)
            yield batch


def _mean_over_processes(everywhere: Sequence[dict[str, list[float]]]) -> dict[str, float]:
    """The mean of each value over all that the processes have logged; some log what others do not."""
    values = {k: [v for each in everywhere for v in each.get(k, ())] for each in everywhere for k in each}
    return {k: sum(v) / len(v) for k, v in values.items()}
