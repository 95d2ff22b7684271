"""What a picture costs: its arithmetic, counted and not measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lure_cli.core.model.lure import Lure

T = TypeVar("T")


def count_gflop(model: nn.Module, call: Callable[[], T]) -> tuple[T, float]:
    """What a call gives, and the arithmetic that it makes a model do, in GFLOP: that of convolutions and linear layers,
    a multiply-add as two operations.

    The same number as that of `torch.utils.flop_counter`, whose import alone takes a second.
    """
    total = 0

    def count(layer: nn.Module, _: Any, y: Tensor) -> None:
        nonlocal total
        weight: Tensor = layer.weight  # type: ignore[assignment]
        total += 2 * y.numel() * weight[0].numel()

    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        result = call()
    finally:
        for hook in hooks:
            hook.remove()
    return result, total / 1e9


def pair_gflop(model: Lure, height: int, width: int) -> tuple[float, float]:
    """The arithmetic of fusing one pair of a size in pixels, in GFLOP: plain, and with prompts for both images.

    Counted on two tiny pairs: it is a share for each pixel, and one for each image as a whole.
    """
    side, p0 = model.multiple, model.pseudo_prompt[None]
    pixels = -(-height // side) * -(-width // side)  # in tiny pairs

    def count(text: Tensor) -> float:
        pairs = ((torch.zeros(1, 1, side, w), torch.zeros(1, 3, side, w)) for w in (side, 2 * side))
        one, two = (count_gflop(model, partial(model, *pair, text, text))[1] for pair in pairs)
        return one + (pixels - 1) * (two - one)

    with torch.inference_mode():
        return count(p0), count(-p0)
