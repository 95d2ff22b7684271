"""The layers of the model: inner residual block, Text-Guided Attention, and the encoder layer made of both."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lure_cli.config import ModelConfig
from lure_cli.core.model.context import Condition

BAND = 2**20
"""Values that `pixelwise` takes in at a time: few enough to stay in a CPU's cache until the formula is done with them,
and enough for every step to be worth its start."""


def pixelwise(f: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """f(*maps), for a formula that treats each pixel by itself.

    On a CPU without gradients it is computed a band of rows at a time, so that what lies between its steps stays in the
    cache: with prompts that saves 7 % of a 640x480 pair's time and a quarter of a 1560x1024 pair's.

    Args:
        f: takes maps (B, C_i, R, W), for any number R of rows, and gives one of the first one's shape and type.
        maps: (B, C_i, H, W).

    Returns:
        As the first map.
    """
    batch, _, height, width = maps[0].shape
    rows = max(1, BAND // (batch * width * sum(x.shape[1] for x in maps)))
    whole = torch.is_grad_enabled() or torch.compiler.is_compiling() or maps[0].device.type != "cpu"
    if whole or height <= rows:
        return f(*maps)
    y = torch.empty_like(maps[0])
    for top in range(0, height, rows):
        y[:, :, top : top + rows] = f(*(x[:, :, top : top + rows] for x in maps))
    return y


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel; its statistics are float32 whatever the type of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = x.permute(0, 2, 3, 1)  # a view that is contiguous where x is channels_last
        y = F.layer_norm(y, y.shape[-1:], self.weight, self.bias, 1e-6)
        return y.permute(0, 3, 1, 2).to(x.dtype)  # autocast leaves float32 on some devices


class InnerResidualBlock(nn.Module):
    """Residual block with a second residual path inside it, around the feature-mixing branch.

    Our reading of the paper's figure: with h = norm(x) and mix a 3x3 convolution,
        z = expand(h + mix(h));  (a, b) = halves of z;  y = x + project(a * b * (1 + gain))
    `gain` comes from the text's condition (zero at the pseudo prompt), `project` starts at zero. With expansion 1 the
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

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """x (B, C, H, W) -> (B, C, H, W)."""
        gain = 1.0 if self.gain is None or condition is None else 1 + per_channel(self.gain, condition)
        h = self.norm(x)

        def combine(x: Tensor, h: Tensor, mixed: Tensor) -> Tensor:
            z = self.expand(h + mixed if self.inner_residual else mixed)
            a, b = z.chunk(2, dim=1)
            y: Tensor = x + self.project(a * b * gain)
            return y

        return pixelwise(combine, x, h, self.mix(h))


class TextGuidedAttention(nn.Module):
    """TGA: the text decides where (a map from a sigmoid) and what (product, sum, difference) to change.

    Our reading of the paper's figure, for a layer that turned x into y, with the text's condition c and its presence u:
        A = sigmoid(<key(c), y / rms(y)> / sqrt(C))       per pixel, in [0, 1]
        out = x + u * (y - x) + A * (gamma(c) * (y - x) + beta(c))
    so that the text says how much of each channel's change is wanted, and where. u is 0 at the pseudo prompt and 1 for
    a text that has nothing in common with it. At the pseudo prompt all of c is zero, hence gamma and beta are, and the
    whole layer is exactly the identity: nothing is touched unasked. u stands outside of the map so that a closed map
    cannot cut the blocks off from learning.
    """

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.key = nn.Linear(condition_dim, channels)
        self.gamma = nn.Linear(condition_dim, channels, bias=False)
        self.beta = nn.Linear(condition_dim, channels, bias=False)
        nn.init.zeros_(self.gamma.weight)
        nn.init.zeros_(self.beta.weight)

    def forward(self, x: Tensor, y: Tensor, condition: Condition) -> Tensor:
        """Layer input x and output y (B, C, H, W) -> (B, C, H, W)."""
        u = condition.presence[:, :, None, None]
        key, gamma, beta = (per_channel(layer, condition) for layer in (self.key, self.gamma, self.beta))

        def change(x: Tensor, y: Tensor) -> Tensor:
            a = attention(y, key)
            return x + u * (y - x) + a * (gamma * (y - x) + beta)

        return pixelwise(change, x, y)


def attention(y: Tensor, key: Tensor) -> Tensor:
    """sigmoid(<key, y / rms(y)> / sqrt(C)): y (B, C, H, W), key (B, C, 1, 1) -> (B, 1, H, W), computed in float32."""
    z = y.float()
    score, power = (z * key).sum(1, keepdim=True), z.square().sum(1, keepdim=True)
    return torch.sigmoid(score * torch.rsqrt(power + 1e-6 * y.shape[1])).to(y.dtype)


def per_channel(layer: nn.Linear, condition: Condition) -> Tensor:
    """What a layer makes of the condition, one number a channel: (B, K) -> (B, C, 1, 1)."""
    values: Tensor = layer(condition.vector)
    return values[:, :, None, None]


class EncoderLayer(nn.Module):
    """A stack of inner residual blocks followed by Text-Guided Attention."""

    def __init__(self, channels: int, blocks: int, expansion: int, cfg: ModelConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            InnerResidualBlock(channels, expansion, cfg.condition_dim, cfg.inner_residual) for _ in range(blocks)
        )
        self.tga = TextGuidedAttention(channels, cfg.condition_dim) if cfg.text_guided_attention else None

    def forward(self, x: Tensor, condition: Condition, lifted: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), and what comes up from the coarser scale, as x -> (B, C, H, W)."""
        y = x if lifted is None else x + lifted
        for block in self.blocks:
            y = block(y, condition)
        return y if self.tga is None else self.tga(x, y, condition)


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
