"""How many threads compute, where torch is not there to be asked."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from lure_cli.core.cpu import thread_count
from tests.helpers.files import ROOT

COUNT = "from lure_cli.core.cpu import thread_count; print(thread_count())"


def alone(program: str, **env: str) -> int:
    given = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=given | {"PYTHONPATH": str(ROOT)} | env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_where_torch_is_it_is_asked() -> None:
    torch.set_num_threads(3)
    assert thread_count() == 3


@pytest.mark.parametrize(("value", "count"), [("1", 1), ("5", 5), ("4,2", 4)])
def test_the_environment_is_heard(value: str, count: int) -> None:
    assert alone(COUNT, OMP_NUM_THREADS=value) == count


@pytest.mark.parametrize("value", ["", "0", "many", "-2"])
def test_else_one_for_each_core_that_may_be_used(value: str) -> None:
    """Not more than the processors of this process, and one alone if it is bound to one."""
    assert 1 <= alone(COUNT, OMP_NUM_THREADS=value) <= (os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):
        bound = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); " + COUNT
        assert alone(bound, OMP_NUM_THREADS=value) == 1


def test_as_torch_counts() -> None:
    assert alone(COUNT) == alone("import torch; print(torch.get_num_threads())")
