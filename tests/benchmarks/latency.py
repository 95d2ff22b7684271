"""How old is what is seen live? From a camera's frame to the decoded fused one, in frames of the camera.

    python -m tests.benchmarks.latency [--fuser mean|model] [--size 640x480] [--rate 25] [--frames 60]

Three processes and this one, on loopback: a camera draws its counter as black and white blocks into both images and
sends them by udp:// as H.264, in real time; `lure fuse` takes them and sends the result by udp://; this one decodes it
and compares the counters in the picture with the camera's at that moment. `mean` stands for a model that takes no time.
`--players` decodes as players do, which wait for the next picture's beginning before they show one.
Not a test: what it says is true of one machine alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from fractions import Fraction
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import av
import numpy as np

from lure_cli.core.text.vocabulary import ALL
from lure_cli.tasks.inference.options import FuseOptions
from lure_cli.tasks.inference.request import ModelOutput, Request
from lure_cli.tasks.video.plan import VideoOptions, plan_video
from lure_cli.tasks.video.result import ClipResult, Message
from lure_cli.tasks.video.run import fuse_clips
from tests.helpers.live import free_port

BITS = 12
"""Of the counter; a column of blocks for each, white above black for 1, black above white for 0."""
Counter = Synchronized  # of int


def draw(counter: int, size: tuple[int, int], top: bool) -> np.ndarray:
    """The counter in the upper half (of the visible image) or the lower one (of the infrared), the other one grey."""
    width, height = size
    x = np.full((height, width, 3), 128, np.uint8)
    side, begin = width // BITS, 0 if top else height // 2
    for bit in range(BITS):
        one = counter >> bit & 1
        for row in range(2):
            level = 220 if one == (row == 0) else 36
            y = begin + row * height // 4
            x[y : y + height // 4, bit * side : (bit + 1) * side] = level
    return x


def read(x: np.ndarray, upper: bool) -> int:
    """The counter that a picture shows, (H, W) luma."""
    height, width = x.shape
    side, begin, quarter = width // BITS, 0 if upper else height // 2, height // 4
    counter = 0
    for bit in range(BITS):
        column = slice(bit * side + side // 4, (bit + 1) * side - side // 4)
        tops = [begin + row * quarter + quarter // 4 for row in range(2)]
        rows = [x[top : top + quarter // 2, column] for top in tops]
        counter |= int(rows[0].mean() > rows[1].mean()) << bit
    return counter


def camera(ports: tuple[int, int], size: tuple[int, int], rate: int, newest: Counter) -> None:
    """Send both images without end, in real time."""
    outs = [av.open(f"udp://127.0.0.1:{port}?pkt_size=1316", "w", format="mpegts") for port in ports]
    streams = []
    for out in outs:
        s = out.add_stream("libx264", rate=rate)
        s.width, s.height, s.pix_fmt = *size, "yuv420p"
        s.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(rate)}
        streams.append(s)
    begun, counter = time.monotonic(), 0
    while True:
        time.sleep(max(0.0, begun + counter / rate - time.monotonic()))
        pictures = [draw(counter % (1 << BITS), size, top) for top in (False, True)]
        newest.value = counter
        for out, s, x in zip(outs, streams, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(x, "rgb24")
            frame.pts, frame.time_base = counter, Fraction(1, rate)
            out.mux(s.encode(frame))
        counter += 1


class Mean:
    """In the place of the model."""

    degradations = ALL

    def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
        scale = np.float32(255 if vis.dtype == np.uint8 else 1)
        return ModelOutput((ir + vis / scale) / 2, request.prompt, {})

    def detect(self, image: np.ndarray, modality: str) -> tuple[()]:
        return ()


def fuse(ports: tuple[int, int], out: int, model: bool) -> None:
    """`lure fuse` of both images, until it is ended."""
    ir, vis = (f"udp://127.0.0.1:{port}" for port in ports)
    options = VideoOptions(FuseOptions(Path(), Path(), None), ir, vis, live=(f"udp://127.0.0.1:{out}",))
    for event in fuse_clips(plan_video(options), fuser=None if model else Mean()):
        if isinstance(event, Message):
            print(f"  {event.text}", flush=True)
        if isinstance(event, ClipResult):
            print(f"  {event.record()}", flush=True)


def receive(port: int, frames: int, newest: Counter, rate: int, players: bool) -> None:
    """Decode what is sent, and print how old it is."""
    flags = "nobuffer" if players else "nobuffer+noparse+nofillin"
    options = {"fflags": flags, "probesize": "100000", "analyzeduration": "1000000"}
    ages: dict[str, list[int]] = {"visible": [], "infrared": []}
    times = []
    with av.open(f"udp://127.0.0.1:{port}", format="mpegts", options=options, timeout=120) as stream:
        video: Any = stream.streams.video[0]
        video.thread_type = "SLICE"
        for frame in stream.decode(video):
            now = newest.value
            times.append(time.monotonic())
            luma = frame.to_ndarray(format="gray")
            for name, age in ages.items():
                age.append((now - read(luma, name == "visible")) % (1 << BITS))
            if len(times) == frames + 10:
                break
    print(f"  {(len(times) - 11) / (times[-1] - times[10]):.1f} pictures a second")
    for name, age in ages.items():
        of = np.array(age[10:])
        print(
            f"  {name}: median {np.median(of):.0f}, 90 % within {np.percentile(of, 90):.0f}, most {of.max()} frames "
            f"({1000 * np.median(of) / rate:.0f} ms)",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fuser", choices=("mean", "model"), nargs="*", default=("mean", "model"))
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--rate", type=int, default=25)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--players", action="store_true")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    context = multiprocessing.get_context("spawn")
    for fuser in args.fuser:
        print(f"{fuser}, {args.size} at {args.rate} frames a second", flush=True)
        newest: Counter = context.Value("i", 0)
        ports, out = (free_port(), free_port()), free_port()
        jobs = [
            context.Process(target=fuse, args=(ports, out, fuser == "model"), daemon=True),
            context.Process(target=camera, args=(ports, (width, height), args.rate, newest), daemon=True),
        ]
        for job in jobs:
            job.start()
        try:
            receive(out, args.frames, newest, args.rate, args.players)
        finally:
            for job in jobs:
                job.kill()


if __name__ == "__main__":
    main()
