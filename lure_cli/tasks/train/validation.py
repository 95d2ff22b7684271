"""Validation during training: fixed crops of held-out images, and the best so far."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lure_cli.config import TrainConfig
from lure_cli.core.model.lure import Lure
from lure_cli.core.pixels import Modality, psnr
from lure_cli.core.training.sampler import Sample, Sampler
from lure_cli.tasks.train.stages import Pairs, TextVectors, fuse_clean, stage1_loss, stage2_loss

CLEAN_ENOUGH = 50.0
"""dB to which clean images should stay themselves; more is no gain."""
CHUNK = 16
"""Crops at a time: the same whatever the batch of the run, as L_unified looks at batches."""

Cases = Mapping[Modality, Mapping[str, Sequence[Sample]]]
"""Samples of each restoration task, as `Sampler.fixed_cases` gives them."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one validation.

    Attributes:
        score: higher is better. Stage I: dB gained, mean over the tasks; that of clean images is what they fall short
            of `CLEAN_ENOUGH`, so it is never above zero. Stage II: minus the loss.
        record: for the log.
        pictures: (3, H, 3 W) in [0, 1] for the first sample of each task: input, output and target; of pairs the
            infrared, the visible and the fused image.
    """

    score: float
    record: dict[str, Any]
    pictures: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Progress:
    """The best validation so far; part of the checkpoint."""

    best: float | None = None
    step: int = 0
    since: int = 0
    """Validations since then."""

    def add(self, score: float, step: int) -> bool:
        """Take in one more; whether it is the best."""
        if math.isfinite(score) and (self.best is None or score > self.best):
            self.best, self.step, self.since = score, step, 0
            return True
        self.since += 1
        return False


def restoration_cases(sampler: Sampler, crops: int) -> Cases:
    """`crops` samples of each task that the sampler has held-out images for."""
    modalities: tuple[Modality, ...] = ("vis", "ir")
    return {m: cases for m in modalities if (cases := sampler.fixed_cases(m, crops))}


@torch.no_grad()
def validate_restoration(model: Lure, text: TextVectors, cases: Cases, cfg: TrainConfig) -> Outcome:
    """Stage I: PSNR of input and output per task, and the loss."""
    flat = {m: [(name, s) for name, samples in tasks.items() for s in samples] for m, tasks in cases.items()}
    count = sum(map(len, flat.values()))
    chunks = math.ceil(count / CHUNK)
    before, after = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    pictures: dict[str, Tensor] = {}
    total = 0.0
    for k in range(chunks):
        part = {m: each[k::chunks] for m, each in flat.items() if each[k::chunks]}
        result = stage1_loss(model, text, {m: [s for _, s in each] for m, each in part.items()}, cfg)
        total += float(result.total) * sum(map(len, part.values())) / count
        for m, each in part.items():
            images = result.restored[m].float().cpu()
            for (name, s), image in zip(each, images, strict=True):
                task = f"{m}_{name}"
                before[task] += psnr(s.x[None], s.y[None]).tolist()
                after[task] += psnr(image[None], s.y[None]).tolist()
                pictures.setdefault(task, _strip(s.x, image, s.y))
    psnrs, inputs = ({k: sum(v) / len(v) for k, v in sorted(d.items())} for d in (after, before))
    gains = {k: min(v, CLEAN_ENOUGH) - CLEAN_ENOUGH if _is_clean(k) else v - inputs[k] for k, v in psnrs.items()}
    score = sum(gains.values()) / len(gains)
    record = {
        "loss": round(total, 5),
        "score": round(score, 4),
        "psnr": {k: round(v, 3) for k, v in psnrs.items()},
        "psnr_input": {k: round(v, 3) for k, v in inputs.items() if not _is_clean(k)},
    }
    return Outcome(score, record, pictures)


@torch.no_grad()
def validate_fusion(model: Lure, text: TextVectors, pairs: Pairs, cfg: TrainConfig) -> Outcome:
    """Stage II: the loss and its parts; pictures of the first four pairs."""
    count, sums = len(pairs[0]), defaultdict[str, float](float)
    for ir, vis in zip(*(torch.split(images, CHUNK // 2) for images in pairs), strict=True):
        loss, parts = stage2_loss(model, text, (ir, vis), cfg)
        for k, v in {**parts, "loss": loss}.items():
            sums[k] += float(v) * len(ir) / count
    ir, vis = (images[:4] for images in pairs)
    fused = fuse_clean(model, text, (ir, vis)).float().cpu()
    pictures = {f"pair_{i}": _strip(*images) for i, images in enumerate(zip(ir, vis, fused, strict=True))}
    return Outcome(-sums["loss"], {k: round(v, 5) for k, v in sorted(sums.items())}, pictures)


def _is_clean(task: str) -> bool:
    return task.endswith("_none")


def _strip(*images: Tensor) -> Tensor:
    return torch.cat([i.expand(3, -1, -1) for i in images], dim=2).clamp(0, 1)
