"""Carrying out a plan of `lure fuse`: pairs in, fused files out, pair by pair, in this process or on Ray."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lure_cli.tasks.inference.inputs import PairInputs, common_alignment, read_pair
from lure_cli.tasks.inference.job import ImageWorker, Result, Stop, clean_up, run_locally, until_failed
from lure_cli.tasks.inference.plan import FuseOptions, FusePlan, finished
from lure_cli.tasks.inference.ray_engine import run_on_ray
from lure_cli.tasks.inference.request import FuserLike, ModelOutput, Request
from lure_cli.tasks.paths.pairing import Pair

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.registration.alignment import Alignment


COLOURS = ((230, 159, 0), (0, 114, 178), (255, 255, 255))
"""Of infrared (orange), visible (blue) and restoration (white) in maps of provenance: all can tell them apart."""


def colours_of(shares: np.ndarray) -> np.ndarray:
    """Shares (H, W, 3), see `Fuser.provenance_map` -> their `COLOURS`, mixed by them: float32 (H, W, 3) in [0, 1]."""
    import numpy as np

    return shares @ (np.array(COLOURS, np.float32) / 255)


class FuseWorker(ImageWorker[Pair, PairInputs]):
    """Fuses the pairs of a job; see `ImageWorker`. `alignment` is the transform that all pairs share, if they do."""

    options: FuseOptions

    def __init__(
        self,
        options: FuseOptions,
        weights: Path,
        fuser: FuserLike | None = None,
        alignment: Alignment | None = None,
    ) -> None:
        super().__init__(options, weights, fuser)
        self.alignment = alignment

    def load(self, item: Pair) -> PairInputs:
        """See `ImageWorker`."""
        return read_pair(item, self.options.read, self.alignment)

    def apply(self, inputs: PairInputs, request: Request) -> ModelOutput:
        """See `ImageWorker`."""
        output = self.fuser.fuse_request(inputs.ir, inputs.vis, request)
        if self.options.provenance is None:
            return output
        known = replace(request, prompt=output.prompt, auto=())
        shares = self.fuser.provenance_request(inputs.ir, inputs.vis, known)
        return output._replace(extras={"provenance": colours_of(shares)})


def fuse(plan: FusePlan, stop: Stop = lambda: False, fuser: FuserLike | None = None) -> Iterator[Result[Pair]]:
    """Fuse every pair of a plan, one result at a time; a pair that fails does not stop the others, unless the options
    say `fail_fast`. In order, but for the engine `ray`.

    Args:
        plan: from `plan_fuse`.
        stop: asked before each pair; once it says yes, what is in hand is finished and the rest left.
        fuser: the model, if it is not to be loaded; the engine `ray` always loads its own.

    Raises:
        LureError: the weights, the device, the engine or a common alignment cannot be used at all.
    """
    options, alignment = plan.options, None
    clean_up(plan.items)
    if options.read.align_once and not all(finished(pair, options) for pair in plan.items):
        alignment = common_alignment(plan.items, options.read, stop)
    results: Generator[Result[Pair], None, None]
    if options.engine == "ray":
        worker = FuseWorker(options, plan.weights, alignment=alignment)
        results = run_on_ray(worker, list(plan.jobs), options.workers, stop)
    else:
        worker = FuseWorker(options, plan.weights, fuser, alignment)
        results = run_locally(worker, plan.jobs, stop)
    yield from until_failed(results, options.fail_fast)
