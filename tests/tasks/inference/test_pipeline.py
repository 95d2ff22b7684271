"""The pipeline: order, bounds, stopping, errors; and that the three steps do run side by side."""

from __future__ import annotations

import threading

import pytest

from lure_cli.tasks.inference.pipeline import AHEAD, run_pipeline


def test_order_and_results() -> None:
    results = run_pipeline(range(50), lambda j: j + 1, lambda j, x: (j, x * 2), lambda j, m: (j, m))
    assert list(results) == [(j, (j, (j + 1) * 2)) for j in range(50)]


def test_no_jobs() -> None:
    assert list(run_pipeline([], lambda j: j, lambda j, x: x, lambda j, m: m)) == []


def test_steps_run_side_by_side() -> None:
    """Each step waits until all three are busy at once: with one thread for all, this would never end."""
    together = threading.Barrier(3, timeout=20)

    def read(job: int) -> int:
        if job == 2:
            together.wait()
        return job

    def compute(job: int, _x: int) -> int:
        if job == 1:
            together.wait()
        return job

    def write(job: int, _m: int) -> int:
        if job == 0:
            together.wait()
        return job

    assert list(run_pipeline(range(3), read, compute, write)) == [0, 1, 2]


def test_never_more_than_a_few_jobs_in_flight() -> None:
    lock, flying, most = threading.Lock(), 0, 0

    def read(job: int) -> int:
        nonlocal flying, most
        with lock:
            flying += 1
            most = max(most, flying)
        return job

    def write(job: int, _m: int) -> int:
        nonlocal flying
        with lock:
            flying -= 1
        return job

    assert len(list(run_pipeline(range(500), read, lambda j, x: x, write))) == 500
    assert most <= 2 * AHEAD + 2


def test_stop_finishes_what_was_computed_and_no_more() -> None:
    computed: list[int] = []
    written: list[int] = []
    results = run_pipeline(
        range(100),
        lambda j: j,
        lambda j, x: computed.append(j),
        lambda j, m: written.append(j),
        stop=lambda: len(computed) >= 5,
    )
    assert len(list(results)) == 5
    assert computed == written == [0, 1, 2, 3, 4]


def test_giving_up_the_iterator_lets_writes_finish() -> None:
    written: list[int] = []
    results = run_pipeline(range(100), lambda j: j, lambda j, x: x, lambda j, m: written.append(j))
    next(results)
    results.close()
    assert written == list(range(len(written)))
    assert 1 <= len(written) <= AHEAD + 2


@pytest.mark.parametrize("step", ["read", "compute", "write"])
def test_an_error_reaches_the_caller(step: str) -> None:
    def fail(name: str, job: int) -> int:
        if name == step and job == 3:
            raise ValueError(step)
        return job

    results = run_pipeline(
        range(9), lambda j: fail("read", j), lambda j, x: fail("compute", j), lambda j, m: fail("write", j)
    )
    with pytest.raises(ValueError, match=step):
        list(results)
