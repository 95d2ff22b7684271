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

from lure_cli.core.registration.alignment import (
    Alignment,
    Model,
    Size,
    describe,
    require_simpleitk,
    warp,
)
from lure_cli.core.registration.edge_search import Candidate, PyramidLevel, with_neighbours
from lure_cli.core.registration.lens import fit_lens
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
_OTHERWISE = (
    "leave the pair as it is (lure fuse --align none), let all pairs of a fixed rig share one transform (--align-once, "
    "lure align --once), or register it by hand"
)

_OTHER_VIEW = (
    f"the search reaches views that differ by a factor of {WIDEST_SCALE:g}, counted from the infrared at the width or "
    "the height of the visible image: crop the wider view to about the other's"
)


def estimate(ir: np.ndarray, vis: np.ndarray, *, model: Model = "auto", same_view: bool = False) -> Alignment:
    """The transform that lays the infrared image onto the visible one.

    Args:
        ir, vis: float32 (H, W, 1) in [0, 1]. Of images of different size the search starts from the infrared at the
            width, and at the height, of the visible image.
        model: `auto` is a shift, rotation and uniform scale, and no movement at all where the estimate is no further
            from it than its own error (0.15 % of the width); `affine` is any affine transform.
        same_view: images of different size show the same view: the search starts from the infrared resized to the
            visible's size.

    Returns:
        From the visible grid to the pixels of the infrared image, with its confidence: the share of the frame, by what
        there is to see, where edges fit nowhere within 3 % of the width better than where the transform puts them.

    Raises:
        LureError: SimpleITK is missing, an image is below `LEAST_SIDE`, or the result is implausible: scale, rotation
            or shift, from where the search starts, beyond `WIDEST_SCALE`, `WIDEST_ROTATION`, `WIDEST_SHIFT`, or
            confidence below `LEAST_CONFIDENCE`.
    """
    return estimate_once([(ir, vis)], model=model, same_view=same_view)


def estimate_once(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], *, model: Model = "auto", same_view: bool = False
) -> Alignment:
    """As `estimate`, one transform for several pairs of a fixed rig, all of one size a camera: all pairs vote in the
    search, and the median of their refined transforms is taken. Of more than `MOST_PAIRS` pairs, that many are used,
    evenly spread."""
    require_simpleitk()
    if not pairs:
        raise ValueError("no pairs")
    pairs = spread(pairs)
    sizes = [{pair[i].shape[1::-1] for pair in pairs} for i in (0, 1)]
    for kind, each in zip(("infrared", "visible"), sizes, strict=True):
        if len(each) > 1:
            listed = ", ".join(f"{w}x{h}" for w, h in sorted(each))
            raise LureError(
                f"the {kind} images to align differ in size: {listed}", "take pairs of one size: those of one rig"
            )
        ((w, h),) = each
        if min(w, h) < LEAST_SIDE:
            raise LureError(f"{w}x{h} is too small to align", f"at least {LEAST_SIDE} pixels a side are needed")
    (source,), (size,) = sizes
    found = [_estimate_from(start, pairs, model) for start in _starts(source, size, same_view)]
    alignment, refusal = max(found, key=lambda each: (each[1] is None, each[0].confidence))
    if refusal is not None:
        raise refusal if source == size else LureError(refusal.message, _OTHER_VIEW)
    return alignment


def _starts(source: Size, size: Size, same_view: bool) -> list[tuple[Alignment, tuple[int, int]]]:
    """Where the search may start: the infrared image, brought to a part of the visible grid, and where that begins."""
    (ws, hs), (w, h) = source, size
    across, down = w / ws, h / hs
    if source == size or same_view or abs(across - down) < 0.02 * down:
        return [(Alignment.stretched(source, size), (0, 0))]
    starts = []
    for factor in (across, down):  # as wide as the visible image, as high
        part = min(w, round(factor * ws)), min(h, round(factor * hs))
        x, y = ((n - m / factor) / 2 + 0.5 / factor - 0.5 for n, m in zip(source, part, strict=True))
        start = Alignment((1 / factor, 0.0, x, 0.0, 1 / factor, y), part, source=source)
        starts.append((start, ((w - part[0]) // 2, (h - part[1]) // 2)))
    return starts


def _estimate_from(
    start: tuple[Alignment, tuple[int, int]], pairs: Sequence[tuple[np.ndarray, np.ndarray]], model: Model
) -> tuple[Alignment, LureError | None]:
    """What is found from one of `_starts`, and why it is not to be used."""
    placed, (left, top) = start
    w, h = placed.size
    parts = [(warp(ir, placed), vis[top : top + h, left : left + w]) for ir, vis in pairs]
    moved = search(parts, model)
    refusal = judge(moved)
    if refusal is None and model == "auto" and moved.is_still:
        moved = moved.as_identity()
    size = pairs[0][1].shape[1::-1]
    whole = Alignment((1.0, 0.0, -float(left), 0.0, 1.0, -float(top)), size, moved.confidence)
    found = placed.after(moved.after(whole))
    return found if refusal else fit_lens(pairs, found, model), refusal


def search(pairs: Sequence[tuple[np.ndarray, np.ndarray]], model: Model) -> Alignment:
    """As `estimate_once`, for images that are all of one size, without its judgement of the result."""
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
