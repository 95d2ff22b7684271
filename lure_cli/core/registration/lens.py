"""The radial distortion between the lenses of a rig, from where tiles of many pairs would rather be shifted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lure_cli.core.registration.alignment import Alignment, Model, is_lens, warp
from lure_cli.core.registration.edge_search import TILE_REACH, PyramidLevel

if TYPE_CHECKING:
    import numpy as np

    Pairs = Sequence[tuple[np.ndarray, np.ndarray]]


LEAST_PAIRS = 4
"""Fewer show no distortion: it is fitted to one half and judged on the other, and the other way round."""
_SIDE = 512
"""Pixels along the longer side of the images that are compared."""
_ROWS, _COLUMNS = 6, 8
_GAIN = 0.9
"""A distortion is kept where it brings what tiles are off, on the pairs it was not fitted to, below this share."""
_LEAST_GAIN = 0.0004
"""And lower by at least this share of the width."""
_FAR = 0.015
"""Share of the width."""
_ROUNDS = 3


def fit_lens(pairs: Pairs, alignment: Alignment, model: Model) -> Alignment:
    """The alignment with the distortion that pairs show, and moved as that asks; as it is where they show none.

    Args:
        pairs: infrared (H', W', 1) and visible (H, W, 1) as for `estimate_once`, of the alignment's sizes.
        alignment: what was found without.
        model: as for `estimate_once`: how it may be moved.
    """
    if len(pairs) < LEAST_PAIRS:
        return alignment
    halves = [_Votes.of(half, alignment) for half in (pairs[::2], pairs[1::2])]
    off = [[other.off(own.fit(alignment, model, terms)) for terms in range(3)] for own, other in (halves, halves[::-1])]
    least = _LEAST_GAIN * alignment.size[0]

    def gains(less: int, more: int) -> bool:
        return all(each[more] <= min(_GAIN * each[less], each[less] - least) for each in off)

    terms = 2 if gains(0, 2) and (gains(1, 2) or not gains(0, 1)) else 1 if gains(0, 1) else 0
    found = alignment
    for _ in range(_ROUNDS if terms else 0):
        found = _Votes.of(pairs, found).fit(found, model, terms)
    return found


@dataclass(frozen=True)
class _Votes:
    """Where points of the visible grid (2, n) lie in the infrared image (2, n), each with its weight (n,)."""

    points: np.ndarray
    places: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, pairs: Pairs, alignment: Alignment) -> _Votes:
        """By the tiles of the pairs, all voting, from where an alignment puts them."""
        import numpy as np

        planes = [(warp(ir, alignment)[..., 0], vis[..., 0]) for ir, vis in pairs]
        level = PyramidLevel(planes, max(1.0, max(alignment.size) / _SIDE))
        tiles = level.tiles(np.eye(2, 3), _ROWS, _COLUMNS)
        middle, middle_of_level = (
            np.array([[(n - 1) / 2] for n in size]) for size in (alignment.size, level.shape[::-1])
        )
        points = middle + level.factor * (tiles[:, :2].T - middle_of_level)
        shifts, there = tiles[:, 2:4].T, tiles[:, 4]
        places = np.array(alignment.lead(*(points + level.factor * shifts)))
        # Beyond the infrared its edge is repeated; that shows nothing.
        within = ((places > 0) & (places < np.array(alignment.source_size)[:, None] - 1)).all(0)
        sure = within & (np.abs(shifts).max(0) < TILE_REACH - 0.5)
        return cls(points, places, sure * there / (there + np.median(there) + 1e-12))

    def errors(self, alignment: Alignment) -> np.ndarray:
        """How far an alignment is off at each point, (2, n) in pixels of the visible grid."""
        import numpy as np

        (w, h), (ws, hs) = alignment.size, alignment.source_size
        off: np.ndarray = (np.array(alignment.lead(*self.points)) - self.places) * [[w / ws], [h / hs]]
        return off

    def off(self, alignment: Alignment) -> float:
        """How far it is off, in pixels: the weighted mean, in which no point counts as further than `_FAR`."""
        import numpy as np

        far = np.minimum(np.hypot(*self.errors(alignment)), _FAR * alignment.size[0])
        return float(np.average(far, weights=self.weights + 1e-12))

    def fit(self, alignment: Alignment, model: Model, terms: int) -> Alignment:
        """An alignment, moved and distorted by none, one or both radial terms so that the votes are met best; few that
        are far off have little to say."""
        import numpy as np
        from scipy.optimize import least_squares

        radius = max(alignment.size) / 2  # so that a step in any parameter moves by as much
        x0, y0 = ((n - 1) / 2 for n in alignment.size)

        free = 6 if model == "affine" else 4

        def moved(p: np.ndarray) -> Alignment:
            a, b = p[2] / radius, p[3] / radius
            d, e = (p[4] / radius, p[5] / radius) if model == "affine" else (-b, a)
            turn = (1 + a, b, p[0] - a * x0 - b * y0, d, 1 + e, p[1] - d * x0 - e * y0)
            by = Alignment(turn, alignment.size, alignment.confidence)
            k1, k2 = (float(p[free + i]) / radius if i < terms else 0.0 for i in range(2))
            return replace(alignment.after(by), distortion=(k1, k2))

        def residuals(p: np.ndarray) -> np.ndarray:
            return (self.errors(moved(p)) * np.sqrt(self.weights)).ravel()

        start = np.zeros(free + terms)
        start[free:] = np.array(alignment.distortion[:terms]) * radius
        solved = least_squares(residuals, start, loss="soft_l1", f_scale=1.0)
        result = moved(solved.x)
        return result if is_lens(*result.distortion) else alignment
