"""A small object detector of one level, without anchors: each place of the feature map speaks of the objects whose
centre is near (Tian et al., "FCOS", ICCV 2019, with one level instead of five)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 8
"""Pixels between two places of the map."""
MULTIPLE = 32
"""Both sides of an input are multiples of it."""
_WIDTHS = (16, 32, 64, 128, 256)
_BLOCKS = (1, 2, 2, 1)
_COMMON = 64
_PRIOR = 0.01
"""The score of everything before training."""


class ObjectDetector(nn.Module):
    """(B, 3, H, W) in [0, 1] -> scores before the sigmoid (B, K, H/8, W/8), and distances in pixels from each place to
    the four sides of its box (B, 4, H/8, W/8): left, top, right, bottom. 1.0 M parameters; H and W are multiples of 32.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        stages = zip(_WIDTHS, _WIDTHS[1:], _BLOCKS, strict=False)
        self.stem = _convolution(3, _WIDTHS[0], stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(_convolution(i, o, stride=2), *(_Residual(o) for _ in range(count))) for i, o, count in stages
        )
        self.laterals = nn.ModuleList(nn.Conv2d(width, _COMMON, 1) for width in _WIDTHS[2:])
        self.head = nn.Sequential(_convolution(_COMMON, _COMMON), _convolution(_COMMON, _COMMON))
        self.score = nn.Conv2d(_COMMON, classes, 1)
        self.distance = nn.Conv2d(_COMMON, 4, 1)
        nn.init.constant_(self.score.bias, -math.log(1 / _PRIOR - 1))  # type: ignore[arg-type]
        nn.init.constant_(self.distance.bias, 1.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x - 0.5)
        levels = [x := stage(x) for stage in self.stages][1:]
        merged = self.laterals[2](levels[2])
        for level in (1, 0):
            merged = F.interpolate(merged, scale_factor=2.0) + self.laterals[level](levels[level])
        y = self.head(merged)
        return self.score(y).float(), STRIDE * self.distance(y).float().clamp(max=5).exp()


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_convolution(width, width // 2, size=1), _convolution(width // 2, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)  # type: ignore[no-any-return]


def _convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def places(of: Tensor) -> Tensor:
    """The centres of the places of a map (..., H, W) in pixels of the input, (H * W, 2): x, y; row by row."""
    y, x = torch.meshgrid(*(torch.arange(n, device=of.device) for n in of.shape[-2:]), indexing="ij")
    return STRIDE * (torch.stack((x, y), -1).reshape(-1, 2) + 0.5)


def boxes_of(centres: Tensor, distances: Tensor) -> Tensor:
    """Boxes (..., N, 4) left, top, right, bottom, of places (N, 2) and distances (..., N, 4)."""
    return torch.cat((centres - distances[..., :2], centres + distances[..., 2:]), -1)
