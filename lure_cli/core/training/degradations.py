"""Degradations synthesised on the fly for stage I, where no real pairs exist.

Each takes a clean image (C, H, W) in [0, 1] and a generator, draws its strength, and returns the degraded image
clipped to [0, 1], and how severe the draw was, from 0 (nothing) to 1 (as bad as it is drawn). C is 3 for the visible
and 1 for the infrared image; those that know only one say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lure_cli.core.text.vocabulary import DEGRADATIONS

Degradation = Callable[[Tensor, Generator], tuple[Tensor, float]]


def uniform(g: Generator, low: float, high: float) -> float:
    """One draw from U(low, high)."""
    return low + (high - low) * float(torch.rand((), generator=g))


def _smooth_field(g: Generator, h: int, w: int, cells: int) -> Tensor:
    """Random field (H, W) in [0, 1] with about `cells` bumps a side."""
    coarse = torch.rand(1, 1, cells, cells, generator=g)
    return F.interpolate(coarse, size=(h, w), mode="bicubic", align_corners=False)[0, 0].clamp(0, 1)


def _steps(x: Tensor, g: Generator) -> Tensor:
    """Field (H, W) in [0, 1] whose edges lie on edges of the image (C, H, W): a random function of smoothed luma."""
    level = _gaussian(x.mean(0, keepdim=True), uniform(g, 1.0, 3.0))[0].clamp(0, 1) * 5
    table = torch.rand(7, generator=g)
    low = level.long()
    return table[low] + (table[low + 1] - table[low]) * (level - low)


def _gaussian(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of a (C, H, W) image, edges replicated, standard deviation in pixels."""
    n = max(1, math.ceil(3 * sigma))
    k = torch.exp(-0.5 * (torch.arange(-n, n + 1) / sigma) ** 2)
    k = (k / k.sum()).view(1, 1, 1, -1)
    y = F.pad(x[:, None], (n, n, n, n), mode="replicate")
    return F.conv2d(F.conv2d(y, k), k.transpose(2, 3))[:, 0]


def _filter(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter every plane of (C, H, W) with an odd square kernel (K, K), edges replicated."""
    n = kernel.shape[0] // 2
    return F.conv2d(F.pad(x[:, None], (n, n, n, n), mode="replicate"), kernel[None, None])[:, 0]


def _line(length: float, angle: float, size: int) -> Tensor:
    """Kernel (size, size) of a straight line through the centre, angle in radians from vertical, sum 1."""
    r = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(r, r, indexing="ij")
    along = y * math.cos(angle) + x * math.sin(angle)
    across = x * math.cos(angle) - y * math.sin(angle)
    k = (1 - across.abs()).clamp_min(0) * (along.abs() <= length / 2)
    return k / k.sum()


def haze(x: Tensor, g: Generator) -> tuple[Tensor, float]:
    """Atmospheric scattering I = J t + A (1 - t), t = exp(-beta d); visible. d: a ramp in any direction plus bumps,
    and in half of the draws steps along the image's own edges, as depth has at objects.

    Severity: the share of the light that the haze has replaced, 1 - t, mean over the image.
    """
    _, h, w = x.shape
    ramp = torch.linspace(uniform(g, 0, 1), uniform(g, 0, 1), h)[:, None]
    ramp = ramp + torch.linspace(0, uniform(g, -0.3, 0.3), w)[None]
    bumps = uniform(g, 0, 0.5)
    depth = ((1 - bumps) * ramp + bumps * _smooth_field(g, h, w, 5)).clamp_min(0)
    if uniform(g, 0, 1) < 0.5:
        depth = depth + uniform(g, 0.1, 0.6) * _steps(x, g)
    t = torch.exp(-uniform(g, 0.2, 2.6) * depth - uniform(g, 0, 0.3))
    air = uniform(g, 0.65, 1.0) + 0.06 * (torch.rand(3, 1, 1, generator=g) - 0.5)
    return (x * t + air * (1 - t)).clamp(0, 1), 1 - float(t.mean())


def rain(x: Tensor, g: Generator) -> tuple[Tensor, float]:
    """One to three layers of streaks of one slant each, that hide and brighten what is behind; visible.

    Severity: mean cover of the streaks, of 0.2 at most.
    """
    _, h, w = x.shape
    layer = torch.zeros(1, h, w)
    angle = uniform(g, -0.7, 0.7)
    for _ in range(int(uniform(g, 1, 3.99))):
        length = uniform(g, 9, 35)
        drops = (torch.rand(1, h, w, generator=g) < uniform(g, 3e-4, 2.5e-3)) * torch.rand(1, h, w, generator=g)
        size = 2 * int(length / 2 + 1) + 1
        streaks = _filter(drops.float(), _line(length, angle + uniform(g, -0.1, 0.1), size)) * length
        layer = torch.maximum(layer, _gaussian(streaks, uniform(g, 0.3, 1.0)) * uniform(g, 0.5, 1.2))
    layer = layer.clamp(0, 0.9)
    opacity, light = uniform(g, 0.2, 0.8), uniform(g, 0.5, 0.9)
    return (x * (1 - opacity * layer) + light * layer).clamp(0, 1), min(1.0, float(layer.mean()) / 0.2)


def snow(x: Tensor, g: Generator) -> tuple[Tensor, float]:
    """One to three layers of soft flakes, each layer of one size, some drawn out by their fall; visible.

    Severity: mean cover of the flakes, of 0.2 at most.
    """
    _, h, w = x.shape
    layer = torch.zeros(1, h, w)
    angle = uniform(g, -0.9, 0.9)
    for _ in range(int(uniform(g, 1, 3.99))):
        sigma = uniform(g, 0.5, 1.8)
        drops = (torch.rand(1, h, w, generator=g) < uniform(g, 2e-4, 3e-3)) * (0.5 + torch.rand(1, h, w, generator=g))
        flakes = _gaussian(drops.float(), sigma) * (2 * math.pi * sigma**2)
        if uniform(g, 0, 1) < 0.6:
            length = uniform(g, 2, 12)
            kernel = _line(length, angle + uniform(g, -0.2, 0.2), 2 * int(length / 2 + 1) + 1)
            flakes = _filter(flakes, kernel) * (length / 2.5)
        layer = torch.maximum(layer, flakes.clamp(0, 1) * uniform(g, 0.5, 1.0))
    cover = uniform(g, 0.5, 0.97) * layer
    light = uniform(g, 0.75, 1.0)
    return (x * (1 - cover) + light * cover).clamp(0, 1), min(1.0, float(layer.mean()) / 0.2)


def lifted_rain(x: Tensor, layer: Tensor, g: Generator) -> Tensor:
    """Real rain, lifted from a real pair (`layer`: degraded less clean, (3, H, W)), on another image; visible.

    In half of the draws only the brightest streaks are taken, without the veil between them: light rain. In half it is
    fainter where the image is bright, as streaks are hardly brighter than the sky.
    """
    strength = math.exp(uniform(g, math.log(0.1), math.log(1.2)))
    light, floor = uniform(g, 0, 1) < 0.5, uniform(g, 0.3, 0.95)
    if light:
        layer = (layer - layer.flatten(1).quantile(floor, dim=1)[:, None, None]).clamp_min(0) * 2
    if uniform(g, 0, 1) < 0.5:
        layer = layer.mean(0, keepdim=True)
    room = ((1 - x) / 0.6).clamp(0, 1) if uniform(g, 0, 1) < 0.5 else 1.0
    return (x + strength * room * layer).clamp(0, 1)


def lowlight(x: Tensor, g: Generator) -> tuple[Tensor, float]:
    """Gain and gamma, a slight cast, then shot and read noise of a short exposure; visible.

    Severity: the share of its light that a middle grey (0.5) loses.
    """
    gain = math.exp(uniform(g, math.log(0.08), math.log(0.75)))
    cast = 1 + 0.1 * (torch.rand(3, 1, 1, generator=g) - 0.5)
    gamma = uniform(g, 1.0, 2.4)
    y = gain * cast * x**gamma
    shot, read = uniform(g, 0, 0.002), uniform(g, 0, 0.01)
    y = y + torch.randn(x.shape, generator=g) * (shot * y + read**2).sqrt()
    return y.clamp(0, 1), 1 - gain * 0.5 ** (gamma - 1)


def overexposure(x: Tensor, g: Generator) -> tuple[Tensor, float]:
    """Gain and gamma beyond the sensor's range, which clips; visible.

    Severity: how far a middle grey (0.5) rises, of 1.4 at most.
    """
    gain, gamma, offset = uniform(g, 1.2, 2.8), uniform(g, 0.65, 1.1), uniform(g, 0, 0.12)
    return (gain * x**gamma + offset).clamp(0, 1), (gain * 0.5**gamma + offset - 0.5) / 1.4


def noise(x: Tensor, g: Generator) -> tuple[Tensor, float]:
    """Sensor noise: signal-independent and shot part, white or slightly correlated, per plane or on the luma only.

    Severity: standard deviation, of 50/255 at most.
    """
    sigma = math.exp(uniform(g, math.log(2), math.log(50))) / 255
    shape = x.shape if uniform(g, 0, 1) < 0.9 else (1, *x.shape[1:])
    n = torch.randn(shape, generator=g)
    if uniform(g, 0, 1) < 0.3:
        n = _gaussian(n, uniform(g, 0.4, 0.9))
        n = n / n.std().clamp_min(1e-6)
    shot = uniform(g, 0, 1) if uniform(g, 0, 1) < 0.4 else 0.0
    return (x + n * sigma * (1 - shot + shot * 2 * x).clamp_min(0).sqrt()).clamp(0, 1), sigma * 255 / 50


def blur(x: Tensor, g: Generator) -> tuple[Tensor, float]:
    """Out of focus (Gaussian or disk) or moved (line).

    Severity: standard deviation of the kernel in its widest direction, of 3.2 px at most.
    """
    kind = uniform(g, 0, 1)
    if kind < 0.6:
        sigma = uniform(g, 0.8, 2.8)
        return _gaussian(x, sigma).clamp(0, 1), sigma / 3.2
    if kind < 0.8:
        r = torch.arange(-4, 5)
        radius = uniform(g, 1, 3.5)
        disk = (radius + 0.5 - (r[:, None] ** 2 + r[None] ** 2).float().sqrt()).clamp(0, 1)
        return _filter(x, disk / disk.sum()).clamp(0, 1), radius / 2 / 3.2
    length = uniform(g, 3, 11)
    return _filter(x, _line(length, uniform(g, 0, math.pi), 13)).clamp(0, 1), length / math.sqrt(12) / 3.2


def lowres(x: Tensor, g: Generator) -> tuple[Tensor, float]:
    """Made smaller by 1.5 to 4 and brought back to size. Severity: that factor, 0 for 1 and 1 for 4."""
    _, h, w = x.shape
    s = uniform(g, 1.5, 4)
    small = F.interpolate(x[None], size=(max(2, round(h / s)), max(2, round(w / s))), mode="area")
    mode = "bicubic" if uniform(g, 0, 1) < 0.7 else "bilinear"
    return F.interpolate(small, size=(h, w), mode=mode, align_corners=False)[0].clamp(0, 1), (s - 1) / 3


def lowcontrast(x: Tensor, g: Generator) -> tuple[Tensor, float]:
    """All values squeezed into a part of the range; infrared. Severity: the part that is left empty."""
    span = uniform(g, 0.1, 0.6)
    y = uniform(g, 0, 1 - span) + span * x
    return (y + torch.randn(x.shape, generator=g) * uniform(g, 0, 0.004)).clamp(0, 1), 1 - span


def stripe(x: Tensor, g: Generator) -> tuple[Tensor, float]:
    """Fixed-pattern noise of an uncooled sensor's columns (rarely rows): offset and gain; infrared.

    Severity: standard deviation of the offset, of 0.11 at most.
    """
    rows = uniform(g, 0, 1) < 0.15
    x = x.transpose(1, 2) if rows else x
    w = x.shape[2]
    offset = torch.randn(1, 1, w, generator=g)
    if uniform(g, 0, 1) < 0.6:
        k = torch.tensor([[[uniform(g, 0, 0.4), 1.0, uniform(g, 0, 0.4)]]])
        offset = F.conv1d(F.pad(offset, (1, 1), mode="replicate"), k / k.square().sum().sqrt())
    gain = 1 + uniform(g, 0, 0.08) * torch.randn(1, 1, w, generator=g)
    sigma = uniform(g, 0.01, 0.11)
    y = (x * gain + offset * sigma).clamp(0, 1)
    return y.transpose(1, 2) if rows else y, sigma / 0.11


RECIPES: dict[str, Degradation] = {
    f.__name__: f for f in (haze, rain, snow, lowlight, overexposure, noise, blur, lowres, lowcontrast, stripe)
}
"""Name (as in `DEGRADATIONS`) -> recipe."""

ORDER = ("lowres", "blur", "lowcontrast", "overexposure", "lowlight", "haze", "rain", "snow", "stripe", "noise")
"""The order in which several degradations happen: the scene first, then the light, then the sensor."""


def degrade(x: Tensor, names: tuple[str, ...], modality: str, g: Generator) -> Tensor:
    """Apply degradations in their natural order; x (C, H, W) in [0, 1]; KeyError on one unknown to the modality."""
    return degrade_measured(x, names, modality, g)[0]


def degrade_measured(x: Tensor, names: tuple[str, ...], modality: str, g: Generator) -> tuple[Tensor, dict[str, float]]:
    """As `degrade`, and the severity of each degradation in [0, 1]."""
    severities: dict[str, float] = {}
    for name in sorted(names, key=ORDER.index):
        if name not in DEGRADATIONS[modality]:
            raise KeyError(f"{name} is not a degradation of {modality}")
        x, severity = RECIPES[name](x, g)
        severities[name] = min(1.0, max(0.0, severity))
    return x, severities


def degrade_alike(views: Sequence[tuple[Tensor, Sequence[str]]], modality: str, g: Generator) -> list[Tensor]:
    """Degrade several views of one scene, each by its own part of the degradations, drawn the same for all.

    Args:
        views: images (C, H, W) in [0, 1], of any sizes, and names.
    """
    named = sorted({name for _, names in views for name in names}, key=ORDER.index)
    seeds = {name: int(torch.randint(2**31, (), generator=g)) for name in named}
    degraded = []
    for x, names in views:
        for name in sorted(names, key=ORDER.index):
            x = degrade(x, (name,), modality, torch.Generator().manual_seed(seeds[name]))
        degraded.append(x)
    return degraded
