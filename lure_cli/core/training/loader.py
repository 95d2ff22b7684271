"""Draws batches ahead of training: in a second thread, or in processes of their own.

A batch is a pure function of its step, so who draws it, and how many do, makes no difference to it.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from lure_cli.errors import LureError

Draw = Callable[[int], Any]
"""Draws the batch of a step: `Packed` by modality, or a tuple of tensors."""
AHEAD = 3
"""Batches that each worker process draws ahead."""
SHARED = Path("/dev/shm")
"""Where Linux keeps memory that processes share."""


@contextmanager
def drawn(draw: Draw, steps: range, workers: int = 0, pin: bool = False) -> Iterator[Iterator[Any]]:
    """Within the context: an iterator over the batches of these steps, in order.

    Args:
        draw: must be picklable where processes are not forked (all but Linux), if there are workers.
        steps: may be endless in all but name.
        workers: processes; with 0 a thread of this one draws the next batch while the present one is in use. They share
            what this process holds in memory, do nothing with GPUs, and end with the context, or with this process.
        pin: give tensors in memory that a GPU copies from while the host goes on.

    Raises:
        LureError: what drawing a batch raised, when its turn comes; or a worker has died.
    """
    if not steps:
        yield iter(())
    elif not workers:
        with ThreadPoolExecutor(1) as pool:
            yield _prefetched(pool, (lambda step: pinned(draw(step))) if pin else draw, steps)
    else:
        with warnings.catch_warnings(action="ignore"):  # about more workers than cores, and forks beside threads
            loader = DataLoader(
                _Steps(draw),
                batch_size=None,
                sampler=steps,  # type: ignore[arg-type]
                num_workers=workers,
                prefetch_factor=AHEAD,
                collate_fn=_as_it_is,
                pin_memory=pin,
                worker_init_fn=_leave_the_terminal,
                multiprocessing_context="fork" if sys.platform == "linux" else "spawn",
                generator=torch.Generator(),  # its own: the global one is the model's
            )
            batches = iter(loader)
        try:
            yield _received(batches)
        finally:
            batches._shutdown_workers()  # type: ignore[attr-defined]  # rather than when it is collected


def affordable(workers: int, nbytes: int) -> int:
    """How many of these workers there is shared memory for, given the size of a batch; 1 at least.

    Containers often have 64 MiB, and a process that writes beyond that is killed.
    """
    if not SHARED.is_dir():
        return workers
    # Each worker's batches ahead, the one that it works on, and one on its way to the device.
    return max(1, min(workers, int(shutil.disk_usage(SHARED).free * 0.9 / nbytes / (AHEAD + 2))))


def pinned(batch: Any) -> Any:
    """A batch in memory that a GPU copies from while the host goes on."""
    if isinstance(batch, dict):
        return {m: part.pin_memory() for m, part in batch.items()}
    return tuple(t.pin_memory() for t in batch)


def _prefetched(pool: ThreadPoolExecutor, draw: Draw, steps: range) -> Iterator[Any]:
    ahead = pool.submit(draw, steps[0])
    for step in steps:
        batch = ahead.result()
        if step + 1 in steps:
            ahead = pool.submit(draw, step + 1)
        yield batch


@dataclass(frozen=True)
class _Failure:
    """An error of a worker: exceptions lose what is not in their message on the way."""

    message: str
    hint: str


class _Steps(Dataset[Any]):
    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    def __getitem__(self, step: int) -> Any:
        try:
            return self._draw(step)
        except LureError as e:
            return _Failure(str(e), e.hint)


def _received(batches: Iterator[Any]) -> Iterator[Any]:
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except RuntimeError as e:
            if "worker" not in str(e) or ("exited unexpectedly" not in str(e) and "killed by signal" not in str(e)):
                raise
            reason = str(e).splitlines()[0]
            raise LureError(f"a process that draws batches has died ({reason})", "lower workers or cache_gib") from e
        if isinstance(batch, _Failure):
            raise LureError(batch.message, batch.hint)
        yield batch


def _as_it_is(batch: Any) -> Any:
    return batch


def _leave_the_terminal(_worker: int) -> None:
    """Ctrl-C, and signals to the whole group, are for the main process, which ends its workers when it is done."""
    with suppress(AttributeError, PermissionError):  # Windows has no sessions
        os.setsid()
