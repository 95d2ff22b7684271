"""The layers of the model: inner residual block, Text-Guided Attention, and the encoder layer made of both."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lure_cli.config import ModelConfig

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


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
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
        self.project = zero_conv(hidden // 2, channels)
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
            a, b = (z if isinstance(self.expand, nn.Identity) else pointwise(self.expand, z)).chunk(2, dim=2)
            z = a * b if gain is None else a * b * gain.to(a.dtype)
            y = torch.add(x, pointwise(self.project, z), out=out if then is None else None)
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


def zeroed(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def zero_conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    """A 1x1 convolution that starts at zero: how a branch or a coarser scale enters the main path."""
    return zeroed(nn.Conv2d(channels_in, channels_out, 1))


def plain_blocks(cfg: ModelConfig, scale: int, count: int) -> nn.Sequential:
    """Inner residual blocks that know nothing of the text; they start as the identity."""
    width, expansion = cfg.widths[scale], cfg.expansions[scale]
    return nn.Sequential(*(InnerResidualBlock(width, expansion, 0, cfg.inner_residual) for _ in range(count)))


def upsample(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
