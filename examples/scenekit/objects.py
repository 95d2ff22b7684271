"""Shapes, shaders (colour, own light and temperature) and the things that stand in the example scenes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .render import Array, Blob, Colour, Light, Noise, Sample, Scene, Shader

FONT = {  # 3x5 bitmaps, rows from the top
    "A": "010101111101101", "B": "110101110101110", "C": "111100100100111", "E": "111100110100111",
    "F": "111100110100100", "H": "101101111101101", "L": "100100100100111", "O": "111101101101111",
    "P": "111101111100100", "R": "110101110101101", "S": "111100111001111", "T": "111010010010010",
}  # fmt: skip
BLACK = (0.0, 0.0, 0.0)


def ellipse(cx: float, cy: float, rx: float, ry: float) -> Array:
    """An ellipse as a polygon (28, 2)."""
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return np.column_stack([cx + rx * np.cos(t), cy + ry * np.sin(t)])


def rect(x0: float, y0: float, x1: float, y1: float) -> Array:
    """An axis-aligned rectangle (4, 2)."""
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)


def limb(start: Colour, end: Colour) -> Array:
    """A tapered rod (20, 2) with round ends; each end is (x, y, radius)."""
    angle = np.arctan2(end[1] - start[1], end[0] - start[0])
    arcs = []
    for (cx, cy, r), t0 in ((start, angle + np.pi / 2), (end, angle - np.pi / 2)):
        t = t0 + np.linspace(0, np.pi, 10)
        arcs.append(np.column_stack([cx + r * np.cos(t), cy + r * np.sin(t)]))
    return np.concatenate(arcs)


def sample(
    rgb: Array | Colour, heat: Array | float, count: int, glow: Array | Colour = BLACK, alpha: Array | float = 1.0
) -> Sample:
    """A Sample with every field broadcast to `count` points."""
    wide, flat = (count, 3), (count,)
    pairs = ((rgb, wide), (heat, flat), (glow, wide), (alpha, flat))
    return Sample(*(np.broadcast_to(np.asarray(value, np.float32), shape) for value, shape in pairs))


def plain(
    rgb: Colour, heat: float, grain: float = 0.2, scale: float = 0.5, spread: float = 1.0, glow: Colour = BLACK
) -> Shader:
    """One colour with fractal grain; the temperature varies by about +-spread/2."""

    def shade(p: Array, noise: Noise) -> Sample:
        n = noise((p[:, 0] + 0.37 * p[:, 1]) / scale, (p[:, 2] + 0.81 * p[:, 1]) / scale) - 0.5
        return sample((1 + 2 * grain * n[:, None]) * np.array(rgb), heat + spread * n, len(p), glow)

    return shade


def lettering(
    text: str, back: Colour, ink: Colour, x: float, y: float, width: float, height: float, lit: float
) -> Shader:
    """Block letters on a sign that faces -z; (x, y) is its lower left corner, `lit` its own light."""

    def shade(p: Array, noise: Noise) -> Sample:
        column = (p[:, 0] - x) / width * (4 * len(text) + 1) - 1
        row = (1 - (p[:, 1] - y) / height) * 7 - 1
        bits = np.array([[int(b) for b in FONT[c]] for c in text]).reshape(-1, 5, 3)
        glyph, dot, line = (column // 4).astype(int), (column % 4).astype(int), np.floor(row).astype(int)
        inside = (column >= 0) & (glyph < len(text)) & (dot < 3) & (line >= 0) & (line < 5)
        on = inside & (bits[glyph.clip(0, len(text) - 1), line.clip(0, 4), dot.clip(0, 2)] == 1)
        rgb = np.where(on[:, None], np.array(ink), np.array(back))
        return sample(rgb, 14.0 + 3 * lit, len(p), rgb * lit)

    return shade


def brick(axis: int, tone: Colour, heat: float = 13.0) -> Shader:
    """Brick wall along world `axis` (0 or 2) with stains; the joints fade with distance."""

    def shade(p: Array, noise: Noise) -> Sample:
        u, v = p[:, axis] + 100, p[:, 1]
        far = 1 / (1 + (p[:, 2] / 35) ** 2)
        course = np.floor(v / 0.22)
        stone = u / 0.55 + 0.5 * (course % 2)
        mortar = ((stone % 1 < 0.09) | (v / 0.22 % 1 < 0.16)) * far
        stain = noise(u / 3.5, v / 5.0)
        light = 0.75 + 0.5 * (noise.cell(stone, course) - 0.5) * far + 0.7 * (stain - 0.5)
        rgb = (light * (1 - mortar))[:, None] * np.array(tone) + mortar[:, None] * np.array((0.26, 0.25, 0.23))
        return sample(rgb, heat + 3.5 * (stain - 0.5) - 0.12 * v, len(p))

    return shade


def facade(axis: int, tone: Colour, lit: float, heat: float = 13.0, shop: bool = False) -> Shader:
    """Brick wall with a window grid along world `axis` (0 or 2); `lit` is the share of lit windows."""
    wall = brick(axis, tone, heat)

    def shade(p: Array, noise: Noise) -> Sample:
        u, v, base = p[:, axis] + 100, p[:, 1], wall(p, noise)
        cu, cv = u % 2.6, (v - 0.6) % 3.1
        i, j = np.floor(u / 2.6), np.floor((v - 0.6) / 3.1)
        low = shop & (j == 0)
        pane = (cu > np.where(low, 0.15, 0.75)) & (cu < np.where(low, 2.45, 1.9)) & (cv > 0.7) & (cv < 2.4) & (j >= 0)
        frame = (cu > 0.62) & (cu < 2.03) & (cv > 0.55) & (cv < 2.53) & (j >= 0) & ~low
        bars = ((abs(cu - 1.32) < 0.035) | (abs(cv - 1.75) < 0.035)) & ~low
        on = pane & (noise.cell(i * 3 + 7, j * 5 + axis) < np.where(low, 0.85, lit))
        rgb = np.where(frame[:, None], np.array((0.42, 0.40, 0.36)), base.rgb)
        rgb = np.where(pane[:, None], np.array((0.03, 0.04, 0.06)), rgb)
        rgb[pane & bars] = (0.3, 0.29, 0.27)
        hue = noise.cell(i + 11, j + 3)[:, None]
        warm = np.array((1.0, 0.62, 0.26)) * (1 - hue) + np.array((1.0, 0.80, 0.52)) * hue
        curtain = 0.3 + 0.7 * noise(cu * 5 + i, cv * 0.5 + j, 2) * (abs(cu - 1.3) > 0.25) - 0.15 * (cv < 1.2)
        goods = (0.15 + 0.35 * (cv > 1.5) * noise(cu * 1.2, cv * 0.6)) * (0.35 + noise.cell(u / 0.21, v / 0.3))
        goods = np.where(cv > 2.2, 0.75, goods * (v % 0.6 > 0.06))
        inside = np.where(low, 0.55 * goods, 0.28 * curtain * (0.5 + noise.cell(i + 5, j + 9)))
        glow = warm * (on & ~bars)[:, None] * inside[:, None]
        temp = np.where(frame, base.heat + 1.5, base.heat)
        return sample(rgb, np.where(pane, np.where(on, heat + 3.5, heat - 3.0), temp), len(p), glow)

    return shade


def foliage(x: float, y: float, rx: float, ry: float, tone: Colour, heat: float) -> Shader:
    """Leafy crown around (x, y) with a ragged edge and holes."""

    def shade(p: Array, noise: Noise) -> Sample:
        a, b = (p[:, 0] - x) / rx, (p[:, 1] - y) / ry
        clump, leaf = noise(p[:, 0] / 1.1 + x, p[:, 1] / 1.1, 3), noise(p[:, 0] / 0.22 + x, p[:, 1] / 0.22, 2)
        density = 0.78 - np.hypot(a, b) + 1.1 * (clump - 0.5) + 0.6 * (leaf - 0.5)
        light = (0.25 + 1.5 * clump * leaf + 0.5 * (leaf - 0.4)).clip(0.05) * (0.85 + 0.3 * b)
        temp = heat + 3 * (clump - 0.5) + leaf
        return sample(light[:, None] * np.array(tone), temp, len(p), alpha=(density * 7).clip(0, 1))

    return shade


def ground(half: float, walk: float, heat: float, zebra: float = -99.0, verge: Colour = (0.05, 0.07, 0.03)) -> Shader:
    """Road of half-width `half` along z with markings and a crossing at z=zebra, pavement to `walk`, verge beyond."""

    def shade(p: Array, noise: Noise) -> Sample:
        x, z, side = p[:, 0], p[:, 2], abs(p[:, 0])
        far = 1 / (1 + (z / 25) ** 2)
        grain, patchy = noise(x / 0.12, z / 0.12, 3) - 0.5, noise(x / 2.5, z / 6.0) - 0.5
        rgb = np.array((0.075, 0.077, 0.082)) * (1 + 1.1 * grain * far + 0.8 * patchy)[:, None]
        temp = heat + 2 * patchy + 1.2 * np.exp(-((side - half / 2) ** 2) / 0.6)
        worn = 0.4 * (1 + 1.2 * (noise(x / 0.3, z / 0.3) - 0.5))[:, None]
        paint = ((side < 0.07) & (z % 6 < 3)) | (abs(side - half + 0.5) < 0.06)
        paint = np.where(abs(z - zebra) < 1.5, (x + 50) % 1.0 < 0.5, paint) & (side < half)
        rgb = np.where(paint[:, None], worn, rgb)
        slab = ((x % 0.8 < 0.03) | (z % 0.8 < 0.03)) * far
        tone = 1 + 0.5 * grain * far + 0.9 * patchy + 0.3 * (noise.cell(x / 0.8, z / 0.8) - 0.5)
        tone = 0.17 * tone * (1 - 0.5 * slab)
        rgb = np.where((side > half)[:, None], tone[:, None] * np.array((1.0, 0.96, 0.9)), rgb)
        rgb = np.where((abs(side - half - 0.1) < 0.1)[:, None], 0.26 * (1 + grain)[:, None], rgb)
        grass = (side > walk)[:, None]
        rgb = np.where(grass, np.array(verge) * (1 + 1.6 * grain + 1.2 * patchy)[:, None], rgb)
        temp = np.where(side > walk, temp - 4 + 2 * grain, np.where(side > half, temp - 1.8, temp))
        return sample(rgb, np.where(paint, temp - 0.4, temp), len(p))

    return shade


def person(
    s: Scene,
    x: float,
    z: float,
    coat: Colour,
    legs: Colour,
    stride: float = 0.5,
    tall: float = 1.75,
    away: bool = False,
    warm: float = 25.0,
) -> None:
    """A standing or walking figure; stride in [-1, 1] sets the swing of its limbs, `warm` is its coat in Celsius."""

    def put(shape: Array, shader: Shader, round: float = 0.0) -> None:
        s.card(shape * (tall / 1.75), x, z, shader, round)

    cloth, trousers = plain(coat, warm, 0.5, 0.18, 5.0), plain(legs, warm - 2.5, 0.4, 0.15, 4.0)
    skin, shoe = plain((0.36, 0.22, 0.15), 34.5, 0.1), plain((0.02, 0.02, 0.02), 17.0)
    for side in (-1, 1):
        swing = 0.5 * (1 + side * np.sign(stride)) * abs(stride)
        knee, foot = side * (0.1 + 0.06 * swing), side * (0.11 + 0.17 * swing)
        lift = 0.10 * (1 - 0.7 * (swing > 0)) * abs(stride)
        put(limb((foot, 0.06 + lift, 0.055), (foot + 0.07 * np.sign(stride), 0.04 + lift, 0.04)), shoe)
        put(limb((knee, 0.5, 0.075), (foot, 0.11 + lift, 0.05)), trousers, 0.5)
        put(limb((side * 0.085, 0.9, 0.105), (knee, 0.5, 0.075)), trousers, 0.5)
        elbow, hand = side * (0.275 + 0.03 * swing), side * (0.27 + 0.05 * swing)
        put(ellipse(hand, 0.83 + 0.07 * swing, 0.042, 0.062), plain((0.36, 0.22, 0.15), 32.0))
        put(limb((elbow, 1.14, 0.058), (hand, 0.9 + 0.07 * swing, 0.045)), cloth, 0.5)
        put(limb((side * 0.185, 1.41, 0.075), (elbow, 1.14, 0.058)), cloth, 0.5)
    torso = [(0.19, 0.82), (0.165, 1.05), (0.205, 1.3), (0.22, 1.41), (0.17, 1.475), (0.06, 1.52)]
    put(limb((0, 1.48, 0.055), (0, 1.56, 0.055)), skin)
    put(np.array(torso + [(-a, b) for a, b in torso[::-1]]), cloth, 0.5)
    put(ellipse(0, 1.635, 0.088, 0.122), skin, 0.35)
    hair = ellipse(0, 1.66, 0.098, 0.112)
    put(hair if away else hair[hair[:, 1] > 1.665], plain((0.03, 0.022, 0.015), 29.5, 0.4, 0.05), 0.3)
    s.shades.append(Blob((x, 0.0, z), (0.45, 0.12, 0.4), 0.6))
    s.warms.append(Blob((x, 0.0, z - 0.2), (0.35, 0.1, 0.5), 2.0))


def car(s: Scene, x: float, z: float, paint: Colour, oncoming: bool, running: bool, day: bool = False) -> None:
    """A saloon 4.2 m long whose near end is at z; a running one is hot, and has its lamps on unless `day`."""
    base = 24.0 if day else 11.0
    hot = 1.0 if running else 0.0
    nose, sign = (z, 1) if oncoming else (z + 4.2, -1)

    def place(points: Sequence[Colour], shader: Shader) -> None:
        """Add a face given as (across, height, distance behind the nose)."""
        s.add([(x + a, y, nose + sign * d) for a, y, d in points], shader)

    body, glass = plain(paint, base + 2 * hot, 0.12, 1.5), plain((0.025, 0.03, 0.036), base - 2 + 5 * hot, 0.5, 1.2)
    bonnet, rubber = plain(paint, base + 24 * hot, 0.12, 1.5, 7.0), plain((0.018, 0.018, 0.019), base + 1 + 17 * hot)
    roof, hub = plain(paint, base - 1, 0.12, 1.5), plain((0.2, 0.2, 0.21), base + 25 * hot)
    hw, top = 0.88, 0.70
    for side in (-1, 1):
        place([(side * hw, y, d) for d, y in ((0, 0.3), (0, 0.7), (1.1, 0.92), (4.2, 0.93), (4.2, 0.3))], body)
        pillar = [(hw, 0.92, 1.08), (hw, 0.93, 3.95), (top, 1.42, 3.3), (top, 1.42, 1.75)]
        place([(side * a, y, d) for a, y, d in pillar], body)
        for d0, d1, e0, e1 in ((1.35, 2.35, 1.85, 2.35), (2.45, 3.6, 2.45, 3.2)):
            pane = [(0.885, 0.96, d0), (0.885, 0.96, d1), (0.722, 1.38, e1), (0.722, 1.38, e0)]
            place([(side * a, y, d) for a, y, d in pane], glass)
        for d in (0.78, 3.4):
            place([(side * 0.89, y, a) for a, y in ellipse(d, 0.31, 0.31, 0.31)], rubber)
            place([(side * 0.895, y, a) for a, y in ellipse(d, 0.31, 0.18, 0.18)], hub)
    for d in (0.5, 3.75):
        for side in (-1, 1):
            place([(a, y, d) for a, y in rect(side * 0.86, 0.0, side * 0.64, 0.3)], rubber)
    for face, shader in (
        ([(hw, 0.72, 0), (-hw, 0.72, 0), (-hw, 0.92, 1.12), (hw, 0.92, 1.12)], bonnet),
        ([(0.83, 0.92, 1.08), (-0.83, 0.92, 1.08), (-top, 1.42, 1.75), (top, 1.42, 1.75)], glass),
        ([(top, 1.42, 1.75), (-top, 1.42, 1.75), (-top, 1.42, 3.3), (top, 1.42, 3.3)], roof),
        ([(0.83, 0.93, 3.95), (-0.83, 0.93, 3.95), (-top, 1.42, 3.3), (top, 1.42, 3.3)], glass),
        ([(hw, 0.93, 3.9), (-hw, 0.93, 3.9), (-hw, 0.93, 4.2), (hw, 0.93, 4.2)], body),
        ([(a, y, 0) for a, y in rect(-hw, 0.25, hw, 0.72)], plain(paint, base + 12 * hot, 0.12, 1.5)),
        ([(a, y, 0) for a, y in rect(-0.42, 0.38, 0.42, 0.62)], plain((0.02, 0.02, 0.02), base + 30 * hot)),
        ([(a, y, 4.2) for a, y in rect(-hw, 0.25, hw, 0.93)], body),
        ([(a, y, 4.2) for a, y in rect(-hw, 0.25, hw, 0.42)], plain((0.03, 0.03, 0.03), base + 5 * hot)),
        ([(a, y, 0) for a, y in rect(-0.24, 0.3, 0.24, 0.4)], plain((0.6, 0.6, 0.55), base)),
        ([(a, y, 4.2) for a, y in rect(-0.24, 0.55, 0.24, 0.67)], plain((0.6, 0.55, 0.3), base)),
        ([(a, y, 4.2) for a, y in ellipse(0.55, 0.27, 0.08, 0.07)], plain((0.05, 0.05, 0.05), base + 50 * hot)),
    ):  # fmt: skip
        place(face, shader)
    lamps = running and not day
    front = plain((0.5, 0.5, 0.5), base + 14 * hot, glow=(5.0, 4.7, 4.0) if lamps else BLACK)
    rear = plain((0.35, 0.02, 0.015), base + 4 * hot, glow=(1.8, 0.06, 0.04) if lamps else BLACK)
    for side in (-1, 1):
        place([(a, y, 0) for a, y in ellipse(side * 0.64, 0.6, 0.17, 0.09)], front)
        place([(a, y, 4.2) for a, y in rect(side * 0.85, 0.68, side * 0.52, 0.84)], rear)
        if lamps:
            ahead = z - 0.1 if oncoming else z + 4.3
            aim = (0.0, -0.06, -1.0 if oncoming else 1.0)
            s.lights.append(Light((x + side * 0.6, 0.6, ahead), (5.0, 4.7, 4.1), aim, 14))
    if lamps and not oncoming:
        s.lights.append(Light((x, 0.7, z - 0.4), (0.5, 0.02, 0.02), (0.0, -0.2, -1.0), 1))
    s.shades.append(Blob((x, 0.0, z + 2.1), (0.95, 0.15, 2.3), 0.85))
    s.warms.append(Blob((x, 0.0, z + 2.1), (0.9, 0.1, 2.1), 5.0 * hot))


def tree(
    s: Scene, x: float, z: float, tall: float, wide: float, tone: Colour = (0.06, 0.09, 0.03), heat: float = 11.0
) -> None:
    """A trunk, two branches and three overlapping crowns."""
    bark = plain((0.06, 0.045, 0.03), heat + 1.5, 0.6, 0.15)
    s.card(limb((0, 0, 0.17), (0, 0.6 * tall, 0.11)), x, z, bark, 0.5)
    for side in (-1, 1):
        s.card(limb((0, 0.42 * tall, 0.09), (side * 0.5 * wide, 0.68 * tall, 0.04)), x, z, bark, 0.5)
    for dx, dy, k, dz in ((-0.3, 0.66, 0.8, 0.3), (0.35, 0.68, 0.75, 0.0), (0.0, 0.8, 0.95, -0.3)):
        cx, cy, rx, ry = x + dx * wide, dy * tall, k * wide, 0.30 * tall * k
        s.card(ellipse(dx * wide, cy, 1.3 * rx, 1.3 * ry), x, z + dz, foliage(cx, cy, rx, ry, tone, heat))


def lamp(s: Scene, x: float, z: float, reach: float, tall: float = 5.2, power: float = 9.0) -> None:
    """A street lamp whose head hangs `reach` metres beside its post."""
    metal = plain((0.06, 0.065, 0.07), 11.0)
    s.card(limb((0, 0, 0.08), (0, tall, 0.05)), x, z, metal, 0.5)
    s.card(limb((0, tall, 0.04), (reach, tall + 0.15, 0.04)), x, z, metal)
    s.card(ellipse(reach, tall + 0.12, 0.34, 0.12), x, z, plain((0.1, 0.1, 0.1), 24.0))
    s.card(ellipse(reach, tall + 0.03, 0.26, 0.09), x, z - 0.05, plain((0.9, 0.8, 0.6), 36.0, glow=(5.0, 3.5, 1.7)))
    s.lights.append(Light((x + reach, tall - 0.1, z), (power, 0.68 * power, 0.33 * power), sharp=1.2))


def building(
    s: Scene, x: float, z: float, deep: float, tall: float, tone: Colour, lit: float, heat: float, shop: bool = False
) -> None:
    """A town house: the wall at x looks along x onto the street, the one at z towards the viewer."""
    end, back, eave = z + deep, x + 16 * np.sign(x), x - 0.25 * np.sign(x)
    s.add([(x, 0, z), (x, 0, end), (x, tall, end), (x, tall, z)], facade(2, tone, lit, heat, shop))
    s.add([(x, 0, z), (back, 0, z), (back, tall, z), (x, tall, z)], facade(0, tone, lit, heat))
    gutter = [(eave, tall - 0.25, z), (eave, tall - 0.25, end), (eave, tall + 0.2, end), (eave, tall + 0.2, z)]
    s.add(gutter, plain((0.2, 0.19, 0.17), 9.0))


def block(s: Scene, low: Colour, high: Colour, shader: Shader, top: Shader) -> None:
    """A box between two corners: front, both sides and top."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    s.add([(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)], shader)
    for x in (x0, x1):
        s.add([(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)], shader)
    s.add([(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)], top)


def board(
    s: Scene, text: str, at: Colour, size: tuple[float, float], back: Colour, ink: Colour, lit: float = 0.5
) -> None:
    """A lettered sign that faces the viewer; `at` is its lower left corner, `size` its width and height."""
    (x, y, z), (width, height) = at, size
    s.card(rect(-0.06, y - 0.06, width + 0.06, y + height + 0.06), x, z + 0.05, plain((0.03, 0.03, 0.03), 13.0))
    s.card(rect(0, y, width, y + height), x, z, lettering(text, back, ink, x, y, width, height, lit))


def floor(s: Scene, shader: Shader, near: float = -30.0, far: float = 300.0) -> None:
    """The ground plane y = 0."""
    s.add([(-300, 0, near), (300, 0, near), (300, 0, far), (-300, 0, far)], shader)


def house(s: Scene, x: float, z: float, wide: float, deep: float, tone: Colour, heat: float) -> None:
    """A house with a gable roof whose ridge runs along z."""
    x0, x1, z0, z1, eave, ridge = x - wide / 2, x + wide / 2, z, z + deep, 3.6, 6.2
    for side, warm in ((x0, 0.0), (x1, 3.0)):
        wall = [(side, 0, z0), (side, 0, z1), (side, eave, z1), (side, eave, z0)]
        s.add(wall, facade(2, (0.4, 0.36, 0.3), 0.0, 18.0))
        edge = side + 0.4 * np.sign(side - x)
        slope = [(edge, eave - 0.3, z0 - 0.4), (edge, eave - 0.3, z1), (x, ridge, z1), (x, ridge, z0 - 0.4)]
        s.add(slope, tiles(tone, heat + warm))
    gable = [(x0, 0, z0), (x1, 0, z0), (x1, eave, z0), (x, ridge - 0.1, z0), (x0, eave, z0)]
    s.add(gable, facade(0, (0.42, 0.38, 0.3), 0.0, 19.0))
    stack = brick(0, (0.3, 0.12, 0.09), 33.0)
    block(s, (x + 0.6, 4.5, z + 2.5), (x + 1.2, 6.9, z + 3.1), stack, plain((0.04, 0.04, 0.04), 44.0))


def tiles(tone: Colour, heat: float) -> Shader:
    """Roof tiles in courses along z."""

    def shade(p: Array, noise: Noise) -> Sample:
        course = p[:, 1] / 0.16
        tile = noise.cell(p[:, 2] / 0.3, course)
        light = (0.8 + 0.35 * tile + 0.5 * (noise(p[:, 2], p[:, 1] * 2) - 0.5)) * np.where(course % 1 < 0.2, 0.65, 1)
        return sample(light[:, None] * np.array(tone), heat + 2 * tile, len(p))

    return shade
