"""Gradients in one piece of memory: what concerns all of them is one operation, however many parameters there are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_ALIGNED = 16
"""Values to whose multiple each gradient starts: 64 bytes, as fast kernels like it."""


class Gradients:
    """A loss and its gradients for each shard of a batch. `views` of the first shard serve as the parameters' `.grad`.

    Args:
        params: float32, on one device.
        shards: parts of a batch, each with gradients of its own.
    """

    def __init__(self, params: Sequence[Tensor], shards: int) -> None:
        starts = [0]
        for p in params:
            starts.append(starts[-1] + -(-p.numel() // _ALIGNED) * _ALIGNED)
        self._rows = params[0].new_zeros(shards, starts[-1] + 1)  # what is between stays zero; the last is the loss
        self.views = [
            [
                row.as_strided(p.shape, p.stride(), row.storage_offset() + i)
                for i, p in zip(starts[:-1], params, strict=True)
            ]
            for row in self._rows
        ]

    def put(self, shard: int, loss: Tensor, gradients: Sequence[Tensor], share: float) -> None:
        """The loss and the gradients of one shard, which counts by its share of the batch."""
        torch._foreach_copy_(self.views[shard], list(gradients))
        self._rows[shard, -1] = loss.detach()
        if share != 1:
            self._rows[shard] *= share

    def sum(self) -> Tensor:
        """The sum over the shards (N,), in the place of the first; the loss is its last value."""
        for row in self._rows[1:]:
            self._rows[0] += row
        return self._rows[0]

    def clip(self, largest: float) -> tuple[Tensor, Tensor, Tensor]:
        """Scale the summed gradients to at most a norm; to zero if they, or the loss, are not finite.

        Returns:
            0-d tensors, so that the host need not wait: the loss, the norm before, and whether all is finite: 1 or 0.
        """
        flat, loss = self._rows[0, :-1], self._rows[0, -1].clone()
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(self.views[0])))
        finite = torch.isfinite(norm) & torch.isfinite(loss)
        flat.mul_((largest / (norm + 1e-6)).clamp_max(1.0)).masked_fill_(~finite, 0.0)
        return loss, norm, finite.float()
