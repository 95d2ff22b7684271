"""Steadiness of a stream: what is drawn from its images as a whole is smoothed over time, never their pixels.

Drawn anew from every frame, the tone curve and all that the text asks for would follow a clip's noise and its coding:
the least value of a picture jumps with single pixels, and where the curve multiplies by ten the whole picture pumps.
"""

from __future__ import annotations

import math

from torch import Tensor

from lure_cli.core.pixels import CHANNELS

Views = tuple[Tensor, Tensor]
"""`context_view` of the infrared and of the visible image."""

FRAMES = 12.0
"""The strength: the time constant of the smoothing in frames, not in seconds, as arrays have no time stamps. After a
lasting change as many frames go by until 63 % of it are followed; 95 % after three times as many."""
CUT = 0.3
"""What makes a scene cut: the mean change of the thumbnail's values from one frame to the next, in units of their
standard deviation. Neighbouring frames of steady cameras stay below 0.1, other scenes come to 0.3 and more; so do
lights that are switched on, and pans by more than a thirtieth of the width a frame."""
_FLAT = 0.02
"""Added to the standard deviation, or a flat picture's noise would be a cut."""


class SteadyView:
    """The `context_view` of one modality, frame after frame, exponentially smoothed; a scene cut begins anew.

    It looks only back, so nothing is delayed. The first frame's view stays as it is, as does that of a still picture.

    Args:
        channels: C, of the images.
        frames: the time constant, greater than 0.
    """

    def __init__(self, channels: int, frames: float = FRAMES) -> None:
        self.channels = channels
        self._weight = -math.expm1(-1 / frames)
        self._last: Tensor | None = None  # as it was seen
        self._smooth: Tensor | None = None

    def step(self, view: Tensor) -> Tensor:
        """The view of the next frame, (B, C, T, T) or (B, 3 C, T, T), in and out."""
        if self._smooth is None or self._last is None or self._is_cut(self._last, view):
            self._smooth = view
        else:
            self._smooth = self._smooth + self._weight * (view - self._smooth)
        self._last = view
        return self._smooth

    def _is_cut(self, before: Tensor, after: Tensor) -> bool:
        a, b = before[:, : self.channels], after[:, : self.channels]
        spread = (a.std((2, 3)).mean() + b.std((2, 3)).mean()) / 2 + _FLAT
        return bool((b - a).abs().mean() > CUT * spread)


class SteadyPair:
    """Both views of a stream of pairs, each with cuts of its own: lights do not show in the infrared."""

    def __init__(self) -> None:
        self._ir, self._vis = SteadyView(CHANNELS["ir"]), SteadyView(CHANNELS["vis"])
        self._now: Views | None = None

    def step(self, views: Views) -> Views:
        """Those of the next pair."""
        self._now = self._ir.step(views[0]), self._vis.step(views[1])
        return self._now

    def again(self, views: Views) -> Views:
        """Those of the same pair once more, as `step` gave them."""
        return views if self._now is None else self._now
