"""Train the object detector, and find objects with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from lure_cli.core.devices import autocast, place
from lure_cli.core.objects.assignment import detection_loss
from lure_cli.core.objects.labels import Objects
from lure_cli.core.objects.network import ObjectDetector, boxes_of, places
from lure_cli.core.objects.scenes import Scene, augmented, canvas_of, padded
from lure_cli.core.training.muon import Muon

BATCH = 8
_CROP = 256
"""Sides of what is seen of a picture in training, at most; objects are many there, and small ones stay large enough."""
_RATE = 2e-3
_AVERAGE = 0.995
"""Weights are averaged over the last steps, this much of the mean being kept at each."""
_LEAST_SCORE, _OVERLAP, _MOST = 0.01, 0.6, 100
"""Objects that score less are left out; of those of a class that overlap more (IoU), the best stays; the most of an
image, which is what COCO's AP counts."""


def train(
    scenes: Sequence[Scene],
    classes: int,
    epochs: int,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    progress: Callable[[int, float], bool] | None = None,
) -> ObjectDetector | None:
    """Train a detector from nothing: Muon (AdamW for what is no matrix), a warm-up of one epoch, then a cosine to zero;
    batches of 8.

    Args:
        scenes: the labelled pictures. epochs: how often each is seen.
        seed: of the first weights, the order and what is drawn; sets torch's own.
        dtype: what convolutions compute in.
        progress: told the epochs that are done and the mean loss of the last; says whether to stop.

    Returns:
        The detector with averaged weights, on the device; None if it was stopped.
    """
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed)
    net = place(ObjectDetector(classes), device).train()
    average = AveragedModel(net, avg_fn=_averaged, use_buffers=True)
    optimiser = Muon(net.parameters(), _RATE)
    height, width = (min(side, _CROP) for side in canvas_of(scenes))
    batches = -(-len(scenes) // BATCH)
    for epoch in range(epochs):
        losses = []
        for step, chosen in enumerate(torch.randperm(len(scenes), generator=g).split(BATCH)):  # type: ignore[no-untyped-call]
            for group in optimiser.param_groups:
                group["lr"] = _RATE * _schedule(epoch * batches + step, batches, epochs * batches)
            examples = [augmented(scenes[int(i)], (height, width), g) for i in chosen]
            x = torch.stack([e[0] for e in examples]).to(device, memory_format=torch.channels_last)
            with autocast(device, dtype):
                scores, distances = net(x)
            loss = detection_loss(
                scores, distances, [e[1].to(device) for e in examples], [e[2].to(device) for e in examples]
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
            with autocast(device, dtype):  # which makes the products inside of Muon shorter too
                optimiser.step()
            average.update_parameters(net)
            losses.append(loss.item())
        if progress and progress(epoch + 1, sum(losses) / len(losses)) and epoch + 1 < epochs:
            return None
    return average.module.eval()  # type: ignore[return-value]


def _averaged(average: Tensor, now: Tensor, steps: Tensor | int) -> Tensor:
    """The running mean, after so many steps; it forgets faster at the start."""
    return average + (now - average) * (1 - min(_AVERAGE, (1 + int(steps)) / (10 + int(steps))))


def _schedule(step: int, warm: int, steps: int) -> float:
    """The learning rate's factor at a step."""
    return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))


@torch.inference_mode()
def detect(net: ObjectDetector, s: Scene, device: torch.device, dtype: torch.dtype) -> Objects:
    """The objects of a picture, best first; boxes in pixels of its original size."""
    height, width = s.pixels.shape[1:]
    x = padded(s.pixels, canvas_of([s])).to(device, memory_format=torch.channels_last)
    with autocast(device, dtype):
        scores, distances = net(x)
    boxes, kinds, sure = decode(scores[0], distances[0], (height, width))
    scale = torch.tensor([s.original[1] / width, s.original[0] / height]).repeat(2)
    as_array: Callable[[Tensor], np.ndarray] = lambda t: t.cpu().numpy()  # noqa: E731
    return Objects(as_array(boxes.cpu() * scale), as_array(kinds), as_array(sure))


def decode(scores: Tensor, distances: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, 4) in pixels, cut at `size` (height, width), classes (N,) and scores (N,), best first, of what the
    network says of one picture: (K, h, w), (4, h, w)."""
    from torchvision.ops import batched_nms, clip_boxes_to_image

    sure = scores.flatten(1).sigmoid()  # (K, P)
    kinds, at = (sure >= _LEAST_SCORE).nonzero(as_tuple=True)
    boxes = boxes_of(places(scores), distances.flatten(1).T)[at]
    boxes, sure = clip_boxes_to_image(boxes, size), sure[kinds, at]
    keep = batched_nms(boxes, sure, kinds, _OVERLAP)[:_MOST]
    return boxes[keep], kinds[keep], sure[keep]
