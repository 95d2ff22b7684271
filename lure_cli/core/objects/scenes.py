"""Pictures for the object detector: brought to one size, and in training turned, scaled and joined to mosaics."""

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


def augmented(
    scenes: Sequence[Scene], index: int, canvas: tuple[int, int], g: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """One example of a picture: half of the time alone, scaled by 0.7 to 1.4 and moved, else joined with three others
    to a mosaic (Bochkovskiy et al., "YOLOv4", 2020), at half to the whole of their size; mirrored in half of the
    cases, brighter or darker by up to 40 %.

    Returns:
        float (3, *canvas) in [0, 1]; boxes (N, 4) in its pixels; classes (N,).
    """
    height, width = canvas
    y = torch.full((3, height, width), _GREY, dtype=torch.uint8)
    mosaic = _uniform(g, 0, 1) < 0.5
    if mosaic:
        across, down = round(_uniform(g, 0.3, 0.7) * width), round(_uniform(g, 0.3, 0.7) * height)
        parts = [
            (0, 0, across, down),
            (across, 0, width, down),
            (0, down, across, height),
            (across, down, width, height),
        ]
        chosen = [index, *torch.randint(len(scenes), (3,), generator=g).tolist()]
        scales = (0.5, 1.0)
    else:
        parts, chosen, scales = [(0, 0, width, height)], [index], (0.7, 1.4)
    kept = [_place(scenes[i], y, part, scales, g) for i, part in zip(chosen, parts, strict=True)]
    x = y * (_uniform(g, 0.6, 1.4) / 255) + _uniform(g, -0.05, 0.05)
    return x.clamp(0, 1), torch.cat([boxes for boxes, _ in kept]), torch.cat([classes for _, classes in kept])


def _place(
    s: Scene, y: Tensor, part: tuple[int, int, int, int], scales: tuple[float, float], g: Generator
) -> tuple[Tensor, Tensor]:
    """Draw a scene, at random scale and offset, into a part of y; its boxes there, and their classes."""
    left, top, right, bottom = part
    scale = _uniform(g, *scales)
    height, width = (max(1, round(scale * n)) for n in s.pixels.shape[1:])
    x = F.interpolate(s.pixels[None], size=(height, width), mode="bilinear", align_corners=False)[0]
    stretch = torch.tensor([width / s.pixels.shape[2], height / s.pixels.shape[1]]).repeat(2)
    boxes = s.boxes * stretch
    if _uniform(g, 0, 1) < 0.5:
        x = x.flip(2)
        boxes = torch.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), 1)
    # Wherever it covers the part, or lies inside of it.
    x0 = round(left + _uniform(g, 0, 1) * (right - left - width))
    y0 = round(top + _uniform(g, 0, 1) * (bottom - top - height))
    l, t, r, b = max(left, x0), max(top, y0), min(right, x0 + width), min(bottom, y0 + height)  # noqa: E741
    y[:, t:b, l:r] = x[:, t - y0 : b - y0, l - x0 : r - x0]
    boxes = boxes + torch.tensor([x0, y0, x0, y0])
    cut = torch.stack(
        (boxes[:, 0].clamp(l, r), boxes[:, 1].clamp(t, b), boxes[:, 2].clamp(l, r), boxes[:, 3].clamp(t, b)), 1
    )
    sides, whole = cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2]
    keep = (sides.prod(1) >= _LEAST_PART * whole.prod(1)) & (sides.amin(1) >= _LEAST_SIDE)
    return cut[keep], s.classes[keep]


def _uniform(g: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=g))
