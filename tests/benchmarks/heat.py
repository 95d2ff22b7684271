"""Flicker of colours by heat: of a rendered clip with sensor noise in every frame, which share of what is hot and does
not move changes its opacity by more than half from one frame to the next; with a hard edge at the threshold, with one
that comes in smoothly, and with heat that is steadied over time, as `lure fuse` does it.

    PYTHONPATH=examples python -m tests.benchmarks.heat
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import numpy as np
from make_clip import frames
from scenekit.render import thermograph
from scipy.ndimage import uniform_filter

from lure_cli.core.thermal.colouring import HeatColours, opacity, steadied

STARTS = ("80%", "90%", "95%")


def render(size: tuple[int, int], count: int, sigma: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The infrared in [0, 1], (H, W) of each frame, with noise of `sigma` (of 255) added to its own; and which pixels
    move from each to the next."""
    rng, extra = np.random.default_rng([0, 2]), np.random.default_rng(1)
    heats, smooth = [], []
    for scene, views in frames(size, count, 0):
        x = np.asarray(thermograph(views, scene.span, rng)).astype(float)
        smooth.append(uniform_filter(x, 9))
        heats.append((np.clip(x + extra.normal(0, sigma, x.shape), 0, 255).round() / 255).astype(np.float32))
    return heats, [np.abs(b - a) >= 3 for a, b in pairwise(smooth)]


def share(heats: list[np.ndarray], moves: list[np.ndarray], low: float, onset: float) -> float:
    """Percent."""
    seen = [opacity(heat - np.float32(low), onset) for heat in heats]
    jumps = sum(int(((np.abs(b - a) > 0.5) & ~m).sum()) for (a, b), m in zip(pairwise(seen), moves, strict=True))
    return 100 * jumps / max(1, sum(int((a > 0.5).sum()) for a in seen))


def main() -> None:
    """Print a line for each noise and threshold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="320x240", help="width x height")
    parser.add_argument("--frames", type=int, default=24, help="how many")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    print("added noise, noise found (of 255), threshold: hard edge, smooth, steadied (% of what is hot)")
    for sigma in (0.0, 2.0, 5.0):
        heats, moves = render((width, height), args.frames, sigma)
        for start in STARTS:
            colours = HeatColours.parse("iron", start, None, False)
            assert colours is not None
            scale = colours.settle(heats[::4], "range")
            kept = heats[:1]
            for heat in heats[1:]:
                kept.append(steadied(heat, kept[-1], scale.noise))
            values = (
                share(h, moves, scale.low, o) for h, o in ((heats, 1e-6), (heats, scale.onset), (kept, scale.onset))
            )
            print(f"{sigma:g}, {255 * scale.noise:.1f}, {start}:", ", ".join(f"{v:.2f}" for v in values))


if __name__ == "__main__":
    main()
