"""How long the detector takes to load and to judge both images: medians. Not a test: run it on an idle machine.

python -m tests.benchmarks.detect [--rounds 15] [--size 640x480]
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np

from lure_cli.core.detector.detector import load_detector
from lure_cli.core.images.picture import read_image
from lure_cli.tasks.bench.speed_result import parse_size
from lure_cli.tasks.weights.find import detector_path
from tests.helpers.files import EXAMPLES


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", type=parse_size, default=(640, 480), help="width and height; the example is tiled")
    args = parser.parse_args()
    width, height = args.size
    images = {}
    for modality, name, channels in (("vis", "vis.png", 3), ("ir", "ir.png", 1)):
        x = read_image(EXAMPLES / "street" / name, channels=channels)  # type: ignore[arg-type]
        tiles = (-(-height // x.shape[0]), -(-width // x.shape[1]), 1)
        images[modality] = np.ascontiguousarray(np.tile(x, tiles)[:height, :width])
    loading: list[float] = []
    judging: dict[str, list[float]] = {modality: [] for modality in images}
    for _ in range(args.rounds):
        started = time.perf_counter()
        detector = load_detector(detector_path())
        loading.append(time.perf_counter() - started)
        for modality, x in images.items():
            started = time.perf_counter()
            detector.detect(x, modality)
            judging[modality].append(time.perf_counter() - started)
    each = ", ".join(f"{modality} {1000 * median(times):.1f} ms" for modality, times in judging.items())
    print(f"load {1000 * median(loading):.0f} ms, {width}x{height}: {each}")


if __name__ == "__main__":
    main()
