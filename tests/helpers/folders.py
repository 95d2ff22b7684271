"""Folders of small pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.helpers.files import save_png


def make_folder(count: int, size: tuple[int, int] = (32, 40)) -> list[str]:
    """Small pairs in `i` and `v` of the current folder; `FOLDERS` are the arguments for them."""
    rng = np.random.default_rng(0)
    for n in range(count):
        save_png(Path(f"i/p{n:04}.png"), rng.integers(0, 256, size, np.uint8))
        save_png(Path(f"v/p{n:04}.png"), rng.integers(0, 256, (*size, 3), np.uint8))
    return [f"p{n:04}" for n in range(count)]


FOLDERS = ["fuse", "--ir", "i", "--vis", "v", "-o", "out"]
