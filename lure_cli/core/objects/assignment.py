"""Which places of the map answer for which object, and what their answers cost."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lure_cli.core.objects.network import STRIDE, boxes_of, places

_RADIUS = 1.5 * STRIDE
"""How far from the centre of an object a place may lie that answers for it, in pixels of either axis."""


def assign(boxes: Tensor, centres: Tensor) -> Tensor:
    """The object that each place answers for: its index, or -1. (P,)

    Places inside an object and within `_RADIUS` of its centre answer for it, and the nearest one always; where several
    objects claim a place, the smallest has it.

    Args:
        boxes: (N, 4) in pixels. centres: of the places, (P, 2).
    """
    if not len(boxes):
        return torch.full((len(centres),), -1, device=centres.device)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    apart = (centres[None] - middles[:, None]).abs()  # (N, P, 2)
    inside = ((centres[None] >= boxes[:, None, :2]) & (centres[None] <= boxes[:, None, 2:])).all(-1)
    claimed = inside & (apart <= _RADIUS).all(-1)
    claimed[torch.arange(len(boxes)), apart.square().sum(-1).argmin(1)] = True
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    costs = torch.where(claimed, areas[:, None], torch.inf)
    least, owner = costs.min(0)
    return torch.where(least.isfinite(), owner, -1)


def detection_loss(scores: Tensor, distances: Tensor, boxes: Sequence[Tensor], classes: Sequence[Tensor]) -> Tensor:
    """Cross-entropy of the scores, whose targets are how well the boxes fit and where places without an object count by
    0.75 of their squared score (as in Zhang et al., "VarifocalNet", CVPR 2021, but for the weights of the others, which
    are 1); and twice the generalised IoU loss of the boxes. Summed, over the number of places that answer.

    Args:
        scores, distances: what the network says, (B, K, h, w) and (B, 4, h, w).
        boxes, classes: the objects of each image, (N, 4) in pixels and (N,).
    """
    from torchvision.ops import box_iou, generalized_box_iou_loss

    centres = places(scores)
    logits, found = (x.flatten(2).transpose(1, 2) for x in (scores, distances))  # (B, P, K), (B, P, 4)
    targets = torch.zeros_like(logits)
    loss_of_boxes, count = logits.new_zeros(()), 0
    for i, (wanted, kinds) in enumerate(zip(boxes, classes, strict=True)):
        owner = assign(wanted, centres)
        at = (owner >= 0).nonzero()[:, 0]
        if not len(at):
            continue
        predicted, meant = boxes_of(centres[at], found[i, at]), wanted[owner[at]]
        loss_of_boxes = loss_of_boxes + generalized_box_iou_loss(predicted, meant, reduction="sum")
        with torch.no_grad():
            fit = torch.diagonal(box_iou(predicted, meant))
        targets[i, at, kinds[owner[at]]] = fit
        count += len(at)
    weights = torch.where(targets > 0, 1.0, 0.75 * logits.detach().sigmoid().square())
    loss_of_scores = (weights * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")).sum()
    return (loss_of_scores + 2 * loss_of_boxes) / max(1, count)
