"""The processor and its memory: how many threads compute, and what the C library keeps. Nothing here imports torch."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path


def thread_count() -> int:
    """As many threads as torch would compute with: what it is set to where it is loaded, else OMP_NUM_THREADS, else one
    for each core (not for each of its two threads) that this process may use."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):  # not while it is only half loaded, in another thread
        return int(torch.get_num_threads())
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if wanted.isascii() and wanted.isdigit() and int(wanted):
        return int(wanted)
    return _cores()


@cache
def _cores() -> int:
    if not hasattr(os, "sched_getaffinity"):  # Linux alone has it
        return os.cpu_count() or 1
    logical = os.sched_getaffinity(0)
    try:
        return len({Path(f"/sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list").read_text() for n in logical})
    except OSError:
        return len(logical)


@cache
def keep_buffers() -> None:
    """Have the C library keep freed memory for the next picture, for the whole process; once, and only with glibc.

    By default glibc returns every large buffer to the system at once and gets it anew, page by page, for the next
    layer: on a CPU that costs this model up to a fifth of its time. See `man 3 mallopt`.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # another C library than glibc has none
        mallopt(_MMAP_THRESHOLD, _KEPT)
        mallopt(_TRIM_THRESHOLD, _KEPT)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 1 << 30
"""Bytes that are kept at most, and the size from which a buffer is still returned at once."""
