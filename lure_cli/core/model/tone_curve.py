"""The tone curve of an encoder, before its layers, and the dark channel that it sees. Shapes are (B, C, H, W)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lure_cli.core.model.context import Condition


def local_darkness(x: Tensor, cell: int) -> Tensor:
    """The dark channel, smoothed along the image's own edges: (B, C, H, W) in [0, 1] -> (B, 1, H, W), 0 or more.

    The least of all planes (of 2x2 pixels' mean) in 3x3 cells; in haze this is its light, as hardly anything in a scene
    has no dark spot nearby (dark channel prior, He et al., CVPR 2009). Then a guided filter (He et al., ECCV 2010), its
    coefficients found on the grid of cells, so that the veil ends where the picture has an edge, without a halo.

    Args:
        cell: side of a cell in pixels; H and W are multiples of it.
    """
    dark = -F.max_pool2d(-F.avg_pool2d(x, 2).amin(1, keepdim=True), cell // 2)
    dark = -F.max_pool2d(-dark, 3, 1, 1)
    guide = x.mean(1, keepdim=True)
    seen = F.avg_pool2d(guide, cell)
    mean, mean_dark, square, product = _box(torch.cat((seen, dark, seen * seen, seen * dark), dim=1)).chunk(4, 1)
    slope = (product - mean * mean_dark) / ((square - mean * mean).clamp_min(0) + 1e-3)
    line = _box(torch.cat((slope, mean_dark - slope * mean), dim=1))
    slope, offset = F.interpolate(line, x.shape[-2:], mode="bilinear", align_corners=False).chunk(2, 1)
    return torch.addcmul(offset, slope, guide).clamp_min(0)


def _box(x: Tensor) -> Tensor:
    """Mean of 5x5, of what lies inside of the image."""
    return F.avg_pool2d(x, 5, 1, 2, count_include_pad=False)


class ToneCurve(nn.Module):
    """One brightness curve for the whole image, for each plane: y = ((x - b) e^g)^(e^s), from below bounded to 0 before
    the power; x + u (y - x), u = the condition's presence, so the pseudo prompt changes nothing.

    b, g and s are drawn from the condition; b and g also from the least and greatest value l and h of the plane and
    from how hazy the place is: b = b' + m l + q v, g = g' - n log(h - l) - r log(1 - d). So m = n = 1 stretches what
    there is to the whole range, and q = r = 1 is the dark channel prior's inverse of haze, d its share of the light,
    v the light that it adds. With `airlight`, a the condition's `air`: d is the `local_darkness` of x / a, v = d a, so
    that haze keeps its own colour where nothing is behind it; l and h are those of all planes together, as one dark
    coat in one colour says nothing of the others. Without, d = v / h, v the `local_darkness` of x.

    Darkness, glare, lost contrast and haze change all pixels nearby alike, by factors up to ten, which residual layers
    can only approximate. It starts as the identity. (our addition)
    """

    LIMIT = 4.0
    """Of |g|; |s| is a third as large at most."""
    RANGE = (1e-4, 2.0)
    """Of what is raised to a power, and of the x that y is compared with."""
    THICK = 0.9
    """The greatest d: a thicker veil leaves too little of the scene to multiply."""
    PARTS = 7
    """b', g', s, m, n, q, r."""

    def __init__(self, channels: int, dim: int, cell: int, airlight: bool = False) -> None:
        super().__init__()
        self.cell, self.airlight = cell, airlight
        self.hidden = nn.Linear(dim, 64)
        self.out = nn.Linear(64, self.PARTS * channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """x (B, C, H, W), a condition with extremes (and `air`) -> (B, C, H, W), in float32."""
        assert condition.low is not None and condition.high is not None
        x = x.float()
        values = self.out(F.silu(self.hidden(condition.vector))).float()  # (B, 7 C)
        offset, gain, power, m, n, q, r = values[:, :, None, None].chunk(self.PARTS, dim=1)  # (B, C, 1, 1) each
        low, high, u = (v.float()[:, :, None, None] for v in (condition.low, condition.high, condition.presence))
        if self.airlight:
            assert condition.air is not None
            low, high = low.amin(1, keepdim=True), high.amax(1, keepdim=True)
            light = condition.air.float()[:, :, None, None]
            haze = local_darkness((x / light).clamp_max(1), self.cell).clamp_max(self.THICK)
            veil = haze * light
        else:
            light = high.clamp_min(0.02)
            veil = torch.minimum(local_darkness(x, self.cell), self.THICK * light)
            haze = veil / light
        offset = offset + m * low + q * veil
        gain = gain - n * (high - low).clamp_min(0.02).log() - r * torch.log1p(-haze)
        gain, power = gain.clamp(-self.LIMIT, self.LIMIT), power.clamp(-self.LIMIT / 3, self.LIMIT / 3)
        y = ((x - offset) * gain.exp()).clamp(*self.RANGE) ** power.exp()
        return x + u * (y - x.clamp(*self.RANGE))
