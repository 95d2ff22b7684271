"""What an encoder knows of the image as a whole, and the condition that this and the text make for its layers."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lure_cli.core.pixels import THUMBNAIL


class Condition(NamedTuple):
    """What a text asks for in an image, as all layers of an encoder see it."""

    vector: Tensor
    """(B, K), what linear layers read; all of it is zero for the pseudo prompt."""
    low: Tensor | None = None
    """(B, C), the least value of each plane of the image; for models with a tone curve."""
    high: Tensor | None = None
    """(B, C), the greatest."""
    air: Tensor | None = None
    """(B, 3), the colour of the haze's light, `airlight_of`; for tone curves that see it."""

    @property
    def presence(self) -> Tensor:
        """u (B, 1), the first entry of the vector: 0 for the pseudo prompt, 1 for a text that has nothing in common
        with it."""
        return self.vector[:, :1]


def context_view(x: Tensor, extremes: bool) -> Tensor:
    """What encoders see of the image as a whole, whatever its size: (B, C, T, T) or, with extremes, (B, 3 C, T, T).

    The first C planes are its thumbnail. With extremes, those after it hold the least and the greatest value of each
    plane, the same everywhere; each of 2x2 pixels' mean, so that no single dead pixel counts.

    Args:
        x: the whole image (B, C, H, W), H and W even.
        extremes: see above.
    """
    thumbnail = F.adaptive_avg_pool2d(x, THUMBNAIL)
    if not extremes:
        return thumbnail
    pooled = F.avg_pool2d(x, 2)
    low, high = (v.expand_as(thumbnail) for v in (pooled.amin((2, 3), True), pooled.amax((2, 3), True)))
    return torch.cat((thumbnail, low, high), dim=1)


def extremes_of(view: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of each plane, of a view with extremes (B, 3 C, T, T): (B, C) each."""
    _, low, high = view[:, :, 0, 0].chunk(3, dim=1)
    return low, high


AIR_CELLS = 32
"""Cells of the thumbnail, of 1024, whose mean is the haze's light: more than lamps cover, less than most skies do."""
AIR_SOFT = 0.02
"""Cells that are darker by less than this than the last of those count in part."""


def airlight_of(view: Tensor) -> Tensor:
    """The colour of the light that haze would have in an image, of its view (B, 9, T, T) -> (B, 3), above 0.

    Mean of the cells whose least plane is greatest, as haze is thickest there by the dark channel prior (He et al.,
    CVPR 2009, take the brightest of such pixels). Our choice: `AIR_CELLS` of the thumbnail, with a soft
    end (`AIR_SOFT`), so that nothing hangs on which of two alike is the last.
    """
    cells = view[:, :3].flatten(2)  # (B, 3, T T)
    dark = cells.amin(1, keepdim=True)
    least = dark.topk(AIR_CELLS, dim=2).values[..., -1:]
    share = ((dark - least) / AIR_SOFT + 1).clamp(0, 1)
    return ((cells * share).sum(2) / share.sum(2)).clamp_min(0.02)


class GlobalContext(nn.Module):
    """A vector that sums up the whole image (B, K): how dark, hazy or flat it is.

    Drawn from its `context_view`, so it can be computed once for a large image and handed to its tiles.
    """

    def __init__(self, channels: int, dim: int, extremes: bool = False) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.SiLU(), nn.Conv2d(32, dim, 1)
        )
        self.channels = channels
        self.extremes = nn.Linear(4 * channels, dim, bias=False) if extremes else None
        if self.extremes is not None:
            nn.init.zeros_(self.extremes.weight)

    def forward(self, view: Tensor) -> Tensor:
        """view: as of `context_view`."""
        g: Tensor = self.net(view[:, : self.channels]).mean((2, 3))
        return g if self.extremes is None else g + self.extremes(self.statistics(view))

    def statistics(self, view: Tensor) -> Tensor:
        """Mean and standard deviation of each plane of the thumbnail, least and greatest value: (B, 4 C)."""
        x = view[:, : self.channels]
        mean = x.mean((2, 3))
        spread = ((x * x).mean((2, 3)) - mean * mean).clamp_min(1e-6).sqrt()
        return torch.cat((mean, spread, *extremes_of(view)), dim=1)


class ConditionNet(nn.Module):
    """Turns the text t and the image's global context g into the vector of the `Condition`.

    (u, c(t, g) - c(p0, g)) with u = 1 - <t, p0> and c a two-layer perceptron: what the text asks for beyond the pseudo
    prompt, so that the pseudo prompt asks for nothing, exactly. (B, D), (B, D), (B, K) -> (B, K).
    """

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        self.scale = text_dim**0.5  # unit vectors have small entries
        self.text = nn.Linear(text_dim, dim)
        self.out = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim - 1))

    def forward(self, t: Tensor, p0: Tensor, g: Tensor | None) -> Tensor:
        context: Tensor | float = 0.0 if g is None else g
        asked, nothing = (self.out(self.text(self.scale * v) + context) for v in (t, p0))
        presence = 1 - (t * p0).sum(1, keepdim=True)
        presence = presence * (presence > 1e-6)  # rounding is no request
        return torch.cat((presence.to(asked.dtype), asked - nothing), dim=1)
