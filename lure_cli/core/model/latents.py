"""What can be measured in the latent space (ULFS): pooled latents, and how far degraded images are from clean ones."""

from __future__ import annotations

import torch
from torch import Tensor

from lure_cli.core.model.lure import Latent


def pool(latent: Latent) -> Tensor:
    """Mean and standard deviation over space, per channel and scale: F -> (B, 2 * sum of C_l), float32.

    This is what the ULFS figure draws and the probe sees: which degradation a latent holds, not where.
    """
    parts = [part for f in latent for part in (f.float().mean((2, 3)), f.float().std((2, 3), correction=0))]
    return torch.cat(parts, dim=1)


def remaining_distance(reached: Latent, untouched: Latent, clean: Latent) -> Tensor:
    """How much of the way to the clean latent is left, per image (B,), float32.

    ||F(x, t) - F(y, p0)|| / ||F(x, p0) - F(y, p0)|| per scale, L2 over channels and space, averaged over scales: 1
    where the encoder did nothing, 0 where it reached the clean latent, above 1 where it went astray. NaN where x = y.

    Args:
        reached: F(x, t), the degraded image with its prompt.
        untouched: F(x, p0), the degraded image with the pseudo prompt.
        clean: F(y, p0), the clean image with the pseudo prompt.
    """

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a.float() - b.float()).flatten(1).norm(dim=1)

    ratios = []
    for f, raw, target in zip(reached, untouched, clean, strict=True):
        whole = distance(raw, target)
        ratios.append(torch.where(whole > 0, distance(f, target) / whole.clamp_min(1e-12), torch.nan))
    return torch.stack(ratios).mean(0)
