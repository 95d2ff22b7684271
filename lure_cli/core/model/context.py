"""What an encoder knows of the image as a whole, and what the text asks for in it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

THUMBNAIL = 32
"""Side in pixels of the view from which the global context is drawn; the same for every image size."""


def whole_view(x: Tensor, extremes: bool) -> Tensor:
    """What encoders know of the image as a whole, whatever its size: (B, C, T, T) or, with extremes, (B, 3 C, T, T).

    The first C planes are its thumbnail. With extremes, those after it hold the least and the greatest value of each
    plane, the same everywhere; each of 2x2 pixels' mean, so that no single dead pixel counts.

    Args:
        x: the whole image (B, C, H, W), H and W even.
    """
    thumbnail = F.adaptive_avg_pool2d(x, THUMBNAIL)
    if not extremes:
        return thumbnail
    pooled = F.avg_pool2d(x, 2)
    low, high = (v.expand_as(thumbnail) for v in (pooled.amin((2, 3), True), pooled.amax((2, 3), True)))
    return torch.cat((thumbnail, low, high), dim=1)


class GlobalContext(nn.Module):
    """A vector that sums up the whole image (B, K): how dark, hazy or flat it is.

    Drawn from its `whole_view`, so it can be computed once for a large image and handed to its tiles.
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
        """view: as of `whole_view`."""
        seen: Tensor = self.net(view[:, : self.channels]).mean((2, 3))
        return seen if self.extremes is None else seen + self.extremes(self.statistics(view))

    def statistics(self, view: Tensor) -> Tensor:
        """Mean and standard deviation of each plane of the thumbnail, least and greatest value: (B, 4 C)."""
        x = view[:, : self.channels]
        mean = x.mean((2, 3))
        spread = ((x * x).mean((2, 3)) - mean * mean).clamp_min(1e-6).sqrt()
        return torch.cat((mean, spread, bounds(view, self.channels)), dim=1)


def bounds(view: Tensor, channels: int) -> Tensor:
    """The least and the greatest values in a view with extremes: (B, 2 C)."""
    return view[:, channels:, 0, 0]


class Condition(nn.Module):
    """Turns the text t and the image's global context g into the edit that all layers of an encoder share.

    edit = (u, c(t, g) - c(p0, g)) with u = 1 - <t, p0> and c a two-layer perceptron: what the text asks for beyond the
    pseudo prompt, so that the pseudo prompt asks for nothing, exactly. (B, D), (B, D), (B, K) -> (B, K).
    """

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        self.scale = text_dim**0.5  # unit vectors have small entries
        self.text = nn.Linear(text_dim, dim)
        self.out = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim - 1))

    def forward(self, t: Tensor, p0: Tensor, g: Tensor | None) -> Tensor:
        context: Tensor | float = 0.0 if g is None else g
        asked, nothing = (self.out(self.text(self.scale * v) + context) for v in (t, p0))
        edit = asked - nothing
        presence = 1 - (t * p0).sum(1, keepdim=True)
        return torch.cat(((presence * (presence > 1e-6)).to(edit.dtype), edit), dim=1)  # rounding is no request
