"""Time stamps of a stream -> seconds since the clip's beginning, which only run forwards."""

from __future__ import annotations

from fractions import Fraction
from typing import Any


class Clock:
    """The time of one stream's frames, in the order of showing.

    Args:
        unit: of the time stamps, in seconds.
        zero: the clip's beginning, as its time stamps have it, in seconds.
        rate: frames a second, for frames that say no duration.
        counted: the stream has no time stamps of its own; frames follow each other by their rate.

    Attributes:
        zero: as given; of a live source the first frame's time.
        last: when the last frame is shown; None before the first.
        end: when it ends.
        mended: how many time stamps ran backwards and were set to follow the one before.
    """

    def __init__(self, unit: Fraction, zero: Fraction, rate: Fraction, *, counted: bool) -> None:
        self._unit, self._duration, self._counted = unit, 1 / rate, counted
        self.zero, self.mended = zero, 0
        self.last: Fraction | None = None
        self.end = self._shift = Fraction(0)

    def time_of(self, frame: Any) -> Fraction | None:
        """A frame's time stamp; None if it has none."""
        if frame.pts is None or self._counted:
            return None
        return Fraction(frame.pts * self._unit) - self.zero + self._shift

    def advance(self, frame: Any) -> tuple[Fraction, Fraction]:
        """Take a frame for the next one: when and for how long it is shown."""
        time = self.time_of(frame)
        if self.last is not None and (time is None or time <= self.last):
            if time is not None:
                # The clock jumped back (a restarted camera, a wrapped counter): what follows goes on from here.
                self.mended += 1
                self._shift += self.end - time
            time = self.end
        duration = Fraction(frame.duration * self._unit) if frame.duration and not self._counted else self._duration
        self.last = time if time is not None else Fraction(0)
        self.end = self.last + duration
        return self.last, duration
