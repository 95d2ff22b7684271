"""LURE, the model: one encoder per modality into one latent space (ULFS), one decoder, a fusion module per scale.

    x_m --(pixel-unshuffle)--> stem --> EncoderLayer x L on the way down, L-1 on the way up --> F = (F_0, F_1, F_2)
    stage I : D(E_m(x_m, t_m))                                     restores one image
    stage II: D(M(E_ir(x_ir, t_ir), E_vis(x_vis, t_vis)))          restores and fuses a pair

Paper: "One Latent Space to Rule All Degradations", arXiv 2503.07033. Where the public text names a part but gives no
formula, the docstring says "our reading". Shapes are (B, C, H, W); images are in [0, 1]; F_l is (B, C_l, h/2^l, w/2^l)
with h, w half the (padded) image size.

The network starts as the identity: the first twelve channels of the finest scale are the pixels, the last layer starts
by picking them out, and every branch that adds to them starts at zero. Training only has to learn what a prompt asks
for; under the pseudo prompt the encoders stay the identity by construction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lure_cli.config import ModelConfig
from lure_cli.core.tone import ToneCurve

Modality = Literal["ir", "vis"]
Latent = tuple[Tensor, ...]
"""The latent features F of one image (or of the fused pair): one tensor a scale, finest first."""

CHANNELS: dict[Modality, int] = {"ir": 1, "vis": 3}
LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G, B in the luma (ITU-R BT.601)."""
PIXELS = 12
"""Channels of the finest scale that hold the pixels themselves: 2x2 of R, G and B (infrared: three times the same)."""
ANCHORED = (".stem.", ".down.")
"""In the names of what alone shapes the latents of clean images: stem and downsampling."""
THUMBNAIL = 32
"""Side in pixels of the view from which the global context is drawn; the same for every image size."""


BAND = 2**18
"""Values at a time that `pixelwise` handles: few enough for its intermediate results to stay in a CPU's cache."""


def pixelwise(f: Callable[..., Tensor], *xs: Tensor, width: int) -> Tensor:
    """f, which treats each pixel by itself, over maps of one size.

    On a CPU without gradients it is computed a band of pixels at a time, so that what lies between its steps never
    leaves the cache: otherwise most of the time would go into moving such tensors, not into arithmetic.

    Args:
        f: takes tensors (B, P, C_i), as many as there are maps, and gives (B, P, C), for any number P of pixels.
        xs: maps (B, C_i, H, W).
        width: the most channels that f has between its steps.

    Returns:
        (B, C, H, W).
    """
    b, _, h, w = xs[0].shape
    flat = [x.permute(0, 2, 3, 1).flatten(1, 2) for x in xs]  # views, where the maps are channels_last
    band = max(1, BAND // (b * width))
    whole = torch.is_grad_enabled() or torch.compiler.is_compiling() or xs[0].device.type != "cpu"
    if whole or h * w <= band:
        y = f(*flat)
    else:
        first = f(*(x[:, :band] for x in flat))
        y = first.new_empty(b, h * w, first.shape[2])
        y[:, :band] = first
        for i in range(band, h * w, band):
            f(*(x[:, i : i + band] for x in flat), out=y[:, i : i + band])
    return y.view(b, h, w, -1).permute(0, 3, 1, 2)


def _linear(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution on (B, P, C)."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel; its statistics are float32 whatever the type of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = x.permute(0, 2, 3, 1)  # a view that is contiguous where x is channels_last
        return F.layer_norm(y, y.shape[-1:], self.weight, self.bias, 1e-6).permute(0, 3, 1, 2)


class InnerResidualBlock(nn.Module):
    """Residual block with a second residual path inside it, around the feature-mixing branch.

    Our reading of the paper's figure: with h = norm(x) and mix a 3x3 convolution,
        z = expand(h + mix(h));  (a, b) = halves of z;  y = x + project(a * b * (1 + gain))
    `gain` comes from the text condition (zero at the pseudo prompt), `project` starts at zero. With expansion 1 the
    mixing convolution is dense and `expand` is left out, otherwise it is depthwise: on CPUs the dense form is the
    faster one on the finest scale and the depthwise one on the others.
    """

    def __init__(self, channels: int, expansion: int, condition_dim: int, inner_residual: bool = True) -> None:
        super().__init__()
        hidden = channels * expansion
        self.inner_residual = inner_residual
        self.norm = ChannelNorm(channels)
        self.mix = nn.Conv2d(channels, channels, 3, padding=1, groups=1 if expansion == 1 else channels)
        self.expand = nn.Conv2d(channels, hidden, 1) if expansion > 1 else nn.Identity()
        self.project = _zero_conv(hidden // 2, channels)
        self.gain = nn.Linear(condition_dim, hidden // 2, bias=False) if condition_dim else None
        if self.gain is not None:
            nn.init.normal_(self.gain.weight, std=0.3)  # each text starts with hidden channels of its own

    def forward(
        self, x: Tensor, condition: Tensor | None = None, then: Callable[..., Tensor] | None = None, *more: Tensor
    ) -> Tensor:
        """x (B, C, H, W), condition (B, K) -> (B, C, H, W).

        `then` is done to each pixel of the result, together with those of the maps `more`; see `pixelwise`.
        """
        gain = None if self.gain is None or condition is None else 1 + self.gain(condition)[:, None]
        h = self.norm(x)

        def tail(x: Tensor, z: Tensor, h: Tensor, *more: Tensor, out: Tensor | None = None) -> Tensor:
            z = z.add_(h) if self.inner_residual else z
            a, b = (z if isinstance(self.expand, nn.Identity) else _linear(self.expand, z)).chunk(2, dim=2)
            z = a * b if gain is None else a * b * gain.to(a.dtype)
            y = torch.add(x, _linear(self.project, z), out=out if then is None else None)
            return y if then is None else then(y, *more, out=out)

        return pixelwise(tail, x, self.mix(h), h, *more, width=2 * self.project.in_channels)


class TextGuidedAttention(nn.Module):
    """TGA: the text decides where (a map from a sigmoid) and what (product, sum, difference) to change.

    Our reading of the paper's figure, for a layer that turned x into y, with edit c (B, K) from the text:
        A = sigmoid(<key(c), y / rms(y)>)                 per pixel, in [0, 1]
        out = x + u * (y - x) + A * (gamma(c) * (y - x) + beta(c))
    so that the text says how much of each channel's change is wanted, and where. u, the first entry of c, is 0 at the
    pseudo prompt and 1 for a text that has nothing in common with it. At the pseudo prompt all of c is zero, hence
    gamma and beta are, and the whole layer is exactly the identity: nothing is touched unasked. u stands outside of
    the map so that a closed map cannot cut the blocks off from learning.
    """

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.key = nn.Linear(condition_dim, channels)
        self.gamma = nn.Linear(condition_dim, channels, bias=False)
        self.beta = nn.Linear(condition_dim, channels, bias=False)
        nn.init.zeros_(self.gamma.weight)
        nn.init.zeros_(self.beta.weight)

    def attention(self, y: Tensor, key: Tensor) -> Tensor:
        """Layer output y (B, P, C), key(c) (B, C) -> the attention map (B, P, 1), in [0, 1]."""
        score = torch.bmm(y, key.to(y.dtype).unsqueeze(2)).float()
        power = y.float().square().sum(2, keepdim=True)
        return torch.sigmoid(score * torch.rsqrt(power + 1e-6 * y.shape[2]))  # <key, y / rms(y)> / sqrt(c)

    def change(self, condition: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """condition (B, K) -> a function of layer output and input, for `pixelwise`."""
        key, gamma, beta = self.key(condition), self.gamma(condition)[:, None], self.beta(condition)[:, None]
        presence = condition[:, None, :1]

        def changed(y: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
            u, g, b = (v.to(y.dtype) for v in (presence, gamma, beta))
            a = self.attention(y, key).to(y.dtype)
            return torch.addcmul(torch.addcmul(x, torch.addcmul(u, a, g), y - x), a, b, out=out)

        return changed

    def forward(self, x: Tensor, y: Tensor, condition: Tensor) -> Tensor:
        """Layer input x and output y (B, C, H, W), condition (B, K) -> (B, C, H, W)."""
        return pixelwise(self.change(condition), y, x, width=x.shape[1])


class EncoderLayer(nn.Module):
    """A stack of inner residual blocks followed by Text-Guided Attention."""

    def __init__(self, channels: int, blocks: int, expansion: int, cfg: ModelConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            InnerResidualBlock(channels, expansion, cfg.condition_dim, cfg.inner_residual) for _ in range(blocks)
        )
        self.tga = TextGuidedAttention(channels, cfg.condition_dim) if cfg.text_guided_attention else None

    def forward(self, x: Tensor, condition: Tensor, lifted: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), condition (B, K), and what comes up from the coarser scale, as x -> (B, C, H, W)."""
        y = x if lifted is None else x + lifted
        if self.tga is None or not self.blocks:
            for block in self.blocks:
                y = block(y, condition)
            return y if self.tga is None else self.tga(x, y, condition)
        *first, last = self.blocks
        for block in first:
            y = block(y, condition)
        return last(y, condition, self.tga.change(condition), x)


def whole_view(x: Tensor, extremes: bool) -> Tensor:
    """What encoders know of the image as a whole, whatever its size: (B, C, T, T) or, with extremes, (B, 3 C, T, T).

    The first C planes are its thumbnail. With extremes, those after it hold the least and the greatest value of each
    plane, the same everywhere; each of 2x2 pixels' mean, so that no single dead pixel counts.

    Args:
        x: the whole image (B, C, H, W), H and W even.
    """
    thumbnail = F.adaptive_avg_pool2d(x, THUMBNAIL)
    if not extremes:
        return thumbnail
    pooled = F.avg_pool2d(x, 2)
    low, high = (v.expand_as(thumbnail) for v in (pooled.amin((2, 3), True), pooled.amax((2, 3), True)))
    return torch.cat((thumbnail, low, high), dim=1)


class GlobalContext(nn.Module):
    """A vector that sums up the whole image (B, K): how dark, hazy or flat it is.

    Drawn from its `whole_view`, so it can be computed once for a large image and handed to its tiles.
    """

    def __init__(self, channels: int, dim: int, extremes: bool = False) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.SiLU(), nn.Conv2d(32, dim, 1)
        )
        self.channels = channels
        self.extremes = nn.Linear(4 * channels, dim, bias=False) if extremes else None
        if self.extremes is not None:
            nn.init.zeros_(self.extremes.weight)

    def forward(self, view: Tensor) -> Tensor:
        """view: as of `whole_view`."""
        seen: Tensor = self.net(view[:, : self.channels]).mean((2, 3))
        return seen if self.extremes is None else seen + self.extremes(self.statistics(view))

    def statistics(self, view: Tensor) -> Tensor:
        """Mean and standard deviation of each plane of the thumbnail, least and greatest value: (B, 4 C)."""
        x = view[:, : self.channels]
        mean = x.mean((2, 3))
        spread = ((x * x).mean((2, 3)) - mean * mean).clamp_min(1e-6).sqrt()
        return torch.cat((mean, spread, bounds(view, self.channels)), dim=1)


def bounds(view: Tensor, channels: int) -> Tensor:
    """The least and the greatest values in a view with extremes: (B, 2 C)."""
    return view[:, channels:, 0, 0]


class Condition(nn.Module):
    """Turns the text t and the image's global context g into the edit that all layers of an encoder share.

    edit = (u, c(t, g) - c(p0, g)) with u = 1 - <t, p0> and c a two-layer perceptron: what the text asks for beyond the
    pseudo prompt, so that the pseudo prompt asks for nothing, exactly. (B, D), (B, D), (B, K) -> (B, K).
    """

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        self.scale = text_dim**0.5  # unit vectors have small entries
        self.text = nn.Linear(text_dim, dim)
        self.out = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim - 1))

    def forward(self, t: Tensor, p0: Tensor, g: Tensor | None) -> Tensor:
        context: Tensor | float = 0.0 if g is None else g
        asked, nothing = (self.out(self.text(self.scale * v) + context) for v in (t, p0))
        edit = asked - nothing
        presence = 1 - (t * p0).sum(1, keepdim=True)
        return torch.cat(((presence * (presence > 1e-6)).to(edit.dtype), edit), dim=1)  # rounding is no request


def _zero(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def _zero_conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    """A 1x1 convolution that starts at zero: how a branch or a coarser scale enters the main path."""
    return _zero(nn.Conv2d(channels_in, channels_out, 1))


def _plain_blocks(cfg: ModelConfig, scale: int, count: int) -> nn.Sequential:
    """Inner residual blocks that know nothing of the text; they start as the identity."""
    width, expansion = cfg.widths[scale], cfg.expansions[scale]
    return nn.Sequential(*(InnerResidualBlock(width, expansion, 0, cfg.inner_residual) for _ in range(count)))


def _upsample(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class Encoder(nn.Module):
    """E_m: an image of one modality and its text -> latent features in the ULFS.

    Down from fine to coarse, then back up, so that the finest features too have seen the whole neighbourhood before
    they are fused. At the pseudo prompt every layer is the identity, so a clean image's latent is a fixed, linear view
    of its pixels: that is the point in the ULFS to which the text moves every degraded version of the image.
    """

    def __init__(self, cfg: ModelConfig, channels: int) -> None:
        super().__init__()
        widths, scales = cfg.widths, len(cfg.widths)
        self.stem = nn.Conv2d(4 * channels, widths[0] - PIXELS, 3, padding=1)
        self.context = GlobalContext(channels, cfg.condition_dim, cfg.tone) if cfg.global_context else None
        self.tone = ToneCurve(channels, cfg.condition_dim, 2**scales) if cfg.tone else None
        self.condition = Condition(cfg.text_dim, cfg.condition_dim)
        self.channels, self.condition_dim = channels, cfg.condition_dim
        self.down = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 2, 2) for i in range(scales - 1))
        self.layers = nn.ModuleList(
            EncoderLayer(widths[i], cfg.encoder_blocks[i], cfg.expansions[i], cfg) for i in range(scales)
        )
        self.up = nn.ModuleList(_zero_conv(widths[i + 1], widths[i]) for i in range(scales - 1))
        self.refine = nn.ModuleList(
            EncoderLayer(widths[i], cfg.refine_blocks[i], cfg.expansions[i], cfg) for i in range(scales - 1)
        )

    def edit(self, view: Tensor, t: Tensor, p0: Tensor) -> Tensor:
        """What the text t (B, D) asks for in an image, seen as a whole (`whole_view`), as one vector an image: (B, K)
        or, with a tone curve, (B, K + 2 C), its `bounds` last. All of it is 0 for p0."""
        edit: Tensor = self.condition(t, p0.expand_as(t), None if self.context is None else self.context(view))
        if self.tone is None:
            return edit
        return torch.cat((edit, bounds(view, self.channels).to(edit.dtype) * (edit[:, :1] != 0)), dim=1)

    def forward(self, x: Tensor, edit: Tensor | None) -> Latent:
        """x (B, C, H, W), sides a multiple of 2 to the number of scales; `edit`, or None where nothing is asked
        for: then the layers, which would not change anything, are left out."""
        if self.tone is not None and edit is not None:
            edit, between = edit[:, : self.condition_dim], edit[:, self.condition_dim :]
            x = self.tone(x, edit, between)
        x = F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)
        learned = self.stem(x)
        pixels = torch.cat([x] * (PIXELS // x.shape[1]), dim=1)  # infrared as a grey picture
        f = torch.cat((pixels.to(learned.dtype), learned), dim=1)
        features: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            features.append(f if edit is None else layer(f, edit))
            if i < len(self.down):
                f = self.down[i](features[-1])
        if edit is None:
            return tuple(features)
        for i in reversed(range(len(self.refine))):
            lifted = _upsample(self.up[i](features[i + 1]), features[i])
            features[i] = self.refine[i](features[i], edit, lifted)
        return tuple(features)


class Decoder(nn.Module):
    """D: latent features -> colour image (B, 3, h, w), not clipped. One for both modalities and for the fused pair.

    It starts by picking out the pixels that the stem passed on and, in the named sizes, has no blocks: a decoder with
    blocks of its own learns to restore whatever comes, asked or not, and clean images suffer under the pseudo prompt.
    """

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        widths, scales = cfg.widths, len(cfg.widths)
        self.layers = nn.ModuleList(_plain_blocks(cfg, i, cfg.decoder_blocks[i]) for i in range(scales))
        self.up = nn.ModuleList(_zero_conv(widths[i + 1], widths[i]) for i in range(scales - 1))
        self.head = _zero(nn.Conv2d(widths[0], PIXELS, 3, padding=1))
        with torch.no_grad():
            self.head.weight[range(PIXELS), range(PIXELS), 1, 1] = 1.0

    def forward(self, latent: Latent) -> Tensor:
        y: Tensor | None = None
        for i in reversed(range(len(latent))):
            f = latent[i]
            y = f if y is None else f + _upsample(self.up[i](y), f)
            y = self.layers[i](y)
        assert y is not None
        return F.pixel_shuffle(self.head(y), 2)


class FusionModule(nn.Module):
    """M: the latents of both modalities -> the fused latent, from coarse to fine.

    At each scale z = join(F_ir, F_vis) + lift(coarser z), blocks on z, then
        F_fused = F_vis + sigmoid(select(z)) * (F_ir - F_vis) + add(z)
    that is, a soft choice per pixel and channel between two points of the same space, plus what neither holds.
    """

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        widths, scales = cfg.widths, len(cfg.widths)
        self.join = nn.ModuleList(nn.Conv2d(2 * c, c, 1) for c in widths)
        self.lift = nn.ModuleList(_zero_conv(widths[i + 1], widths[i]) for i in range(scales - 1))
        self.blocks = nn.ModuleList(_plain_blocks(cfg, i, cfg.fusion_blocks[i]) for i in range(scales))
        self.select = nn.ModuleList(_zero_conv(c, c) for c in widths)
        self.add = nn.ModuleList(_zero_conv(c, c) for c in widths)

    def forward(self, ir: Latent, vis: Latent) -> Latent:
        fused: list[Tensor] = []
        z: Tensor | None = None
        for i in reversed(range(len(ir))):
            z = self._join(i, ir[i], vis[i], None if z is None else _upsample(self.lift[i](z), vis[i]))
            z = self.blocks[i](z)
            fused.insert(0, self._choose(i, ir[i], vis[i], z))
        return tuple(fused)

    def _join(self, i: int, ir: Tensor, vis: Tensor, lifted: Tensor | None) -> Tensor:
        join: nn.Conv2d = self.join[i]  # type: ignore[assignment]

        def joined(ir: Tensor, vis: Tensor, *lifted: Tensor, out: Tensor | None = None) -> Tensor:
            z = _linear(join, torch.cat((ir, vis), dim=2))
            return torch.add(z, lifted[0] if lifted else 0, out=out)

        return pixelwise(joined, ir, vis, *(() if lifted is None else (lifted,)), width=join.in_channels)

    def _choose(self, i: int, ir: Tensor, vis: Tensor, z: Tensor) -> Tensor:
        select, add = self.select[i], self.add[i]

        def chosen(ir: Tensor, vis: Tensor, z: Tensor, out: Tensor | None = None) -> Tensor:
            weight = torch.sigmoid(_linear(select, z))  # type: ignore[arg-type]
            return torch.add(torch.lerp(vis, ir, weight), _linear(add, z), out=out)  # type: ignore[arg-type]

        return pixelwise(chosen, ir, vis, z, width=2 * z.shape[1])


class Lure(nn.Module):
    """The whole model; see the module's text.

    Args:
        cfg: sizes and ablation switches.
        pseudo_prompt: p0 (D,), the text vector that says that nothing is wrong; kept with the weights.
    """

    def __init__(self, cfg: ModelConfig, pseudo_prompt: Tensor) -> None:
        super().__init__()
        self.cfg = cfg
        self.encoders = nn.ModuleDict({m: Encoder(cfg, c) for m, c in CHANNELS.items()})
        self.decoder = Decoder(cfg)
        self.fusion = FusionModule(cfg)
        self.pseudo_prompt: Tensor
        self.register_buffer("pseudo_prompt", pseudo_prompt.clone().float())

    @property
    def multiple(self) -> int:
        """Sides are padded to a multiple of this."""
        return 2 ** len(self.cfg.widths)

    @property
    def reach(self) -> int:
        """How many pixels away a pixel of the result can still see, apart from the global context: a multiple of
        `multiple`, at least the radius of the receptive field (3x3 convolutions and bilinear steps, summed up)."""
        cfg, scales = self.cfg, range(len(self.cfg.widths))
        blocks = [cfg.encoder_blocks[i] + cfg.decoder_blocks[i] + cfg.fusion_blocks[i] for i in scales]
        for i, count in enumerate(cfg.refine_blocks):
            blocks[i] += count
        radius = 1 + 1 + sum(n * 2**i for i, n in enumerate(blocks))  # stem and head; in pixels of the finest scale
        radius += sum(3 * 2 ** (i + 1) for i in scales[:-1])  # three ways up: encoder, fusion module, decoder
        darkness = 7 * self.multiple if cfg.tone else 0  # `local_darkness`: cell, its neighbours, two boxes, bilinear
        return -(-2 * radius // self.multiple) * self.multiple + darkness

    def edit(self, x: Tensor, t: Tensor, modality: Modality) -> Tensor:
        """What the text t (B, D) asks for in the whole image x (B, C, H, W), any size; as `Encoder.edit`."""
        return self.edit_of(self.view(x), t, modality)

    def view(self, x: Tensor) -> Tensor:
        """The `whole_view` of an image x (B, C, H, W), any size."""
        return whole_view(pad_to_multiple(x, self.multiple), self.cfg.tone)

    def edit_of(self, view: Tensor, t: Tensor, modality: Modality) -> Tensor:
        """`edit`, from the view of an image; one with extremes serves every model."""
        encoder: Encoder = self.encoders[modality]  # type: ignore[assignment]
        return encoder.edit(view, t, self.pseudo_prompt)

    def encode(
        self, x: Tensor, t: Tensor, modality: Modality, strength: float = 1.0, edit: Tensor | None = None
    ) -> Latent:
        """E_m(x, t): x (B, C, H, W) in [0, 1] with sides a multiple of `multiple`, t (B, D) -> F.

        The strength s says how far to go from the image as it is to the image as the text wants it, on the straight
        line F(p0) + s (F(t) - F(p0)) through the latent space: 0 stays, 1 is the text's whole effect, more goes
        beyond. Other strengths than 1 encode a second time, for F(p0). (our addition; the paper has no such scale)

        `edit` is what `edit` gave for the whole image, where x is a part of it.
        """
        encoder: Encoder = self.encoders[modality]  # type: ignore[assignment]
        edit = self.edit(x, t, modality) if edit is None else edit
        latent: Latent = encoder(x, None if self._is_nothing(edit) else edit)
        if strength == 1:
            return latent
        plain = self.encode(x, self.pseudo_prompt.expand_as(t), modality)  # its edit is zero whatever x is
        return tuple(a + strength * (b - a) for a, b in zip(plain, latent, strict=True))

    def _is_nothing(self, edit: Tensor) -> bool:
        """Whether the encoder would be the identity; never said where gradients are wanted."""
        known = _has_values(edit) and not torch.is_grad_enabled()
        return known and self.cfg.text_guided_attention and not bool(edit.any())

    def decode(self, latent: Latent, modality: Modality | None = None) -> Tensor:
        """D(F): (B, 3, H, W), or (B, 1, H, W) for the infrared modality (the mean of the three planes)."""
        y = self.decoder(latent)
        return y.mean(1, keepdim=True) if modality == "ir" else y

    def restore(
        self, x: Tensor, t: Tensor, modality: Modality, strength: float = 1.0, edit: Tensor | None = None
    ) -> Tensor:
        """Stage I: the clean version of x (B, C, H, W), any size, values clipped to [0, 1].

        Strength: how much of what the text asks for is done; see `encode`. `edit`: that of the whole image, where x is
        a part of it. Where a visible image is grey (three equal planes) the restored image is grey as well.
        """
        y = self.decode(self.encode(pad_to_multiple(x, self.multiple), t, modality, strength, edit), modality)
        y = y[..., : x.shape[-2], : x.shape[-1]].float().clamp(0, 1)
        return y if modality == "ir" else _grey_as(x, y)

    def forward(
        self,
        ir: Tensor,
        vis: Tensor,
        t_ir: Tensor,
        t_vis: Tensor,
        strength_ir: float = 1.0,
        strength_vis: float = 1.0,
        edits: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Stage II: ir (B, 1, H, W), vis (B, 3, H, W), texts (B, D) -> fused (B, 3, H, W); all in [0, 1], any size.

        Strengths: how much of what the texts ask for is done; see `encode`. `edits`: those of the whole infrared and
        visible image, where these are parts of them; see `core/tiling.py`.

        Where a visible image is grey (three equal planes) the fused image is grey as well.
        """
        h, w = vis.shape[-2:]
        e_ir, e_vis = edits or (None, None)
        f_ir = self.encode(pad_to_multiple(ir, self.multiple), t_ir, "ir", strength_ir, e_ir)
        f_vis = self.encode(pad_to_multiple(vis, self.multiple), t_vis, "vis", strength_vis, e_vis)
        return _grey_as(vis, self.decode(self.fusion(f_ir, f_vis))[..., :h, :w].float().clamp(0, 1))


def _grey_as(vis: Tensor, y: Tensor) -> Tensor:
    """y (B, 3, H, W), made grey where the visible image is."""
    grey = is_grey(vis)
    if _has_values(grey) and not grey.any():
        return y
    return torch.where(grey, luma(y).expand_as(y), y)


def _has_values(x: Tensor) -> bool:
    """Whether what is done may depend on the values of x: not while the model is traced, or only its shapes are."""
    return not (torch.compiler.is_compiling() or x.is_meta)


def is_grey(x: Tensor) -> Tensor:
    """Which images of a batch (B, 3, H, W) have three equal planes: (B, 1, 1, 1)."""
    return ((x[:, 1:] - x[:, :1]).abs().amax((1, 2, 3), keepdim=True)) == 0


def luma(x: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W), ITU-R BT.601; a one-channel image is returned as it is."""
    if x.shape[1] == 1:
        return x
    r, g, b = LUMA
    return r * x[:, 0:1] + g * x[:, 1:2] + b * x[:, 2:3]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad right and bottom to a multiple: by reflection as far as that is defined, then by repeating the edge."""
    h, w = x.shape[-2:]
    ph, pw = -h % multiple, -w % multiple
    rh, rw = min(ph, h - 1), min(pw, w - 1)
    if rh or rw:
        x = F.pad(x, (0, rw, 0, rh), mode="reflect")
    if ph > rh or pw > rw:
        x = F.pad(x, (0, pw - rw, 0, ph - rh), mode="replicate")
    return x


def parameter_count(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in model.parameters())


def stack(items: Sequence[Latent]) -> Latent:
    """Join latents of several batches along the batch dimension."""
    return tuple(torch.cat(scale) for scale in zip(*items, strict=True))


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB per image (B,), peak 1, after clipping x to [0, 1]."""
    mse = (x.clamp(0, 1) - y).square().mean((1, 2, 3))
    return -10 / math.log(10) * torch.log(mse.clamp_min(1e-12))
