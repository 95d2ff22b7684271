"""What each stage of training minimises: a model and a batch in, the loss and its named parts out.

Nothing here draws, logs or learns; training and validation share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lure_cli.config import TrainConfig
from lure_cli.core.devices import autocast
from lure_cli.core.model.lure import Latent, Lure, stack
from lure_cli.core.pixels import Modality
from lure_cli.core.text.encoders import OpenClipEncoder, TextEncoder
from lure_cli.core.training.losses import (
    FusionWeights,
    content_loss,
    fusion_loss,
    moment_distance,
    reconstruction_loss,
    task_weights,
)
from lure_cli.core.training.sampler import LIGHT, Sample

Batch = Mapping[Modality, Sequence[Sample]]
"""Of stage I: crops of each modality."""
Pairs = tuple[Tensor, Tensor]
"""Of stage II: ir (B, 1, S, S), vis (B, 3, S, S) in [0, 1]."""


class Crops(NamedTuple):
    """The samples of one modality on the model's device.

    x, y: (B, C, S, S) in [0, 1], degraded and clean. whole: (B, 3 C, T, T), the view of the whole image. t: (B, D), the
    prompts' vectors. names: the degradations that each prompt names.
    """

    x: Tensor
    y: Tensor
    whole: Tensor
    t: Tensor
    names: tuple[tuple[str, ...], ...]


class RestorationLoss(NamedTuple):
    """Stage I: the loss, its parts (unweighted), and by modality what went in and came out, (B, C, S, S) in [0, 1]."""

    total: Tensor
    parts: dict[str, float]
    crops: dict[Modality, Crops]
    restored: dict[Modality, Tensor]


class FusionLoss(NamedTuple):
    """Stage II: the loss and its parts (unweighted)."""

    total: Tensor
    parts: dict[str, float]


def stage1_loss(model: Lure, text: TextEncoder, batch: Batch, cfg: TrainConfig, amp: bool = False) -> RestorationLoss:
    """L_I = L_rec(D(E_m(x, T(p))), y) + L_unified, the mean over a batch (METHOD: stage I)."""
    device = model.pseudo_prompt.device
    crops = {m: _crops(samples, text, device) for m, samples in batch.items() if samples}
    with autocast(device, torch.bfloat16 if amp else torch.float32):
        conditions = {m: model.condition_from(c.whole, c.t, m) for m, c in crops.items()}
        latents = {m: model.encode(c.x, c.t, m, condition=conditions[m]) for m, c in crops.items()}
        loss, parts = unified_loss(model, text, latents, crops, cfg) if cfg.unified else (torch.zeros(()), {})
        decoded = model.decode(stack(list(latents.values()))).float()  # (sum of B, 3, S, S)
    images = torch.split(decoded, [len(c.x) for c in crops.values()])
    restored = {m: x.mean(1, keepdim=True) if m == "ir" else x for m, x in zip(crops, images, strict=True)}
    loss = loss.to(device)
    for m, c in crops.items():
        loss = loss + _task_losses(restored[m], c, cfg).sum() / len(decoded)
    return RestorationLoss(loss, parts, crops, restored)


def unified_loss(
    model: Lure,
    text: TextEncoder,
    latents: Mapping[Modality, Latent],
    crops: Mapping[Modality, Crops],
    cfg: TrainConfig,
) -> tuple[Tensor, dict[str, float]]:
    """L_unified, weighted, and its parts: latents near those of the clean images under p0 (content), with the same
    moments (distribution), and the moments of the two modalities' deepest latents alike."""
    total, parts = torch.zeros((), device=model.pseudo_prompt.device), {}
    for m, latent in latents.items():
        with torch.no_grad():
            clean = model.encode(crops[m].y, _p0(text, len(crops[m].y), total.device), m)
        content = content_loss(latent, clean)
        spread = moment_distance(latent, clean, per_image=True)
        total = total + cfg.w_content * content + cfg.w_distribution * spread
        parts[f"content_{m}"] = float(content.detach())
    if len(latents) == 2:
        modality = moment_distance(latents["ir"][-1:], latents["vis"][-1:], per_image=False)
        total = total + cfg.w_distribution * modality
        parts["modality"] = float(modality.detach())
    return total, parts


def _task_losses(restored: Tensor, crops: Crops, cfg: TrainConfig) -> Tensor:
    """L_rec of each image (B,), in relation to how hard its task is where tasks are balanced."""
    loss = reconstruction_loss(restored, crops.y, cfg.w_ssim, cfg.w_grad)
    if not cfg.balanced:
        return loss
    light = torch.tensor([cfg.w_light if LIGHT & set(names) else 1.0 for names in crops.names])
    return loss * light.to(loss.device) * task_weights(crops.x, crops.y, cfg.w_ssim, cfg.w_grad)


def stage2_loss(model: Lure, text: TextEncoder, pairs: Pairs, cfg: TrainConfig, amp: bool = False) -> FusionLoss:
    """L_II of clean pairs under p0 through frozen encoders (METHOD: stage II), and L_keep: the decoder still gives back
    each single image."""
    device = model.pseudo_prompt.device
    ir, vis = (_to_device(list(images), device) for images in pairs)
    p0 = _p0(text, len(ir), device)
    with autocast(device, torch.bfloat16 if amp else torch.float32):
        with torch.no_grad():
            f_ir, f_vis = model.encode(ir, p0, "ir"), model.encode(vis, p0, "vis")
        fused = model.decode(model.fusion(f_ir, f_vis)).float()
        single = [(model.decode(f_ir, "ir").float(), ir), (model.decode(f_vis, "vis").float(), vis)]
    weights = FusionWeights(cfg.w_int, cfg.w_fuse_grad, cfg.w_fuse_ssim, cfg.w_color, cfg.w_base, cfg.w_vif, cfg.w_edge)
    loss, parts = fusion_loss(fused, ir, vis, cfg.intensity, weights, cfg.vif_gain)
    keep = torch.stack([(x - y).abs().mean() for x, y in single]).mean()
    return FusionLoss(loss + cfg.w_keep * keep, parts | {"keep": float(keep.detach())})


def fuse_clean(model: Lure, text: TextEncoder, pairs: Pairs) -> Tensor:
    """The fused images (B, 3, S, S) of pairs that nothing is wrong with."""
    device = model.pseudo_prompt.device
    ir, vis = (_to_device(list(images), device) for images in pairs)
    p0 = _p0(text, len(ir), device)
    return model(ir, vis, p0, p0)


def split_batch(batch: Any, count: int) -> list[Any]:
    """The batch of either stage in `count` parts."""
    if isinstance(batch, dict):
        return [{m: samples[i::count] for m, samples in batch.items()} for i in range(count)]
    return [tuple(images[i::count] for images in batch) for i in range(count)]


def batch_size(batch: Any) -> int:
    """Number of images (stage I) or pairs (stage II)."""
    return sum(map(len, batch.values())) if isinstance(batch, dict) else len(batch[0])


def _crops(samples: Sequence[Sample], text: TextEncoder, device: torch.device) -> Crops:
    names = tuple(s.names for s in samples)
    t = text.encode(names, [s.text for s in samples]) if isinstance(text, OpenClipEncoder) else text.encode(names)
    x, y, whole = (_to_device([getattr(s, key) for s in samples], device) for key in ("x", "y", "whole"))
    return Crops(x, y, whole, t.to(device), names)


def _to_device(images: Sequence[Tensor], device: torch.device) -> Tensor:
    return torch.stack(list(images)).to(device).contiguous(memory_format=torch.channels_last)


def _p0(text: TextEncoder, count: int, device: torch.device) -> Tensor:
    """The pseudo prompt (B, D) of `count` images."""
    return text.encode([()] * count).to(device)
