"""The reader against independent ones, over a folder of image files such as a test suite of another library.

`python -m tests.benchmarks.readers FOLDER` reads every file, in sub-folders too, as infrared and as visible, compares
what is accepted with Pillow's pixels, and prints how many were tried, read, refused and read otherwise than by Pillow,
with each refusal and each difference. Files that Pillow does not open, or with fewer bits, are compared with OpenCV's
pixels, if it is installed.

With Pillow 13.0, without OpenCV and pi-heif:

| suite | tried | read | refused | differing | not compared |
| --- | --- | --- | --- | --- | --- |
| PngSuite (lunapaint/pngsuite) | 337 | 324 | 13 | 0 | 0 |
| bmpsuite | 47 | 46 | 1 | 0 | 0 |
| exif-samples | 100 | 95 | 5 | 0 | 0 |
| Pillow's Tests/images | 799 | 638 | 161 | 4 | 14 |
| TwelveMonkeys' | 393 | 282 | 111 | 10 | 33 |
| libtiff.net's TestCase, with libtiff's pictures | 467 | 335 | 132 | 4 | 124 |

The 13 of PngSuite are damaged on purpose. Its wrong checksum of pixel data (xcsn0g01) is read, as Pillow does: their
own checksum inside is right. Of the refused ones Pillow reads 234: 105 of several frames or pages, 84 fax, 26 JPEG in
TIFF of old or rare kinds, 14 with channels beyond grey and RGB, and 5 others; the rest are damaged, HEIC, or too large.

The differences: signed TIFF numbers are read over their own range (2 files); in three TIFFs of 16 bits colours are
multiplied by an opacity, which Pillow undoes with 8 bits; CMYK is converted by the file's profile (7); an 8-bit colour
map, which Pillow shows black (1); planar RGB of 16 bits (5), where flower-rgb-planar-16 is within half a level of its
contiguous form here and 67 levels from it in Pillow. Not compared: floats, 32 bits, odd depths and subsampled YCbCr,
which Pillow does not read; those of libtiff's flower are within 4 levels of its RGB form.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from lure_cli.core.images.picture import read_picture
from lure_cli.core.images.value_range import ValueRange
from lure_cli.errors import LureError

TOLERANCE = 2 / 255
"""Decoders of lossy types, and conversions of palettes and CMYK, differ by so much."""


def by_pillow(path: Path) -> np.ndarray | None:
    """float (H, W, 3) in [0, 1], upright; None if Pillow does not open it or it has other numbers than 8 or 16 bits."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            ImageOps.exif_transpose(image, in_place=True)
            image.load()
            if image.mode.startswith("I;16"):
                return np.repeat(np.asarray(image)[..., None] / 65535, 3, axis=2)
            if image.mode in ("I", "F", "LAB", "HSV"):
                return None
            return np.asarray(image.convert("RGBA").convert("RGB")) / 255
    except Exception:
        return None


def by_opencv(path: Path) -> np.ndarray | None:
    """The same by OpenCV; None too if it is not installed."""
    try:
        import cv2  # type: ignore[import-not-found]
    except ImportError:
        return None
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image is None or image.dtype not in ("uint8", "uint16"):
        return None
    return image[..., ::-1] / np.iinfo(image.dtype).max


def difference(x: np.ndarray, path: Path) -> str | None:
    """How pixels differ from those of the first independent reader that takes the file; None if they do not."""
    others = [
        (name, y) for name, read in (("Pillow", by_pillow), ("OpenCV", by_opencv)) if (y := read(path)) is not None
    ]
    if not others:
        return "nobody to compare with"
    words = []
    for name, y in others:
        if y.shape != x.shape:
            words.append(f"{name}: size {y.shape[1]}x{y.shape[0]}, not {x.shape[1]}x{x.shape[0]}")
        elif (far := np.abs(x - y).mean()) > TOLERANCE:
            words.append(f"{name}: mean difference {far * 255:.1f} of 255")
        else:
            return None
    return "; ".join(words)


def main(folder: Path) -> None:
    counts: Counter[str] = Counter()
    lines = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        counts["tried"] += 1
        channels: tuple[Literal[1, 3], ...] = (1, 3)
        try:
            picture = [read_picture(path, channels=n, value_range=ValueRange("full")) for n in channels][1]
        except LureError as error:
            counts["refused"] += 1
            lines.append(f"refused: {error.message}" + ("" if by_pillow(path) is None else " (Pillow reads it)"))
            continue
        counts["read"] += 1
        if (words := difference(picture.x, path)) is not None:
            counts["not compared" if words.startswith("nobody") else "differing"] += 1
            lines.append(f"differs: {path}: {words}")
    print("\n".join(lines))
    print(", ".join(f"{counts[what]} {what}" for what in ("tried", "read", "refused", "differing", "not compared")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
