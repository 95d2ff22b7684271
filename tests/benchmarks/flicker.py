"""Does fusing make a clip flicker? The mean change of luma from frame to frame, in areas where nothing moves.

    PYTHONPATH=examples python -m tests.benchmarks.flicker [--size 320x240] [--frames 10] [--sigma 5]

The drone's view of examples/make_clip.py (a car and a person move), and the gate at night without any movement; each
frame of each sensor has fresh Gaussian noise. In levels of 8 bits, as a ratio to the larger of the two sources' in
brackets; a ratio of at most 1 means that fusing adds no flicker. Not a test: it takes minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from make_clip import frames
from make_scene import gate_night
from scenekit.render import Noise, paint, photograph, thermograph
from scipy.ndimage import binary_dilation

from lure_cli import Fuser
from lure_cli.tasks.inference.plan import FuseOptions
from lure_cli.tasks.video.plan import VideoOptions, plan_video
from lure_cli.tasks.video.result import ClipResult
from lure_cli.tasks.video.run import fuse_clips
from tests.helpers.clips import make_clip, read_clip

CASES: dict[str, dict[str, str]] = {
    "plain": {},
    "noise": {"prompt": "noise"},
    "low light": {"prompt": "low light"},
    "low contrast": {"prompt": "low contrast"},
    "blur": {"prompt": "blur"},
    "haze": {"prompt": "haze"},
    "auto": {"prompt": "auto"},
}


class Quiet:
    """A source of noise that is still."""

    def normal(self, mean: float, _sigma: float, size: Any) -> np.ndarray:
        return np.full(size, mean, float)


def luma(x: np.ndarray) -> np.ndarray:
    """RGB or grey in [0, 1] -> luma in levels of 8 bits, (H, W)."""
    if x.ndim == 2 or x.shape[2] == 1:
        return 255 * x.reshape(x.shape[:2])
    return 255 * (x @ np.array([0.299, 0.587, 0.114]))


def change(pictures: list[np.ndarray], still: np.ndarray) -> float:
    """Mean |difference| of the luma of neighbouring frames, where nothing moves."""
    y = np.stack([luma(p) for p in pictures])
    return float(np.abs(np.diff(y, axis=0))[:, still].mean())


def scenes(size: tuple[int, int], count: int) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Noiseless infrared (H, W) and visible (H, W, 3) frames in [0, 1]."""
    quiet: Any = Quiet()
    clips: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"drone": [], "gate": []}
    for scene, views in frames(size, count, 0):
        pair = thermograph(views, scene.span, quiet), photograph(views, quiet, 2.6)
        clips["drone"].append((np.asarray(pair[0]) / 255, np.asarray(pair[1]) / 255))
    gate = gate_night(np.random.default_rng(0))
    views = paint(gate, Noise(0), *size)
    pair = thermograph(views, gate.span, quiet), photograph(views, quiet, 5.0)
    clips["gate"] = [(np.asarray(pair[0]) / 255, np.asarray(pair[1]) / 255)] * count
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--sigma", type=float, default=5.0, help="of the noise, in levels of 8 bits")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    fuser = Fuser.from_pretrained()
    for name, clean in scenes((width, height), args.frames).items():
        rng = np.random.default_rng(1)
        moving = [np.ptp(np.stack([luma(x) for x in side]), axis=0) > 0.5 for side in zip(*clean, strict=True)]
        still = ~binary_dilation(moving[0] | moving[1], iterations=8)
        noisy = [
            tuple((x + rng.normal(0, args.sigma / 255, x.shape)).clip(0, 1).astype(np.float32) for x in pair)
            for pair in clean
        ]
        irs, viss = [list(side) for side in zip(*noisy, strict=True)]
        a, b = change(irs, still), change(viss, still)
        print(f"{name}, {still.mean():.0%} still: infrared {a:.2f}, visible {b:.2f}", flush=True)
        for case, prompt in CASES.items():
            c = change(list(fuser.stream(irs, viss, check_every=3, **prompt)), still)
            print(f"  arrays, {case}: {c:.2f} ({c / max(a, b):.2f})", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            files = {}
            for side, pictures in (("ir", irs), ("vis", viss)):
                eight = [np.round(255 * (p if p.ndim == 3 else np.repeat(p[..., None], 3, 2))) for p in pictures]
                files[side] = make_clip(Path(folder, f"{side}.mp4"), [p.astype(np.uint8) for p in eight], gop=25)
            a, b = (change([x / 255 for _, x in read_clip(files[s])], still) for s in ("ir", "vis"))
            for case, prompt in CASES.items():
                out = Path(folder, "out.mp4")
                shared = FuseOptions(Path(), Path(), str(out), overwrite=True, **prompt)  # type: ignore[arg-type]
                options = VideoOptions(shared, str(files["ir"]), str(files["vis"]), check_every=3)
                for event in fuse_clips(plan_video(options)):
                    assert not isinstance(event, ClipResult) or event.status == "done", event
                c = change([x / 255 for _, x in read_clip(out)], still)
                print(f"  mp4, {case}: {c:.2f} ({c / max(a, b):.2f})", flush=True)


if __name__ == "__main__":
    main()
