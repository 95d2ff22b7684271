"""Training runs that take seconds, and data with sets that are large enough to hold some images out."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from lure_cli.config import TrainConfig, from_mapping
from tests.helpers.files import EXAMPLES, ROOT

SIDE = 48
FAST = {"batch_vis": 2, "batch_ir": 2, "crop": 32, "steps": 4, "log_every": 1, "warmup": 1, "light_ramp": 0}
FAST |= {"amp": False, "threads": 1, "shards": 1, "validate_every": 2, "validation_crops": 1}
FAST |= {"tensorboard": False, "snapshots": []}


def tiles(source: Path, folder: Path, count: int) -> None:
    """The first `count` tiles of a picture, as pictures of their own."""
    folder.mkdir(parents=True)
    image = Image.open(source)
    across = image.width // SIDE
    for i in range(count):
        x, y = i % across * SIDE, i // across * SIDE
        image.crop((x, y, x + SIDE, y + SIDE)).save(folder / f"{i:03d}.png")


def make_tiled(root: Path) -> Path:
    """A data folder whose sets are large enough to hold some images out."""
    street = EXAMPLES / "street"
    tiles(street / "ir.png", root / "fusion" / "demo" / "train" / "ir", 24)
    tiles(street / "vis.png", root / "fusion" / "demo" / "train" / "vi", 24)
    real = root / "restoration" / "visible" / "haze" / "mist" / "train"
    tiles(street / "vis_hazy.png", real / "degraded", 12)
    tiles(street / "vis.png", real / "clean", 12)
    tiles(EXAMPLES / "pairs" / "vis" / "gate.png", root / "clean" / "visible" / "few", 9)
    return root


def config(data: Path, out: Path, **changes: object) -> TrainConfig:
    """A run that takes seconds."""
    return from_mapping(TrainConfig, {"data": str(data), "out": str(out), **FAST, **changes}, "test")


def log(out: Path) -> list[dict[str, Any]]:
    """The records of a run's log."""
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def command(*args: object) -> tuple[list[str], dict[str, str]]:
    """A command for a process of its own, and its environment."""
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    return [sys.executable, *map(str, args)], {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def as_settings(changes: dict[str, Any]) -> list[str]:
    """The same on the command line."""
    return [f"--set={k}={str(v).lower()}" for k, v in (FAST | changes).items()]
