"""Steadiness of a stream: what is drawn from its images as a whole is smoothed over time, never their pixels.

Drawn anew from every frame, the tone curve and all else that a text asks for follow a clip's noise and coding: the
least value of a picture jumps with single pixels, and where the curve multiplies what is left, the whole picture pumps.
(our addition)
"""

from __future__ import annotations

import math
from typing import Any

from lure_cli.core.pixels import CHANNELS

Views = tuple[Any, Any]
"""The `context_view` of the infrared and of the visible image: tensors of torch, or arrays of numpy."""

FRAMES = 12.0
"""The strength: time constant of the smoothing in frames, not in seconds, as arrays have no time stamps. 63 % of a
lasting change are followed after as many frames, 95 % after three times as many. With "haze" 80 frames of real smoke
pump 2.9 times as much as their source without, 1.5 with 3, 1.3 with 12, 1.1 with 25, and 1.0 where nothing is followed;
twice the constant is twice the lag behind lights that are dimmed. Measured by `tests/benchmarks/flicker.py`."""
CUT = 0.3
"""What is a scene cut: the mean change of a thumbnail's values from one frame to the next, in units of their standard
deviation. Real smoke before a camera at rest stays below 0.1. Two scenes of one data set (MSRS, RoadScene, VIFB) come
to 0.3 and more in 99.8 % of the visible images and 97 % of the infrared ones; so do lights that are switched on."""
FLAT = 0.05
"""Added to that standard deviation, or the noise of a flat picture would be a cut."""


class SteadyViews:
    """The views of pair after pair, exponentially smoothed; a scene cut in either image begins both anew.

    It looks only back, so nothing is delayed. The first views stay as they are, and so do those of still images.

    Args:
        frames: the time constant, greater than 0.
    """

    def __init__(self, frames: float = FRAMES) -> None:
        self._weight = -math.expm1(-1 / frames)
        self._last: Views | None = None  # as they were seen
        self._smooth: Views | None = None

    def step(self, views: Views) -> Views:
        """Those of the next pair: each (B, C, T, T) or (B, 3 C, T, T), in and out."""
        if self._smooth is None or self._last is None or _is_cut(self._last, views):
            self._smooth = views
        else:
            ir, vis = (s + self._weight * (v - s) for s, v in zip(self._smooth, views, strict=True))
            self._smooth = ir, vis
        self._last = views
        return self._smooth

    def again(self, views: Views) -> Views:
        """Those of the same pair once more, as `step` gave them."""
        return views if self._smooth is None else self._smooth


def _is_cut(before: Views, after: Views) -> bool:
    for i, channels in enumerate((CHANNELS["ir"], CHANNELS["vis"])):
        a, b = before[i][:, :channels], after[i][:, :channels]
        spread = (_spread(a) + _spread(b)) / 2
        if bool(abs(b - a).mean() > CUT * (spread + FLAT)):
            return True
    return False


def _spread(x: Any) -> Any:
    """Standard deviation over space, mean over images and channels; torch and numpy differ in what `std` divides by."""
    deviation = x - x.mean(axis=(2, 3), keepdims=True)
    return ((deviation * deviation).mean(axis=(2, 3)) ** 0.5).mean()
