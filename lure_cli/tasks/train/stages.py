"""What each stage of training minimises: a model and a batch in, the loss and its named parts out.

Nothing here draws, logs or learns; training and validation share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lure_cli.config import TrainConfig
from lure_cli.core.devices import autocast
from lure_cli.core.model.context import Condition
from lure_cli.core.model.lure import Latent, Lure, stack
from lure_cli.core.model.tone_curve import ToneCurve
from lure_cli.core.pixels import Modality
from lure_cli.core.text.encoders import OpenClipEncoder, TextEncoder
from lure_cli.core.training.batches import Packed, pack, unpack_images
from lure_cli.core.training.losses import (
    FusionWeights,
    charbonnier,
    content_loss,
    fusion_loss,
    level_loss,
    moment_distance,
    reconstruction_loss,
    task_weights,
)
from lure_cli.core.training.sampler import LIGHT, Sample

CLIPPED = 0.98
"""What is brighter may have been clipped: no curve brings it back."""

Batch = Mapping[Modality, Packed | Sequence[Sample]]
"""Of stage I: crops of each modality."""
Pairs = tuple[Tensor, Tensor]
"""Of stage II: ir (B, 1, S, S), vis (B, 3, S, S), as `pack_images` gives them."""


class TextVectors:
    """A text encoder that remembers what it was asked, on the host: a batch takes one copy to the device."""

    def __init__(self, text: TextEncoder) -> None:
        self._text, self._known = text, dict[tuple[tuple[str, ...], str], Tensor]()

    def encode(self, names: Sequence[tuple[str, ...]], texts: Sequence[str]) -> Tensor:
        """The prompts' vectors (B, D); texts: in words, where the encoder reads words, as `OpenClipEncoder.encode`."""
        asked = list(zip(names, texts, strict=True))
        if new := [each for each in dict.fromkeys(asked) if each not in self._known]:
            text, plain, worded = self._text, [each for each, _ in new], [each for _, each in new]
            vectors = text.encode(plain, worded) if isinstance(text, OpenClipEncoder) else text.encode(plain)
            self._known |= zip(new, vectors, strict=True)
        return torch.stack([self._known[each] for each in asked])


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
    parts: dict[str, Tensor]
    crops: dict[Modality, Crops]
    restored: dict[Modality, Tensor]


class FusionLoss(NamedTuple):
    """Stage II: the loss and its parts (unweighted)."""

    total: Tensor
    parts: dict[str, Tensor]


def stage1_loss(model: Lure, text: TextVectors, batch: Batch, cfg: TrainConfig, amp: bool = False) -> RestorationLoss:
    """L_I = L_rec(D(E_m(x, T(p))), y) + L_unified, the mean over a batch (METHOD: stage I).

    As in all of this module, nothing is read back from the device: the host goes on while it computes.
    """
    device = model.pseudo_prompt.device
    crops = {m: _crops(samples, text, device) for m, samples in batch.items() if samples}
    with autocast(device, torch.bfloat16 if amp else torch.float32):
        conditions = {m: model.condition_from(c.whole, c.t, m) for m, c in crops.items()}
        latents = {m: model.encode(c.x, c.t, m, condition=conditions[m]) for m, c in crops.items()}
        loss, parts = torch.zeros((), device=device), dict[str, Tensor]()
        if cfg.unified:
            loss, parts = unified_loss(model, text, latents, crops, cfg)
        decoded = model.decode(stack(list(latents.values()))).float()  # (sum of B, 3, S, S)
    images = torch.split(decoded, [len(c.x) for c in crops.values()])
    restored = {m: x.mean(1, keepdim=True) if m == "ir" else x for m, x in zip(crops, images, strict=True)}
    for m, c in crops.items():
        balance = task_weights(c.x, c.y, cfg.w_ssim, cfg.w_grad) if cfg.balanced else None
        loss = loss + _task_losses(restored[m], c, cfg, balance).sum() / len(decoded)
        if cfg.w_tone and model.cfg.tone:
            loss = loss + cfg.w_tone * _tone_losses(model, m, c, conditions[m], balance).sum() / len(decoded)
    return RestorationLoss(loss, parts, crops, restored)


def unified_loss(
    model: Lure,
    text: TextVectors,
    latents: Mapping[Modality, Latent],
    crops: Mapping[Modality, Crops],
    cfg: TrainConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L_unified, weighted, and its parts: latents near those of the clean images under p0 (content), with the same
    moments (distribution), and the moments of the two modalities' deepest latents alike."""
    total, parts = torch.zeros((), device=model.pseudo_prompt.device), dict[str, Tensor]()
    for m, latent in latents.items():
        with torch.no_grad():
            clean = _clean_latent(model, text, crops[m].y, m)
        content = content_loss(latent, clean)
        spread = moment_distance(latent, clean, per_image=True)
        total = total + cfg.w_content * content + cfg.w_distribution * spread
        parts[f"content_{m}"] = content.detach()
    if len(latents) == 2:
        modality = moment_distance(latents["ir"][-1:], latents["vis"][-1:], per_image=False)
        total = total + cfg.w_distribution * modality
        parts["modality"] = modality.detach()
    return total, parts


def _task_losses(restored: Tensor, crops: Crops, cfg: TrainConfig, balance: Tensor | None) -> Tensor:
    """L_rec of each image (B,), weighed by `task_weights` (B,) where tasks are balanced; of tasks that change light,
    L_level too."""
    loss = reconstruction_loss(restored, crops.y, cfg.w_ssim, cfg.w_grad)
    light = torch.tensor([float(bool(LIGHT & set(names))) for names in crops.names]).to(loss.device, non_blocking=True)
    if cfg.w_level:
        loss = loss + cfg.w_level * light * level_loss(restored, crops.y)
    return loss if balance is None else loss * balance * (1 + light * (cfg.w_light - 1))


def _tone_losses(model: Lure, modality: Modality, crops: Crops, condition: Condition, balance: Tensor | None) -> Tensor:
    """L_tone of the images whose light was changed (N,): how far the tone curve alone is from the clean image, where
    the input is not clipped. The inverse of such a change is one of its curves; left to the end of the network, it
    learns next to nothing, and the layers do with blotches what it could do alone. (our addition)"""
    lit = [i for i, names in enumerate(crops.names) if LIGHT & set(names)]
    tone = model.encoders[modality].tone
    if not lit or not isinstance(tone, ToneCurve):
        return crops.x.new_zeros(0)
    rows = torch.tensor(lit).to(crops.x.device, non_blocking=True)
    x, y = crops.x[rows], crops.y[rows]
    vector, *seen = (None if v is None else v[rows].float() for v in condition)
    part = Condition(vector, *seen)  # type: ignore[arg-type]
    unclipped = (x.amax(1, keepdim=True) < CLIPPED).to(x.dtype)
    loss = charbonnier(tone(x, part).clamp(0, 1) * unclipped, y * unclipped)
    return loss if balance is None else loss * balance[rows]


def stage2_loss(model: Lure, text: TextVectors, pairs: Pairs, cfg: TrainConfig, amp: bool = False) -> FusionLoss:
    """L_II of clean pairs under p0 through frozen encoders (METHOD: stage II), and L_keep: the decoder still gives back
    each single image."""
    device = model.pseudo_prompt.device
    ir, vis = (unpack_images(images, device) for images in pairs)
    with autocast(device, torch.bfloat16 if amp else torch.float32):
        with torch.no_grad():
            f_ir, f_vis = _clean_latent(model, text, ir, "ir"), _clean_latent(model, text, vis, "vis")
        fused = model.decode(model.fusion(f_ir, f_vis)).float()
        single = [(model.decode(f_ir, "ir").float(), ir), (model.decode(f_vis, "vis").float(), vis)]
    weights = FusionWeights(cfg.w_int, cfg.w_fuse_grad, cfg.w_fuse_ssim, cfg.w_color, cfg.w_base, cfg.w_vif, cfg.w_edge)
    loss, parts = fusion_loss(fused, ir, vis, cfg.intensity, weights, cfg.vif_gain)
    keep = torch.stack([(x - y).abs().mean() for x, y in single]).mean()
    return FusionLoss(loss + cfg.w_keep * keep, parts | {"keep": keep.detach()})


def fuse_clean(model: Lure, text: TextVectors, pairs: Pairs) -> Tensor:
    """The fused images (B, 3, S, S) of pairs that nothing is wrong with."""
    device = model.pseudo_prompt.device
    ir, vis = (unpack_images(images, device) for images in pairs)
    p0 = _p0(text, len(ir), device)
    return model(ir, vis, p0, p0)


def split_batch(batch: Batch | Pairs, count: int) -> list[Batch | Pairs]:
    """The batch of either stage in `count` parts."""
    if isinstance(batch, Mapping):
        return [{m: samples[i::count] for m, samples in batch.items()} for i in range(count)]
    ir, vis = batch
    return [(ir[i::count], vis[i::count]) for i in range(count)]


def batch_size(batch: Batch | Pairs) -> int:
    """Number of images (stage I) or pairs (stage II)."""
    return sum(map(len, batch.values())) if isinstance(batch, Mapping) else len(batch[0])


def _crops(samples: Packed | Sequence[Sample], text: TextVectors, device: torch.device) -> Crops:
    packed = samples if isinstance(samples, Packed) else pack(samples)
    x, y, whole = (unpack_images(images, device) for images in (packed.x, packed.y, packed.whole))
    t = text.encode(packed.names, packed.texts).to(device, non_blocking=True)
    return Crops(x, y, whole, t, packed.names)


def _clean_latent(model: Lure, text: TextVectors, x: Tensor, modality: Modality) -> Latent:
    """The latent of clean images under p0."""
    if model.cfg.text_guided_attention:  # then p0 asks for nothing, by construction
        latent: Latent = model.encoders[modality](x, None)
        return latent
    return model.encode(x, _p0(text, len(x), x.device), modality)


def _p0(text: TextVectors, count: int, device: torch.device) -> Tensor:
    """The pseudo prompt (B, D) of `count` images."""
    return text.encode([()] * count, [""] * count).to(device, non_blocking=True)
