"""Batches as they travel from where they are drawn to the device: a few tensors, in 8 bits where that loses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lure_cli.core.pixels import Modality
from lure_cli.core.training.sampler import Sample, Sampler


@dataclass(frozen=True)
class Packed:
    """The samples of one modality in one step. Its length is their number; a slice is a part of them."""

    x: Tensor
    """(B, C, S, S), uint8 or float32 in [0, 1], as `pack_images` gives them."""
    y: Tensor
    """As x."""
    whole: Tensor
    """(B, 3 C, T, T), float32."""
    names: tuple[tuple[str, ...], ...]
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, part: slice) -> Packed:
        return Packed(self.x[part], self.y[part], self.whole[part], self.names[part], self.texts[part])

    def pin_memory(self) -> Packed:
        """The same in memory that a GPU copies from while the host goes on."""
        return Packed(self.x.pin_memory(), self.y.pin_memory(), self.whole.pin_memory(), self.names, self.texts)


def pack(samples: Sequence[Sample], eight_bits: bool = False) -> Packed:
    """Samples of one modality as a batch; `eight_bits` as of `pack_images`."""
    x, y = (pack_images([getattr(s, key) for s in samples], eight_bits) for key in ("x", "y"))
    whole = torch.stack([s.whole for s in samples])
    return Packed(x, y, whole, tuple(s.names for s in samples), tuple(s.text for s in samples))


def pack_images(images: Sequence[Tensor] | Tensor, eight_bits: bool) -> Tensor:
    """Images (C, H, W) in [0, 1] as one tensor (B, C, H, W): as they are, or rounded to 8 bits: uint8."""
    batch = images if isinstance(images, Tensor) else torch.stack(list(images))
    return (batch * 255).round().clamp(0, 255).to(torch.uint8) if eight_bits else batch


def unpack_images(images: Tensor, device: torch.device) -> Tensor:
    """What `pack_images` gave, on the device, in [0, 1], in the layout that convolutions are fastest in. The host does
    not wait for the copy."""
    there = images.to(device, non_blocking=True)
    if there.dtype == torch.uint8:
        there = there.float().div_(255)
    return there.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Draw:
    """Draws the batch of a step, or a part of it, for the stage of the sampler's configuration; a worker process can be
    given it."""

    sampler: Sampler
    part: slice

    def __call__(self, step: int) -> dict[Modality, Packed] | tuple[Tensor, Tensor]:
        """Stage I: crops of each modality; stage II: pairs, as `pack_images` gives them."""
        sampler, eight_bits = self.sampler, self.sampler.cfg.eight_bits
        if sampler.cfg.stage == 1:
            return {m: pack(each, eight_bits) for m, each in sampler.stage1(step, self.part).items() if each}
        ir, vis = sampler.stage2(step, self.part)
        return pack_images(ir, eight_bits), pack_images(vis, eight_bits)

    def nbytes(self) -> int:
        """Size of a whole batch, at most, from that of one with a single crop a modality."""
        cfg, one = self.sampler.cfg, Draw(self.sampler, slice(1))(0)
        if isinstance(one, dict):
            counts: dict[Modality, int] = {"vis": cfg.batch_vis, "ir": cfg.batch_ir}
            return sum(counts[m] * (p.x.nbytes + p.y.nbytes + p.whole.nbytes) for m, p in one.items())
        return cfg.batch_vis * sum(images.nbytes for images in one)
