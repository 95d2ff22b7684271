"""Reading, computing and writing side by side, with bounded queues, so that memory stays flat however long the job."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Read = TypeVar("Read")
Computed = TypeVar("Computed")
Written = TypeVar("Written")

AHEAD = 2
"""How many jobs may be read, and how many written, besides the one that is computed."""


def run_pipeline(
    jobs: Iterable[Job],
    read: Callable[[Job], Read],
    compute: Callable[[Job, Read], Computed],
    write: Callable[[Job, Computed], Written],
    stop: Callable[[], bool] = lambda: False,
    ahead: int = AHEAD,
) -> Generator[Written, None, None]:
    """Put every job through read (one thread), compute (this thread) and write (one thread); results keep their order.

    `jobs` (none of them None) are asked for one by one, in the thread that reads. When `stop` says so, no further job
    is computed; what was computed is still written and yielded. The same happens when the caller gives up the iterator.
    An exception in any step ends the job and reaches the caller. `ahead`: how many jobs are read or waited for, with
    the one that is computed next, and how many written; 1: none is asked for before the one before it is computed.
    """
    waiting = iter(jobs)

    def read_next() -> tuple[Job, Read] | None:
        job = next(waiting, None)
        return None if job is None else (job, read(job))

    reading: deque[Future[tuple[Job, Read] | None]] = deque()
    writing: deque[Future[Written]] = deque()
    # The pools are left in reverse order: the writer, entered first, finishes last.
    with ThreadPoolExecutor(1, "lure-write") as writer, ThreadPoolExecutor(1, "lure-read") as reader:
        try:
            while not stop():
                while len(reading) < ahead:
                    reading.append(reader.submit(read_next))
                ready = reading.popleft().result()
                if ready is None:
                    break
                job, inputs = ready
                writing.append(writer.submit(write, job, compute(job, inputs)))
                while writing and (len(writing) > ahead or writing[0].done()):
                    yield writing.popleft().result()
            while writing:
                yield writing.popleft().result()
        finally:
            for pending in reading:
                pending.cancel()
