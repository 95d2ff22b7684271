"""Noise, scene description, camera and rendering of registered visible, thermal and depth pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SUPERSAMPLE = 2
SKY_DEPTH = 400.0

Array = np.ndarray
Colour = tuple[float, float, float]


class Noise:
    """Seeded value noise over the plane."""

    def __init__(self, seed: int) -> None:
        self.table = np.random.default_rng(seed).random((256, 256)).astype(np.float32)

    def cell(self, i: Array, j: Array) -> Array:
        """One fixed random value in [0, 1) for each integer cell (i, j)."""
        return self.table[np.floor(j).astype(int) & 255, np.floor(i).astype(int) & 255]

    def __call__(self, x: Array, y: Array, octaves: int = 4) -> Array:
        """Fractal noise in [0, 1] with mean 0.5; one unit is the longest wavelength."""
        total, weight = np.zeros(np.shape(x), np.float32), 0.0
        for octave in range(octaves):
            u, v = x * 2**octave + 17 * octave, y * 2**octave + 31 * octave
            i, j = np.floor(u), np.floor(v)
            a, b = u - i, v - j
            a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
            low = self.cell(i, j) * (1 - a) + self.cell(i + 1, j) * a
            high = self.cell(i, j + 1) * (1 - a) + self.cell(i + 1, j + 1) * a
            total += (low * (1 - b) + high * b) * 0.55**octave
            weight += 0.55**octave
        return total / weight


@dataclass
class Sample:
    """What a shader gives for M points: rgb and glow (M, 3) linear light >= 0, heat (M,) in Celsius, alpha (M,)."""

    rgb: Array
    heat: Array
    glow: Array
    alpha: Array


Shader = Callable[[Array, Noise], Sample]


@dataclass(frozen=True)
class Patch:
    """A planar polygon, outline (N, 3) in metres; `round` in [0, 1] darkens and cools it towards its edge."""

    outline: Array
    shader: Shader
    round: float = 0.0


@dataclass(frozen=True)
class Light:
    """A point light; `aim` (a unit vector) and `sharp` narrow it to a beam."""

    at: Colour
    power: Colour
    aim: Colour = (0.0, -1.0, 0.0)
    sharp: float = 0.5


@dataclass(frozen=True)
class Blob:
    """A soft ellipsoid of `amount`: a share of light taken away, or degrees added."""

    at: Colour
    radii: Colour
    amount: float


@dataclass
class Scene:
    """Geometry, lights, sky and camera; `focal` in image widths, angles in degrees, `span` in Celsius (black, white).

    `sun` is (unit direction towards it, light); `damp` scales the lamp reflections on the ground.
    """

    eye: Colour
    focal: float
    pitch: float
    yaw: float
    zenith: Colour
    horizon: Colour
    cloud: Colour
    ambient: Colour
    span: tuple[float, float]
    sun: tuple[Colour, Colour] | None = None
    damp: float = 0.0
    patches: list[Patch] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    shades: list[Blob] = field(default_factory=list)
    warms: list[Blob] = field(default_factory=list)

    def add(self, outline: Sequence[Sequence[float]] | Array, shader: Shader, round: float = 0.0) -> None:
        """Append a patch with the outline (N, 3)."""
        self.patches.append(Patch(np.asarray(outline, np.float64), shader, round))

    def card(self, shape: Array, x: float, z: float, shader: Shader, round: float = 0.0) -> None:
        """Append an upright patch that faces +-z: shape (N, 2) is (offset from x, height)."""
        self.add(np.column_stack([shape[:, 0] + x, shape[:, 1], np.full(len(shape), z)]), shader, round)


@dataclass
class Views:
    """Noise-free pictures: light and glow (H, W, 3) linear, heat (H, W) Celsius, depth (H, W) metres."""

    light: Array
    glow: Array
    heat: Array
    depth: Array


class Camera:
    """Pinhole camera of a scene for a picture of width x height pixels."""

    def __init__(self, scene: Scene, width: int, height: int) -> None:
        a, b = np.radians([scene.pitch, scene.yaw])
        tilt = np.array([(1, 0, 0), (0, np.cos(a), -np.sin(a)), (0, np.sin(a), np.cos(a))])
        turn = np.array([(np.cos(b), 0, np.sin(b)), (0, 1, 0), (-np.sin(b), 0, np.cos(b))])
        self.eye, self.axes = np.array(scene.eye), turn @ tilt
        self.f, self.cx, self.cy = scene.focal * width, width / 2, height / 2

    def rays(self, x: Array, y: Array) -> Array:
        """World directions (M, 3), one metre deep along the view axis, through pixels x, y (M,)."""
        local = np.stack([(x + 0.5 - self.cx) / self.f, (self.cy - y - 0.5) / self.f, np.ones(np.shape(x))], -1)
        return local @ self.axes.T

    def outline(self, points: Array) -> list[tuple[float, float]]:
        """Pixel outline of a world polygon (N, 3), cut at 0.3 m before the eye."""
        local = (points - self.eye) @ self.axes
        kept = []
        for p, q in zip(local, np.roll(local, -1, axis=0), strict=True):
            if p[2] > 0.3:
                kept.append(p)
            if (p[2] > 0.3) != (q[2] > 0.3):
                kept.append(p + (q - p) * (0.3 - p[2]) / (q[2] - p[2]))
        return [(float(self.cx + self.f * x / z), float(self.cy - self.f * y / z)) for x, y, z in kept]


def fill(camera: Camera, points: Array, width: int, height: int) -> tuple[Image.Image, tuple[int, int]] | None:
    """The polygon's mask (mode L) cut to its box in the picture, and the box corner; None when out of sight."""
    outline = camera.outline(points)
    if len(outline) < 3:
        return None
    xs, ys = zip(*outline, strict=True)
    x0, y0 = max(int(min(xs)) - 1, 0), max(int(min(ys)) - 1, 0)
    x1, y1 = min(int(max(xs)) + 2, width), min(int(max(ys)) + 2, height)
    if x0 >= x1 or y0 >= y1:
        return None
    mask = Image.new("L", (x1 - x0, y1 - y0))
    ImageDraw.Draw(mask).polygon([(x - x0, y - y0) for x, y in outline], fill=255)
    return mask, (x0, y0)


def shrink(image: Array) -> Array:
    """Average SUPERSAMPLE x SUPERSAMPLE pixels of (H, W) or (H, W, C)."""
    k, (h, w) = SUPERSAMPLE, image.shape[:2]
    return image.reshape(h // k, k, w // k, k, *image.shape[2:]).mean((1, 3))


def gaussian(image: Array, sigma: float) -> Array:
    """Blur the first two axes of (H, W) or (H, W, C) with edge padding."""
    radius = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        pad = [(radius, radius) if a == axis else (0, 0) for a in range(image.ndim)]
        padded = np.pad(image, pad, mode="edge")
        size = image.shape[axis]
        image = sum(k * np.take(padded, range(i, i + size), axis) for i, k in enumerate(kernel))
    return image


def paint(scene: Scene, noise: Noise, width: int, height: int) -> Views:
    """Draw every patch with a depth test, light the result and shrink it to width x height."""
    w, h = width * SUPERSAMPLE, height * SUPERSAMPLE
    camera = Camera(scene, w, h)
    yy, xx = np.mgrid[:h, :w]
    rays = camera.rays(xx, yy)
    depth = np.full((h, w), SKY_DEPTH, np.float64)
    rgb, facing = np.zeros((h, w, 3)), np.zeros((h, w, 3))
    glow, heat = sky(scene, rays, noise)
    for patch in scene.patches:
        found = fill(camera, patch.outline, w, h)
        if found is None:
            continue
        mask, (x0, y0) = found
        ys, xs = np.nonzero(np.asarray(mask))
        edge = np.ones(len(ys))
        if patch.round:
            soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(max(1.0, 0.22 * min(mask.size)))))
            edge = 1 - patch.round * (1 - soft[ys, xs] / 255.0)
        ys, xs = ys + y0, xs + x0
        normal = np.cross(patch.outline - patch.outline[0], np.roll(patch.outline, -1, 0) - patch.outline[0]).sum(0)
        normal /= np.linalg.norm(normal)
        ray = rays[ys, xs]
        slant = ray @ normal
        distance = ((patch.outline[0] - camera.eye) @ normal) / np.where(abs(slant) < 1e-9, 1e-9, slant)
        seen = (distance > 0.2) & (distance < depth[ys, xs] * 1.001 + 0.01)
        ys, xs, distance, ray, edge, slant = (a[seen] for a in (ys, xs, distance, ray, edge, slant))
        if not len(ys):
            continue
        out = patch.shader(camera.eye + ray * distance[:, None], noise)
        mix = out.alpha.astype(np.float64)
        wide = mix[:, None]
        rgb[ys, xs] += wide * (out.rgb * edge[:, None] - rgb[ys, xs])
        glow[ys, xs] += wide * (out.glow - glow[ys, xs])
        heat[ys, xs] += mix * (out.heat - 8 * (1 - edge) - heat[ys, xs])
        solid = mix > 0.5
        depth[ys[solid], xs[solid]] = distance[solid]
        facing[ys, xs] = -np.sign(slant)[:, None] * normal
    hit = depth < SKY_DEPTH
    points = camera.eye + rays[hit] * depth[hit][:, None]
    light, warmth = illuminate(scene, points, facing[hit])
    if scene.sun is not None:
        lit = (facing[hit] @ scene.sun[0]).clip(0) * ~cast_shadow(scene, camera, hit, points)
        light = light + lit[:, None] * np.array(scene.sun[1])
        warmth += 5 * lit - 3
    heat[hit] += warmth
    image = glow.copy()
    image[hit] += rgb[hit] * light
    glow[~hit] = 0
    return Views(shrink(image), shrink(glow), shrink(heat), shrink(depth))


def sky(scene: Scene, rays: Array, noise: Noise) -> tuple[Array, Array]:
    """Sky light (H, W, 3) and sky temperature (H, W) for world directions (H, W, 3)."""
    rise = (rays[..., 1] / np.linalg.norm(rays, axis=-1)).clip(0.0, 1.0)
    blend = np.exp(-rise * 5.0)[..., None]
    bank = noise(rays[..., 0] * 2.2 / (rise + 0.25), rays[..., 1] * 7.0, 5)
    cover = ((bank - 0.47) * 4).clip(0, 0.85)[..., None]
    light = np.array(scene.zenith) * (1 - blend) + np.array(scene.horizon) * blend
    light = light * (1 - cover) + np.array(scene.cloud) * (0.5 + bank[..., None]) * cover
    return light, scene.span[0] + 9 * blend[..., 0] + 0.5 + 5 * cover[..., 0]


def cast_shadow(scene: Scene, camera: Camera, hit: Array, points: Array) -> Array:
    """Which of the points (M,), the hit pixels of (H, W), are ground in the sun's shadow; patch 0 is the ground."""
    height, width = hit.shape
    toward = np.array(scene.sun[0])
    cast = Image.new("L", (width, height))
    for patch in scene.patches[1:]:
        found = fill(camera, patch.outline - patch.outline[:, 1:2] / toward[1] * toward, width, height)
        if found is not None:
            cast.paste(255, found[1], found[0])
    return (np.asarray(cast)[hit] > 0) & (points[:, 1] < 0.02)


def illuminate(scene: Scene, points: Array, facing: Array) -> tuple[Array, Array]:
    """Sky and lamp light (M, 3) that falls on points (M, 3), and the degrees (M,) to add there."""
    light = np.broadcast_to(np.array(scene.ambient), points.shape) * (0.8 + 0.25 * facing[:, 1:2])
    warmth = np.zeros(len(points))
    view = points - np.array(scene.eye)
    view = view[:, :2] / view[:, 2:].clip(0.1)
    low = points[:, 1] < 0.01
    for source in scene.lights:
        path = points - np.array(source.at)
        square = (path**2).sum(1)
        along = (path @ np.array(source.aim) / np.sqrt(square + 1e-6)).clip(0.02, 1)
        light = light + (along**source.sharp / (square + 0.8))[:, None] * np.array(source.power)
        x, y, z = np.array(source.at) - scene.eye
        mirror = np.array((x, y - 2 * source.at[1])) / z
        streak = np.exp(-(((view - mirror) / (0.014, 0.12)) ** 2).sum(1)) * low / (1 + z / 25)
        light = light + scene.damp * streak[:, None] * np.array(source.power)
    for blob in scene.shades:
        light = light * (1 - blob.amount * np.exp(-(((points - blob.at) / blob.radii) ** 2).sum(1)))[:, None]
    for blob in scene.warms:
        warmth += blob.amount * np.exp(-(((points - blob.at) / blob.radii) ** 2).sum(1)) * (points[:, 1] < 0.05)
    return light, warmth


def haze(views: Views, noise: Noise, beta: float, air: Colour) -> Views:
    """Atmospheric scattering: t = exp(-beta depth), light = t light + (1 - t) air, with a slowly varying density."""
    h, w = views.depth.shape
    yy, xx = np.mgrid[:h, :w]
    density = 0.85 + 0.3 * noise(xx / 160.0, yy / 90.0, 3)
    t = np.exp(-beta * density * views.depth.clip(0, 110))[..., None]
    return Views(views.light * t + np.array(air) * (1 - t), views.glow * (0.4 + 0.6 * t), views.heat, views.depth)


def defocus(views: Views, near: bool, border: float) -> Views:
    """What a lens sees that is focused nearer (`near`) or farther than `border` metres; the rest is blurred."""
    sharp = gaussian((views.depth < border if near else views.depth >= border).astype(np.float64), 0.8)[..., None]
    light, glow = (gaussian(part, 2.2) * (1 - sharp) + part * sharp for part in (views.light, views.glow))
    return Views(light, glow, views.heat, views.depth)


def photograph(views: Views, rng: np.random.Generator, exposure: float, bloom: float = 1.0) -> Image.Image:
    """The visible picture: lamp glow, tone curve, vignette and mild camera noise; RGB."""
    light = views.light.copy()
    for sigma, weight in ((1.5, 0.25), (6.0, 0.22), (20.0, 0.16)):
        light += bloom * weight * gaussian(views.glow, sigma)
    h, w = views.depth.shape
    yy, xx = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    light *= (1 - 0.12 * (xx**2 + yy**2))[..., None]
    tone = (1 - np.exp(-exposure * light)) ** (1 / 2.2)
    tone += rng.normal(0, 1, tone.shape) * (0.006 + 0.005 * (1 - tone)) + rng.normal(0, 0.004, (h, w, 1))
    return Image.fromarray((tone.clip(0, 1) * 255 + 0.5).astype(np.uint8))


def thermograph(views: Views, span: tuple[float, float], rng: np.random.Generator, strong: bool = False) -> Image.Image:
    """The white-hot thermal picture, mode L; `strong` adds heavy grain and faint column stripes."""
    level = (gaussian(views.heat, 0.9) - span[0]) / (span[1] - span[0])
    level = np.where(level > 0.85, 0.85 + 0.15 * np.tanh((level - 0.85) / 0.3), level)
    level += rng.normal(0, 0.009, level.shape)
    if strong:
        level += rng.normal(0, 0.085, level.shape)
        columns = rng.choice(level.shape[1], 22, replace=False)
        level[:, columns] += rng.normal(0, 0.08, 22)
        level += rng.normal(0, 0.012, (1, level.shape[1]))
    return Image.fromarray((level.clip(0, 1) * 255 + 0.5).astype(np.uint8))


def radiogram(views: Views, rng: np.random.Generator) -> Image.Image:
    """What a radiometric camera of half the size exports: centikelvins in 16 bits, with a noise of 0.05 K."""
    heat = gaussian(views.heat, 0.9)
    heat = heat.reshape(heat.shape[0] // 2, 2, heat.shape[1] // 2, 2).mean((1, 3))
    heat += rng.normal(0, 0.05, heat.shape)
    return Image.fromarray(np.rint(100 * (heat + 273.15)).astype(np.uint16))
