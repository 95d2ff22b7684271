"""Render small registered infrared-visible example pairs: a street, a gate at night and a drone view.

Each scene is one list of flat patches in world metres (x right, y up, z away). A patch carries a shader that gives its
visible colour, its own light and its temperature, so both views and the depth map come from the same geometry.

    python examples/make_scene.py [--out examples] [--seed 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scenekit.objects import (
    block,
    board,
    brick,
    building,
    car,
    ellipse,
    facade,
    floor,
    ground,
    house,
    lamp,
    limb,
    person,
    plain,
    rect,
    tree,
)
from scenekit.render import Blob, Light, Noise, Scene, defocus, haze, paint, photograph, radiogram, thermograph


def street_night(rng: np.random.Generator) -> Scene:
    """A street after sunset with lit windows, traffic and people, three of them in the dark."""
    s = Scene(
        eye=(0.4, 2.0, 0.0),
        focal=0.85,
        pitch=0.5,
        yaw=0.0,
        zenith=(0.008, 0.016, 0.048),
        horizon=(0.13, 0.075, 0.06),
        cloud=(0.05, 0.04, 0.052),
        ambient=(0.03, 0.037, 0.056),
        span=(-9.0, 37.0),
        damp=0.35,
    )
    floor(s, ground(4.6, 8.6, 13.5, zebra=19.0))
    tones = [(0.22, 0.09, 0.06), (0.20, 0.16, 0.11), (0.16, 0.07, 0.055), (0.17, 0.15, 0.14), (0.24, 0.13, 0.08)]
    for sign in (-1, 1):
        z = 9.0
        for k in range(6):
            depth, tall = rng.uniform(9, 14), rng.uniform(7.6, 13.5)
            shop = k % 2 == (sign < 0)
            building(s, sign * 8.6, z, depth, tall, tones[(k + 2 * sign) % 5], 0.34, rng.uniform(10.5, 14.5), shop)
            z += depth + (3.0 if k == 1 else 0.0)
    for k in range(7):
        x = -34 + 10 * k
        s.card(rect(0, 0, 9.5, rng.uniform(9, 19)), x, 108 + 3 * (k % 3), facade(0, tones[k % 5], 0.3))
    for x, z in ((7.0, 62.0), (-7.1, 56.0), (7.2, 40.0), (-7.2, 31.0), (-6.9, 15.5)):
        tree(s, x, z, 6.8 + z / 50, 2.2)
    for x, z, reach in ((5.2, 64, -1.3), (-5.2, 48, 1.3), (5.2, 36, -1.3), (-5.2, 25, 1.3), (5.2, 17.0, -1.3)):
        lamp(s, x, z, reach)
    board(s, "CAFE", (6.75, 3.3, 21.0), (1.7, 0.62), (0.5, 0.03, 0.03), (0.9, 0.8, 0.55))
    board(s, "HOTEL", (-8.55, 4.6, 24.0), (2.1, 0.62), (0.02, 0.10, 0.42), (0.8, 0.9, 0.95))
    board(s, "P", (5.0, 2.15, 16.0), (0.5, 0.6), (0.02, 0.14, 0.6), (0.9, 0.9, 0.9), 0.06)
    s.card(limb((0, 0, 0.035), (0, 2.2, 0.035)), 5.25, 16.02, plain((0.2, 0.2, 0.2), 11.0))
    s.card(limb((0, 0, 0.035), (0, 2.2, 0.035)), -5.0, 18.02, plain((0.2, 0.2, 0.2), 11.0))
    s.card(ellipse(0, 2.45, 0.36, 0.36), -5.0, 18.0, plain((0.7, 0.03, 0.03), 10.5, glow=(0.06, 0.0, 0.0)))
    s.card(ellipse(0, 2.45, 0.26, 0.26), -5.0, 17.99, plain((0.8, 0.8, 0.8), 10.5, glow=(0.05, 0.05, 0.05)))
    for x, z, colour, oncoming, running in (
        (-1.9, 46.0, (0.4, 0.4, 0.42), True, True), (-2.0, 22.5, (0.5, 0.5, 0.48), True, True),
        (1.7, 33.0, (0.05, 0.1, 0.3), False, True), (3.4, 22.5, (0.5, 0.33, 0.04), False, False),
        (3.4, 11.0, (0.42, 0.03, 0.025), False, False), (-3.5, 33.0, (0.04, 0.2, 0.16), True, False),
    ):  # fmt: skip
        car(s, x, z, colour, oncoming, running)
    dark, navy = (0.012, 0.012, 0.014), (0.014, 0.016, 0.024)
    person(s, -4.9, 11.6, dark, dark, 0.8)
    person(s, -5.8, 12.4, navy, dark, -0.5, 1.68, away=True)
    person(s, -7.3, 21.0, dark, navy, 0.0, 1.8)
    person(s, 6.0, 13.0, (0.35, 0.26, 0.06), (0.05, 0.06, 0.12), 0.6)
    person(s, 0.6, 19.0, (0.30, 0.05, 0.06), (0.05, 0.05, 0.07), 0.9, 1.7)
    person(s, 5.9, 31.0, (0.1, 0.2, 0.3), (0.04, 0.04, 0.05), -0.7, away=True)
    s.shades.append(Blob((-7.4, 1.2, 15.5), (3.0, 3.4, 8.5), 0.95))
    s.shades += [Blob((-5.4, 1.2, 12.0), (1.6, 2.2, 2.0), 0.85), Blob((-7.6, 1.0, 21.0), (1.4, 2.4, 3.0), 0.9)]
    return s


def street_dusk(rng: np.random.Generator) -> Scene:
    """A leafier street just after sunset, seen from the pavement."""
    s = Scene(
        eye=(-4.2, 1.8, 0.0),
        focal=0.9,
        pitch=0.0,
        yaw=9.0,
        zenith=(0.07, 0.13, 0.30),
        horizon=(0.75, 0.40, 0.22),
        cloud=(0.55, 0.30, 0.26),
        ambient=(0.20, 0.20, 0.24),
        span=(-7.0, 37.0),
    )
    floor(s, ground(4.2, 8.0, 16.0))
    for sign in (-1, 1):
        z = 12.0 if sign > 0 else 16.0
        for tone in ((0.30, 0.25, 0.19), (0.26, 0.11, 0.08), (0.28, 0.26, 0.24), (0.25, 0.15, 0.1)):
            depth = rng.uniform(10, 15)
            tall, heat = rng.uniform(6.5, 10), rng.uniform(14, 17)
            building(s, sign * 8.0, z, depth, tall, tone, 0.2, heat, shop=sign > 0)
            z += depth + 1.5
    s.card(rect(-60, 0, 60, 7.0), 0, 130, facade(0, (0.2, 0.18, 0.17), 0.1))
    for k in range(14):
        tree(s, -21 + 4.5 * k, 100 + 2 * (k % 3), rng.uniform(7, 11), 4.0, (0.05, 0.07, 0.03), 13.0)
    for x, z in ((6.6, 52.0), (-6.6, 46.0), (6.6, 34.0), (-7.0, 27.0), (6.7, 20.0)):
        tree(s, x, z, 7.5, 2.4, (0.06, 0.10, 0.03), 14.0)
    lamp(s, -4.8, 30.0, 1.2, power=3.0)
    lamp(s, 4.8, 24.0, -1.2, power=3.0)
    board(s, "BAR", (6.4, 2.9, 17.0), (1.4, 0.6), (0.03, 0.25, 0.10), (0.9, 0.85, 0.6))
    car(s, 2.2, 17.0, (0.45, 0.45, 0.47), False, True)
    car(s, -1.9, 30.0, (0.03, 0.12, 0.4), True, True)
    car(s, -3.1, 14.0, (0.45, 0.28, 0.03), True, False)
    person(s, -5.4, 9.0, (0.02, 0.022, 0.025), (0.015, 0.015, 0.02), 0.7)
    person(s, 5.4, 15.0, (0.35, 0.08, 0.1), (0.05, 0.06, 0.12), -0.6, 1.7)
    person(s, -5.9, 22.0, (0.06, 0.12, 0.06), (0.03, 0.03, 0.03), 0.5, away=True)
    return s


def gate_night(_: np.random.Generator) -> Scene:
    """A yard gate at night: two persons in the dark, one behind the bars, two lamps and a hut."""
    s = Scene(
        eye=(0.0, 1.8, 0.0),
        focal=0.95,
        pitch=0.0,
        yaw=0.0,
        zenith=(0.003, 0.005, 0.013),
        horizon=(0.02, 0.019, 0.026),
        cloud=(0.012, 0.012, 0.015),
        ambient=(0.014, 0.017, 0.026),
        span=(-8.0, 36.0),
        damp=0.2,
    )
    floor(s, ground(3.2, 3.4, 10.0, verge=(0.05, 0.055, 0.03)))
    s.card(rect(-26, 0, -2, 6.5), 0, 42, facade(0, (0.16, 0.15, 0.15), 0.12, 11.0))
    s.card(rect(4, 0, 26, 8.5), 0, 50, facade(0, (0.18, 0.09, 0.07), 0.1, 11.5))
    for x, z, tall in ((1.5, 55, 9), (-9.0, 30, 7.5), (9.5, 26, 7)):
        tree(s, x, z, tall, 2.8)
    person(s, 2.2, 16.5, (0.012, 0.012, 0.014), (0.012, 0.012, 0.014), 0.4)
    car(s, -1.5, 24.0, (0.25, 0.25, 0.27), True, False)
    metal = plain((0.10, 0.11, 0.12), 8.0, 0.3, 0.3)
    for x0, x1, tall in ((-12.0, -3.3, 2.0), (-3.1, -0.05, 2.2), (0.05, 3.1, 2.2), (3.3, 12.0, 2.0)):
        for y in (0.25, tall - 0.15):
            s.card(rect(x0, y, x1, y + 0.07), 0, 14.0, metal)
        for x in np.arange(x0 + 0.07, x1, 0.22):
            s.card(rect(x - 0.018, 0.1, x + 0.018, tall), 0, 14.0, metal)
    for x in (-3.2, 3.2):
        s.card(rect(-0.28, 0, 0.28, 2.5), x, 13.9, brick(0, (0.24, 0.12, 0.08), 10.0), 0.3)
        s.card(ellipse(0, 2.72, 0.2, 0.2), x, 13.9, plain((0.9, 0.85, 0.7), 30.0, glow=(3.0, 2.3, 1.3)))
        s.lights.append(Light((x, 2.8, 13.6), (1.6, 1.2, 0.65), sharp=0.3))
    board(s, "STOP", (0.3, 1.2, 13.95), (1.1, 0.45), (0.6, 0.03, 0.03), (0.9, 0.9, 0.9), 0.04)
    for k in range(8):
        tint = (0.65, 0.04, 0.03) if k % 2 else (0.7, 0.7, 0.68)
        s.card(rect(-3.0 + 0.4 * k, 0.9, -2.6 + 0.4 * k, 1.02), 0, 12.2, plain(tint, 9.0))
    planks, roof = plain((0.12, 0.16, 0.13), 13.0, 0.5, 0.3), plain((0.08, 0.08, 0.08), 8.0)
    block(s, (4.3, 0.0, 13.0), (6.3, 2.5, 15.0), planks, roof)
    block(s, (4.1, 2.5, 12.8), (6.5, 2.65, 15.2), roof, roof)
    s.card(rect(4.6, 1.1, 5.7, 2.0), 0, 12.95, plain((0.5, 0.4, 0.2), 17.0, glow=(0.22, 0.15, 0.06)))
    s.card(rect(4.6, 1.1, 5.0, 2.0), 0, 12.94, plain((0.5, 0.4, 0.2), 17.0, 0.5, 0.2, glow=(0.12, 0.08, 0.03)))
    s.card(rect(5.12, 1.1, 5.17, 2.0), 0, 12.93, plain((0.2, 0.2, 0.2), 11.0))
    person(s, -4.6, 10.2, (0.012, 0.013, 0.012), (0.012, 0.012, 0.014), -0.6)
    s.shades.append(Blob((-5.0, 1.0, 11.0), (2.0, 2.6, 3.0), 0.85))
    return s


def drone_day(rng: np.random.Generator) -> Scene:
    """Houses, a road, vehicles and people on a sunny day, from 19 m up."""
    s = Scene(
        eye=(-10.5, 19.0, -5.5),
        focal=0.8,
        pitch=42.0,
        yaw=26.0,
        zenith=(0.3, 0.5, 0.8),
        horizon=(0.6, 0.7, 0.8),
        cloud=(0.8, 0.8, 0.8),
        ambient=(0.26, 0.30, 0.36),
        span=(4.0, 44.0),
        sun=((0.55, 0.72, -0.42), (1.15, 1.05, 0.88)),
    )
    floor(s, ground(3.6, 5.4, 20.5, zebra=11.0, verge=(0.09, 0.13, 0.04)))
    roofs = [(0.30, 0.11, 0.07), (0.16, 0.15, 0.16), (0.26, 0.14, 0.09), (0.33, 0.13, 0.08)]
    for k, (x, z) in enumerate(((-13.5, 9.0), (-13.5, 25.0), (12.0, 5.0), (12.5, 21.0), (-13.0, 41.0), (12.0, 38.0))):
        house(s, x, z, 8.5, 9.5 + rng.uniform(0, 1.5), roofs[k % 4], 27.0 + 2 * (k % 3))
    for x, z in ((7.5, 36.0), (-7.8, 37.5), (6.9, 18.0), (-7.5, 20.5), (-7.3, 5.5), (18.5, 19.0)):
        tree(s, x, z, 5.5, 2.0, (0.10, 0.17, 0.05), 17.0)
    for x, z, colour, oncoming, running in (
        (1.8, 17.0, (0.6, 0.04, 0.03), False, True), (-1.8, 24.0, (0.7, 0.7, 0.7), True, True),
        (1.8, 33.0, (0.05, 0.15, 0.5), False, True), (-2.5, 4.5, (0.6, 0.42, 0.05), True, False),
    ):  # fmt: skip
        car(s, x, z, colour, oncoming, running, day=True)
    person(s, 0.4, 11.2, (0.1, 0.2, 0.5), (0.05, 0.05, 0.08), 0.6, warm=33.0)
    person(s, 4.6, 14.0, (0.5, 0.45, 0.4), (0.1, 0.1, 0.15), -0.6, warm=33.0)
    person(s, -4.6, 14.5, (0.06, 0.09, 0.04), (0.05, 0.05, 0.04), 0.5, warm=33.0)
    person(s, 6.6, 12.0, (0.10, 0.15, 0.05), (0.07, 0.10, 0.04), 0.3, warm=33.0)
    return s


def save(image: Image.Image, path: Path) -> None:
    """Write a PNG, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)


def main() -> None:
    """Render every example picture below --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("examples"), help="folder that receives street/, pairs/ and focus/"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice")
    args = parser.parse_args()

    noise, rng = Noise(args.seed), np.random.default_rng([args.seed, 1])
    scene = street_night(rng)
    views = paint(scene, noise, 640, 480)
    hazy = haze(views, noise, 0.035, (0.085, 0.092, 0.105))
    save(thermograph(views, scene.span, rng), args.out / "street/ir.png")
    save(photograph(views, rng, 4.0), args.out / "street/vis.png")
    radiogram(views, np.random.default_rng([args.seed, 2])).save(args.out / "street/ir_ck.tif", compression="tiff_lzw")
    save(thermograph(views, scene.span, rng, strong=True), args.out / "street/ir_noisy.png")
    save(photograph(hazy, rng, 4.0, bloom=1.8), args.out / "street/vis_hazy.png")
    for name, build, exposure in (("street", street_dusk, 3.2), ("gate", gate_night, 5.0), ("drone", drone_day, 2.6)):
        scene = build(rng)
        views = paint(scene, noise, 320, 240)
        save(thermograph(views, scene.span, rng), args.out / f"pairs/ir/{name}.png")
        save(photograph(views, rng, exposure), args.out / f"pairs/vis/{name}.png")
        if name == "street":
            for near, focus in ((True, "near"), (False, "far")):
                seen = defocus(views, near, 14.0)
                save(
                    photograph(seen, np.random.default_rng([args.seed, 3, near]), exposure),
                    args.out / f"focus/{focus}.png",
                )


if __name__ == "__main__":
    main()
