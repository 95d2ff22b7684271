"""Ctrl-C (and the terminate signal) finish what is in hand; a second one ends at once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lure_cli.cli.output import note


class Request:
    """Whether an end was asked for, when called; `code` is the exit code then: 130 for Ctrl-C, 143 for the terminate
    signal."""

    code = 0

    def __call__(self) -> bool:
        return self.code > 0


@contextmanager
def interruptible() -> Iterator[Request]:
    """Within the context the first signal only makes the yielded request say yes. A second one within a second is the
    same: a launcher of several processes passes on what the terminal has sent to all of them."""
    request, since = Request(), 0.0

    def ask(number: int, _frame: FrameType | None) -> None:
        nonlocal since
        if request():
            if time.monotonic() - since < 1:
                return
            raise KeyboardInterrupt
        request.code, since = 128 + number, time.monotonic()
        note("interrupted: finishing what is in hand (once more ends at once)")

    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield request
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
