"""A glance at how long a pair takes here; `lure bench speed` looks closer."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from lure_cli.tasks.bench.speed_result import PROMPTS
from lure_cli.tasks.bench.speed_row import clock, rendered_pair
from lure_cli.tasks.inference.fuser import Fuser
from lure_cli.tasks.inference.request import request_of
from lure_cli.tasks.weights.inspect import COUNTED

RUNS = 3


@dataclass(frozen=True)
class Glance:
    """Seconds a pair of 640x480, from tensor to tensor (median of `RUNS`, after one that does not count), plain and
    with prompts for both images; on which device, and what the network computed in: as `auto` chose."""

    plain: float
    prompts: float
    device: str
    dtype: str


def glance(weights: str) -> Glance:
    """Time a model that is here.

    Raises:
        LureError: as `Fuser.from_pretrained`.
    """
    fuser = Fuser.from_pretrained(weights)
    plain, prompts = (statistics.median(_seconds(fuser, prompt)) for prompt in ("none", "both"))
    return Glance(plain, prompts, fuser.device.type, str(fuser.dtype).removeprefix("torch."))


def _seconds(fuser: Fuser, prompt: str) -> Iterator[float]:
    height, width = COUNTED
    of_vis, of_ir = PROMPTS[prompt]
    request = request_of(None, of_ir, of_vis)
    images = rendered_pair(width, height)
    ir, vis = fuser.image(images[0], 1), fuser.image(images[1], 3)
    for run in range(RUNS + 1):
        start = clock(fuser.device)
        fuser.compute(ir, vis, [request.prompt], request)
        if run:
            yield clock(fuser.device) - start
