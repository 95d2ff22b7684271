"""Ctrl-C (and the terminate signal) finish what is in hand; a second one ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from lure_cli.cli.output import note


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within the context the first signal only makes the yielded function say yes."""
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        note("interrupted: finishing what is in hand (once more ends at once)")

    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield asked.is_set
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
