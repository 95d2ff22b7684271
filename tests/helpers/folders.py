"""Folders of small pairs, and of empty files whose names alone count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lure_cli.errors import LureError
from lure_cli.tasks.paths.pairing import Pair, find_pairs
from tests.helpers.files import save_png


def make_folder(count: int, size: tuple[int, int] = (32, 40)) -> list[str]:
    """Small pairs in `i` and `v` of the current folder; `FOLDERS` are the arguments for them."""
    rng = np.random.default_rng(0)
    for n in range(count):
        save_png(Path(f"i/p{n:04}.png"), rng.integers(0, 256, size, np.uint8))
        save_png(Path(f"v/p{n:04}.png"), rng.integers(0, 256, (*size, 3), np.uint8))
    return [f"p{n:04}" for n in range(count)]


FOLDERS = ["fuse", "--ir", "i", "--vis", "v", "-o", "out"]


def touch(*names: str) -> None:
    """Empty files, and their folders."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def outputs(pairs: list[Pair]) -> list[str]:
    """Where the pairs go."""
    return [pair.output.as_posix() for pair in pairs]


def refused(ir: str, vis: str, output: str | Path | None = None) -> LureError:
    """Why these do not pair."""
    with pytest.raises(LureError) as caught:
        find_pairs(Path(ir), Path(vis), output)
    assert caught.value.hint
    return caught.value
