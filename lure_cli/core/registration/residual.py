"""How far off a known transform is: the small movement that a pair still asks for, and the drift of a rig.

By the direction of edges alone, near the transform, and without what `estimate` ends with: SimpleITK is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lure_cli.core.registration.alignment import Alignment, inside
from lure_cli.core.registration.edge_search import Candidate, PyramidLevel, with_neighbours
from lure_cli.core.registration.estimate import LEAST_CONFIDENCE

if TYPE_CHECKING:
    import numpy as np


_SIDE = 384
"""Pixels along the longer side of the images that are compared."""
_STEPS = ((0.5, 1.009, 0.03), (0.25, 1.0045, 0.008), (0.125, 1.00225, 0.005), (0.0625, 1.001, 0.005))
"""Of the search: degrees, factor and share of the width to which it reaches."""


@dataclass(frozen=True)
class Residual:
    """What is left between a pair after a transform, in pixels of the visible grid.

    moved: how far off a pixel is, the mean over the frame.
    shift: (dx, dy) by which the centre is off.
    confidence: 0 to 1, as that of `estimate`.
    field: (9, 2), the movement at 3 x 3 points of the frame.
    """

    moved: float
    shift: tuple[float, float]
    confidence: float
    field: np.ndarray

    @property
    def is_sure(self) -> bool:
        """Whether the pair shows enough to tell: confidence as `estimate` wants it."""
        return self.confidence >= LEAST_CONFIDENCE


def residual(placed: np.ndarray, vis: np.ndarray, alignment: Alignment) -> Residual:
    """How far off a transform is for one pair.

    Args:
        placed: the infrared image, warped by the transform: float32 (H, W, 1) in [0, 1].
        vis: the visible image, (H, W, 1).
        alignment: the transform.
    """
    import numpy as np

    shown = inside(alignment)
    # Beyond the infrared its edge is repeated; that shows nothing.
    rows, columns = (np.flatnonzero(shown.any(axis)) for axis in (1, 0))
    if rows.size < 8 or columns.size < 8:
        return Residual(0.0, (0.0, 0.0), 0.0, np.zeros((9, 2)))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    a, b = placed[part][..., 0], vis[part][..., 0]
    height, width = a.shape
    level = PyramidLevel([(a, b)], max(1.0, max(height, width) / _SIDE))
    best = Candidate(0, 0.0, 1.0, 0.0, 0.0)
    for degrees, factor, share in _STEPS:
        reach = max(2, round(share * level.shape[1]))
        (best,) = level.best(with_neighbours([best], degrees, factor), reach=reach, keep=1)
    x, y = (g.ravel() for g in np.meshgrid(*((n - 1) / 2 * np.array([-0.8, 0.0, 0.8]) for n in (width, height))))
    field = (best.matrix @ [x, y, np.ones(9)]).T - np.column_stack([x, y])
    moved = float(np.hypot(*field.T).mean())
    return Residual(moved, (best.dx, best.dy), level.agreement(best.matrix), field)


def drift(residuals: Sequence[Residual]) -> float:
    """How far off a rig is: what its pairs have in common (the median of their movements), in pixels.

    A single pair errs by a pixel or more where its two images show different edges; what moves all of them alike is
    the rig.
    """
    import numpy as np

    return float(np.hypot(*np.median([r.field for r in residuals], 0).T).mean())
