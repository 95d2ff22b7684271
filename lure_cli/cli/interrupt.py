"""Ctrl-C (and the terminate signal) finish what is in hand; a second one ends at once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lure_cli.cli.output import note


class StopSignal:
    """Whether an end was asked for, when called; `code` is the exit code then: 130 for Ctrl-C, 143 for the terminate
    signal."""

    code = 0

    def __call__(self) -> bool:
        return self.code > 0


@contextmanager
def interruptible() -> Iterator[StopSignal]:
    """Within the context the first signal only makes the yielded signal say yes. A second one within a second is the
    same: a launcher of several processes passes on what the terminal has sent to all of them."""
    signalled, since = StopSignal(), 0.0

    def ask(number: int, _frame: FrameType | None) -> None:
        nonlocal since
        if signalled():
            if time.monotonic() - since < 1:
                return
            raise KeyboardInterrupt
        signalled.code, since = 128 + number, time.monotonic()
        note("interrupted: finishing what is in hand (once more ends at once)")

    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield signalled
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signalled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
