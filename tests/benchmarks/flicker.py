"""Does fusing make a clip flicker, or pump? Not a test: it takes minutes. Of rendered scenes and of a clip, without
following motion (`lure eval` of clips follows it):

    PYTHONPATH=examples python -m tests.benchmarks.flicker [--size 320x240] [--frames 10] [--sigma 5]
    PYTHONPATH=examples python -m tests.benchmarks.flicker --ir IR.mp4 --vis VIS.mp4 [--frames 40] [--prompt haze]

Rendered: the drone's view of examples/make_clip.py (a car and a person move), and the gate at night without any
movement; each frame of each sensor has fresh Gaussian noise. The mean change of luma from frame to frame in areas where
nothing moves, in levels of 8 bits, as a ratio to the larger of the two sources' in brackets; a ratio of at most 1 means
that fusing adds no flicker.

A clip: with each prompt every pair by itself ("alone") and as a stream, whose views of the whole images are smoothed.
With Y the luma of a frame, and the contrast the mean over the frames of the standard deviation of Y over the pixels,
    change = mean over neighbouring frames of the mean over the pixels of |Y' - Y|, / contrast
    pumping = mean over neighbouring frames of |mean of Y' - mean of Y|, / contrast
so both are those of clips brought to one contrast; in brackets as ratios to the visible and to the infrared source's.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from make_clip import frames
from make_scene import gate_night
from scenekit.render import Noise, paint, photograph, thermograph
from scipy.ndimage import binary_dilation

from lure_cli import Fuser
from lure_cli.tasks.inference.options import FuseOptions
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


class Steadiness:
    """The change and the pumping of a clip, frame by frame; see above."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._changes: list[float] = []
        self._means: list[float] = []
        self._contrasts: list[float] = []

    @classmethod
    def of(cls, pictures: Iterable[np.ndarray]) -> Steadiness:
        steadiness = cls()
        for x in pictures:
            steadiness.add(x)
        return steadiness

    def add(self, picture: np.ndarray) -> None:
        """The next frame, RGB or grey in [0, 1]."""
        y = luma(picture)
        if self._last is not None:
            self._changes.append(float(np.abs(y - self._last).mean()))
        self._last = y
        self._means.append(float(y.mean()))
        self._contrasts.append(float(y.std()))

    @property
    def numbers(self) -> np.ndarray:
        """(change, pumping)"""
        return np.array([np.mean(self._changes), np.abs(np.diff(self._means)).mean()]) / np.mean(self._contrasts)


def clip(ir: Path, vis: Path, prompts: list[str], count: int, dtype: str) -> None:
    """Print the steadiness of a clip's sources and of what is fused with each prompt."""
    irs, viss = ([x for _, x in islice(read_clip(path), count)] for path in (ir, vis))
    irs = [x[..., :1] for x in irs]
    fuser = Fuser.from_pretrained(dtype=dtype)
    sources = [Steadiness.of(x / 255 for x in side).numbers for side in (viss, irs)]
    for name, (change, pumping) in zip(("visible", "infrared"), sources, strict=True):
        print(f"{name}: change {change:.4f}, pumping {pumping:.4f}", flush=True)
    for prompt in prompts:
        pictures: dict[str, Iterable[np.ndarray]] = {
            "alone": (fuser(i, v, prompt) for i, v in zip(irs, viss, strict=False)),
            "stream": fuser.stream(irs, viss, prompt),
        }
        for how, fused in pictures.items():
            a = Steadiness.of(fused).numbers
            change, pumping = (f"{x:.4f} ({x / v:.2f}, {x / i:.2f})" for x, v, i in zip(a, *sources, strict=True))
            print(f"{prompt}, {how}: change {change}, pumping {pumping}", flush=True)


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
    parser.add_argument("--frames", type=int, help="default: 10 rendered ones, 40 of a clip")
    parser.add_argument("--sigma", type=float, default=5.0, help="of the noise, in levels of 8 bits")
    parser.add_argument("--ir", type=Path)
    parser.add_argument("--vis", type=Path)
    parser.add_argument("--prompt", nargs="+", default=["haze", "low light", "low contrast"])
    parser.add_argument("--dtype", default="fp32", help="of the network; see `lure fuse`")
    args = parser.parse_args()
    if args.vis is not None:
        clip(args.ir, args.vis, args.prompt, args.frames or 40, args.dtype)
        return
    width, height = map(int, args.size.split("x"))
    fuser = Fuser.from_pretrained()
    for name, clean in scenes((width, height), args.frames or 10).items():
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
