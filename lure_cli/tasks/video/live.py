"""Live sources, which do not wait: their newest frames, taken as they come, however slow the work on them is."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from lure_cli.core.video.clip import Frame

KEEP = 8
"""Frames that wait; further ones push the oldest out."""
LAGS = 50
"""Frames by which it is told how the clock of a source runs against that of this machine."""


class LiveFrames:
    """An iterator over the frames of a camera that skips what there is no time for; sound is never skipped.

    Args:
        frames: asked in a thread of its own, from the first call on, whether or not anybody wants a frame.
        keep: how many frames may wait.

    Attributes:
        dropped: how many were skipped.
        ended: no frame is left, and none will come.
    """

    def __init__(self, frames: Iterator[Frame], keep: int = KEEP) -> None:
        self._frames, self._keep, self.dropped = frames, keep, 0
        self._waiting: deque[Frame] = deque()
        self._lags: deque[float] = deque(maxlen=LAGS)
        self._news = threading.Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        frame = self.newer(None)
        if frame is None:
            raise StopIteration
        return frame

    def newer(self, patience: float | None) -> Frame | None:
        """The next frame, if it comes within so many seconds; without end, if None."""
        with self._news:
            if self._thread is None:
                self._thread = threading.Thread(target=self._take, name="lure-live", daemon=True)
                self._thread.start()
            self._news.wait_for(lambda: self._waiting or self._ended, patience)
            if self._waiting:
                return self._waiting.popleft()
            if self._ended and self._error is not None:
                raise self._error
            return None

    @property
    def ended(self) -> bool:
        with self._news:
            return self._ended and not self._waiting

    def arrival(self, frame: Frame) -> float:
        """When a frame came, by this machine's clock, as if none had been held up: comparable between sources."""
        with self._news:
            return float(frame.time) + min(self._lags, default=0.0)

    def _take(self) -> None:
        try:
            for frame in self._frames:
                with self._news:
                    if self._closed:
                        return
                    self._waiting.append(frame)
                    self._lags.append(time.monotonic() - float(frame.time))
                    if len(self._waiting) > self._keep:
                        old = self._waiting.popleft()
                        self._waiting[0] = replace(self._waiting[0], packets=old.packets + self._waiting[0].packets)
                        self.dropped += 1
                    self._news.notify()
        except BaseException as error:
            self._error = error
        finally:
            with self._news:
                self._ended = True
                self._news.notify()

    def close(self) -> None:
        """Stop taking frames; returns once the source is at rest."""
        with self._news:
            self._closed = True
        if self._thread is not None:
            self._thread.join()
