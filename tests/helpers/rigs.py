"""Pairs of a rig whose transform is known: the rendered examples, their infrared resampled by it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

from lure_cli.core.images.picture import read_image
from lure_cli.core.registration.alignment import Alignment
from tests.helpers.files import EXAMPLES

NAMES = ("drone", "gate", "street")
SIZE = (320, 240)
"""Width and height of the examples."""


def example(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Infrared and visible image of an example, each (240, 320, 1) in [0, 1]."""
    folder = EXAMPLES / "pairs"
    return read_image(folder / "ir" / f"{name}.png", channels=1), read_image(folder / "vis" / f"{name}.png", channels=1)


def raw_infrared(ir: np.ndarray, rig: Alignment) -> np.ndarray:
    """The infrared image, of the rig's `source_size`, that the rig lays onto the one given."""
    w, h = rig.source_size
    u, v = np.meshgrid(np.arange(w, dtype=float), np.arange(h, dtype=float))
    (a, b, c), (d, e, f) = np.linalg.inv(np.vstack([np.reshape(rig.matrix, (2, 3)), (0, 0, 1)]))[:2]
    x, y = a * u + b * v + c, d * u + e * v + f
    for _ in range(20):  # a lens has no inverse in closed form
        du, dv = (place - led for place, led in zip((u, v), rig.lead(x, y), strict=True))
        x, y = x + a * du + b * dv, y + d * du + e * dv
    raw = map_coordinates(ir[..., 0], [y, x], order=3, mode="nearest")
    return np.clip(raw, 0, 1)[..., None].astype(np.float32)


def apart(one: Alignment, other: Alignment) -> np.ndarray:
    """How far the two lead from each other over the frame, in pixels of the visible grid."""
    (w, h), (ws, hs) = one.size, one.source_size
    grid = np.meshgrid(np.linspace(0, w - 1, 17), np.linspace(0, h - 1, 13))
    far = np.array(one.lead(*grid)) - np.array(other.lead(*grid))
    return np.hypot(far[0] * w / ws, far[1] * h / hs)
