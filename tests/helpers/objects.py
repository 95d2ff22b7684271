"""Small labelled pairs: a hot square that only the infrared shows, and a blue bar that only the visible shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lure_cli.core.objects.labels import Objects
from tests.helpers.files import save_png

CLASSES = ("square", "bar")
HEIGHT, WIDTH = 64, 96


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, Objects]:
    """Infrared (H, W), visible (H, W, 3), uint8, and what is in them."""
    rng = np.random.default_rng(seed)
    ir = rng.integers(20, 60, (HEIGHT, WIDTH), dtype=np.uint8)
    vis = rng.integers(90, 130, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    size = int(rng.integers(14, 22))
    x, y = int(rng.integers(0, 46 - size)), int(rng.integers(0, HEIGHT - size))
    ir[y : y + size, x : x + size] = 230
    u, v = int(rng.integers(50, WIDTH - 30)), int(rng.integers(0, HEIGHT - 12))
    vis[v : v + 12, u : u + 30] = (10, 20, 250)
    boxes = np.array([[x, y, x + size, y + size], [u, v, u + 30, v + 12]]) / (WIDTH, HEIGHT, WIDTH, HEIGHT)
    return ir, vis, Objects(boxes.astype(np.float32), np.array([0, 1]), np.ones(2, np.float32))


def yolo(objects: Objects) -> str:
    """The text of a label file."""
    lines = []
    for (left, top, right, bottom), kind in zip(objects.boxes.astype(float), objects.classes, strict=True):
        lines.append(f"{kind} {(left + right) / 2:.6f} {(top + bottom) / 2:.6f} {right - left:.6f} {bottom - top:.6f}")
    return "\n".join(lines) + "\n"


def make_labelled(root: Path, train: int = 4, test: int = 3) -> Path:
    """A folder with train and test, each with ir, vi and labels."""
    for split, numbers in (("train", range(train)), ("test", range(100, 100 + test))):
        for n in numbers:
            ir, vis, objects = draw(n)
            save_png(root / split / "ir" / f"{n}.png", ir)
            save_png(root / split / "vi" / f"{n}.png", vis)
            (root / split / "labels").mkdir(parents=True, exist_ok=True)
            (root / split / "labels" / f"{n}.txt").write_text(yolo(objects))
        (root / split / "labels" / "classes.txt").write_text("\n".join(CLASSES))
    return root
