"""Whether a model computes the same picture in a shorter number type."""

from __future__ import annotations

import torch
from torch import Tensor

from lure_cli.core.devices import autocast, is_out_of_memory, pick_dtype
from lure_cli.core.model.lure import Lure
from lure_cli.core.pixels import psnr
from lure_cli.core.text.encoders import TextEncoder
from lure_cli.core.text.vocabulary import DEGRADATIONS, FIRST

LEAST = 45.0
"""Agreement in dB (PSNR) that `--dtype auto` asks for."""
_SIDE = 64


def _probe() -> tuple[Tensor, Tensor]:
    """A pair with slopes, edges, texture and noise: infrared (1, 1, H, W), visible (1, 3, H, W)."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(*(torch.linspace(0, 1, _SIDE),) * 2, indexing="ij")
    edge = ((x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.05).float()
    wave = 0.5 + 0.5 * torch.sin(40 * x * (1 + y))
    ir = 0.2 + 0.5 * edge + 0.2 * y
    vis = torch.stack((0.6 * x + 0.2 * wave, 0.3 + 0.4 * y * wave, 0.5 * (1 - edge) + 0.3 * x))
    noise = 0.04 * torch.randn(4, _SIDE, _SIDE, generator=generator)
    return (ir + noise[0]).clamp(0, 1)[None, None], (vis + noise[1:]).clamp(0, 1)[None]


@torch.inference_mode()
def agreement(model: Lure, text: TextEncoder, dtype: torch.dtype) -> float:
    """PSNR in dB between what a model computes in float32 and in `dtype`: the lowest over prompts that name nothing and
    each degradation that all weights know, on a small rendered pair."""
    device = model.pseudo_prompt.device
    names = {m: [(), *((n,) for n in DEGRADATIONS[m] if n in FIRST)] for m in ("ir", "vis")}
    count = max(len(each) for each in names.values())
    texts = {m: text.encode([each[i % len(each)] for i in range(count)]).to(device) for m, each in names.items()}
    ir, vis = (x.to(device).expand(count, -1, -1, -1) for x in _probe())
    whole = model(ir, vis, texts["ir"], texts["vis"])
    with autocast(device, dtype):
        short = model(ir, vis, texts["ir"], texts["vis"])
    return float(psnr(short, whole).min())


def resolve_dtype(name: str, model: Lure, text: TextEncoder) -> torch.dtype:
    """As `pick_dtype` for the model's device; what `auto` picks is tried first, and float32 is taken where it agrees
    with that by less than `LEAST` dB, or memory does not even last for trying: the images themselves will tell."""
    dtype = pick_dtype(name, model.pseudo_prompt.device)
    if name != "auto" or dtype == torch.float32:
        return dtype
    try:
        return dtype if agreement(model, text, dtype) >= LEAST else torch.float32
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            return torch.float32
        raise
