"""Carrying out a plan of `lure restore`: single images of one modality in, restored files out, one by one."""

from __future__ import annotations

from collections.abc import Iterator

from lure_cli.tasks.inference.inputs import SingleInput, read_single
from lure_cli.tasks.inference.job import ImageWorker, Result, Stop, clean_up, run_locally, until_failed
from lure_cli.tasks.inference.plan import RestoreItem, RestorePlan
from lure_cli.tasks.inference.request import FuserLike, ModelOutput, Request, as_they_are


class RestoreWorker(ImageWorker[RestoreItem, SingleInput]):
    """Restores the images of a job; see `ImageWorker`."""

    def load(self, item: RestoreItem) -> SingleInput:
        """See `ImageWorker`."""
        return read_single(item.image, item.modality, self.options.read)

    def apply(self, inputs: SingleInput, request: Request) -> ModelOutput:
        """See `ImageWorker`."""
        return self.fuser.restore_request(inputs.x, "ir" if inputs.x.shape[2] == 1 else "vis", as_they_are(request))


def restore(
    plan: RestorePlan, stop: Stop = lambda: False, fuser: FuserLike | None = None
) -> Iterator[Result[RestoreItem]]:
    """Restore every image of a plan, in order, one result at a time; one that fails does not stop the others, unless
    the options say `fail_fast`.

    Args:
        plan: from `plan_restore`.
        stop: asked before each image; once it says yes, what is in hand is finished and the rest left.
        fuser: the model, if it is not to be loaded.

    Raises:
        LureError: the weights or the device cannot be used at all.
    """
    clean_up(plan.items)
    worker = RestoreWorker(plan.options, plan.weights, fuser)
    yield from until_failed(run_locally(worker, plan.jobs, stop), plan.options.fail_fast)
