"""Pictures for the object detector: brought to one size, and in training cut, scaled and mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lure_cli.core.objects.labels import Objects
from lure_cli.core.objects.network import MULTIPLE

_GREY = 114
"""What lies beside a picture, as YOLO has it."""
_LEAST_PART, _LEAST_SIDE = 0.3, 3.0
"""Of an object that is cut: the share of its area and the pixels of its shorter side from which on it still counts."""


@dataclass(frozen=True)
class Scene:
    """A picture in the size in which the detector sees it, uint8 (3, H, W), not padded; its boxes in pixels (N, 4), and
    their classes (N,); and the height and width that it had."""

    pixels: Tensor
    boxes: Tensor
    classes: Tensor
    original: tuple[int, int]


def scene(picture: np.ndarray, objects: Objects, longest: int) -> Scene:
    """A picture, its longer side brought to `longest` pixels.

    Args:
        picture: uint8 (H, W, 3). objects: with boxes as shares of it.
    """
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    size = max(1, round(scale * height)), max(1, round(scale * width))
    x = torch.tensor(picture, dtype=torch.float32).permute(2, 0, 1)[None]
    x = F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    boxes = torch.from_numpy(objects.boxes) * torch.tensor([size[1], size[0], size[1], size[0]])
    return Scene((x + 0.5).clamp(0, 255).to(torch.uint8), boxes, torch.from_numpy(objects.classes), (height, width))


def canvas_of(scenes: Sequence[Scene]) -> tuple[int, int]:
    """The height and width that hold each of them, and that the network takes."""
    sides = (max(s.pixels.shape[axis] for s in scenes) for axis in (1, 2))
    height, width = (-(-side // MULTIPLE) * MULTIPLE for side in sides)
    return height, width


def padded(pixels: Tensor, canvas: tuple[int, int]) -> Tensor:
    """uint8 (3, H, W) -> float (1, 3, *canvas) in [0, 1], grey to the right and below."""
    height, width = pixels.shape[1:]
    return F.pad(pixels[None].float() / 255, (0, canvas[1] - width, 0, canvas[0] - height), value=_GREY / 255)


def augmented(s: Scene, canvas: tuple[int, int], g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """One example of a picture: what is around one of its objects, wherever in the canvas that lies; scaled by 0.75
    to 1.33, mirrored in half of the cases, brighter or darker by up to 40 %.

    Returns:
        float (3, *canvas) in [0, 1]; boxes (N, 4) in its pixels; classes (N,).
    """
    scale = _uniform(g, 0.75, 1.33)
    sides = [max(1, round(scale * n)) for n in s.pixels.shape[1:]]
    x = F.interpolate(s.pixels[None], size=sides, mode="bilinear", align_corners=False)[0]
    boxes = s.boxes * torch.tensor([n / m for n, m in zip(sides, s.pixels.shape[1:], strict=True)]).flip(0).repeat(2)
    if _uniform(g, 0, 1) < 0.5:
        x = x.flip(2)
        boxes = torch.stack((sides[1] - boxes[:, 2], boxes[:, 1], sides[1] - boxes[:, 0], boxes[:, 3]), 1)
    about = boxes[int(torch.randint(len(boxes), (), generator=g))] if len(boxes) else torch.zeros(4)
    middle = ((about[:2] + about[2:]) / 2).flip(0).tolist()
    # Where the canvas begins in the picture: inside of it, or around it on the axes on which it is smaller.
    begin = [
        round(min(max(centre - _uniform(g, 0, 1) * room, min(0, side - room)), max(0, side - room)))
        for centre, side, room in zip(middle, sides, canvas, strict=True)
    ]
    (y0, x0), (y1, x1) = begin, (min(side, b + room) for side, b, room in zip(sides, begin, canvas, strict=True))
    top, left = max(0, -y0), max(0, -x0)
    seen = x[:, max(0, y0) : y1, max(0, x0) : x1]
    y = torch.full((3, *canvas), _GREY, dtype=torch.uint8)
    y[:, top : top + seen.shape[1], left : left + seen.shape[2]] = seen
    moved = boxes - torch.tensor([x0, y0, x0, y0])
    cut = moved.clamp(min=0).minimum(torch.tensor([canvas[1], canvas[0]]).repeat(2))
    extents, whole = cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2]
    keep = (extents.prod(1) >= _LEAST_PART * whole.prod(1)) & (extents.amin(1) >= _LEAST_SIDE)
    lit = y * (_uniform(g, 0.6, 1.4) / 255) + _uniform(g, -0.05, 0.05)
    return lit.clamp(0, 1), cut[keep], s.classes[keep]


def _uniform(g: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=g))
