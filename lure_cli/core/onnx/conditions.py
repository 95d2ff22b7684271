"""What the ONNX graph draws from the text and from each image as a whole, always in float32: context, condition, tone
curve. The functions are named after their counterparts in `core/model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from lure_cli.core.model.context import AIR_CELLS, AIR_SOFT, ConditionNet, GlobalContext
from lure_cli.core.model.tone_curve import ToneCurve
from lure_cli.core.onnx.nodes import Graph
from lure_cli.core.onnx.operators import conv, linear, planes, positions, presence_of, silu, split, upsample
from lure_cli.core.pixels import THUMBNAIL


class Condition(NamedTuple):
    """The values of a `Condition` of the model."""

    vector: str
    low: str = ""
    high: str = ""
    air: str = ""


def _averaging(g: Graph, length: str) -> str:
    """(32, n): row i averages i n / 32 (rounded down) up to (i + 1) n / 32 (up), as `adaptive_avg_pool2d` does."""
    bins = g.value(np.arange(THUMBNAIL)[:, None], np.int64)
    after = g.value(np.arange(1, THUMBNAIL + 1)[:, None], np.int64)
    side = g.ints(THUMBNAIL)
    first = g.op("Div", g.op("Mul", bins, length), side)
    last = g.op("Div", g.op("Add", g.op("Mul", after, length), g.ints(THUMBNAIL - 1)), side)
    j = positions(g, length)
    inside = g.op("And", g.op("GreaterOrEqual", j, first), g.op("Less", j, last))
    return g.op("Div", g.op("Cast", inside, to=1), g.op("Cast", g.op("Sub", last, first), to=1))


def context_view(g: Graph, x: str, extremes: bool) -> str:
    rows = _averaging(g, g.op("Shape", x, start=2, end=3))
    columns = _averaging(g, g.op("Shape", x, start=3, end=4))
    thumbnail = g.op("MatMul", g.op("MatMul", rows, x), g.op("Transpose", columns, perm=[1, 0]))
    if not extremes:
        return thumbnail
    pooled = g.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    nothing = g.value(np.zeros((1, 1, THUMBNAIL, THUMBNAIL)))
    low, high = (
        g.op("Add", g.op(kind, pooled, g.ints(2, 3)), nothing)  # as large as the thumbnail
        for kind in ("ReduceMin", "ReduceMax")
    )
    return g.op("Concat", thumbnail, low, high, axis=1)


def context_of(g: Graph, m: GlobalContext | None, view: str, extremes: Sequence[str]) -> str | None:
    if m is None:
        return None
    thumbnail = x = planes(g, view, 0, m.channels)
    for layer in m.net:
        x = silu(g, x) if isinstance(layer, nn.SiLU) else conv(g, layer, x, g.packed)
    context = g.op("ReduceMean", x, g.ints(2, 3), keepdims=0)
    if m.extremes is None:
        return context
    mean, square = (
        g.op("ReduceMean", v, g.ints(2, 3), keepdims=0) for v in (thumbnail, g.op("Mul", thumbnail, thumbnail))
    )
    variance = g.op("Clip", g.op("Sub", square, g.op("Mul", mean, mean)), g.value(1e-6))
    low_high = (g.op("Squeeze", v, g.ints(2, 3)) for v in extremes)
    statistics = g.op("Concat", mean, g.op("Sqrt", variance), *low_high, axis=1)
    return g.op("Add", context, linear(g, m.extremes, statistics))


def extremes_of(g: Graph, view: str, channels: int) -> tuple[str, str]:
    """(B, C, 1, 1) each."""
    corner = g.op("Slice", view, g.ints(0, 0), g.ints(1, 1), g.ints(2, 3))
    return planes(g, corner, channels, 2 * channels), planes(g, corner, 2 * channels, 3 * channels)


def airlight_of(g: Graph, view: str) -> str:
    """`airlight_of`: (B, 3, 1, 1)."""
    cells = g.op("Reshape", planes(g, view, 0, 3), g.ints(0, 3, -1))
    dark = g.op("ReduceMin", cells, g.ints(1))
    most = g.op("TopK", dark, g.ints(AIR_CELLS), spare=1, axis=2)
    least = g.op("ReduceMin", most, g.ints(2))
    share = g.op("Add", g.op("Div", g.op("Sub", dark, least), g.value(AIR_SOFT)), g.value(1.0))
    share = g.op("Clip", share, g.value(0.0), g.value(1.0))
    total, count = (g.op("ReduceSum", v, g.ints(2)) for v in (g.op("Mul", cells, share), share))
    return g.op("Unsqueeze", g.op("Clip", g.op("Div", total, count), g.value(0.02)), g.ints(3))


def _darkness(g: Graph, x: str, cell: int) -> str:
    """`local_darkness`."""

    def pool(kind: str, x: str, size: int, stride: int = 1) -> str:
        pads = [0 if stride > 1 else size // 2] * 4
        return g.op(kind, x, kernel_shape=[size, size], strides=[stride, stride], pads=pads)

    light = g.op("Neg", g.op("ReduceMin", pool("AveragePool", x, 2, 2), g.ints(1)))
    dark = g.op("Neg", pool("MaxPool", pool("MaxPool", light, cell // 2, cell // 2), 3))
    guide = g.op("ReduceMean", x, g.ints(1))
    seen = pool("AveragePool", guide, cell, cell)
    mean, mean_dark, square, product = (
        pool("AveragePool", v, 5) for v in (seen, dark, g.op("Mul", seen, seen), g.op("Mul", seen, dark))
    )
    variance = g.op("Clip", g.op("Sub", square, g.op("Mul", mean, mean)), g.value(0.0))
    shared = g.op("Sub", product, g.op("Mul", mean, mean_dark))
    slope = g.op("Div", shared, g.op("Add", variance, g.value(1e-3)))
    offset = g.op("Sub", mean_dark, g.op("Mul", slope, mean))
    slope, offset = (upsample(g, pool("AveragePool", v, 5), cell) for v in (slope, offset))
    return g.op("Clip", g.op("Add", offset, g.op("Mul", slope, guide)), g.value(0.0))


def tone_curve(g: Graph, m: ToneCurve, x: str, condition: Condition) -> str:
    low, high = condition.low, condition.high
    values = g.op("Unsqueeze", linear(g, m.out, silu(g, linear(g, m.hidden, condition.vector))), g.ints(2, 3))
    c = m.out.out_features // m.PARTS
    offset, gain, power, *shares = split(g, values, [c] * m.PARTS)
    if m.airlight:
        low, high, light = g.op("ReduceMin", low, g.ints(1)), g.op("ReduceMax", high, g.ints(1)), condition.air
        haze = _darkness(g, g.op("Clip", g.op("Div", x, light), "", g.value(1.0)), m.cell)
        haze = g.op("Clip", haze, "", g.value(m.THICK))
        veil = g.op("Mul", haze, light)
    else:
        light = g.op("Clip", high, g.value(0.02))
        veil = g.op("Min", _darkness(g, x, m.cell), g.op("Mul", light, g.value(m.THICK)))
        haze = g.op("Div", veil, light)
    left = g.op("Log", g.op("Sub", g.value(1.0), haze))
    span = g.op("Log", g.op("Clip", g.op("Sub", high, low), g.value(0.02)))
    for share, part in zip(shares[::2], (low, veil), strict=True):
        offset = g.op("Add", offset, g.op("Mul", share, part))
    for share, part in zip(shares[1::2], (span, left), strict=True):
        gain = g.op("Sub", gain, g.op("Mul", share, part))
    gain, power = (
        g.op("Exp", g.op("Clip", v, g.value(-limit), g.value(limit)))
        for v, limit in ((gain, m.LIMIT), (power, m.LIMIT / 3))
    )
    limits = [g.value(v) for v in m.RANGE]
    base = g.op("Log", g.op("Clip", g.op("Mul", g.op("Sub", x, offset), gain), *limits))
    y = g.op("Exp", g.op("Mul", base, power))  # not Pow: the WebGPU of onnxruntime-web 1.30 fails with it
    return g.op("Add", x, g.op("Mul", presence_of(g, condition.vector), g.op("Sub", y, g.op("Clip", x, *limits))))


def condition_vector(g: Graph, m: ConditionNet, t: str, p0: Tensor, context: str | None) -> str:
    """The vector (B, K); all of it is zero where `presence` is, so that rounding, of JSON too, is no request."""

    def answer(v: str) -> str:
        x = linear(g, m.text, g.op("Mul", v, g.value(m.scale)))
        x = x if context is None else g.op("Add", x, context)
        return linear(g, m.out[1], silu(g, x))

    nothing = g.value(p0[None])
    wanted = g.op("Sub", answer(t), answer(nothing))
    presence = g.op("Sub", g.value(1.0), g.op("ReduceSum", g.op("Mul", t, nothing), g.ints(1)))
    asked = g.op("Cast", g.op("Greater", presence, g.value(1e-6)), to=1)
    return g.op("Mul", g.op("Concat", presence, wanted, axis=1), asked)
