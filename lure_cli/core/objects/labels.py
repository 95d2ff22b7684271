"""Boxes of objects, and the text files of YOLO that hold them. numpy alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lure_cli.errors import LureError

LINE = "a line holds class, centre x, centre y, width, height: a whole number, then four shares of the image"
_SLACK = 0.01
"""How far a box may reach beyond the image, as a share of it: writers round."""


@dataclass(frozen=True)
class Objects:
    """Objects of one image.

    Attributes:
        boxes: float32 (N, 4): left, top, right, bottom; of labels as shares of the image in [0, 1], of what was found
            in pixels.
        classes: int64 (N,), from 0 on.
        scores: float32 (N,) in [0, 1]; of labels all 1.
    """

    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    scores: NDArray[np.float32]


def no_objects() -> Objects:
    """Of an image in which nothing is."""
    return Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))


def read_yolo(path: Path, classes: int) -> Objects:
    """The boxes of one YOLO file, cut at the edges of the image; an empty file says that there is nothing.

    Args:
        path: a text file with a line an object: class, centre x, centre y, width and height, shares of the image.
        classes: how many there are.

    Raises:
        LureError: it cannot be read, or a line is none; the message says which.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LureError(f"{path}: cannot be read ({error})", "give a text file in the format of YOLO") from error
    rows = [_row(f"{path}, line {n}", line.split(), classes) for n, line in enumerate(lines, 1) if line.strip()]
    table = np.array(rows, np.float64).reshape(-1, 5)
    corners = np.concatenate([table[:, 1:3] - table[:, 3:] / 2, table[:, 1:3] + table[:, 3:] / 2], axis=1)
    boxes = corners.clip(0, 1).astype(np.float32)
    return Objects(boxes, table[:, 0].astype(np.int64), np.ones(len(rows), np.float32))


def _row(where: str, words: Sequence[str], classes: int) -> tuple[float, ...]:
    try:
        row = tuple(map(float, words))
    except ValueError:
        raise LureError(f"{where}: holds what is no number", LINE) from None
    if len(row) != 5 or not all(map(math.isfinite, row)):
        raise LureError(f"{where}: holds {len(row)} numbers, or infinite ones, not 5", LINE)
    number, x, y, width, height = row
    if number != int(number) or not 0 <= number < classes:
        raise LureError(
            f"{where}: class {words[0]}, but there are {classes}, from 0 on", "name them all: --classes A,B"
        )
    low, high = -_SLACK, 1 + _SLACK
    inside = all(low <= c - size / 2 and c + size / 2 <= high for c, size in ((x, width), (y, height)))
    if not (width > 0 and height > 0 and inside):
        raise LureError(f"{where}: the box has no size, or reaches out of the image", LINE)
    return row


def read_names(path: Path) -> tuple[str, ...]:
    """The names of the classes: one a line, the first is class 0.

    Raises:
        LureError: it cannot be read, or names nothing.
    """
    hint = "write one name a line, or give --classes A,B"
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise LureError(f"{path}: cannot be read ({error})", hint) from error
    if not names:
        raise LureError(f"{path}: names no class", hint)
    return names
