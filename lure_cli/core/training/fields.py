"""What made degradations are built of: random fields, filters, and marks that are set at random places.

Images are (C, H, W) in [0, 1]. A field is drawn for the whole image with few numbers and evaluated on the part of it
that is looked at, so that a crop and a small copy of its image are lit alike without the image in between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lure_cli.core.pixels import THUMBNAIL


@dataclass(frozen=True)
class Scene:
    """Where an image (C, H, W) lies in the picture that it is a part of."""

    pixels: Tensor
    """The part, or the whole."""
    shown: Tensor | None = None
    """Thumbnail (C, T, T) of the whole; that of `pixels` where they are the whole."""
    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0
    """Where the part begins and ends, in sides of the whole; left lies beyond right in a mirrored part."""
    grain: float = 1.0
    """What is left of single pixels' grain: 0.5 where a pixel is the mean of 2x2."""
    lamp_ratio: float = 0.0
    """Share of low-light draws that are nights, in which lamps light a part."""
    restored: bool = False
    """The best that can be made of it is wanted, not what spoils it: what haze hides altogether stays hidden."""

    @cached_property
    def thumbnail(self) -> Tensor:
        """The whole, as small as the model sees it."""
        return F.adaptive_avg_pool2d(self.pixels, THUMBNAIL) if self.shown is None else self.shown

    @cached_property
    def brightness(self) -> float:
        """Mean of the whole."""
        return float(self.thumbnail.mean())

    @cached_property
    def rows(self) -> Tensor:
        """(H, 1), how far down in the whole each row lies, in [0, 1]."""
        return self._places(self.top, self.bottom, self.pixels.shape[1])[:, None]

    @cached_property
    def columns(self) -> Tensor:
        """(1, W), how far to the right in the whole each column lies, in [0, 1]."""
        return self._places(self.left, self.right, self.pixels.shape[2])[None]

    @staticmethod
    def _places(start: float, end: float, n: int) -> Tensor:
        return start + (end - start) * (torch.arange(n) + 0.5) / n

    def spread(self, coarse: Tensor) -> Tensor:
        """A map of the whole (C, h, w) on the pixels of the part: (C, H, W), between its values linearly."""
        return F.interpolate(self._window(coarse)[None], self.pixels.shape[1:], mode="bilinear", align_corners=True)[0]

    def _window(self, coarse: Tensor) -> Tensor:
        """A map of the whole on a grid over the part that is twice as fine as it is; smooth in between."""
        _, h, w = coarse.shape
        rows = max(2, round(4 * h * abs(self.bottom - self.top)) + 1)
        columns = max(2, round(4 * w * abs(self.right - self.left)) + 1)
        y = torch.linspace(self.top, self.bottom, rows) * 2 - 1
        x = torch.linspace(self.left, self.right, columns) * 2 - 1
        grid = torch.stack((x.expand(rows, -1), y[:, None].expand(-1, columns)), dim=-1)
        return F.grid_sample(coarse[None], grid[None], mode="bicubic", padding_mode="border", align_corners=False)[0]

    def field(self, g: Generator, cells: int) -> Tensor:
        """Random field (1, H, W) in [0, 1] with about `cells` bumps a side of the whole."""
        return self.spread(torch.rand(1, cells, cells, generator=g)).clamp(0, 1)


def uniform(g: Generator, low: float, high: float) -> float:
    """One draw from U(low, high)."""
    return low + (high - low) * float(torch.rand((), generator=g))


def log_uniform(g: Generator, low: float, high: float) -> float:
    """One draw whose logarithm is uniform."""
    return math.exp(uniform(g, math.log(low), math.log(high)))


def chance(g: Generator, share: float) -> bool:
    """True in a share of the draws."""
    return uniform(g, 0, 1) < share


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of a (C, H, W) image, edges replicated, standard deviation in pixels."""
    n = max(1, math.ceil(3 * sigma))
    k = torch.exp(-0.5 * (torch.arange(-n, n + 1) / sigma) ** 2)
    k = (k / k.sum()).view(1, 1, 1, -1)
    y = F.pad(x[:, None], (n, n, n, n), mode="replicate")
    return F.conv2d(F.conv2d(y, k), k.transpose(2, 3))[:, 0]


def filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter every plane of (C, H, W) with an odd square kernel (K, K), edges replicated."""
    n = kernel.shape[0] // 2
    return F.conv2d(F.pad(x[:, None], (n, n, n, n), mode="replicate"), kernel[None, None])[:, 0]


def line(length: float, angle: float, size: int) -> Tensor:
    """Kernel (size, size) of a straight line through the centre, angle in radians from vertical, sum 1."""
    r = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(r, r, indexing="ij")
    along = y * math.cos(angle) + x * math.sin(angle)
    across = x * math.cos(angle) - y * math.sin(angle)
    k = (1 - across.abs()).clamp_min(0) * (along.abs() <= length / 2)
    return k / k.sum()


def marks(
    h: int, w: int, g: Generator, density: float, length: tuple[float, float], width: tuple[float, float],
    angle: tuple[float, float], strength: tuple[float, float], flat: float = 0.0,
) -> Tensor:  # fmt: skip
    """Soft marks at random places of an image, the strongest of those that meet: (1, H, W), 0 where there is none.

    Args:
        density: marks a pixel. length, width, angle, strength: each mark's own are drawn from these ranges: how far it
            is drawn out and the standard deviation of its profile in pixels, radians from vertical, greatest value.
        flat: how much of its profile is a plateau, as a disk out of focus has; 0: none.
    """
    reach = math.ceil(max(length) / 2 + (2.5 + flat) * max(width))
    area = (h + 2 * reach) * (w + 2 * reach)
    n = int(density * area + float(torch.rand((), generator=g)))
    if n == 0:
        return torch.zeros(1, h, w)
    draws = torch.rand(6, n, 1, 1, generator=g)
    y, x = draws[0] * (h + 2 * reach), draws[1] * (w + 2 * reach)
    long, wide, turn, strong = (
        low + (high - low) * d for (low, high), d in zip((length, width, angle, strength), draws[2:], strict=True)
    )
    r = torch.arange(-reach, reach + 1)
    top, left = y.floor(), x.floor()
    dy, dx = r[:, None] + top - y, r[None] + left - x  # (N, K, 1), (N, 1, K)
    cos, sin = turn.cos(), turn.sin()
    along = (dy * cos + dx * sin).abs()
    across = dx * cos - dy * sin
    beyond = (along - long / 2).clamp_min(0)
    distance = ((beyond.square() + across.square()).sqrt() / wide - flat).clamp_min(0)
    values = strong * torch.exp(-0.5 * distance.square()) * (distance < 2.5)
    side = w + 4 * reach + 2
    canvas = torch.zeros((h + 4 * reach + 2) * side)
    place = (top.long() + reach + r[:, None]) * side + left.long() + reach + r[None]
    canvas.scatter_reduce_(0, place.flatten(), values.flatten(), "amax")
    return canvas.view(1, -1, side)[:, 2 * reach : 2 * reach + h, 2 * reach : 2 * reach + w]


def stored(x: Tensor, g: Generator, share: float, lowest: int) -> Tensor:
    """As an image comes back from a file: 8 bits, in a share of the cases a JPEG of quality `lowest` to 98."""
    from io import BytesIO

    import numpy as np
    from PIL import Image

    pixels = (x * 255).round().to(torch.uint8)
    if share and chance(g, share):
        array = pixels.permute(1, 2, 0).contiguous().numpy()
        file = BytesIO()
        image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
        image.save(file, "JPEG", quality=int(uniform(g, lowest, 99)))
        pixels = torch.from_numpy(np.array(Image.open(file)).reshape(array.shape)).permute(2, 0, 1)
    return pixels.float() / 255
