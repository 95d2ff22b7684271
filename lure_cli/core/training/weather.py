"""Haze, rain and snow, made: each takes a visible image, a generator and its scene, as `degradations` says."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from lure_cli.core.training.fields import Scene, chance, gaussian, log_uniform, marks, uniform

NIGHT = 0.22
"""Scenes darker than this mean are nights: lamps light their haze, not the sky."""
HIDDEN, SEEN = 0.03, 0.2
"""Shares of an object's light that come through the haze: less than the first, and nothing of it can be known; more
than the second, and all can."""


def haze(x: Tensor, g: Generator, scene: Scene) -> tuple[Tensor, float]:
    """Atmospheric scattering I = J t + A (1 - t), t = exp(-beta d); visible.

    d grows towards a horizon, or along any ramp, with bumps, and in half of the draws has steps along the image's own
    edges, as depth has at objects; a bright sky lies behind all of it. In half of the draws light is added as light
    is, before the camera's curve, in half in the image's values, as data sets of made haze have it. A has
    about the colour of what is bright in the scene; at night it can be dim, and glows around lamps.

    Of a `scene.restored`: J s + A (1 - s), s from 0 to 1 where t rises from `HIDDEN` to `SEEN`. Asked for J everywhere,
    a model paints what it cannot know in the mean colour of all scenes: dark clouds in a white sky.

    Severity: the share of the light that the haze has replaced, 1 - t, mean over the image.
    """
    rows, columns = scene.rows, scene.columns
    night = scene.brightness < NIGHT
    kind = uniform(g, 0, 1)
    start, end, slant = uniform(g, 0, 1), uniform(g, 0, 1), uniform(g, -0.3, 0.3)
    horizon, near = uniform(g, 0.1, 0.55), uniform(g, 0.05, 0.35)
    if kind < 0.5:  # the ground: its distance grows as one over the height below the horizon
        depth = near / ((rows - horizon).clamp_min(0) + near) + slant * columns.expand(len(rows), -1)
    else:
        start, end = (max(start, end), min(start, end)) if kind < 0.75 else (start, end)
        depth = start + (end - start) * rows + slant * columns
    bumps = uniform(g, 0, 0.5)
    depth = ((1 - bumps) * depth + bumps * scene.field(g, 5)[0]).clamp_min(0)
    table, sigma, steps = torch.rand(7, generator=g), uniform(g, 1.0, 3.0), uniform(g, 0.1, 0.6)
    if chance(g, 0.5):
        depth = depth + steps * _steps(x, table, sigma)
    beta, everywhere, behind = uniform(g, 0.2, 2.6), uniform(g, 0, 0.3), uniform(g, 0.7, 1.3)
    if chance(g, 0.25):  # dense: a part of the scene is gone
        beta = uniform(g, 2.0, 4.5)
    if not night:
        sky, blue = _sky(x, scene)
        depth = depth + sky * (behind - depth).clamp_min(0)  # a blue sky is seen: the haze below it is shallow
        depth = depth - sky * blue * (depth - 0.4 * behind).clamp_min(0)
    t = torch.exp(-beta * depth - everywhere)
    air = _airlight(g, scene, night)
    if scene.restored:
        seen = ((t - HIDDEN) / (SEEN - HIDDEN)).clamp(0, 1)
        seen = seen * seen * (3 - 2 * seen)
        y = x * seen + air * (1 - seen)
    elif chance(g, 0.5):
        gamma, exposure = uniform(g, 1.8, 2.4), uniform(g, 0.9, 1.1)
        y = (exposure * (x.clamp_min(1e-4) ** gamma * t + air.clamp_min(0) ** gamma * (1 - t))) ** (1 / gamma)
    else:
        y = x * t + air * (1 - t)
    return y.clamp(0, 1), 1 - float(t.mean())


def _airlight(g: Generator, scene: Scene, night: bool) -> Tensor:
    """The light that haze sends: (3, 1, 1), or (3, H, W) at night.

    In most draws it is of the colour that the scene's bright parts have, as the sky lights both: fog that goes must not
    leave the sky in another colour. Smoke, dust and street lamps have their own.
    """
    level, cast = uniform(g, 0, 1), torch.randn(2, generator=g)
    alike, own, kept = not chance(g, 0.2), 0.01 if chance(g, 0.75) else 0.04, uniform(g, 0.5, 1.0)
    luma = scene.thumbnail.mean(0).flatten()
    bright = scene.thumbnail.flatten(1)[:, luma >= luma.quantile(0.85)].mean(1)
    colour = 1 + torch.tensor([1.0, 0.0, -1.0]) * own * cast[0] + torch.tensor([-0.5, 1.0, -0.5]) * 0.4 * own * cast[1]
    if alike:
        tint = bright / bright.mean().clamp_min(0.02) - 1
        colour = colour + kept * tint * ((0.16 - tint.abs().max()) / 0.08).clamp(0, 1)  # more is a thing's colour
    colour = colour.clamp(0.8, 1.2)[:, None, None]
    dim, glow, cells = chance(g, 0.5), uniform(g, 0, 1.2), uniform(g, 1.0, 4.0)
    if night and dim:
        lamps = gaussian(scene.thumbnail.amax(0, keepdim=True) ** 2, cells)
        return (0.15 + 0.35 * level) * colour + glow * scene.spread(lamps) * colour
    low = 0.6 if night else min(0.85, max(0.5, 0.8 * float(bright.mean())))
    return (low + (1.0 - low) * level) * colour


def _sky(x: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
    """Where a bright sky is, and how blue: (H, W) in [0, 1] each, by what the top of the whole looks like."""
    top = scene.thumbnail[:, : len(scene.thumbnail[0]) // 5].flatten(1)
    colour = top[:, top.mean(0).argsort()[int(0.7 * top.shape[1])]][:, None, None]
    light = float(colour.mean())
    there = min(1.0, max(0.0, (light - max(0.4, scene.brightness)) / 0.15))
    near = torch.exp(-(x - colour).square().mean(0) / (2 * 0.09**2))
    height = ((0.75 - scene.rows) / 0.3).clamp(0, 1)
    blue = ((x[2] - x[0]) / 0.12).clamp(0, 1)
    return there * near * height, blue


def _steps(x: Tensor, table: Tensor, sigma: float) -> Tensor:
    """Field (H, W) in [0, 1] whose edges lie on edges of the image (C, H, W): a random function of smoothed luma."""
    level = gaussian(x.mean(0, keepdim=True), sigma)[0].clamp(0, 1) * 5
    low = level.long()
    return table[low] + (table[low + 1] - table[low]) * (level - low)


def rain(x: Tensor, g: Generator, scene: Scene) -> tuple[Tensor, float]:
    """One to three layers of streaks of one slant each, that hide and brighten what is behind; visible.

    Severity: mean cover of the streaks, of 0.2 at most.
    """
    _, h, w = x.shape
    layer = torch.zeros(1, h, w)
    angle = uniform(g, -0.7, 0.7)
    for _ in range(int(uniform(g, 1, 3.99))):
        length, turn, width = uniform(g, 9, 35), angle + uniform(g, -0.1, 0.1), uniform(g, 0.45, 1.05)
        density, strength = uniform(g, 3e-4, 2.5e-3), uniform(g, 0.5, 1.2) * min(1.0, 0.5 / width)
        streaks = marks(h, w, g, density, (0.8 * length, length), (width, width), (turn - 0.03, turn + 0.03), (0, 1))
        layer = torch.maximum(layer, streaks * strength)
    layer = layer.clamp(0, 0.9)
    opacity, light = uniform(g, 0.2, 0.8), uniform(g, 0.5, 0.9)
    return (x * (1 - opacity * layer) + light * layer).clamp(0, 1), min(1.0, float(layer.mean()) / 0.2)


def snow(x: Tensor, g: Generator, scene: Scene) -> tuple[Tensor, float]:
    """Flakes at several distances, and a faint veil of those too far to be seen; visible.

    Far ones are small and many, nearer ones larger and fewer, the nearest large, pale and out of focus. In half of the
    draws their fall draws them out, the more the nearer they are.

    Severity: mean cover of the flakes, of 0.2 at most, or what the veil has replaced.
    """
    _, h, w = x.shape
    layer = torch.zeros(1, h, w)
    angle, size = uniform(g, -0.9, 0.9), uniform(g, 0.7, 1.5)
    drawn_out = uniform(g, 1, 6) if chance(g, 0.5) else 0.3
    amount = log_uniform(g, 0.3, 3.5)
    for distance in range(4):  # 0: far
        if distance in (1, 2) or chance(g, 0.6):
            flakes = _flakes(h, w, g, distance, amount, size, drawn_out, angle)
            layer = torch.maximum(layer, flakes)
    light = uniform(g, 0.75, 1.0) * (0.5 + 0.5 * min(1.0, scene.brightness / 0.3))
    light = light if chance(g, 0.5) else uniform(g, 0.8, 1.0)
    veil = uniform(g, 0, 0.35) if chance(g, 0.6) else 0.0
    y = x * (1 - veil) + veil * uniform(g, 0.6, 0.95) * light
    cover = (uniform(g, 0.5, 0.97) * layer).clamp(0, 0.97)
    return (y * (1 - cover) + light * cover).clamp(0, 1), min(1.0, max(float(layer.mean()) / 0.2, veil))


_DEPTHS = (  # density, width, strength, plateau
    (6e-3, (0.35, 0.55), (0.1, 0.5), 0.0),
    (2.5e-3, (0.5, 0.9), (0.3, 1.0), 0.3),
    (8e-4, (0.7, 1.6), (0.5, 1.0), 0.8),
    (5e-5, (1.5, 3.5), (0.15, 0.5), 2.5),
)
"""Of flakes, from far to near."""


def _flakes(
    h: int, w: int, g: Generator, distance: int, amount: float, size: float, drawn_out: float, angle: float
) -> Tensor:
    """Those at one distance (1, H, W) in [0, 1]."""
    density, width, strength, plateau = _DEPTHS[distance]
    width = (width[0] * size, width[1] * size)
    long = drawn_out * width[1]
    return marks(h, w, g, density * amount, (0, long), width, (angle - 0.25, angle + 0.25), strength, plateau)


def lifted_rain(x: Tensor, layer: Tensor, g: Generator) -> Tensor:
    """Real rain, lifted from a real pair (`layer`: degraded less clean, (3, H, W)), on another image; visible.

    In half of the draws only the brightest streaks are taken, without the veil between them: light rain. In half it is
    fainter where the image is bright, as streaks are hardly brighter than the sky.
    """
    strength = log_uniform(g, 0.1, 1.2)
    light, floor = chance(g, 0.5), uniform(g, 0.3, 0.95)
    if light:
        layer = (layer - layer.flatten(1).quantile(floor, dim=1)[:, None, None]).clamp_min(0) * 2
    if chance(g, 0.5):
        layer = layer.mean(0, keepdim=True)
    room = ((1 - x) / 0.6).clamp(0, 1) if chance(g, 0.5) else 1.0
    return (x + strength * room * layer).clamp(0, 1)
