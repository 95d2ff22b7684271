"""Reading, computing and writing side by side, with bounded queues, so that memory stays flat however long the job."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Read = TypeVar("Read")
Made = TypeVar("Made")
Done = TypeVar("Done")

AHEAD = 2
"""How many jobs may be read, and how many written, besides the one that is computed."""


def overlap(
    jobs: Iterable[Job],
    read: Callable[[Job], Read],
    compute: Callable[[Job, Read], Made],
    write: Callable[[Job, Made], Done],
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Done, None, None]:
    """Put every job through read (one thread), compute (this thread) and write (one thread); results keep their order.

    When `stop` says so, no further job is computed; what was computed is still written and yielded. The same happens
    when the caller gives up the iterator. An exception in any step ends the job and reaches the caller.
    """
    waiting = iter(jobs)
    reading: deque[tuple[Job, Future[Read]]] = deque()
    writing: deque[Future[Done]] = deque()
    # The pools are left in reverse order: the writer, entered first, finishes last.
    with ThreadPoolExecutor(1, "lure-write") as writer, ThreadPoolExecutor(1, "lure-read") as reader:
        try:
            while not stop():
                while len(reading) < AHEAD and (job := next(waiting, None)) is not None:
                    reading.append((job, reader.submit(read, job)))
                if not reading:
                    break
                job, future = reading.popleft()
                writing.append(writer.submit(write, job, compute(job, future.result())))
                while writing and (len(writing) > AHEAD or writing[0].done()):
                    yield writing.popleft().result()
            while writing:
                yield writing.popleft().result()
        finally:
            for _, pending in reading:
                pending.cancel()
