"""Shared paths, what a command printed, and small files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


EXAMPLES = ROOT / "examples"


UNBUILT = shutil.ignore_patterns("__pycache__", "node_modules", "dist", "model.*")
"""For copies of the examples: without what their programs made."""


SHARED = ROOT.parent / "shared"


@dataclass
class Outcome:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def make_data(root: Path) -> Path:
    """A data folder of the documented layout, from the rendered examples."""
    pairs = EXAMPLES / "pairs"
    for side, name in (("ir", "ir"), ("vis", "vi")):
        shutil.copytree(pairs / side, root / "fusion" / "demo" / "train" / name)
    shutil.copytree(pairs / "vis", root / "clean" / "visible" / "demo")
    shutil.copytree(pairs / "ir", root / "clean" / "infrared" / "demo")
    real = root / "restoration" / "visible" / "haze" / "demo" / "train"
    for side, name in (("degraded", "vis_hazy.png"), ("clean", "vis.png")):
        (real / side).mkdir(parents=True)
        shutil.copy(EXAMPLES / "street" / name, real / side / "street.png")
    return root


def save_png(path: Path, array: np.ndarray) -> Path:
    """Write a uint8 array."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path
