"""Training: one loop for both stages."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from lure_cli.config import MODELS, SWITCHES, Provenance, TrainConfig, from_mapping, load_toml, nearest, parse_setting
from lure_cli.core.devices import autocast, native_bf16, place
from lure_cli.core.files import PACKAGE
from lure_cli.core.model.checkpoint import (
    load_model,
    load_state,
    load_tensors,
    new_model,
    save_model,
    save_state,
    with_tone,
)
from lure_cli.core.model.lure import ANCHORED, Latent, Lure, stack
from lure_cli.core.pixels import Modality, psnr
from lure_cli.core.text.encoders import OpenClipEncoder, TextEncoder, build_text_encoder
from lure_cli.core.training.corpus import ENOUGH, find_corpus, hold_out
from lure_cli.core.training.distributed import Group
from lure_cli.core.training.losses import (
    FusionWeights,
    content_loss,
    fusion_loss,
    moment_distance,
    reconstruction_loss,
    task_weights,
)
from lure_cli.core.training.muon import Muon
from lure_cli.core.training.sampler import LIGHT, Sample, Sampler
from lure_cli.errors import LureError
from lure_cli.tasks.train.log import Record, TrainLog, checkout, write_config
from lure_cli.tasks.train.validation import Outcome, Progress, restoration_cases, validate_fusion, validate_restoration
from lure_cli.tasks.weights.find import resolve_weights
from lure_cli.tasks.weights.hub import Notify

B = TypeVar("B")


def resolve_config(
    stage: int, config: Path | None = None, flags: Mapping[str, Any] | None = None, settings: Sequence[str] = ()
) -> TrainConfig:
    """The configuration of a run: a TOML file (or the shipped preset of the stage), then flags, then `key=value`.

    Args:
        stage: 1 or 2; a file for the other stage is refused.
        config: TOML file with keys of `TrainConfig`.
        flags: values that replace the file's; None is no value.
        settings: `key=value` strings, value in TOML syntax, that replace both.

    Raises:
        LureError: unreadable file, unknown key (with the nearest ones), wrong type, wrong stage.
    """
    path = config or PACKAGE / "presets" / f"stage{stage}.toml"
    values = {"stage": stage} | load_toml(path)
    if values["stage"] != stage:
        raise LureError(f"{path}: is for stage {values['stage']}", f"use `lure train stage{values['stage']}`")
    cfg = from_mapping(TrainConfig, values, str(path))
    overrides = {k: v for k, v in (flags or {}).items() if v is not None} | dict(map(parse_setting, settings))
    return from_mapping(TrainConfig, dataclasses.asdict(cfg) | overrides, "--set")


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
        if cfg.stage not in (1, 2):
            raise LureError(f"stage {cfg.stage} does not exist", "stage is 1 or 2")
        if not cfg.out:
            raise LureError("no output folder", "give it with --out")
        if cfg.model not in MODELS:
            raise LureError(f"model '{cfg.model}' is not known", f"known: {nearest(cfg.model, list(MODELS))}")
        for key, valid, rule in (
            ("holdout", 0 <= cfg.holdout < 1, "0 (none) or a share below 1"),
            ("validate_every", cfg.validate_every >= 1, "a number of steps, 1 or more"),
            ("validation_crops", cfg.validation_crops >= 1, "1 or more"),
            ("crop", not (cfg.stage == 2 and cfg.w_vif and cfg.crop < 41), "41 or more, or w_vif = 0"),
            ("patience", cfg.patience >= 0, "0 (never stop early) or more"),
        ):
            if not valid:
                raise LureError(f"{key} = {getattr(cfg, key)}: cannot be", f"give {rule}")
        self.cfg, self.out, self.step, self.skipped = cfg, Path(cfg.out), 0, 0
        self.progress = Progress()
        if cfg.threads:
            torch.set_num_threads(cfg.threads)
        self.corpus, self.held = hold_out(find_corpus(Path(cfg.data), cfg.exclude), cfg.holdout)
        if not self.corpus.fusion:
            raise LureError(f"{cfg.data}: no fusion pairs under fusion/<set>/train", "the README shows the layout")
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
        say: Notify = lambda _: None,
    ) -> None:
        """Train up to `cfg.steps`, writing log and checkpoints.

        Args:
            on_log: gets every log record.
            until: stop at this step.
            stop: asked after each step; once it says yes, a checkpoint is written and training ends.
            say: told what a person may want to know.
        """
        if not self.group.main:
            return self._loop(None, on_log, until, stop)
        with TrainLog(self.out, self.step, self.cfg, say) as log:
            about = {"device": str(self.device), "processes": self.group.size}
            about |= {"train": self.corpus.counts(), "held_out": self.held.counts()}
            write_config(self.out / "config.json", self.cfg, about)
            self._validation = self._prepare_validation(say)
            self._loop(log, on_log, until, stop)
        self.save()

    def _loop(
        self,
        log: TrainLog | None,
        on_log: Callable[[Record], None] | None,
        until: int | None,
        stop: Callable[[], object],
    ) -> None:
        """The steps of training; only the main process has a log."""
        cfg = self.cfg
        end = min(cfg.steps, until or cfg.steps)
        mine = slice(self.group.rank, None, self.group.size)
        draw: Callable[[int, slice], Any] = self.sampler.stage1 if cfg.stage == 1 else self.sampler.stage2
        saved = started = time.monotonic()
        first, sums = self.step, defaultdict[str, list[float]](list)
        if log and self.step == 0:
            self._look(log)
        steps = range(self.step, self.step if self.exhausted else end)
        for batch in _prefetch(lambda step: draw(step, mine), steps):
            for k, v in self._advance(batch).items():
                sums[k].append(v)
            if self.step % cfg.log_every == 0 or self.step == end:
                everywhere = self.group.gather(sums)
                joined = {k: [v for each in everywhere for v in each.get(k, ())] for each in everywhere for k in each}
                seconds = time.monotonic() - started
                record: Record = {k: round(sum(v) / len(v), 5) for k, v in sorted(joined.items())}
                record |= {"step": self.step, "lr": self._lr(), "skipped": self.skipped}
                record |= {"steps_per_second": round((self.step - first) / seconds, 3), "seconds": round(seconds, 1)}
                sums.clear()
                if log:
                    log.write(record)
                    if on_log:
                        on_log(record)
            if log:
                self._look(log)
                if time.monotonic() - saved > 60 * cfg.checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
            if self.group.any(self.exhausted or bool(stop())):
                break

    @property
    def exhausted(self) -> bool:
        """Whether the last `cfg.patience` validations were no better than one before."""
        return 0 < self.cfg.patience <= self.progress.since

    def _look(self, log: TrainLog) -> None:
        """Keep the averaged weights, or validate them, if this step is one for that."""
        if self.step in self.cfg.snapshots:
            self._save_weights(f"step-{self.step:08d}.safetensors")
        due = self.step % self.cfg.validate_every == 0 or self.step == self.cfg.steps
        if due and self._validation:
            with self._averaged():
                outcome = self._validation()
            best = self.progress.add(outcome.score, self.step)
            log.write_validation(self.step, outcome, best)
            if best:
                self._save_weights("best.safetensors")

    def _prepare_validation(self, say: Notify) -> Callable[[], Outcome] | None:
        """A function that validates the model as it is; None where nothing is held out."""
        sampler, crops = Sampler(self.held, self.cfg), self.cfg.validation_crops
        if self.cfg.stage == 1 and (cases := restoration_cases(sampler, crops)):
            return lambda: validate_restoration(cases, self._stage1_loss)
        if self.cfg.stage == 2 and (pairs := sampler.fixed_pairs(4 * crops)):
            return lambda: validate_fusion(pairs, self._stage2_loss, self._fuse)
        if self.cfg.holdout:
            say(f"note: no validation: no set has the {ENOUGH} images from which on some are held out")
        return None

    def _lr(self, step: int | None = None) -> float:
        """Linear warm-up, then a cosine down to 1 % of the learning rate."""
        cfg, step = self.cfg, self.step if step is None else step
        warm = min(1.0, (step + 1) / max(1, cfg.warmup))
        return cfg.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / cfg.steps))))

    def _advance(self, batch: Any) -> dict[str, float]:
        """One optimiser step from this process's part of a batch; a non-finite loss or gradient is skipped and counted.

        The gradient is that of the mean over the whole batch: each shard counts by its number of images. Only what
        L_unified draws from the statistics of several images (the spread of channels, the two modalities' moments)
        stays within a shard, so 2 processes train as one with twice the shards does.
        """
        cfg = self.cfg
        shards, images = self._split(batch), cfg.batch_vis + (cfg.batch_ir if cfg.stage == 1 else 0)
        results = list(self._workers.map(self._gradients, shards))
        shares = [_count(shard) / images for shard in shards]

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
            group["lr"] = self._lr(self.step - 1)
        self.optimizer.step()
        decay = min(cfg.ema, self.step / (9 + self.step))  # follow quickly at first
        torch._foreach_lerp_(list(self.average.values()), [p.data for p in self.trained.values()], 1 - decay)
        parts = _means(r[2] for r in results)
        return parts | {"loss": float(loss), "grad_norm": float(norm)}

    def _split(self, batch: Any) -> list[Any]:
        """The shards of a batch: stage I a dict of sample lists, stage II a tuple of tensors."""
        n = self.cfg.shards
        if isinstance(batch, dict):
            return [{m: samples[i::n] for m, samples in batch.items()} for i in range(n)]
        return [tuple(t[i::n] for t in batch) for i in range(n)]

    def _gradients(self, shard: Any) -> tuple[Tensor, tuple[Tensor, ...], dict[str, float]]:
        """Loss, gradients of the trained parameters and log values of one shard; runs in a thread of its own."""
        loss, parts = self._stage1_loss(shard)[:2] if self.cfg.stage == 1 else self._stage2_loss(*shard)
        return loss.detach(), torch.autograd.grad(loss, list(self.trained.values())), parts

    def _stage1_loss(
        self, batch: dict[Modality, list[Sample]]
    ) -> tuple[Tensor, dict[str, float], dict[Modality, Tensor]]:
        """The loss of a batch, values for the log, and the restored images of each modality."""
        cfg, model = self.cfg, self.model
        latents: dict[Modality, Latent] = {}
        inputs: dict[Modality, Tensor] = {}
        targets: dict[Modality, Tensor] = {}
        unified = torch.zeros((), device=self.device)
        parts: dict[str, float] = {}
        seen: list[dict[str, float]] = []
        restored: dict[Modality, Tensor] = {}
        with autocast(self.device, torch.bfloat16 if self.amp else torch.float32):
            for m, samples in batch.items():
                if not samples:
                    continue
                x = inputs[m] = self._images([s.x for s in samples])
                y = targets[m] = self._images([s.y for s in samples])
                texts = self._texts(samples)
                edit = model.edit_of(self._images([s.whole for s in samples]), texts, m)
                latents[m] = model.encode(x, texts, m, edit=edit)
                if cfg.unified:
                    with torch.no_grad():
                        clean = model.encode(y, self.text.encode([()] * len(samples)).to(self.device), m)
                    content = content_loss(latents[m], clean)
                    spread = moment_distance(latents[m], clean, per_image=True)
                    unified = unified + cfg.w_content * content + cfg.w_distribution * spread
                    parts[f"content_{m}"] = float(content.detach())
            if cfg.unified and len(latents) == 2:
                modality = moment_distance(latents["ir"][-1:], latents["vis"][-1:], per_image=False)
                unified = unified + cfg.w_distribution * modality
                parts["modality"] = float(modality.detach())
            decoded = model.decode(stack(list(latents.values()))).float()
        loss = unified
        for (m, y), image in zip(
            targets.items(), torch.split(decoded, [len(t) for t in targets.values()]), strict=True
        ):
            image = restored[m] = image.mean(1, keepdim=True) if m == "ir" else image
            rec = reconstruction_loss(image, y, cfg.w_ssim, cfg.w_grad)
            if cfg.balanced:
                light = torch.tensor([cfg.w_light if LIGHT & set(s.names) else 1.0 for s in batch[m]])
                rec = rec * light.to(y.device) * task_weights(inputs[m], y, cfg.w_ssim, cfg.w_grad)
            loss = loss + rec.sum() / len(decoded)
            after, before = psnr(image.detach(), y), psnr(inputs[m], y)
            for sample, a, b in zip(batch[m], after, before, strict=True):
                if not sample.names:
                    seen.append({f"psnr_{m}_none": float(a)})
                elif len(sample.names) == 1:
                    seen.append({f"gain_{m}_{sample.names[0]}": float(a - b)})
        return loss, parts | _means(seen), restored

    def _stage2_loss(self, ir: Tensor, vis: Tensor) -> tuple[Tensor, dict[str, float]]:
        cfg, model = self.cfg, self.model
        ir, vis = self._images(list(ir)), self._images(list(vis))
        p0 = self.text.encode([()] * len(ir)).to(self.device)
        with autocast(self.device, torch.bfloat16 if self.amp else torch.float32):
            with torch.no_grad():
                f_ir, f_vis = model.encode(ir, p0, "ir"), model.encode(vis, p0, "vis")
            fused = model.decode(model.fusion(f_ir, f_vis)).float()
            single = [(model.decode(f_ir, "ir").float(), ir), (model.decode(f_vis, "vis").float(), vis)]
        weights = FusionWeights(
            cfg.w_int, cfg.w_fuse_grad, cfg.w_fuse_ssim, cfg.w_color, cfg.w_base, cfg.w_vif, cfg.w_edge
        )
        loss, parts = fusion_loss(fused, ir, vis, cfg.intensity, weights, cfg.vif_gain)
        keep = torch.stack([(x - y).abs().mean() for x, y in single]).mean()
        return loss + cfg.w_keep * keep, parts | {"keep": float(keep.detach())}

    def _texts(self, samples: list[Sample]) -> Tensor:
        """The vectors (B, D) of the samples' prompts."""
        names = [s.names for s in samples]
        if isinstance(self.text, OpenClipEncoder):
            return self.text.encode(names, [s.text for s in samples]).to(self.device)
        return self.text.encode(names).to(self.device)

    def _fuse(self, ir: Tensor, vis: Tensor) -> Tensor:
        p0 = self.text.encode([()] * len(ir)).to(self.device)
        return self.model(self._images(list(ir)), self._images(list(vis)), p0, p0)

    def _images(self, images: list[Tensor]) -> Tensor:
        return torch.stack(images).to(self.device).contiguous(memory_format=torch.channels_last)

    def save(self) -> None:
        """Write `state.safetensors` and `weights.safetensors`, each whole or not at all."""
        metadata: dict[str, Any] = {"step": self.step, "skipped": self.skipped}
        metadata |= {"config": dataclasses.asdict(self.cfg), "progress": dataclasses.asdict(self.progress)}
        save_state(self.out / "state.safetensors", self.model, self.average, self.optimizer, metadata)
        self._save_weights("weights.safetensors")

    def _save_weights(self, name: str) -> None:
        save_model(self.out / name, self.averaged_model(), self.text, self._provenance(), torch.float16)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Within the context the model has the averaged weights, computes in float32 and learns nothing."""
        kept, amp = {k: p.detach().clone() for k, p in self.trained.items()}, self.amp
        with torch.no_grad():
            try:
                self.amp = False
                for k, p in self.trained.items():
                    p.copy_(self.average[k])
                yield
            finally:
                self.amp = amp
                for k, p in self.trained.items():
                    p.copy_(kept[k])

    def averaged_model(self) -> Lure:
        """A copy of the model with the averaged weights."""
        with torch.random.fork_rng(devices=[]):
            model = new_model(self.model.cfg, self.text)
        model.load_state_dict({**self.model.state_dict(), **self.average})
        return model

    def _provenance(self) -> Provenance:
        return Provenance(self.cfg.stage, self.step, self.cfg.seed, self.sets, self.revision, self.cfg.licence)

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


def _count(shard: Any) -> int:
    """Number of images (stage I) or pairs (stage II) of a shard."""
    return sum(map(len, shard.values())) if isinstance(shard, dict) else len(shard[0])


def _means(records: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each key over the records that have it."""
    values = defaultdict[str, list[float]](list)
    for record in records:
        for k, v in record.items():
            values[k].append(v)
    return {k: sum(v) / len(v) for k, v in values.items()}
