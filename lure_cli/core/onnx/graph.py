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
    output (1), int64                     0, the default: both are fused; 1, 2: vis, ir alone is restored, and the other
                                          one may be any image, of any size (a tiny one with the pseudo prompt costs
                                          next to nothing)
Output:
    fused (B, 3, H, W)                    in [0, 1]; grey where vis has three equal planes; infrared: three equal planes
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lure_cli.core.model.layers import ChannelNorm, EncoderLayer, InnerResidualBlock, TextGuidedAttention
from lure_cli.core.model.lure import PIXELS, Decoder, Encoder, FusionModule, Lure
from lure_cli.core.onnx.conditions import (
    Condition,
    airlight_of,
    condition_vector,
    context_of,
    context_view,
    extremes_of,
    tone_curve,
)
from lure_cli.core.onnx.interface import INPUTS, OPTIONAL
from lure_cli.core.onnx.nodes import Graph
from lure_cli.core.onnx.operators import conv, planes, presence_of, split, upsample
from lure_cli.core.pixels import CHANNELS, LUMA, THUMBNAIL, Modality

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET, IR_VERSION = 18, 8
"""As old as the operators allow; tried with onnxruntime 1.19 and 1.32."""


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
    images: dict[Modality, Source] = {}
    for m in CHANNELS:
        encoder: Encoder = model.encoders[m]  # type: ignore[assignment]
        x = _pad(g, m, sides[m], model.multiple)
        thumb = g.op("Where", g.op("IsNaN", f"thumb_{m}"), context_view(g, x, model.cfg.tone), f"thumb_{m}")
        extremes = extremes_of(g, thumb, CHANNELS[m]) if model.cfg.tone else ()
        context = context_of(g, encoder.context, thumb, extremes)
        vector = condition_vector(g, encoder.condition, f"prompt_{m}", model.pseudo_prompt, context)
        air = [airlight_of(g, thumb)] if encoder.tone is not None and encoder.tone.airlight else []
        images[m] = Source(encoder, x, Condition(vector, *extremes, *air), f"strength_{m}")
    if branches:
        y = _choose(g, model, images)
        size = g.op(
            "Where", g.op("Greater", "output", g.ints(1)), *(g.op("Concat", *sides[m], axis=0) for m in CHANNELS)
        )
    else:
        latents = (_encode(g, each, branches=False) for each in images.values())
        y, size = _decode(g, model.decoder, _fuse(g, model.fusion, *latents)), g.op("Concat", *sides["vis"], axis=0)
    y = g.op("Slice", g.float32(y), g.ints(0, 0), size, g.ints(2, 3))
    y = g.op("Clip", y, g.value(0.0), g.value(1.0))
    g.nodes.append(helper.make_node("Where", [_is_grey(g), _luma(g, y), y], ["fused"], name="fused"))

    shapes: dict[str, list[Any]] = {m: [f"batch_{m}", c, f"height_{m}", f"width_{m}"] for m, c in CHANNELS.items()}
    shapes |= {f"prompt_{m}": [f"batch_{m}", dim] for m in CHANNELS}
    shapes |= {f"strength_{m}": [f"strengths_{m}"] for m in CHANNELS}
    views = {m: c * (3 if model.cfg.tone else 1) for m, c in CHANNELS.items()}
    shapes |= {f"thumb_{m}": [f"thumbs_{m}", c, THUMBNAIL, THUMBNAIL] for m, c in views.items()}
    for m, c in views.items():  # an input with a value may be left out
        g.weights[f"strength_{m}"] = np.ones(1, np.float32)
        g.weights[f"thumb_{m}"] = np.full((1, c, THUMBNAIL, THUMBNAIL), np.nan, np.float32)
    names = (*INPUTS, *OPTIONAL[:-1])
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in names]
    if branches:
        g.weights["output"] = np.zeros(1, np.int64)
        inputs.append(helper.make_tensor_value_info("output", TensorProto.INT64, [1]))
    output = helper.make_tensor_value_info("fused", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    return helper.make_model(
        g.proto("lure", inputs, [output]),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lure-cli",
    )


class Source(NamedTuple):
    """An image of the pair, and what is to be done with it."""

    encoder: Encoder
    padded: str
    condition: Condition
    strength: str


def _choose(g: Graph, model: Lure, pair: dict[Modality, Source]) -> str:
    """The picture that `output` names, padded. What nobody asks for is not computed.

    Plain fusion, which is the least work, is a branch of its own: no value crosses a border in it, where onnxruntime
    would bring it from the order of its convolutions into that of all others, and back.
    """
    wanted = {m: g.op("ReduceMax", g.op("Abs", each.condition.vector), keepdims=0) for m, each in pair.items()}
    anything = g.op("Add", g.op("Add", *wanted.values()), g.op("Cast", "output", to=1))
    plain, other = Graph(g.half, g), Graph(g.half, g)
    fused = _fuse(plain, model.fusion, *(_plain(plain, each) for each in pair.values()))

    latents = {}
    for m, each in pair.items():
        asked, unasked = Graph(g.half, g), Graph(g.half, g)
        parts = (asked, _encode(asked, each)), (unasked, _plain(unasked, each))
        latents[m] = other.branch(other.op("Greater", wanted[m], other.value(0.0)), *parts)
    both, one, ir, vis = (Graph(g.half, g) for _ in range(4))
    second = one.op("Greater", "output", one.ints(1))
    chosen = (ir, [ir.op("Identity", v) for v in latents["ir"]]), (vis, [vis.op("Identity", v) for v in latents["vis"]])
    restored = _decode(one, model.decoder, one.branch(second, *chosen))
    mean = one.layered(one.op("ReduceMean", one.float32(restored), one.ints(1)))
    restored = one.op("Where", second, mean, restored)
    together = _decode(both, model.decoder, _fuse(both, model.fusion, latents["ir"], latents["vis"]))
    picture = other.branch(other.op("Greater", "output", other.ints(0)), (one, [restored]), (both, [together]))
    parts = (other, picture), (plain, [_decode(plain, model.decoder, fused)])
    return g.branch(g.op("Greater", anything, g.value(0.0)), *parts)[0]


# Size


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


# Layers

Values = dict[nn.Module, str]
"""What linear layers make of the condition; see `_per_channel`."""


def _per_channel(g: Graph, m: Encoder, vector: str) -> dict[nn.Module, str]:
    """`per_channel` of all layers of an encoder, (B, C, 1, 1) each, as one product of matrices; of gains, 1 + gain."""
    layers: list[nn.Linear] = []
    gains: set[nn.Module] = set()
    for each in m.modules():
        if isinstance(each, InnerResidualBlock) and each.gain is not None:
            layers.append(each.gain)
            gains.add(each.gain)
        elif isinstance(each, TextGuidedAttention):
            layers += each.key, each.gamma, each.beta
    if not layers:
        return {}
    biases = [
        float(layer in gains) + (torch.zeros(layer.out_features) if layer.bias is None else layer.bias)
        for layer in layers
    ]
    weight, bias = g.packed(torch.cat([layer.weight for layer in layers])), g.packed(torch.cat(biases))
    values = g.op("Unsqueeze", g.op("Gemm", vector, weight, bias, transB=1), g.ints(2, 3))
    return dict(zip(layers, split(g, values, [layer.out_features for layer in layers]), strict=True))


def _norm(g: Graph, m: ChannelNorm, x: str) -> str:
    y = g.op("Transpose", x, perm=[0, 2, 3, 1])
    y = g.op("LayerNormalization", y, g.weight(m.weight), g.weight(m.bias), axis=-1, epsilon=1e-6)
    y = g.op("Transpose", y, perm=[0, 3, 1, 2])
    return g.sized(y, g.scales[x])


def _block(g: Graph, m: nn.Module, x: str, values: Values | None = None) -> str:
    assert isinstance(m, InnerResidualBlock)
    h = _norm(g, m.norm, x)
    identity = torch.zeros_like(m.mix.weight)
    if m.inner_residual:  # h + mix(h) is one convolution, with 1 added where it weighs the pixel itself
        channels = torch.arange(identity.shape[0])
        identity[channels, channels % identity.shape[1], 1, 1] = 1.0
    if isinstance(m.expand, nn.Conv2d):
        z, last, extra = conv(g, m.mix, h, extra=identity), m.expand, torch.zeros(())
    else:
        z, last, extra = h, m.mix, identity
    half = last.out_channels // 2
    a, b = (conv(g, last, z, part=part, extra=extra) for part in (slice(0, half), slice(half, None)))
    z = g.op("Mul", a, b)
    if m.gain is not None and values is not None:
        z = g.op("Mul", z, g.layered(values[m.gain]))
    return g.op("Add", x, conv(g, m.project, z))


def _attention(g: Graph, m: TextGuidedAttention, y: str, values: Values) -> str:
    """(B, 1, H, W): score and power are products of matrices, (B, 1, C) (B, C, H W); sums over channels are slower."""
    channels = m.key.out_features
    y = g.float32(y)
    flat = g.op("Reshape", y, g.ints(0, channels, -1))
    score = g.op("MatMul", g.op("Reshape", values[m.key], g.ints(0, 1, channels)), flat)
    power = g.op("MatMul", g.value(np.ones((1, 1, channels))), g.op("Mul", flat, flat))
    power = g.op("Sqrt", g.op("Add", power, g.value(1e-6 * channels)))
    size = g.op("Concat", g.op("Shape", y, end=1), g.ints(1), g.op("Shape", y, start=2), axis=0)
    return g.layered(g.op("Reshape", g.op("Sigmoid", g.op("Div", score, power)), size))


def _attend(g: Graph, m: TextGuidedAttention, x: str, y: str, vector: str, values: Values) -> str:
    """x + (u + A gamma) (y - x) + A beta: fewer steps over all values than the formula as it is written there."""
    where = _attention(g, m, y, values)
    gamma, beta = (g.layered(values[layer]) for layer in (m.gamma, m.beta))
    share = g.op("Add", g.op("Mul", where, gamma), g.layered(presence_of(g, vector)))
    change = g.op("Mul", g.op("Sub", y, x), share)
    return g.op("Add", g.op("Add", x, change), g.op("Mul", where, beta))


def _layer(g: Graph, m: nn.Module, x: str, vector: str, values: Values, lifted: str | None = None) -> str:
    assert isinstance(m, EncoderLayer)
    y = x if lifted is None else g.op("Add", x, lifted)
    for block in m.blocks:
        y = _block(g, block, y, values)
    return y if m.tga is None else _attend(g, m.tga, x, y, vector, values)


def _stem(g: Graph, m: Encoder, x: str) -> str:
    """Pixel-unshuffle, stem, and the pixels themselves: one convolution, 6x6 with stride 2, of the image."""
    channels = m.stem.in_channels
    pixels = torch.zeros(PIXELS, channels, 3, 3)
    pixels[range(PIXELS), [i % channels for i in range(PIXELS)], 1, 1] = 1.0
    assert m.stem.bias is not None
    bias = torch.cat((torch.zeros(PIXELS), m.stem.bias))
    weight = F.pixel_shuffle(torch.cat((pixels, m.stem.weight)), 2)
    x = g.layered(x)
    y = g.op("Conv", x, g.weight(weight), g.weight(bias), kernel_shape=[6, 6], strides=[2, 2], pads=[2] * 4)
    return g.sized(y, 0)


def _encoder(g: Graph, m: Encoder, x: str, vector: str) -> list[str]:
    """The latent of `Encoder.forward`; x is what `_stem` gives."""
    values = _per_channel(g, m, vector)
    features: list[str] = []
    for i, layer in enumerate(m.layers):
        features.append(_layer(g, layer, x, vector, values))
        if i < len(m.down):
            x = conv(g, m.down[i], features[-1])
    for i in reversed(range(len(m.refine))):
        lifted = upsample(g, conv(g, m.up[i], features[i + 1]))
        features[i] = _layer(g, m.refine[i], features[i], vector, values, lifted)
    return features


def _plain(g: Graph, source: Source) -> list[str]:
    """The latent for the pseudo prompt, under which tone curve and layers with Text-Guided Attention do nothing."""
    m, x = source.encoder, _stem(g, source.encoder, source.padded)
    if m.layers[0].tga is None:
        return _encoder(g, m, x, g.op("Mul", source.condition.vector, g.value(0.0)))
    features = [x]
    for down in m.down:
        features.append(conv(g, down, features[-1]))
    return features


def _encode(g: Graph, source: Source, branches: bool = True) -> list[str]:
    """`Lure.encode`: F(p0) + s (F(t) - F(p0)); where s is 1, just F(t)."""
    m, x = source.encoder, source.padded
    if m.tone is not None:
        x = tone_curve(g, m.tone, x, source.condition)
    features = _encoder(g, m, _stem(g, m, x), source.condition.vector)
    mixing, whole = (Graph(g.half, g), Graph(g.half, g)) if branches else (g, g)
    s = mixing.layered(mixing.op("Reshape", source.strength, mixing.ints(-1, 1, 1, 1)))
    plain = _plain(mixing, source)
    mixed = [
        mixing.op("Add", a, mixing.op("Mul", s, mixing.op("Sub", b, a))) for a, b in zip(plain, features, strict=True)
    ]
    if not branches:
        return mixed
    deviation = g.op("ReduceMax", g.op("Abs", g.op("Sub", source.strength, g.value(1.0))), keepdims=0)
    same = whole, [whole.op("Identity", v) for v in features]
    return g.branch(g.op("Greater", deviation, g.value(0.0)), (mixing, mixed), same)


def _blocks(g: Graph, blocks: nn.Module, x: str) -> str:
    for block in blocks.children():
        x = _block(g, block, x)
    return x


def _fuse(g: Graph, m: FusionModule, ir: list[str], vis: list[str]) -> list[str]:
    """The choice is a difference where the latents come from outside, and two products, which onnxruntime computes in
    the order of its convolutions, where they are from here."""
    fused: list[str] = []
    z: str | None = None
    for i in reversed(range(len(ir))):
        inside = {ir[i], vis[i]} <= g.scales.keys()
        g.scales[ir[i]] = g.scales[vis[i]] = i
        joined = conv(g, m.join[i], g.op("Concat", ir[i], vis[i], axis=1))
        lifted = None if z is None else upsample(g, conv(g, m.lift[i], z))
        z = _blocks(g, m.blocks[i], joined if lifted is None else g.op("Add", joined, lifted))
        choice = g.op("Sigmoid", conv(g, m.select[i], z))
        if inside:
            rest = g.op("Sigmoid", conv(g, m.select[i], z, sign=-1))  # 1 - choice
            chosen = g.op("Add", g.op("Mul", choice, ir[i]), g.op("Mul", rest, vis[i]))
        else:
            chosen = g.op("Add", vis[i], g.op("Mul", choice, g.op("Sub", ir[i], vis[i])))
        fused.insert(0, g.op("Add", chosen, conv(g, m.add[i], z)))
    return fused


def _decode(g: Graph, m: Decoder, latent: list[str]) -> str:
    y: str | None = None
    for i in reversed(range(len(latent))):
        f = latent[i]
        g.scales[f] = i
        if y is not None:
            f = g.op("Add", f, upsample(g, conv(g, m.up[i], y)))
        y = _blocks(g, m.layers[i], f)
    assert y is not None
    return g.op("DepthToSpace", conv(g, m.head, y), blocksize=2, mode="CRD")


def _is_grey(g: Graph) -> str:
    difference = g.op("Abs", g.op("Sub", planes(g, "vis", 1, 3), planes(g, "vis", 0, 1)))
    return g.op("Equal", g.op("ReduceMax", difference, g.ints(1, 2, 3)), g.value(0.0))


def _luma(g: Graph, y: str) -> str:
    return g.op("Conv", y, g.value(np.array(LUMA)[None, :, None, None]), kernel_shape=[1, 1])
