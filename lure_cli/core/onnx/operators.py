"""What the parts of the ONNX graph are made of: convolutions, linear layers, planes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
from torch import Tensor, nn

from lure_cli.core.onnx.nodes import Graph


def positions(g: Graph, length: str) -> str:
    """0, 1 .. length - 1."""
    return g.op("Range", g.value(0, np.int64), g.op("Squeeze", length), g.value(1, np.int64))


def linear(g: Graph, m: nn.Module, x: str) -> str:
    assert isinstance(m, nn.Linear)
    bias = [] if m.bias is None else [g.packed(m.bias)]
    return g.op("Gemm", x, g.packed(m.weight), *bias, transB=1)


def silu(g: Graph, x: str) -> str:
    return g.op("Mul", x, g.op("Sigmoid", x))


def conv(
    g: Graph,
    m: nn.Module,
    x: str,
    constant: Callable[[Tensor], str] | None = None,
    part: slice = slice(None),
    extra: Tensor | float = 0.0,
    sign: int = 1,
) -> str:
    """A convolution, or those of its outputs that `part` names; `extra` is added to its weights. `constant` adds them
    to the graph, as weights of the layers if it is not given."""
    assert isinstance(m, nn.Conv2d)
    constant = constant or g.weight
    weight, bias = sign * (m.weight + extra)[part], m.bias
    padding = [int(p) for p in m.padding]  # not a word such as "same"
    inputs = [x, constant(weight)] + ([] if bias is None else [constant(sign * bias[part])])
    y = g.op(
        "Conv",
        *inputs,
        kernel_shape=list(m.kernel_size),
        strides=list(m.stride),
        pads=padding * 2,
        group=m.groups if m.groups == 1 else int(weight.shape[0]),
    )
    return g.sized(y, g.scales[x] + (m.stride[0] > 1)) if x in g.scales else y


def upsample(g: Graph, x: str, factor: int = 2) -> str:
    scales = g.value([1.0, 1.0, factor, factor])
    y = g.op("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    return g.sized(y, g.scales[x] - 1) if x in g.scales else y


def planes(g: Graph, x: str, first: int, last: int) -> str:
    return g.op("Slice", x, g.ints(first), g.ints(last), g.ints(1))


def split(g: Graph, x: str, channels: Sequence[int]) -> list[str]:
    """Parts of x, so many channels each. A `Split` of that many outputs is more than WebGPU can bind (8 buffers)."""
    ends = list(accumulate(channels))
    return [planes(g, x, end - count, end) for count, end in zip(channels, ends, strict=True)]


def presence_of(g: Graph, vector: str) -> str:
    """`Condition.presence`: (B, 1, 1, 1)."""
    return g.op("Unsqueeze", planes(g, vector, 0, 1), g.ints(2, 3))
