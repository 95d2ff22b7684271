"""Degradations synthesised on the fly for stage I, where no real pairs exist.

Each takes a clean image (C, H, W) in [0, 1], a generator, and where the image lies in its scene, draws its strength,
and returns the degraded image clipped to [0, 1], and how severe the draw was, from 0 (nothing) to 1 (as bad as it is
drawn). C is 3 for the visible and 1 for the infrared image; those that know only one say so. What is drawn does not
depend on the image's size but for grain and marks, which are drawn last, pixel by pixel: two parts of a scene that are
degraded with equal generators are lit alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lure_cli.core.text.vocabulary import DEGRADATIONS
from lure_cli.core.training.fields import Scene, chance, filtered, gaussian, line, log_uniform, uniform
from lure_cli.core.training.weather import haze, rain, snow

Degradation = Callable[[Tensor, Generator, Scene], tuple[Tensor, float]]


def lowlight(x: Tensor, g: Generator, scene: Scene) -> tuple[Tensor, float]:
    """Gain and gamma, a slight cast, then the grain of a short exposure; visible. In `scene.lamp_ratio` of the draws
    it is night: all is darker, but for what lamps light.

    Severity: the share of its light that a middle grey (0.5) loses.
    """
    night = chance(g, scene.lamp_ratio)
    gain, gamma = log_uniform(g, *((0.03, 0.3) if night else (0.05, 0.75))), uniform(g, 1.0, 2.4)
    cast = 1 + 0.1 * (torch.rand(3, 1, 1, generator=g) - 0.5)
    light: Tensor | float = gain
    if night:
        light = gain + (1 - gain) * _lamps(g, scene)
    y = light * cast * x**gamma
    return _grain(y, g, scene.grain).clamp(0, 1), 1 - gain * 0.5 ** (gamma - 1)


def _lamps(g: Generator, scene: Scene) -> Tensor:
    """How far lamps light what they stand by: (1, H, W) in [0, 1]; round spots, and a smooth field."""
    lit = uniform(g, 0.1, 0.6) * scene.field(g, 4) ** 2 if chance(g, 0.5) else torch.zeros(1, *scene.pixels.shape[1:])
    for _ in range(int(uniform(g, 1, 4.99))):
        y, x, size = uniform(g, -0.1, 1.1), uniform(g, -0.1, 1.1), log_uniform(g, 0.05, 0.5)
        spot = torch.exp(-((scene.rows - y) ** 2 + (1.3 * (scene.columns - x)) ** 2) / (2 * size**2))
        lit = torch.maximum(lit, uniform(g, 0.3, 1.0) * spot)
    return lit


def _grain(y: Tensor, g: Generator, left: float) -> Tensor:
    """Shot and read noise. In half of the draws as a camera's own reduction leaves it: coarser, and part of it common
    to all planes, part coloured. `left`: what averaging has left of it."""
    shot, read = uniform(g, 0, 0.002), uniform(g, 0, 0.01)
    coarse, colour, sigma = chance(g, 0.5), uniform(g, 0.3, 1.0), uniform(g, 0.45, 1.2)
    n = torch.randn(y.shape, generator=g)
    if coarse:
        n = colour * n + (1 - colour**2) ** 0.5 * torch.randn(1, *y.shape[1:], generator=g)
        if left == 1:
            n = gaussian(n, sigma) * (math.sqrt(4 * math.pi) * sigma)  # what the filter takes of white noise
    return y + left * n * (shot * y.clamp_min(0) + read**2).sqrt()


def overexposure(x: Tensor, g: Generator, scene: Scene) -> tuple[Tensor, float]:
    """More light than the sensor's range holds, which clips plane by plane; visible. In half of the draws gain and
    gamma of the image's values; in half stops of light before the camera's curve, with a soft shoulder, a cast, and
    glare around what is bright.

    Severity: how far a middle grey (0.5) rises, of 1.4 at most.
    """
    if chance(g, 0.5):
        gain, gamma, offset = uniform(g, 1.2, 2.8), uniform(g, 0.65, 1.1), uniform(g, 0, 0.12)
        return (gain * x**gamma + offset).clamp(0, 1), (gain * 0.5**gamma + offset - 0.5) / 1.4
    stops, curve = uniform(g, 0.8, 3.8), uniform(g, 1.8, 2.4)
    cast = 1 + 0.1 * (torch.rand(3, 1, 1, generator=g) - 0.5)
    shoulder, contrast = uniform(g, 0, 1), uniform(g, 0.85, 1.25)
    y = cast * (2**stops * x.clamp_min(1e-4) ** curve)
    if chance(g, 0.5):
        bright = gaussian(scene.thumbnail, uniform(g, 1.5, 6)) ** 2
        y = y + uniform(g, 0, 0.35) * scene.spread(bright).clamp_min(0)  # which may swing below
    hard, soft = y.clamp(max=1), 1 - torch.exp(-1.5 * y)
    y = ((1 - shoulder) * hard + shoulder * soft) ** (contrast / curve)
    grey = 2 ** (stops / curve) * 0.5
    return y.clamp(0, 1), (grey - 0.5) / 1.4


def noise(x: Tensor, g: Generator, scene: Scene) -> tuple[Tensor, float]:
    """Sensor noise: signal-independent and shot part, white or slightly correlated, per plane or on the luma only.

    Severity: standard deviation, of 50/255 at most.
    """
    sigma = log_uniform(g, 2, 50) / 255
    shape = x.shape if chance(g, 0.9) else (1, *x.shape[1:])
    n = torch.randn(shape, generator=g)
    if chance(g, 0.3):
        n = gaussian(n, uniform(g, 0.4, 0.9))
        n = n / n.std().clamp_min(1e-6)
    shot = uniform(g, 0, 1) if chance(g, 0.4) else 0.0
    return (x + n * sigma * (1 - shot + shot * 2 * x).clamp_min(0).sqrt()).clamp(0, 1), sigma * 255 / 50


def blur(x: Tensor, g: Generator, scene: Scene) -> tuple[Tensor, float]:
    """Out of focus (Gaussian or disk) or moved (line).

    Severity: standard deviation of the kernel in its widest direction, of 3.2 px at most.
    """
    kind = uniform(g, 0, 1)
    if kind < 0.6:
        sigma = uniform(g, 0.8, 2.8)
        return gaussian(x, sigma).clamp(0, 1), sigma / 3.2
    if kind < 0.8:
        r = torch.arange(-4, 5)
        radius = uniform(g, 1, 3.5)
        disk = (radius + 0.5 - (r[:, None] ** 2 + r[None] ** 2).float().sqrt()).clamp(0, 1)
        return filtered(x, disk / disk.sum()).clamp(0, 1), radius / 2 / 3.2
    length = uniform(g, 3, 11)
    return filtered(x, line(length, uniform(g, 0, math.pi), 13)).clamp(0, 1), length / math.sqrt(12) / 3.2


def lowres(x: Tensor, g: Generator, scene: Scene) -> tuple[Tensor, float]:
    """Made smaller by 1.5 to 4 and brought back to size. Severity: that factor, 0 for 1 and 1 for 4."""
    _, h, w = x.shape
    s = uniform(g, 1.5, 4)
    small = F.interpolate(x[None], size=(max(2, round(h / s)), max(2, round(w / s))), mode="area")
    mode = "bicubic" if chance(g, 0.7) else "bilinear"
    return F.interpolate(small, size=(h, w), mode=mode, align_corners=False)[0].clamp(0, 1), (s - 1) / 3


def lowcontrast(x: Tensor, g: Generator, scene: Scene) -> tuple[Tensor, float]:
    """All values squeezed into a part of the range; infrared. Severity: the part that is left empty."""
    span = uniform(g, 0.1, 0.6)
    y = uniform(g, 0, 1 - span) + span * x
    return (y + torch.randn(x.shape, generator=g) * uniform(g, 0, 0.004)).clamp(0, 1), 1 - span


def stripe(x: Tensor, g: Generator, scene: Scene) -> tuple[Tensor, float]:
    """Fixed-pattern noise of an uncooled sensor's columns (rarely rows): offset and gain; in a third of the draws slow
    blotches besides, as the housing's own warmth leaves them; infrared.

    Severity: standard deviation of the offset, of 0.11 at most.
    """
    rows = chance(g, 0.15)
    x = x.transpose(1, 2) if rows else x
    w = x.shape[2]
    offset = torch.randn(1, 1, w, generator=g)
    if chance(g, 0.6):
        k = torch.tensor([[[uniform(g, 0, 0.4), 1.0, uniform(g, 0, 0.4)]]])
        offset = F.conv1d(F.pad(offset, (1, 1), mode="replicate"), k / k.square().sum().sqrt())
    gain = 1 + uniform(g, 0, 0.08) * torch.randn(1, 1, w, generator=g)
    sigma = uniform(g, 0.01, 0.11)
    y = x * gain + offset * sigma
    y = y.transpose(1, 2) if rows else y
    if chance(g, 0.35):
        y = y + uniform(g, 0.02, 0.15) * (scene.field(g, int(uniform(g, 2, 6.99))) - 0.5)
    return y.clamp(0, 1), sigma / 0.11


RECIPES: dict[str, Degradation] = {
    f.__name__: f for f in (haze, rain, snow, lowlight, overexposure, noise, blur, lowres, lowcontrast, stripe)
}
"""Name (as in `DEGRADATIONS`) -> recipe."""

ORDER = ("lowres", "blur", "lowcontrast", "overexposure", "lowlight", "haze", "rain", "snow", "stripe", "noise")
"""The order in which several degradations happen: the scene first, then the light, then the sensor."""


def degrade(x: Tensor, names: Sequence[str], modality: str, g: Generator) -> Tensor:
    """Apply degradations in their natural order; x (C, H, W) in [0, 1], a whole image; KeyError on one unknown to the
    modality."""
    return degrade_measured(x, names, modality, g)[0]


def degrade_measured(
    x: Tensor, names: Sequence[str], modality: str, g: Generator, lamp_ratio: float = 0.0
) -> tuple[Tensor, dict[str, float]]:
    """As `degrade`, and the severity of each degradation in [0, 1]. `lamp_ratio`: see `Scene`."""
    severities: dict[str, float] = {}
    for name in _ordered(names, modality):
        x, severity = RECIPES[name](x, g, Scene(x, lamp_ratio=lamp_ratio))
        severities[name] = min(1.0, max(0.0, severity))
    return x, severities


def degrade_alike(views: Sequence[tuple[Scene, Sequence[str]]], modality: str, g: Generator) -> list[Tensor]:
    """Degrade several views of one scene, each by its own part of the degradations, drawn the same for all.

    Args:
        views: images of any sizes, in their places in the scene, and names; KeyError on one unknown to the modality.
    """
    seeds = {
        name: int(torch.randint(2**31, (), generator=g))
        for name in _ordered({name for _, names in views for name in names}, modality)
    }
    degraded = []
    for scene, names in views:
        for name in _ordered(names, modality):
            x, _ = RECIPES[name](scene.pixels, torch.Generator().manual_seed(seeds[name]), scene)
            scene = replace(scene, pixels=x)
        degraded.append(scene.pixels)
    return degraded


def _ordered(names: Collection[str], modality: str) -> list[str]:
    """In the order in which they happen; KeyError on one unknown to the modality."""
    if unknown := set(names) - set(DEGRADATIONS[modality]):
        raise KeyError(f"{min(unknown)} is not a degradation of {modality}")
    return sorted(names, key=ORDER.index)
