"""How well known movements of real pairs are undone, how far registered pairs move, and the confidence; not a test.

    python -m tests.benchmarks.align [--split test] [--trials 50] [--strangers] [--data DATA] [--rows rows.csv]

Each trial moves the infrared of a pair by a random similarity (shift up to 5 % of the width, rotation up to 2 degrees,
scale up to 3 %) and crops both images by a margin, so that what is seen at the borders is real. The error is the mean
distance, over a grid of the central 90 %, between where the estimated and the true transform lead, in pixels of the
crop. The pairs' own registration is off by up to several pixels (MSRS by about 1 % in scale, LLVIP by 0.3 % of the
width, RoadScene and VIFB by pair), so the error is told against two truths:

- `undone`: the known movement on top of the one that is estimated for the same crops unmoved: is what was done to the
  pair undone?
- `filed`: the known movement alone, as though the pairs were registered exactly.

A refused pair is a miss. `kept` is the share of the unmoved pairs that `auto` leaves untouched, `moved` the median
movement of the unmoved pairs in pixels. `strangers` pairs the moved infrared with another scene's visible image, where
every answer is wrong: how many are refused (not LLVIP, whose cameras stand still). A wrong estimate for the
unmoved pair makes `undone` a miss as well.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from scipy.ndimage import map_coordinates
from skimage.transform import resize

from lure_cli.core.images.picture import read_image
from lure_cli.core.registration.alignment import Alignment
from lure_cli.core.registration.estimate import judge, search
from tests.helpers.files import SHARED

SETS = {
    "train": {"MSRS": "MSRS_resplit/train", "RoadScene": "RoadScene/train", "LLVIP": "LLVIP/train"},
    "test": {"MSRS": "MSRS/test", "RoadScene": "RoadScene/test", "LLVIP": "LLVIP/test", "VIFB": "VIFB/test"},
}
MARGIN = 0.08


@dataclass
class Trial:
    """One pair, moved and unmoved; errors in pixels."""

    group: str
    name: str
    undone: float
    filed: float
    confidence: float
    refused: bool
    refused_unmoved: bool
    kept: bool
    moved: float
    refused_stranger: bool
    stranger_confidence: float | None
    seconds: float


def similarity(dx: float, dy: float, degrees: float, scale: float, size: tuple[int, int]) -> np.ndarray:
    """(2, 3): a shift, turn and scale about the centre of the frame."""
    angle, centre = np.radians(degrees), (np.array(size) - 1) / 2
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, centre + np.array([dx, dy]) - turn @ centre])


def draw(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A random movement, (2, 3)."""
    length, towards = 0.05 * size[0] * rng.random(), 2 * np.pi * rng.random()
    dx, dy = length * np.cos(towards), length * np.sin(towards)
    return similarity(dx, dy, rng.uniform(-2, 2), rng.uniform(0.97, 1.03), size)


def then(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The (2, 3) transform that does one after the other."""
    return second @ np.vstack([first, [0, 0, 1]])


def crop_moved(
    ir: np.ndarray, vis: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The infrared as it was, the infrared moved, the visible image, all cropped, and the true transform (2, 3)."""
    height, width = ir.shape[:2]
    x0, y0 = round(MARGIN * width), min(round(MARGIN * width), height // 4)
    w, h = width - 2 * x0, height - 2 * y0
    true = draw(rng, (w, h))
    back = np.linalg.inv(np.vstack([true, [0, 0, 1]]))
    y, x = np.mgrid[:h, :w]
    at = [back[1] @ [x.ravel(), y.ravel(), np.ones(w * h)] + y0, back[0] @ [x.ravel(), y.ravel(), np.ones(w * h)] + x0]
    moved = np.clip(map_coordinates(ir[..., 0], at, order=3, mode="nearest"), 0, 1).reshape(h, w, 1)
    cut = np.s_[y0 : y0 + h, x0 : x0 + w]
    return ir[cut], moved.astype(np.float32), vis[cut], true


def error(one: np.ndarray, other: np.ndarray, size: tuple[int, int]) -> float:
    """Mean distance between where two transforms lead, over a grid of the central 90 %."""
    x, y = (np.linspace(0.05, 0.95, 11) * (n - 1) for n in size)
    points = np.stack([*(g.ravel() for g in np.meshgrid(x, y)), np.ones(121)])
    return float(np.hypot(*((one - other) @ points)).mean())


def matrix(alignment: Alignment) -> np.ndarray:
    """As (2, 3)."""
    return np.reshape(alignment.matrix, (2, 3))


def refused(found: Alignment) -> bool:
    """Whether `estimate` would refuse it."""
    return judge(found) is not None


def run(
    data: Path, split: str, count: int, seed: int = 0, *, moves: int = 1, strangers: bool = True
) -> Iterator[Trial]:
    """`moves` trials for each of `count` pairs a set, evenly spread; without `strangers`, those count as refused."""
    for number, (group, folder) in enumerate(SETS[split].items()):
        rng = np.random.default_rng([seed, number])
        files = sorted((data / "fusion" / folder / "ir").iterdir())
        chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, count).round().astype(int))]
        before: np.ndarray | None = None
        for path in chosen:
            vis = read_image(data / "fusion" / folder / "vi" / path.name, channels=1)
            ir = read_image(path, channels=1)
            rest = None
            for _ in range(moves):
                still, moved, cut, true = crop_moved(ir, vis, rng)
                size = cut.shape[1], cut.shape[0]
                started = time.perf_counter()
                found = search([(moved, cut)], "auto")
                seconds = time.perf_counter() - started
                rest = rest or search([(still, cut)], "auto")
                # LLVIP's cameras stand still: its pairs are no strangers to each other.
                wrong = None
                if strangers and group != "LLVIP":
                    # The scene before, brought to this size; the first pair meets itself upside down.
                    other = cut[::-1] if before is None else resize(before, cut.shape, order=1).astype(np.float32)
                    wrong = search([(moved, other)], "auto")
                name = group if group != "MSRS" else f"MSRS {'night' if path.stem.endswith('N') else 'day'}"
                yield Trial(
                    name,
                    path.stem,
                    error(matrix(found), then(matrix(rest), true), size),
                    error(matrix(found), true, size),
                    found.confidence,
                    refused(found),
                    refused(rest),
                    rest.is_still,
                    rest.moved,
                    wrong is None or refused(wrong),
                    wrong.confidence if wrong else None,
                    seconds,
                )
            before = vis


def table(trials: list[Trial]) -> None:
    """Print one line a group and one for all."""
    head = "group        n  undone<=1.5  median  filed<=1.5  refused  wrong  kept  moved  strangers refused  seconds"
    print(head)
    for group in [*dict.fromkeys(t.group for t in trials), "all"]:
        own = [t for t in trials if group in (t.group, "all")]
        hit = np.mean([t.undone <= 1.5 and not t.refused for t in own])
        filed = np.mean([t.filed <= 1.5 and not t.refused for t in own])
        wrong = np.mean([t.undone > 1.5 and not t.refused for t in own])
        print(
            f"{group:<11} {len(own):3d} {hit:11.1%} {np.median([t.undone for t in own]):7.2f} {filed:10.1%} "
            f"{np.mean([t.refused for t in own]):8.1%} {wrong:6.1%} {np.mean([t.kept for t in own]):5.1%} "
            f"{np.median([t.moved for t in own]):6.2f} {np.mean([t.refused_stranger for t in own]):17.1%} "
            f"{np.median([t.seconds for t in own]):8.2f}"
        )
    right = [t.confidence for t in trials if t.undone <= 1.5]
    for name, others in (
        ("error > 1.5", [t.confidence for t in trials if t.undone > 1.5]),
        ("error > 5", [t.confidence for t in trials if t.undone > 5]),
        ("strangers", [t.stranger_confidence for t in trials if t.stranger_confidence is not None]),
    ):
        if right and others:
            order = np.mean([[(r > o) + 0.5 * (r == o) for o in others] for r in right])
            low, middle = np.percentile(right, [10, 50])
            print(f"confidence of right ones: 10th percentile {low:.2f}, median {middle:.2f}; ", end="")
            middle, high = np.percentile(others, [50, 90])
            print(f"{name}: median {middle:.2f}, 90th percentile {high:.2f}; AUC {order:.3f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", default="test", choices=list(SETS))
    parser.add_argument("--trials", type=int, default=50, help="pairs a set at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strangers", action="store_true", help="also pair with another scene's visible image")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--rows", type=Path, help="write every trial to this CSV file")
    args = parser.parse_args()
    trials = []
    with args.rows.open("w", newline="", buffering=1) if args.rows else nullcontext() as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Trial)]) if file else None
        if writer:
            writer.writeheader()
        for trial in run(args.data, args.split, args.trials, args.seed, strangers=args.strangers):
            trials.append(trial)
            if writer:
                writer.writerow(asdict(trial))
    table(trials)


if __name__ == "__main__":
    main()
