"""Several processes that train one model: each computes its part of every batch, and all take the same step.

Plain torch.distributed, started from what `accelerate launch` (and `torchrun`) put into the environment: RANK,
WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. Without those there is one process, and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lure_cli.core.devices import pick_device
from lure_cli.errors import LureError


class Group:
    """The processes of a run.

    Args:
        device: as `pick_device` takes it; `auto` and `cuda` give each process of a machine a GPU of its own.

    Attributes:
        rank, size: this process's number, and how many there are.
        device: where this process computes.

    Raises:
        LureError: no such device, more processes than GPUs, or the others are not to be reached.
    """

    def __init__(self, device: str) -> None:
        self.rank, self.size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if device == "auto" and os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true"):
            device = "cpu"  # accelerate launch --cpu
        self.device = pick_device(device)
        self._hosts: dist.ProcessGroup | None = None
        if self.size == 1:
            return
        if self.device.type == "cuda" and self.device.index is None:
            self.device = pick_device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}")
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        try:
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
            # What hosts tell each other must not wait for what their GPUs are at.
            if self.device.type == "cuda":
                self._hosts = dist.new_group(backend="gloo")  # type: ignore[assignment]  # this process is in it
        except (RuntimeError, ValueError) as e:
            reason = str(e).splitlines()[0]
            raise LureError(
                f"process {self.rank} of {self.size} cannot reach the others ({reason})",
                "start them all with `accelerate launch -m lure_cli train ...`",
            ) from e

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def sum(self, tensors: list[Tensor]) -> list[Tensor]:
        """Each tensor's sum over the processes, the same in all of them; in one message, as they are small and many."""
        if self.size == 1:
            return tensors
        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        parts = torch.split(flat, [t.numel() for t in tensors])
        return [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]

    def agree(self, flag: bool, value: float = 0.0) -> tuple[bool, float]:
        """Whether any process says yes, and the greatest value of all; the same in all of them."""
        if self.size == 1:
            return flag, value
        message = torch.tensor([float(flag), value], dtype=torch.float64)
        dist.all_reduce(message, dist.ReduceOp.MAX, self._hosts)
        yes, greatest = message.tolist()
        return yes > 0, greatest

    def gather(self, record: Any) -> list[Any]:
        """The records of all processes by rank; the same list in all of them."""
        records = [record] * self.size
        if self.size > 1:
            dist.all_gather_object(records, record)
        return records

    def copy_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Give these tensors the values that they have in the main process."""
        if self.size > 1:
            for t in tensors:
                dist.broadcast(whole := t.detach().contiguous(), 0)
                t.detach().copy_(whole)

    def leave(self) -> None:
        """The end of working together."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()
