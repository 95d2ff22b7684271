"""`lure fuse`: files and folders in, fused files out; planned first, then carried out pair by pair."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lure_cli.core.text.vocabulary import Prompt
from lure_cli.tasks.inference.inputs import Inputs, common_alignment, read_inputs
from lure_cli.tasks.inference.job import (
    ImageWorker,
    Stop,
    clean_up,
    finished,
    run_here,
    until_failed,
)
from lure_cli.tasks.inference.job import Result as AnyResult
from lure_cli.tasks.inference.plan import FuseOptions, Plan
from lure_cli.tasks.inference.request import Request
from lure_cli.tasks.paths.pairing import Pair

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.registration.alignment import Alignment
    from lure_cli.core.text.vocabulary import Finding


Result = AnyResult[Pair]


class Worker(ImageWorker[Pair, Inputs]):
    """Fuses the pairs of a job.

    Args:
        options: those of the job.
        weights: the weight file.
        alignment: the transform that all pairs share, if they do.
    """

    def __init__(self, options: FuseOptions, weights: Path, alignment: Alignment | None = None) -> None:
        super().__init__(options, weights)
        self.reading, self.alignment = options.read, alignment

    def load(self, item: Pair) -> Inputs:
        """See `ImageWorker`."""
        return read_inputs(item, self.reading, self.alignment)

    def make(self, inputs: Inputs, request: Request) -> tuple[np.ndarray, Prompt, Mapping[str, tuple[Finding, ...]]]:
        """See `ImageWorker`."""
        return self.fuser.fulfil(inputs.ir, inputs.vis, request)


def fuse(plan: Plan, stop: Stop = lambda: False) -> Iterator[Result]:
    """Fuse every pair of a plan, one result at a time; a pair that fails does not stop the others, unless the options
    say `fail_fast`. In order, but for the engine `ray`.

    Args:
        plan: from `plan_fuse`.
        stop: asked before each pair; once it says yes, what is in hand is finished and the rest left.

    Raises:
        LureError: the weights, the device, the engine or a common alignment cannot be used at all.
    """
    options, alignment = plan.options, None
    clean_up(plan.pairs)
    if options.read.align_once and not all(finished(pair, options) for pair in plan.pairs):
        alignment = common_alignment(plan.pairs, options.read, stop)
    results: Generator[Result, None, None]
    if options.engine == "ray":
        from lure_cli.tasks.inference.ray_engine import fuse_on_ray

        results = fuse_on_ray(plan, alignment, stop)
    else:
        results = run_here(Worker(options, plan.weights, alignment), plan.jobs, stop)
    yield from until_failed(results, options.fail_fast)
