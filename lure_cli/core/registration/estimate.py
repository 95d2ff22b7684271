"""Registration: the one transform that lays an infrared image onto its visible image, and warping by it.

Infrared and visible images share edges, not grey values, so the search runs on the direction of edges (a squared
complex gradient, which is blind to the sign of the contrast) over all shifts at once by FFT, coarse to fine; Mattes
mutual information (Mattes et al., IEEE TMI 2003; SimpleITK) of three features then decides the last pixels.
Everything is deterministic: fixed grids, every pixel sampled, one thread.

numpy, scipy and SimpleITK (extra `align`) are imported where they are used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from lure_cli.core.registration.alignment import Alignment, Model, describe, require_simpleitk
from lure_cli.core.registration.edge_search import Candidate, PyramidLevel, with_neighbours
from lure_cli.core.registration.refine import FEATURES, refine
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np


T = TypeVar("T")

WIDEST_SCALE = 1.25
WIDEST_ROTATION = 15.0
WIDEST_SHIFT = 0.2
"""Limits of a plausible result: factor (and its inverse), degrees, share of the width."""
LEAST_CONFIDENCE = 0.4
"""On 36 training pairs right estimates have 0.49 or more, estimates for two different scenes 0.31 or less."""
LEAST_SIDE = 32
"""Pixels."""
MOST_PAIRS = 12
"""Of more pairs for one transform, this many are looked at, evenly spread."""
_LONG_SIDES = (128, 256, 384)
"""Pixels along the longer side at each level of the search."""
_OTHERWISE = "give --align none, let all pairs of a fixed rig share one transform (once), or register the pair by hand"


def estimate(ir: np.ndarray, vis: np.ndarray, *, model: Model = "auto") -> Alignment:
    """The transform that lays the infrared image onto the visible one.

    Args:
        ir, vis: float32 (H, W, 1) in [0, 1], of one size.
        model: `auto` is a shift, rotation and uniform scale, and no movement at all where the estimate is no further
            from it than its own error (0.15 % of the width); `affine` is any affine transform.

    Returns:
        With its confidence: the share of the frame, by what there is to see, where edges fit nowhere within 3 % of
        the width better than where the transform puts them.

    Raises:
        LureError: SimpleITK is missing, the sizes differ or are below `LEAST_SIDE`, or the result is implausible:
            scale, rotation or shift beyond `WIDEST_SCALE`, `WIDEST_ROTATION`, `WIDEST_SHIFT`, or confidence below
            `LEAST_CONFIDENCE`.
    """
    return estimate_once([(ir, vis)], model=model)


def estimate_once(pairs: Sequence[tuple[np.ndarray, np.ndarray]], *, model: Model = "auto") -> Alignment:
    """As `estimate`, one transform for several pairs of a fixed rig: all pairs vote in the search, and the median of
    their refined transforms is taken. Of more than `MOST_PAIRS` pairs, that many are used, evenly spread."""
    require_simpleitk()
    if not pairs:
        raise ValueError("no pairs")
    pairs = spread(pairs)
    sizes = {x.shape[1::-1] for pair in pairs for x in pair}
    if len(sizes) > 1:
        listed = ", ".join(f"{w}x{h}" for w, h in sorted(sizes))
        raise LureError(f"the images to align differ in size: {listed}", "resize them so that the views coincide")
    (size,) = sizes
    if min(size) < LEAST_SIDE:
        raise LureError(f"{size[0]}x{size[1]} is too small to align", f"at least {LEAST_SIDE} pixels a side are needed")
    alignment = search(pairs, model)
    refusal = judge(alignment)
    if refusal is not None:
        raise refusal
    return alignment.as_identity() if model == "auto" and alignment.is_still else alignment


def search(pairs: Sequence[tuple[np.ndarray, np.ndarray]], model: Model) -> Alignment:
    """As `estimate_once` on at least one pair of one size, without its judgement of the result."""
    import numpy as np

    height, width = pairs[0][0].shape[:2]
    planes = [(ir[..., 0], vis[..., 0]) for ir, vis in pairs]
    coarse, middle, fine = (PyramidLevel(planes, max(1.0, max(width, height) / side)) for side in _LONG_SIDES)
    grid = [Candidate(0, math.radians(a), 1.035**k, 0, 0) for a in range(-8, 9, 2) for k in range(-4, 5)]
    candidates = coarse.best(grid, reach=round(WIDEST_SHIFT * coarse.shape[1]), keep=6)
    candidates = middle.best(with_neighbours(candidates, 1.0, 1.0175), reach=4, keep=2)
    candidates = fine.best(with_neighbours(candidates, 0.5, 1.009), reach=4, keep=1)
    (best,) = fine.best(with_neighbours(candidates, 0.25, 1.0045), reach=3, keep=1)
    refined = np.array(
        [[refine(of(ir), of(vis), best, factor=fine.factor, model=model) for of in FEATURES] for ir, vis in fine.images]
    )
    centred = np.median(refined, (0, 1))
    confidence = fine.agreement(centred)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    (a, b), (d, e) = centred[:, :2].tolist()
    c, f = (centre + centred[:, 2] - centred[:, :2] @ centre).tolist()
    return Alignment((a, b, c, d, e, f), (width, height), confidence)


def judge(alignment: Alignment) -> LureError | None:
    """Why a result is not to be used; None where it is."""
    dx, dy = alignment.shift
    far = (
        not 1 / WIDEST_SCALE <= alignment.scale <= WIDEST_SCALE
        or abs(alignment.rotation) > WIDEST_ROTATION
        or math.hypot(dx, dy) > WIDEST_SHIFT * alignment.size[0]
    )
    if far:
        return LureError(f"the estimated movement is implausible: {describe(alignment)}", _OTHERWISE)
    if alignment.confidence < LEAST_CONFIDENCE:
        return LureError(f"the estimated movement is not to be trusted: {describe(alignment)}", _OTHERWISE)
    return None


def spread(items: Sequence[T]) -> Sequence[T]:
    """All of them, or `MOST_PAIRS`, evenly spread from the first to the last."""
    if len(items) <= MOST_PAIRS:
        return items
    return [items[round(i * (len(items) - 1) / (MOST_PAIRS - 1))] for i in range(MOST_PAIRS)]
