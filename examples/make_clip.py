"""Render a small registered infrared-visible clip: the drone's view of make_scene.py, where a car and a person move.

The camera stands still; both sensors have fresh noise in every frame.

    python examples/make_clip.py [--out examples/clip] [--size 160x120] [--frames 24] [--seed 0]

Needs numpy, Pillow and PyAV.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from make_scene import drone_day
from scenekit.objects import car, person
from scenekit.render import Noise, Scene, Views, paint, photograph, thermograph

RATE = 12
"""Frames a second."""


def frames(size: tuple[int, int], count: int, seed: int) -> Iterator[tuple[Scene, Views]]:
    """The scene and its noiseless views, frame by frame."""
    for i in range(count):
        scene = drone_day(np.random.default_rng([seed, 1]))  # the same at every call
        car(scene, -1.8, 15.5 - 0.25 * i, (0.1, 0.35, 0.12), True, True, day=True)
        person(scene, 2.6 + 0.06 * i, 9.4, (0.5, 0.1, 0.1), (0.05, 0.05, 0.1), 0.5 * (-1) ** i, warm=33.0)
        yield scene, paint(scene, Noise(seed), *size)


def write(path: Path, pictures: list[np.ndarray]) -> None:
    """Write RGB pictures as H.264."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "18"}
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode(None))


def main() -> None:
    """Render ir.mp4 and vis.mp4 below --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("examples/clip"), help="folder that receives the two clips")
    parser.add_argument("--size", default="160x120", help="width x height, even numbers")
    parser.add_argument("--frames", type=int, default=24, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice")
    args = parser.parse_args()

    width, height = map(int, args.size.split("x"))
    rng = np.random.default_rng([args.seed, 2])
    irs, viss = [], []
    for scene, views in frames((width, height), args.frames, args.seed):
        irs.append(np.repeat(np.asarray(thermograph(views, scene.span, rng))[..., None], 3, axis=2))
        viss.append(np.asarray(photograph(views, rng, 2.6)))
    args.out.mkdir(parents=True, exist_ok=True)
    write(args.out / "ir.mp4", irs)
    write(args.out / "vis.mp4", viss)


if __name__ == "__main__":
    main()
