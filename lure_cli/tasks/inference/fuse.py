"""Carrying out a plan of `lure fuse`: pairs in, fused files out, pair by pair, in this process or on Ray."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lure_cli.core.images.chroma import recolour
from lure_cli.tasks.inference.heat import heat_of, with_painter
from lure_cli.tasks.inference.inputs import PairInputs, common_alignment, read_by_colour, read_pair
from lure_cli.tasks.inference.job import Computed, ImageWorker, Result, Stop, clean_up, run_locally, until_failed
from lure_cli.tasks.inference.options import FuseOptions
from lure_cli.tasks.inference.plan import FusePlan, finished
from lure_cli.tasks.inference.provenance import colours_of, without_infrared
from lure_cli.tasks.inference.ray_engine import run_on_ray
from lure_cli.tasks.inference.request import FuserLike, ModelOutput, Request, as_they_are
from lure_cli.tasks.paths.pairing import Pair

if TYPE_CHECKING:
    from lure_cli.core.registration.alignment import Alignment


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
        read = read_by_colour if self.options.by_colour else read_pair
        inputs = read(item, self.options.read, self.alignment)
        heat = self.options.heat
        return inputs if heat is None else with_painter(inputs, heat, item)

    def apply(self, inputs: PairInputs, request: Request) -> ModelOutput:
        """See `ImageWorker`."""
        output = self.fuser.fuse_request(inputs.ir, inputs.vis, as_they_are(request))
        if inputs.ir_colours is not None:
            output = output._replace(picture=recolour(output.picture, inputs.ir_colours, inputs.vis))
        if self.options.provenance is None:
            return output
        known = as_they_are(replace(request, prompt=output.prompt, auto=()))
        shares = without_infrared(self.fuser.provenance_request(inputs.ir, inputs.vis, known), inputs.alignment)
        return output._replace(extras={"provenance": colours_of(shares)})

    def finish(self, computed: Computed[Pair]) -> Computed[Pair]:
        """See `ImageWorker`; where colours by heat are wanted, they are laid over the picture."""
        inputs = computed.inputs
        if not isinstance(inputs, PairInputs) or inputs.painter is None:
            return computed
        picture = inputs.painter.paint(computed.picture, heat_of(inputs)[0])
        size = (picture.shape[1], picture.shape[0])
        result = replace(computed.result, size=size, palette=inputs.painter.record())
        return replace(computed, picture=picture, result=result)


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
