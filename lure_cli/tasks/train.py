"""Training: one loop for both stages."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from lure_cli.config import MODELS, Provenance, TrainConfig, from_mapping, load_toml, nearest, parse_setting
from lure_cli.core.checkpoint import FORMAT, load_model, load_tensors, new_model, save_model, save_tensors
from lure_cli.core.data import LIGHT, Sample, Sampler, find_corpus
from lure_cli.core.devices import autocast, native_bf16, pick_device, place
from lure_cli.core.losses import content_loss, fusion_loss, moment_distance, reconstruction_loss, task_weights
from lure_cli.core.model import Latent, Lure, Modality, psnr, stack
from lure_cli.core.text import TextEncoder, build_text_encoder
from lure_cli.errors import LureError
from lure_cli.tasks.weights import resolve_weights

B = TypeVar("B")
Record = dict[str, Any]
"""One line of the log: step, loss and its parts, learning rate, seconds; stage I also has dB gained per task."""


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
    path = config or Path(__file__).parent.parent / "presets" / f"stage{stage}.toml"
    values = {"stage": stage} | load_toml(path)
    if values["stage"] != stage:
        raise LureError(f"{path}: is for stage {values['stage']}", f"use `lure train stage{values['stage']}`")
    cfg = from_mapping(TrainConfig, values, str(path))
    overrides = {k: v for k, v in (flags or {}).items() if v is not None} | dict(map(parse_setting, settings))
    return from_mapping(TrainConfig, dataclasses.asdict(cfg) | overrides, "--set")


class Trainer:
    """The state of one run: model, averaged weights, optimiser, step.

    Files in `cfg.out`: `weights.safetensors` (averaged, half precision: what `lure fuse` loads), `state.safetensors`
    (everything needed to go on), `log.jsonl`, `config.json`.

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
        self.cfg, self.out, self.step, self.skipped = cfg, Path(cfg.out), 0, 0
        if cfg.threads:
            torch.set_num_threads(cfg.threads)
        if min(cfg.batch_vis, cfg.batch_ir if cfg.stage == 1 else cfg.batch_vis) < cfg.shards or cfg.shards < 1:
            raise LureError(f"{cfg.shards} shards of a batch with fewer crops", "lower shards or raise the batch")
        self._workers = ThreadPoolExecutor(cfg.shards)
        self.device = pick_device(cfg.device)
        self.amp = cfg.amp and native_bf16(self.device)
        corpus = find_corpus(Path(cfg.data), cfg.exclude)
        self.sampler = Sampler(corpus, cfg)
        self.model, self.text, before = self._initial_model()
        drawn = corpus.sets() if cfg.stage == 1 else tuple(corpus.fusion)
        self.sets = tuple(sorted({*before.data, *drawn}))
        place(self.model, self.device)
        self.trained = self._trained_parameters()
        for name, p in self.model.named_parameters():
            p.requires_grad_(name in self.trained)
        self.average = {k: p.detach().clone() for k, p in self.trained.items()}
        self.optimizer = torch.optim.AdamW(
            self.trained.values(), lr=cfg.lr, weight_decay=cfg.weight_decay, betas=(0.9, 0.99), fused=True
        )
        if resume:
            self._load_state()
        elif (self.out / "state.safetensors").exists():
            raise LureError(f"{self.out}: holds a run already", "go on with --resume, or choose another folder")

    def _initial_model(self) -> tuple[Lure, TextEncoder, Provenance]:
        if self.cfg.init:
            return load_model(resolve_weights(self.cfg.init))
        if self.cfg.stage == 2:
            raise LureError("stage II needs the weights of stage I", "give them with --init")
        model_cfg = MODELS[self.cfg.model]
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
        fixed = (".stem.", ".down.") if self.cfg.anchored else ()
        named = self.model.named_parameters()
        return {k: p for k, p in named if k.startswith(parts) and not any(f in k for f in fixed)}

    def run(self, on_log: Callable[[Record], None] | None = None, until: int | None = None) -> None:
        """Train up to `cfg.steps` (or `until`), writing log and checkpoints; `on_log` gets every log record."""
        cfg = self.cfg
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "config.json").write_text(json.dumps(dataclasses.asdict(cfg), indent=1) + "\n")
        end = min(cfg.steps, until or cfg.steps)
        draw = self.sampler.stage1 if cfg.stage == 1 else self.sampler.stage2
        saved = started = time.monotonic()
        first, sums = self.step, defaultdict[str, list[float]](list)
        with (self.out / "log.jsonl").open("a") as log:
            for batch in _prefetch(draw, range(self.step, end)):  # type: ignore[arg-type]
                parts = self._advance(batch)
                for k, v in parts.items():
                    sums[k].append(v)
                if self.step % cfg.log_every == 0 or self.step == end:
                    seconds = time.monotonic() - started
                    record: Record = {k: round(sum(v) / len(v), 5) for k, v in sorted(sums.items())}
                    record |= {"step": self.step, "lr": self._lr(), "skipped": self.skipped}
                    record |= {
                        "steps_per_second": round((self.step - first) / seconds, 3),
                        "seconds": round(seconds, 1),
                    }
                    log.write(json.dumps(record) + "\n")
                    log.flush()
                    sums.clear()
                    if on_log:
                        on_log(record)
                if time.monotonic() - saved > 60 * cfg.checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def _lr(self) -> float:
        """Linear warm-up, then a cosine down to 1 % of the learning rate."""
        cfg = self.cfg
        warm = min(1.0, (self.step + 1) / max(1, cfg.warmup))
        return cfg.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / cfg.steps))))

    def _advance(self, batch: Any) -> dict[str, float]:
        """One optimiser step; a non-finite loss or gradient is skipped and counted."""
        results = list(self._workers.map(self._gradients, self._split(batch)))
        loss = torch.stack([r[0] for r in results]).mean()
        for p, *shards in zip(self.trained.values(), *(r[1] for r in results), strict=True):
            # In the memory layout of the parameter: the fused optimiser pairs values by address, not by index.
            p.grad = torch.empty_like(p).copy_(torch.stack(shards).mean(0))
        parts = {k: v for r in results for k, v in r[2].items()}
        norm = torch.nn.utils.clip_grad_norm_(self.trained.values(), self.cfg.grad_clip)
        if torch.isfinite(loss) and torch.isfinite(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = self._lr()
            self.optimizer.step()
            decay = min(self.cfg.ema, (1 + self.step) / (10 + self.step))  # follow quickly at first
            torch._foreach_lerp_(list(self.average.values()), [p.data for p in self.trained.values()], 1 - decay)
            parts |= {"loss": float(loss.detach()), "grad_norm": float(norm)}
        else:
            self.skipped += 1
            parts = {}
        self.step += 1
        return parts

    def _split(self, batch: Any) -> list[Any]:
        """The shards of a batch: stage I a dict of sample lists, stage II a tuple of tensors."""
        n = self.cfg.shards
        if isinstance(batch, dict):
            return [{m: samples[i::n] for m, samples in batch.items()} for i in range(n)]
        return list(zip(*(t.chunk(n) for t in batch), strict=True))

    def _gradients(self, shard: Any) -> tuple[Tensor, tuple[Tensor, ...], dict[str, float]]:
        """Loss, gradients of the trained parameters and log values of one shard; runs in a thread of its own."""
        loss, parts = self._stage1_loss(shard) if self.cfg.stage == 1 else self._stage2_loss(*shard)
        return loss.detach(), torch.autograd.grad(loss, list(self.trained.values())), parts

    def _stage1_loss(self, batch: dict[Modality, list[Sample]]) -> tuple[Tensor, dict[str, float]]:
        cfg, model = self.cfg, self.model
        latents: dict[Modality, Latent] = {}
        inputs: dict[Modality, Tensor] = {}
        targets: dict[Modality, Tensor] = {}
        unified = torch.zeros((), device=self.device)
        parts: dict[str, float] = {}
        with autocast(self.device, torch.bfloat16 if self.amp else torch.float32):
            for m, samples in batch.items():
                if not samples:
                    continue
                x = inputs[m] = self._images([s.x for s in samples])
                y = targets[m] = self._images([s.y for s in samples])
                latents[m] = model.encode(x, self.text.encode([s.names for s in samples]).to(self.device), m)
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
            image = image.mean(1, keepdim=True) if m == "ir" else image
            rec = reconstruction_loss(image, y, cfg.w_ssim, cfg.w_grad)
            if cfg.balanced:
                light = torch.tensor([cfg.w_light if LIGHT & set(s.names) else 1.0 for s in batch[m]])
                rec = rec * light.to(y.device) * task_weights(inputs[m], y, cfg.w_ssim, cfg.w_grad)
            loss = loss + rec.sum() / len(decoded)
            after, before = psnr(image.detach(), y), psnr(inputs[m], y)
            for sample, a, b in zip(batch[m], after, before, strict=True):
                if not sample.names:
                    parts[f"psnr_{m}_none"] = float(a)
                elif len(sample.names) == 1:
                    parts[f"gain_{m}_{sample.names[0]}"] = float(a - b)
        return loss, parts

    def _stage2_loss(self, ir: Tensor, vis: Tensor) -> tuple[Tensor, dict[str, float]]:
        cfg, model = self.cfg, self.model
        ir, vis = self._images(list(ir)), self._images(list(vis))
        p0 = self.text.encode([()] * len(ir)).to(self.device)
        with autocast(self.device, torch.bfloat16 if self.amp else torch.float32):
            with torch.no_grad():
                f_ir, f_vis = model.encode(ir, p0, "ir"), model.encode(vis, p0, "vis")
            fused = model.decode(model.fusion(f_ir, f_vis)).float()
            single = [(model.decode(f_ir, "ir").float(), ir), (model.decode(f_vis, "vis").float(), vis)]
        weights = (cfg.w_int, cfg.w_fuse_grad, cfg.w_fuse_ssim, cfg.w_color)
        loss, parts = fusion_loss(fused, ir, vis, cfg.intensity, weights)
        keep = torch.stack([(x - y).abs().mean() for x, y in single]).mean()
        return loss + cfg.w_keep * keep, parts | {"keep": float(keep.detach())}

    def _images(self, images: list[Tensor]) -> Tensor:
        return torch.stack(images).to(self.device).contiguous(memory_format=torch.channels_last)

    def save(self) -> None:
        """Write `state.safetensors` and `weights.safetensors`, each whole or not at all."""
        tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for name, p in self.trained.items():
            for key, value in self.optimizer.state[p].items():
                tensors[f"optimizer.{key}.{name}"] = torch.as_tensor(value)
        metadata = {"format": FORMAT, "kind": "state", "step": self.step, "skipped": self.skipped}
        metadata["config"] = dataclasses.asdict(self.cfg)  # type: ignore[assignment]
        save_tensors(self.out / "state.safetensors", tensors, metadata)
        save_model(
            self.out / "weights.safetensors", self.averaged_model(), self.text, self._provenance(), torch.float16
        )

    def averaged_model(self) -> Lure:
        """A copy of the model with the averaged weights."""
        with torch.random.fork_rng(devices=[]):
            model = new_model(self.model.cfg, self.text)
        model.load_state_dict({**self.model.state_dict(), **self.average})
        return model

    def _provenance(self) -> Provenance:
        return Provenance(self.cfg.stage, self.step, self.cfg.seed, self.sets, _revision(), self.cfg.licence)

    def _load_state(self) -> None:
        path = self.out / "state.safetensors"
        tensors, metadata = load_tensors(path)
        old = metadata.get("config", {})
        for key in ("stage", "model", "seed"):
            if old.get(key) != getattr(self.cfg, key):
                raise LureError(
                    f"{path}: was trained with {key} = {old.get(key)!r}, not {getattr(self.cfg, key)!r}",
                    "resume with the same settings, or choose another folder",
                )
        groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for key, value in tensors.items():
            part, _, name = key.partition(".")
            groups[part][name] = value
        try:
            self.model.load_state_dict(groups["model"])
            for name, p in self.trained.items():
                self.average[name].copy_(groups["average"][name])
                state = {k: groups["optimizer"].get(f"{k}.{name}") for k in ("step", "exp_avg", "exp_avg_sq")}
                if state["step"] is not None:
                    self.optimizer.state[p] = {
                        # in the memory layout of the parameter, which the fused optimiser takes for granted
                        k: torch.empty_like(p).copy_(v) if v.dim() else v.to(self.device)
                        for k, v in state.items()
                        if v is not None
                    }
        except (KeyError, RuntimeError) as e:
            reason = str(e).splitlines()[0]
            raise LureError(f"{path}: does not fit the model ({reason})", "choose another folder") from e
        self.step, self.skipped = metadata["step"], metadata["skipped"]


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


def _revision() -> str:
    """Git revision of the working folder's checkout, empty outside of one."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
