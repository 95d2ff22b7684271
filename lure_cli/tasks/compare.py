"""One pair as a person compares it: the images as they were read, the plain fusion, and what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lure_cli.errors import LureError
from lure_cli.tasks.inference.fuse import FuseWorker
from lure_cli.tasks.inference.job import Result, clean_up
from lure_cli.tasks.inference.plan import FusePlan
from lure_cli.tasks.inference.request import FuserLike, Request, as_they_are
from lure_cli.tasks.paths.pairing import Pair

if TYPE_CHECKING:
    import numpy as np

INFRARED, VISIBLE, PLAIN, RESULT, PROVENANCE = "infrared", "visible", "plain fusion", "result", "provenance"


@dataclass(frozen=True)
class Comparison:
    """Pictures of one size by name, float32 (H, W, 1) or (H, W, 3) in [0, 1]; and what became of the pair, whose file
    is written."""

    layers: Mapping[str, np.ndarray]
    result: Result[Pair]


def look(plan: FusePlan) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The images of the one pair of a plan as they are read, and the notes on that; errors as of `compare`."""
    (item,) = _only(plan)
    inputs = FuseWorker(plan.options, plan.weights).load(item)
    return {INFRARED: inputs.ir, VISIBLE: inputs.vis}, tuple(note.text for note in inputs.notes)


def compare(plan: FusePlan, fuser: FuserLike, plain: bool = True) -> Comparison:
    """Fuse the one pair of a plan, as `lure fuse` does it.

    Args:
        plan: from `plan_fuse`, of one pair.
        fuser: the model of the plan's weights.
        plain: fuse it without a prompt as well.

    Raises:
        LureError: the plan holds several pairs, or the pair cannot be read, fused or written.
    """
    _only(plan)
    (job,) = plan.jobs
    worker = FuseWorker(plan.options, plan.weights, fuser)
    clean_up(plan.items)
    inputs = worker.read(job)
    if isinstance(inputs, Result):
        raise inputs.error or LureError(f"{job[0].output} exists already", "give another name")
    computed = worker.compute(job, inputs)
    result = worker.write(job, computed)
    if result.error is not None or isinstance(computed, Result):
        raise result.error or LureError(f"{job[0].output} exists already", "give another name")
    layers = {INFRARED: inputs.ir, VISIBLE: inputs.vis}
    if plain:
        layers[PLAIN] = fuser.fuse_request(inputs.ir, inputs.vis, as_they_are(Request())).picture
    layers[RESULT] = computed.picture
    if PROVENANCE in computed.extras:
        layers[PROVENANCE] = computed.extras[PROVENANCE]
    return Comparison({name: _widened(layer, computed.picture) for name, layer in layers.items()}, result)


def _widened(layer: np.ndarray, like: np.ndarray) -> np.ndarray:
    """As wide as another picture, which may have a legend on the right; what is added is black."""
    import numpy as np

    beside = like.shape[1] - layer.shape[1]
    return np.pad(layer, ((0, 0), (0, beside), (0, 0))) if beside else layer


def _only(plan: FusePlan) -> tuple[Pair, ...]:
    if len(plan.items) != 1:
        raise LureError(f"{len(plan.items)} pairs cannot be compared at a time", "give one pair; folders: `lure fuse`")
    return plan.items
