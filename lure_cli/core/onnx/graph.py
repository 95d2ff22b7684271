"""The model as an ONNX graph, for programs without this package: everything from the images to the fused picture.

The graph is written out part by part, as `core/model/lure.py` is, and each function here is named after its counterpart
there. `torch.onnx.export` (2.14) was tried instead: it takes minutes, averages for the thumbnail in windows of the size
that it has seen, so other sizes fail, and has no If, so plain fusion takes 3.6 times as long; prompts take 1.2 times as
long, as it does not see what a fixed network allows: here the first convolution swallows the pixel-unshuffle and the
convolutions of a block swallow its inner residual and its split in halves, and the encoders' layers stand in an `If`
that plain fusion leaves out. `tasks/weights/export.py` compares each file with the model before it is kept.

Inputs (float32; B, H and W are free, from 1 on):
    ir (B, 1, H, W), vis (B, 3, H, W)     in [0, 1], any size: padding and cropping happen inside
    prompt_ir, prompt_vis (B, D)          unit vectors, see `lure_cli.core.onnx.record.describe`
Inputs that may be left out:
    strength_ir, strength_vis (1) or (B)  see `Lure.encode`; default 1
    thumb_ir (1 or B, 1 or 3, 32, 32), thumb_vis (.., 3 or 9, ..)
                                          the `context_view` of the whole image, where this is a part of it; three times
                                          the planes if the model has tone curves; NaN, the default: it is the whole
Output:
    fused (B, 3, H, W)                    in [0, 1]; grey where vis has three equal planes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lure_cli.core.model.context import AIR_CELLS, AIR_SOFT, THUMBNAIL, ConditionNet, GlobalContext
from lure_cli.core.model.layers import ChannelNorm, EncoderLayer, InnerResidualBlock, TextGuidedAttention
from lure_cli.core.model.lure import PIXELS, Decoder, Encoder, FusionModule, Lure
from lure_cli.core.model.tone_curve import ToneCurve
from lure_cli.core.onnx.nodes import Graph
from lure_cli.core.pixels import CHANNELS, LUMA

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET, IR_VERSION = 18, 8
"""As old as the operators allow; tried with onnxruntime 1.19 and 1.32."""
INPUTS = ("ir", "vis", "prompt_ir", "prompt_vis")
OPERATORS = frozenset(
    "Abs Add And AveragePool Cast Clip Concat Conv DepthToSpace Div Equal Exp Gemm Greater GreaterOrEqual "
    "Identity If IsNaN LayerNormalization Less Log MatMul MaxPool Min Mul Neg Pad Pow Range ReduceMax ReduceMean "
    "ReduceMin ReduceSum Reshape Resize Shape Sigmoid Slice Sqrt Squeeze Sub TopK Transpose Unsqueeze Where".split()
)
"""All that a graph may hold; a file with others is not ours. `Pow` is in files of version 0.2."""
OPTIONAL = ("strength_ir", "strength_vis", "thumb_ir", "thumb_vis")


class Condition(NamedTuple):
    """The values of a `Condition` of the model."""

    vector: str
    low: str = ""
    high: str = ""
    air: str = ""


def build_onnx(model: Lure, *, half: bool = False, branches: bool = True) -> ModelProto:
    """The graph of a model, without metadata.

    Args:
        model: in float32 on the CPU.
        half: layers in float16; inputs and outputs stay float32.
        branches: leave out the encoders' layers where no prompt asks for anything; for tools that know no `If`.
    """
    from onnx import TensorProto, helper

    g = Graph(half)
    dim = model.cfg.text_dim
    sides = {m: (g.op("Shape", m, start=2, end=3), g.op("Shape", m, start=3, end=4)) for m in CHANNELS}
    latents = {}
    for m in CHANNELS:
        encoder: Encoder = model.encoders[m]  # type: ignore[assignment]
        x = _pad(g, m, sides[m], model.multiple)
        thumb = g.op("Where", g.op("IsNaN", f"thumb_{m}"), _context_view(g, x, model.cfg.tone), f"thumb_{m}")
        extremes = _extremes_of(g, thumb, CHANNELS[m]) if model.cfg.tone else ()
        context = _context(g, encoder.context, thumb, extremes)
        vector = _condition(g, encoder.condition, f"prompt_{m}", model.pseudo_prompt, context)
        air = [_airlight_of(g, thumb)] if encoder.tone is not None and encoder.tone.airlight else []
        latents[m] = _encode(g, encoder, x, Condition(vector, *extremes, *air), f"strength_{m}", branches)
    y = g.float32(_decode(g, model.decoder, _fuse(g, model.fusion, latents["ir"], latents["vis"])))
    size = g.op("Concat", *sides["vis"], axis=0)
    y = g.op("Slice", y, g.ints(0, 0), size, g.ints(2, 3))
    y = g.op("Clip", y, g.value(0.0), g.value(1.0))
    g.nodes.append(helper.make_node("Where", [_is_grey(g), _luma(g, y), y], ["fused"], name="fused"))

    shapes: dict[str, list[Any]] = {m: ["batch", c, "height", "width"] for m, c in CHANNELS.items()}
    shapes |= {f"prompt_{m}": ["batch", dim] for m in CHANNELS}
    shapes |= {f"strength_{m}": [f"strengths_{m}"] for m in CHANNELS}
    views = {m: c * (3 if model.cfg.tone else 1) for m, c in CHANNELS.items()}
    shapes |= {f"thumb_{m}": [f"thumbs_{m}", c, THUMBNAIL, THUMBNAIL] for m, c in views.items()}
    for m, c in views.items():  # an input with a value may be left out
        g.weights[f"strength_{m}"] = np.ones(1, np.float32)
        g.weights[f"thumb_{m}"] = np.full((1, c, THUMBNAIL, THUMBNAIL), np.nan, np.float32)
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in (*INPUTS, *OPTIONAL)]
    output = helper.make_tensor_value_info("fused", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    return helper.make_model(
        g.proto("lure", inputs, [output]),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lure-cli",
    )


# Sizes


def _positions(g: Graph, length: str) -> str:
    """0, 1 .. length - 1."""
    return g.op("Range", g.value(0, np.int64), g.op("Squeeze", length), g.value(1, np.int64))


def _pad(g: Graph, x: str, sides: tuple[str, str], multiple: int) -> str:
    """`pad_to_multiple`; for each axis, as there, reflection goes no further than to the other edge."""
    size = g.op("Concat", *sides, axis=0)
    m = g.ints(multiple)
    padding = g.op("Sub", g.op("Mul", g.op("Div", g.op("Add", size, g.ints(multiple - 1)), m), m), size)
    mirrored = g.op("Min", padding, g.op("Sub", size, g.ints(1)))
    nothing = g.ints(0, 0)
    for mode, after in (("reflect", mirrored), ("edge", g.op("Sub", padding, mirrored))):
        x = g.op("Pad", x, g.op("Concat", nothing, after, axis=0), "", g.ints(2, 3), mode=mode)
    return x


def _averaging(g: Graph, length: str) -> str:
    """(32, n): row i averages i n / 32 (rounded down) up to (i + 1) n / 32 (up), as `adaptive_avg_pool2d` does."""
    bins = g.value(np.arange(THUMBNAIL)[:, None], np.int64)
    after = g.value(np.arange(1, THUMBNAIL + 1)[:, None], np.int64)
    side = g.ints(THUMBNAIL)
    first = g.op("Div", g.op("Mul", bins, length), side)
    last = g.op("Div", g.op("Add", g.op("Mul", after, length), g.ints(THUMBNAIL - 1)), side)
    j = _positions(g, length)
    inside = g.op("And", g.op("GreaterOrEqual", j, first), g.op("Less", j, last))
    return g.op("Div", g.op("Cast", inside, to=1), g.op("Cast", g.op("Sub", last, first), to=1))


def _context_view(g: Graph, x: str, extremes: bool) -> str:
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


# Text and context, always in float32


def _linear(g: Graph, m: nn.Module, x: str) -> str:
    assert isinstance(m, nn.Linear)
    bias = [] if m.bias is None else [g.value(m.bias)]
    return g.op("Gemm", x, g.value(m.weight), *bias, transB=1)


def _silu(g: Graph, x: str) -> str:
    return g.op("Mul", x, g.op("Sigmoid", x))


def _context(g: Graph, m: GlobalContext | None, view: str, extremes: Sequence[str]) -> str | None:
    if m is None:
        return None
    thumbnail = x = _planes(g, view, 0, m.channels)
    for layer in m.net:
        x = _silu(g, x) if isinstance(layer, nn.SiLU) else _conv(g, layer, x, g.value)
    context = g.op("ReduceMean", x, g.ints(2, 3), keepdims=0)
    if m.extremes is None:
        return context
    mean, square = (
        g.op("ReduceMean", v, g.ints(2, 3), keepdims=0) for v in (thumbnail, g.op("Mul", thumbnail, thumbnail))
    )
    variance = g.op("Clip", g.op("Sub", square, g.op("Mul", mean, mean)), g.value(1e-6))
    low_high = (g.op("Squeeze", v, g.ints(2, 3)) for v in extremes)
    statistics = g.op("Concat", mean, g.op("Sqrt", variance), *low_high, axis=1)
    return g.op("Add", context, _linear(g, m.extremes, statistics))


def _extremes_of(g: Graph, view: str, channels: int) -> tuple[str, str]:
    """(B, C, 1, 1) each."""
    corner = g.op("Slice", view, g.ints(0, 0), g.ints(1, 1), g.ints(2, 3))
    return _planes(g, corner, channels, 2 * channels), _planes(g, corner, 2 * channels, 3 * channels)


def _airlight_of(g: Graph, view: str) -> str:
    """`airlight_of`: (B, 3, 1, 1)."""
    cells = g.op("Reshape", _planes(g, view, 0, 3), g.ints(0, 3, -1))
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
    slope, offset = (_upsample(g, pool("AveragePool", v, 5), cell) for v in (slope, offset))
    return g.op("Clip", g.op("Add", offset, g.op("Mul", slope, guide)), g.value(0.0))


def _tone(g: Graph, m: ToneCurve, x: str, condition: Condition) -> str:
    low, high = condition.low, condition.high
    values = g.op("Unsqueeze", _linear(g, m.out, _silu(g, _linear(g, m.hidden, condition.vector))), g.ints(2, 3))
    c = m.out.out_features // m.PARTS
    offset, gain, power, *shares = (_planes(g, values, i * c, (i + 1) * c) for i in range(m.PARTS))
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
    return g.op("Add", x, g.op("Mul", _presence(g, condition.vector), g.op("Sub", y, g.op("Clip", x, *limits))))


def _condition(g: Graph, m: ConditionNet, t: str, p0: Tensor, context: str | None) -> str:
    """The vector (B, K); all of it is zero where `presence` is, so that rounding, of JSON too, is no request."""

    def answer(v: str) -> str:
        x = _linear(g, m.text, g.op("Mul", v, g.value(m.scale)))
        x = x if context is None else g.op("Add", x, context)
        return _linear(g, m.out[1], _silu(g, x))

    nothing = g.value(p0[None])
    wanted = g.op("Sub", answer(t), answer(nothing))
    presence = g.op("Sub", g.value(1.0), g.op("ReduceSum", g.op("Mul", t, nothing), g.ints(1)))
    asked = g.op("Cast", g.op("Greater", presence, g.value(1e-6)), to=1)
    return g.op("Mul", g.op("Concat", presence, wanted, axis=1), asked)


# Layers


def _conv(
    g: Graph,
    m: nn.Module,
    x: str,
    constant: Callable[[Tensor], str] | None = None,
    part: slice = slice(None),
    extra: Tensor | float = 0.0,
) -> str:
    """A convolution, or those of its outputs that `part` names; `extra` is added to its weights. `constant` adds them
    to the graph, as weights of the layers if it is not given."""
    assert isinstance(m, nn.Conv2d)
    constant = constant or g.weight
    weight, bias = (m.weight + extra)[part], m.bias
    padding = [int(p) for p in m.padding]  # not a word such as "same"
    inputs = [x, constant(weight)] + ([] if bias is None else [constant(bias[part])])
    return g.op(
        "Conv",
        *inputs,
        kernel_shape=list(m.kernel_size),
        strides=list(m.stride),
        pads=padding * 2,
        group=m.groups if m.groups == 1 else int(weight.shape[0]),
    )


def _per_channel(g: Graph, m: nn.Linear, vector: str) -> str:
    """`per_channel`: (B, C, 1, 1)."""
    return g.op("Unsqueeze", g.layered(_linear(g, m, vector)), g.ints(2, 3))


def _presence(g: Graph, vector: str) -> str:
    """`Condition.presence`: (B, 1, 1, 1)."""
    return g.op("Unsqueeze", _planes(g, vector, 0, 1), g.ints(2, 3))


def _norm(g: Graph, m: ChannelNorm, x: str) -> str:
    y = g.op("Transpose", x, perm=[0, 2, 3, 1])
    y = g.op("LayerNormalization", y, g.weight(m.weight), g.weight(m.bias), axis=-1, epsilon=1e-6)
    return g.op("Transpose", y, perm=[0, 3, 1, 2])


def _block(g: Graph, m: nn.Module, x: str, vector: str | None = None) -> str:
    assert isinstance(m, InnerResidualBlock)
    h = _norm(g, m.norm, x)
    identity = torch.zeros_like(m.mix.weight)
    if m.inner_residual:  # h + mix(h) is one convolution, with 1 added where it weighs the pixel itself
        channels = torch.arange(identity.shape[0])
        identity[channels, channels % identity.shape[1], 1, 1] = 1.0
    if isinstance(m.expand, nn.Conv2d):
        z, last, extra = _conv(g, m.mix, h, extra=identity), m.expand, torch.zeros(())
    else:
        z, last, extra = h, m.mix, identity
    half = last.out_channels // 2
    a, b = (_conv(g, last, z, part=part, extra=extra) for part in (slice(0, half), slice(half, None)))
    z = g.op("Mul", a, b)
    if m.gain is not None and vector is not None:
        gain = g.op("Unsqueeze", g.op("Add", _linear(g, m.gain, vector), g.value(1.0)), g.ints(2, 3))
        z = g.op("Mul", z, g.layered(gain))
    return g.op("Add", x, _conv(g, m.project, z))


def _attention(g: Graph, m: TextGuidedAttention, y: str, vector: str) -> str:
    """(B, 1, H, W): the score is a product of matrices, (B, 1, C) (B, C, H W)."""
    channels = m.key.out_features
    key = g.op("Unsqueeze", _linear(g, m.key, vector), g.ints(1))
    y = g.float32(y)
    flat = g.op("Reshape", y, g.ints(0, channels, -1))
    size = g.op("Concat", g.op("Shape", y, end=1), g.ints(1), g.op("Shape", y, start=2), axis=0)
    score = g.op("Reshape", g.op("MatMul", key, flat), size)
    power = g.op("Add", g.op("ReduceSum", g.op("Mul", y, y), g.ints(1)), g.value(1e-6 * channels))
    return g.layered(g.op("Sigmoid", g.op("Div", score, g.op("Sqrt", power))))


def _attend(g: Graph, m: TextGuidedAttention, x: str, y: str, vector: str) -> str:
    change = g.op("Sub", y, x)
    wanted = g.op("Add", g.op("Mul", change, _per_channel(g, m.gamma, vector)), _per_channel(g, m.beta, vector))
    presence = g.layered(_presence(g, vector))
    asked = g.op("Add", x, g.op("Mul", change, presence))
    return g.op("Add", asked, g.op("Mul", wanted, _attention(g, m, y, vector)))


def _layer(g: Graph, m: nn.Module, x: str, vector: str, lifted: str | None = None) -> str:
    assert isinstance(m, EncoderLayer)
    y = x if lifted is None else g.op("Add", x, lifted)
    for block in m.blocks:
        y = _block(g, block, y, vector)
    return y if m.tga is None else _attend(g, m.tga, x, y, vector)


def _upsample(g: Graph, x: str, factor: int = 2) -> str:
    scales = g.value([1.0, 1.0, factor, factor])
    return g.op("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")


def _stem(g: Graph, m: Encoder, x: str) -> str:
    """Pixel-unshuffle, stem, and the pixels themselves: one convolution, 6x6 with stride 2, of the image."""
    channels = m.stem.in_channels
    pixels = torch.zeros(PIXELS, channels, 3, 3)
    pixels[range(PIXELS), [i % channels for i in range(PIXELS)], 1, 1] = 1.0
    assert m.stem.bias is not None
    bias = torch.cat((torch.zeros(PIXELS), m.stem.bias))
    weight = F.pixel_shuffle(torch.cat((pixels, m.stem.weight)), 2)
    return g.op("Conv", x, g.weight(weight), g.weight(bias), kernel_shape=[6, 6], strides=[2, 2], pads=[2] * 4)


def _encoder(g: Graph, m: Encoder, x: str, vector: str) -> list[str]:
    """The latent of `Encoder.forward`; x is what `_stem` gives."""
    features: list[str] = []
    for i, layer in enumerate(m.layers):
        features.append(_layer(g, layer, x, vector))
        if i < len(m.down):
            x = _conv(g, m.down[i], features[-1])
    for i in reversed(range(len(m.refine))):
        lifted = _upsample(g, _conv(g, m.up[i], features[i + 1]))
        features[i] = _layer(g, m.refine[i], features[i], vector, lifted)
    return features


def _plain(g: Graph, m: Encoder, x: str, vector: str) -> list[str]:
    """The same for the pseudo prompt, under which layers with Text-Guided Attention are the identity."""
    if m.layers[0].tga is None:
        return _encoder(g, m, x, g.op("Mul", vector, g.value(0.0)))
    features = [x]
    for down in m.down:
        features.append(_conv(g, down, features[-1]))
    return features


def _encode(g: Graph, m: Encoder, x: str, condition: Condition, strength: str, branches: bool) -> list[str]:
    """`Lure.encode`: F(p0) + s (F(t) - F(p0)); the second term is 0, unseen, where the batch's vectors all are."""
    from onnx import TensorProto, helper

    image, x = x, _stem(g, m, g.layered(x))
    vector = condition.vector
    plain = _plain(g, m, x, vector)
    inner = Graph(g.half, g) if branches else g
    s = inner.layered(inner.op("Reshape", strength, inner.ints(-1, 1, 1, 1)))
    if m.tone is not None:
        x = _stem(inner, m, inner.layered(_tone(inner, m.tone, image, condition)))
    features = _encoder(inner, m, x, vector)
    changes = [inner.op("Mul", s, inner.op("Sub", b, a)) for a, b in zip(plain, features, strict=True)]
    if branches:
        other = Graph(g.half, g)
        nothing = [other.op("Identity", other.weight(torch.zeros(1, 1, 1, 1))) for _ in plain]
        kind = TensorProto.FLOAT16 if g.half else TensorProto.FLOAT
        asked, unasked = (
            part.proto(part.name("branch"), [], [helper.make_tensor_value_info(v, kind, None) for v in values])
            for part, values in ((inner, changes), (other, nothing))
        )
        wanted = g.op("Greater", g.op("ReduceMax", g.op("Abs", vector), keepdims=0), g.value(0.0))
        changes = [g.name("change") for _ in plain]
        g.nodes.append(helper.make_node("If", [wanted], changes, then_branch=asked, else_branch=unasked))
    return [g.op("Add", a, b) for a, b in zip(plain, changes, strict=True)]


def _blocks(g: Graph, blocks: nn.Module, x: str) -> str:
    for block in blocks.children():
        x = _block(g, block, x)
    return x


def _fuse(g: Graph, m: FusionModule, ir: list[str], vis: list[str]) -> list[str]:
    fused: list[str] = []
    z: str | None = None
    for i in reversed(range(len(ir))):
        joined = _conv(g, m.join[i], g.op("Concat", ir[i], vis[i], axis=1))
        lifted = None if z is None else _upsample(g, _conv(g, m.lift[i], z))
        z = _blocks(g, m.blocks[i], joined if lifted is None else g.op("Add", joined, lifted))
        weight = g.op("Sigmoid", _conv(g, m.select[i], z))
        chosen = g.op("Add", vis[i], g.op("Mul", weight, g.op("Sub", ir[i], vis[i])))
        fused.insert(0, g.op("Add", chosen, _conv(g, m.add[i], z)))
    return fused


def _decode(g: Graph, m: Decoder, latent: list[str]) -> str:
    y: str | None = None
    for i in reversed(range(len(latent))):
        f = latent[i]
        if y is not None:
            f = g.op("Add", f, _upsample(g, _conv(g, m.up[i], y)))
        y = _blocks(g, m.layers[i], f)
    assert y is not None
    return g.op("DepthToSpace", _conv(g, m.head, y), blocksize=2, mode="CRD")


def _planes(g: Graph, x: str, first: int, last: int) -> str:
    return g.op("Slice", x, g.ints(first), g.ints(last), g.ints(1))


def _is_grey(g: Graph) -> str:
    difference = g.op("Abs", g.op("Sub", _planes(g, "vis", 1, 3), _planes(g, "vis", 0, 1)))
    return g.op("Equal", g.op("ReduceMax", difference, g.ints(1, 2, 3)), g.value(0.0))


def _luma(g: Graph, y: str) -> str:
    return g.op("Conv", y, g.value(np.array(LUMA)[None, :, None, None]), kernel_shape=[1, 1])
