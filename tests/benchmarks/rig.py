"""How far off pairs of fixed cameras are before and after one transform for all of them; not a test: it takes minutes.

    python -m tests.benchmarks.rig [--pairs 12] [--data DATA]

The transform is estimated on some pairs of a camera and judged on others, in the way of `lure align --check`, which
shares no number with the estimate's last step. For each set: how far off the judged pairs are, in pixels (median), and
what they have in common (drift), as they are filed, by the transform without lens distortion, and by the transform as
it is written. RoadScene's pairs are crops of as many sizes, so there is no rig to estimate; they are judged as filed.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lure_cli.core.images.picture import read_image, to_channels
from lure_cli.core.registration import estimate
from lure_cli.core.registration.alignment import Alignment, describe, warp
from lure_cli.core.registration.residual import drift, residual
from tests.helpers.clips import read_clip
from tests.helpers.files import SHARED

Pairs = list[tuple[np.ndarray, np.ndarray]]


def files(ir: Path, vis: Path, count: int, start: str = "") -> Pairs:
    """So many pairs of two folders whose names begin so, evenly spread."""
    names = sorted(p.name for p in ir.iterdir() if p.name.startswith(start))
    chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, count).round().astype(int))]
    return [(read_image(ir / name, channels=1), read_image(vis / name, channels=1)) for name in chosen]


def clip(folder: Path, count: int) -> Pairs:
    """So many pairs of the smoke clip, evenly spread."""
    streams = [[x for _, x in read_clip(folder / f"smoke_{side}.mp4")] for side in ("infrared", "visible")]
    total = min(map(len, streams))
    chosen = np.linspace(0, total - 1, count).round().astype(int)
    greys = [[to_channels(s[i].astype(np.float32) / 255, 1) for i in chosen] for s in streams]
    return list(zip(*greys, strict=True))


def cases(data: Path, count: int) -> Iterator[tuple[str, Pairs, Pairs]]:
    """Name of a set, the pairs to estimate from, and those to judge."""
    fusion, m3svd = data / "fusion", "M3SVD/test/clean"
    train, test = fusion / "MSRS_resplit/train", fusion / "MSRS/test"
    yield "MSRS", files(train / "ir", train / "vi", count), files(test / "ir", test / "vi", count)
    for name, folder, start in (("LLVIP 01", "train", "01"), ("LLVIP 19", "test", "19"), ("LLVIP 20", "test", "20")):
        both = files(fusion / "LLVIP" / folder / "ir", fusion / "LLVIP" / folder / "vi", 2 * count, start)
        yield name, both[::2], both[1::2]
    smoke = clip(data / "clips/M3SVD", 2 * count)
    yield "M3SVD clip", smoke[::2], smoke[1::2]
    stills = files(data / "restoration/infrared/stripe" / m3svd, data / "restoration/visible/blur" / m3svd, 4)
    yield "M3SVD stills", stills[::2], stills[1::2]
    yield "RoadScene", [], files(fusion / "RoadScene/test/ir", fusion / "RoadScene/test/vi", 50)


def judge(pairs: Pairs, alignment: Alignment | None) -> str:
    """Median of how far off they are and drift, of those that show enough."""
    found = []
    for ir, vis in pairs:
        by = alignment or Alignment.stretched(ir.shape[1::-1], vis.shape[1::-1])
        found.append(residual(warp(ir, by), vis, by))
    sure = [r for r in found if r.is_sure]
    return f"{statistics.median(r.moved for r in sure):6.2f} {drift(sure):6.2f} ({len(sure)} of {len(found)})"


def main() -> None:
    """Print one block a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    args = parser.parse_args()
    for name, own, other in cases(args.data, args.pairs):
        print(f"{name:<13} filed     {judge(other, None)}", flush=True)
        if not own:
            continue
        whole = estimate.estimate_once(own)
        if any(whole.distortion):
            keep, estimate.fit_lens = estimate.fit_lens, lambda pairs, alignment, model: alignment
            straight = estimate.estimate_once(own)
            estimate.fit_lens = keep
            print(f"{'':<13} straight  {judge(other, straight)}  {describe(straight)}", flush=True)
        print(f"{'':<13} rig       {judge(other, whole)}  {describe(whole)}", flush=True)


if __name__ == "__main__":
    main()
