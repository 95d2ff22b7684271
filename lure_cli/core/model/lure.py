"""LURE, the model: one encoder per modality into one latent space (ULFS), one decoder, a fusion module per scale.

    x_m --> tone curve --> pixel-unshuffle, stem --> EncoderLayer x L on the way down, L-1 on the way up --> F_m
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

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lure_cli.config import ModelConfig
from lure_cli.core.model.context import Condition, ConditionNet, GlobalContext, airlight_of, context_view, extremes_of
from lure_cli.core.model.layers import EncoderLayer, plain_blocks, upsample, zero_conv, zeroed
from lure_cli.core.model.tone_curve import ToneCurve
from lure_cli.core.pixels import CHANNELS, Modality, is_grey, luma, pad_to_multiple

Latent = tuple[Tensor, ...]
"""The latent features F of one image (or of the fused pair): one tensor a scale, finest first."""


PIXELS = 12
"""Channels of the finest scale that hold the pixels themselves: 2x2 of R, G and B (infrared: three times the same)."""
ANCHORED = (".stem.", ".down.")
"""In the names of what alone shapes the latents of clean images: stem and downsampling."""


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
        airlight = cfg.airlight and channels == CHANNELS["vis"]  # haze is the visible's
        self.tone = ToneCurve(channels, cfg.condition_dim, 2**scales, airlight) if cfg.tone else None
        self.condition = ConditionNet(cfg.text_dim, cfg.condition_dim)
        self.down = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 2, 2) for i in range(scales - 1))
        self.layers = nn.ModuleList(
            EncoderLayer(widths[i], cfg.encoder_blocks[i], cfg.expansions[i], cfg) for i in range(scales)
        )
        self.up = nn.ModuleList(zero_conv(widths[i + 1], widths[i]) for i in range(scales - 1))
        self.refine = nn.ModuleList(
            EncoderLayer(widths[i], cfg.refine_blocks[i], cfg.expansions[i], cfg) for i in range(scales - 1)
        )

    def condition_from(self, view: Tensor, t: Tensor, p0: Tensor) -> Condition:
        """What the text t (B, D) asks for in an image of this `context_view`; nothing if it is p0 (D,)."""
        g = None if self.context is None else self.context(view)  # (B, K)
        vector = self.condition(t, p0.expand_as(t), g)
        if self.tone is None:
            return Condition(vector)
        return Condition(vector, *extremes_of(view), airlight_of(view) if self.tone.airlight else None)

    def forward(self, x: Tensor, condition: Condition | None) -> Latent:
        """x (B, C, H, W), sides a multiple of 2 to the number of scales; `condition` None where nothing is asked for:
        then the tone curve and the layers, which would not change anything, are left out."""
        if self.tone is not None and condition is not None:
            x = self.tone(x, condition)
        x = F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)  # (B, 4 C, h, w)
        learned = self.stem(x)  # (B, C_0 - 12, h, w)
        pixels = torch.cat([x] * (PIXELS // x.shape[1]), dim=1)  # (B, 12, h, w), infrared as a grey picture
        f = torch.cat((pixels.to(learned.dtype), learned), dim=1)  # (B, C_0, h, w)
        features: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            features.append(f if condition is None else layer(f, condition))  # (B, C_i, h / 2^i, w / 2^i)
            if i < len(self.down):
                f = self.down[i](features[i])
        if condition is not None:
            for i in reversed(range(len(self.refine))):
                lifted = upsample(self.up[i](features[i + 1]), features[i])
                features[i] = self.refine[i](features[i], condition, lifted)
        return tuple(features)


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
        self.lift = nn.ModuleList(zero_conv(widths[i + 1], widths[i]) for i in range(scales - 1))
        self.blocks = nn.ModuleList(plain_blocks(cfg, i, cfg.fusion_blocks[i]) for i in range(scales))
        self.select = nn.ModuleList(zero_conv(c, c) for c in widths)
        self.add = nn.ModuleList(zero_conv(c, c) for c in widths)

    def forward(self, ir: Latent, vis: Latent) -> Latent:
        return self.choose(ir, vis)[1]

    def choose(self, ir: Latent, vis: Latent) -> tuple[Latent, Latent]:
        """The choice between both alone, and the fused latent, which has `add` too."""
        chosen: list[Tensor] = []
        fused: list[Tensor] = []
        z: Tensor | None = None
        for i in reversed(range(len(ir))):
            joined = self.join[i](torch.cat((ir[i], vis[i]), dim=1))  # (B, C_i, h / 2^i, w / 2^i)
            z = self.blocks[i](joined if z is None else joined + upsample(self.lift[i](z), joined))
            weight = torch.sigmoid(self.select[i](z))
            a, b = (f[i].to(weight.dtype) for f in (vis, ir))  # autocast may leave some latents in float32
            chosen.insert(0, torch.lerp(a, b, weight))
            fused.insert(0, chosen[0] + self.add[i](z))
        return tuple(chosen), tuple(fused)


class Decoder(nn.Module):
    """D: latent features -> colour image (B, 3, H, W), not clipped. One for both modalities and for the fused pair.

    It starts by picking out the pixels that the stem passed on and, in the named sizes, has no blocks: a decoder with
    blocks of its own learns to restore whatever comes, asked or not, and clean images suffer under the pseudo prompt.
    """

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        widths, scales = cfg.widths, len(cfg.widths)
        self.layers = nn.ModuleList(plain_blocks(cfg, i, cfg.decoder_blocks[i]) for i in range(scales))
        self.up = nn.ModuleList(zero_conv(widths[i + 1], widths[i]) for i in range(scales - 1))
        self.head = zeroed(nn.Conv2d(widths[0], PIXELS, 3, padding=1))
        with torch.no_grad():
            self.head.weight[range(PIXELS), range(PIXELS), 1, 1] = 1.0

    def forward(self, latent: Latent) -> Tensor:
        y: Tensor | None = None
        for i in reversed(range(len(latent))):
            f = latent[i]  # (B, C_i, h / 2^i, w / 2^i)
            y = self.layers[i](f if y is None else f + upsample(self.up[i](y), f))
        assert y is not None
        return F.pixel_shuffle(self.head(y), 2)  # (B, 12, h, w) -> (B, 3, 2 h, 2 w)


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
    def halo(self) -> int:
        """How many pixels away a pixel of the result can still see, apart from the global context: a multiple of
        `multiple`, at least the radius of the receptive field (3x3 convolutions and bilinear steps, summed up)."""
        return self._halo(asked=True)

    def reach(self, conditions: Sequence[Condition]) -> int:
        """`halo`, for conditions of the images: without a request about a third, as the encoders' layers do not run."""
        return self._halo(asked=not all(self._asks_nothing(condition) for condition in conditions))

    def _halo(self, *, asked: bool) -> int:
        cfg, scales = self.cfg, range(len(self.cfg.widths))
        blocks = [cfg.decoder_blocks[i] + cfg.fusion_blocks[i] + cfg.encoder_blocks[i] * asked for i in scales]
        for i, count in enumerate(cfg.refine_blocks):
            blocks[i] += count * asked
        radius = 1 + 1 + sum(n * 2**i for i, n in enumerate(blocks))  # stem and head; in pixels of the finest scale
        radius += sum((2 + asked) * 2 ** (i + 1) for i in scales[:-1])  # ways up: fusion module, decoder, encoder
        # `local_darkness` of the tone curve: cell, its neighbours, two boxes, bilinear
        darkness = 7 * self.multiple if cfg.tone and asked else 0
        return -(-2 * radius // self.multiple) * self.multiple + darkness

    def context_view(self, x: Tensor) -> Tensor:
        """The `context_view` of an image x (B, C, H, W), any size."""
        return context_view(pad_to_multiple(x, self.multiple), self.cfg.tone)

    def condition(self, x: Tensor, t: Tensor, modality: Modality) -> Condition:
        """What the text t (B, D) asks for in the whole image x (B, C, H, W), any size."""
        return self.condition_from(self.context_view(x), t, modality)

    def condition_from(self, view: Tensor, t: Tensor, modality: Modality) -> Condition:
        """`condition`, from the view of an image; one with extremes serves every model."""
        encoder: Encoder = self.encoders[modality]  # type: ignore[assignment]
        return encoder.condition_from(view, t, self.pseudo_prompt)

    def encode(
        self, x: Tensor, t: Tensor, modality: Modality, strength: float = 1.0, condition: Condition | None = None
    ) -> Latent:
        """E_m(x, t): x (B, C, H, W) in [0, 1] with sides a multiple of `multiple`, t (B, D) -> F.

        The strength s says how far to go from the image as it is to the image as the text wants it, on the straight
        line F(p0) + s (F(t) - F(p0)) through the latent space: 0 stays, 1 is the text's whole effect, more goes
        beyond. Other strengths than 1 encode a second time, for F(p0). (our addition; the paper has no such scale)

        `condition`: that of the whole image, where x is a part of it.
        """
        condition = condition or self.condition(x, t, modality)
        latent: Latent = self.encoders[modality](x, None if self._asks_nothing(condition) else condition)
        if strength == 1:
            return latent
        plain = self.encode(x, self.pseudo_prompt.expand_as(t), modality)  # its vector is zero whatever x is
        return tuple(a + strength * (b - a) for a, b in zip(plain, latent, strict=True))

    def _asks_nothing(self, condition: Condition) -> bool:
        """Whether the encoder would be the identity; never yes where gradients are wanted."""
        known = _has_values(condition.vector) and not torch.is_grad_enabled()
        return known and self.cfg.text_guided_attention and not bool(condition.vector.any())

    def decode(self, latent: Latent, modality: Modality | None = None) -> Tensor:
        """D(F): (B, 3, H, W), or (B, 1, H, W) for the infrared modality (the mean of the three planes)."""
        y = self.decoder(latent)
        return y.mean(1, keepdim=True) if modality == "ir" else y

    def restore(
        self, x: Tensor, t: Tensor, modality: Modality, strength: float = 1.0, condition: Condition | None = None
    ) -> Tensor:
        """Stage I: the clean version of x (B, C, H, W), any size, values clipped to [0, 1].

        Strength and condition: see `encode`. Where a visible image is grey (three equal planes) the restored image is
        grey as well.
        """
        y = self.decode(self.encode(pad_to_multiple(x, self.multiple), t, modality, strength, condition), modality)
        y = y[..., : x.shape[-2], : x.shape[-1]].float().clamp(0, 1)
        return y if modality == "ir" else self.grey_as(x, y)

    def empty_like(self, x: Tensor) -> Tensor:
        """See `TileableModel`."""
        return torch.empty_like(x, dtype=torch.float32)

    def grey_as(self, vis: Tensor, y: Tensor) -> Tensor:
        """y (B, 3, H, W), made grey where the visible image is."""
        grey = is_grey(vis)
        if _has_values(grey) and not grey.any():
            return y
        return torch.where(grey, luma(y).expand_as(y), y)

    def forward(
        self,
        ir: Tensor,
        vis: Tensor,
        t_ir: Tensor,
        t_vis: Tensor,
        strength_ir: float = 1.0,
        strength_vis: float = 1.0,
        conditions: tuple[Condition, Condition] | None = None,
    ) -> Tensor:
        """Stage II: ir (B, 1, H, W), vis (B, 3, H, W), texts (B, D) -> fused (B, 3, H, W); all in [0, 1], any size.

        Strengths: how much of what the texts ask for is done; see `encode`. `conditions`: those of the whole infrared
        and visible image, where these are parts of them; see `core/engine/tiling.py`.

        Where a visible image is grey (three equal planes) the fused image is grey as well.
        """
        h, w = vis.shape[-2:]
        c_ir, c_vis = conditions or (None, None)
        f_ir = self.encode(pad_to_multiple(ir, self.multiple), t_ir, "ir", strength_ir, c_ir)
        f_vis = self.encode(pad_to_multiple(vis, self.multiple), t_vis, "vis", strength_vis, c_vis)
        y = self.decode(self.fusion(f_ir, f_vis))[..., :h, :w].float().clamp(0, 1)
        return self.grey_as(vis, y)


def _has_values(x: Tensor) -> bool:
    """Whether what is done may depend on the values of x: not while the model is traced, or only its shapes are."""
    return not (torch.compiler.is_compiling() or x.is_meta)


def parameter_count(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in model.parameters())


def stack(items: Sequence[Latent]) -> Latent:
    """Join latents of several batches along the batch dimension."""
    return tuple(torch.cat(scale) for scale in zip(*items, strict=True))
