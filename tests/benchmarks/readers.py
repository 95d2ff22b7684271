"""What the reader makes of image files that others collected, beside what Pillow makes of them; not a test.

    python -m tests.benchmarks.readers FOLDER [FOLDER ...] [--list]

Every file is read as the visible image of a pair and as the infrared one. What both readers take is compared as RGB of
8 bits, upright, without alpha; files whose numbers have no range of their own (float, 32 bits, signed) are only read. A
line a folder says how many were tried, read, refused, and read otherwise than Pillow reads them (mean difference above
1 level, or a single one above 8), and how many Pillow reads that are refused here; `--list` names the last two kinds,
with the fault or the difference. An exception that is no refusal ends the run: it is a bug.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lure_cli.core.images.picture import read_picture
from lure_cli.core.images.value_range import ValueRange
from lure_cli.errors import LureError

MEAN, LARGEST = 1.0, 8.0
"""Levels of 255 up to which two readings are one: decoders round chroma differently."""


def ours(path: Path) -> tuple[np.ndarray, bool]:
    """RGB (H, W, 3) in levels of 255, and whether the file's numbers have a range of their own."""
    read_picture(path, channels=1, value_range=ValueRange("auto"))
    picture = read_picture(path, channels=3, value_range=ValueRange("auto"))
    try:
        return read_picture(path, channels=3).x * 255, picture.bits <= 16
    except LureError:
        return picture.x * 255, False


def of_pillow(path: Path) -> np.ndarray | None:
    """The same of the first frame by Pillow; None where it refuses the file."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                x = np.asarray(upright, np.float64) * (255 / 65535)
                return np.repeat(x[..., None], 3, axis=2)
            return np.asarray(upright.convert("RGBA" if "transparency" in upright.info else "RGB"), np.float64)[..., :3]
    except Exception:  # whatever Pillow's readers raise
        return None


def compare(path: Path) -> tuple[str, str]:
    """What became of a file, in a word, and why."""
    theirs = of_pillow(path)
    try:
        x, ranged = ours(path)
    except LureError as error:
        return "refused" if theirs is None else "refused, Pillow reads it", str(error)
    if theirs is None or not ranged:
        return "read", ""
    if theirs.shape != x.shape:
        return "differing", f"{x.shape[1]}x{x.shape[0]}, Pillow {theirs.shape[1]}x{theirs.shape[0]}"
    difference = np.abs(x - theirs)
    if difference.mean() > MEAN or difference.max() > LARGEST:
        return "differing", f"mean {difference.mean():.2f}, largest {difference.max():.0f} levels"
    return "read", ""


def main() -> None:
    """Print a line a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--list", action="store_true", help="name the files that differ or that Pillow alone reads")
    args = parser.parse_args()
    for folder in args.folders:
        counts: Counter[str] = Counter()
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            outcome, why = compare(path)
            counts[outcome] += 1
            if args.list and outcome not in ("read", "refused"):
                print(f"  {outcome}: {path.relative_to(folder)}: {why}")
        refused = counts["refused"] + counts["refused, Pillow reads it"]
        print(
            f"{folder.name}: {counts.total()} tried, {counts['read'] + counts['differing']} read, {refused} refused "
            f"({counts['refused, Pillow reads it']} of them read by Pillow), {counts['differing']} differing"
        )


if __name__ == "__main__":
    main()
