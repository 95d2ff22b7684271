"""The twelve reference metrics on a 640x480 triple against the plain way of computing them; not a test.

    python -m tests.benchmarks.metrics [--runs 5]          paired runs in one process, medians, ratios
    python -m pytest tests/benchmarks/metrics.py          the same three through pytest-benchmark

Quote figures with the machine, and only when nothing else runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lure_cli.core import metrics
from lure_cli.core.metrics.baselines import BASELINES
from tests.helpers import naive_metrics
from tests.helpers.files import EXAMPLES

TWELVE = "EN SD SF AG MI MSE PSNR CC SCD VIF Qabf SSIM".split()


def triple() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """fused, ir, vis: the street example, 640x480."""
    ir, vis = (metrics.to_grey(np.asarray(Image.open(EXAMPLES / "street" / f"{n}.png"))) for n in ("ir", "vis"))
    return BASELINES["laplacian"](ir, vis), ir, vis


def ways() -> dict[str, Callable[[], dict[str, float]]]:
    """Name -> a call that measures all twelve."""
    images, columns = triple(), metrics.columns()
    return {
        "lure": partial(metrics.measure, *images, [columns[n] for n in TWELVE]),
        "plain": partial(naive_metrics.measure, *images),
        "plain, Sobel by loops": partial(naive_metrics.measure, *images, naive_metrics.loops),
    }


@pytest.mark.parametrize("name", ["lure", "plain", "plain, Sobel by loops"])
def test_twelve_metrics(name: str, benchmark: Any) -> None:
    call = ways()[name]
    values = benchmark.pedantic(call, rounds=3, warmup_rounds=1)
    assert values == pytest.approx(ways()["lure"](), rel=1e-6)


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    calls, times = ways(), {}
    for call in calls.values():
        call()
    for _ in range(runs):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times.setdefault(name, []).append(time.perf_counter() - started)
    for name, seconds in times.items():
        ratio = statistics.median(s / own for s, own in zip(seconds, times["lure"], strict=True))
        print(f"{name:24} {statistics.median(seconds):8.3f} s, {ratio:6.1f} times lure")


if __name__ == "__main__":
    main()
