"""Where a fused picture comes from: per pixel, the shares of the infrared image, the visible one and the restoration.

The fusion module chooses between two latents, S = F_vis + w (F_ir - F_vis) per channel and scale, and the decoder D
makes pictures of all of them. What the choice changed against the visible image alone, and what it left out of the
infrared one alone, is seen in the pictures, so that every channel counts as much as it shows (our definition):

    a = |D(S) - D(F_vis)|    b = |D(F_ir) - D(S)|    i = (a + e) / (a + b + 2 e)
    d = |y - y0|             m = min(|y|, |y0|)      r = d / (d + m + e)

with the fused picture y, the plain fusion y0 (the same without a prompt), |.| the root of the mean square over colours
and the pixel's neighbourhood (a Gaussian of `SIGMA`), and e one grey level in 255. The shares are

    infrared (1 - r) i,   visible (1 - r) (1 - i),   restoration r.

So i is near 0 where the picture is as of the visible image alone, near 1 where it is as of the infrared one alone, and
1/2 where both say the same; r is 0 without a prompt, about 1/2 where a value was halved or doubled, and near 1 where it
is new. What the module adds beyond its choice counts for neither.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lure_cli.core.engine.tiling import Region, tiled
from lure_cli.core.model.context import Condition
from lure_cli.core.model.lure import Latent, Lure
from lure_cli.core.pixels import pad_to_multiple

SIGMA = 2.0
"""Pixels; the neighbourhood that is looked at. Less shows the grain of both images, more blurs their edges."""
_GREY_LEVEL = 1 / 255
_MAPS = 5
"""Of mean squares: a, b, d, |y|, |y0|."""


def provenance(
    model: Lure,
    ir: Tensor,
    vis: Tensor,
    t_ir: Tensor,
    t_vis: Tensor,
    strength_ir: float = 1.0,
    strength_vis: float = 1.0,
    *,
    tile: int,
    overlap: int | None = None,
) -> Tensor:
    """The shares of infrared, visible and restoration; see the module's text.

    Args:
        model: the model.
        ir, vis, t_ir, t_vis, strength_ir, strength_vis, tile, overlap: as `fuse_tiled`.

    Returns:
        (B, 3, H, W) float32 in [0, 1]; their sum is 1 everywhere.
    """
    if not tile:
        return _shares(_squares(model, ir, vis, t_ir, t_vis, strength_ir, strength_vis))
    conditions = model.condition(ir, t_ir, "ir"), model.condition(vis, t_vis, "vis")

    def squares(region: Region) -> Tensor:
        return _squares(model, ir[region], vis[region], t_ir, t_vis, strength_ir, strength_vis, conditions)

    whole = torch.empty(vis.shape[0], _MAPS, *vis.shape[2:], device=vis.device)
    return _shares(tiled(model, squares, whole, tile, overlap, conditions))


def _squares(
    model: Lure,
    ir: Tensor,
    vis: Tensor,
    t_ir: Tensor,
    t_vis: Tensor,
    strength_ir: float,
    strength_vis: float,
    conditions: tuple[Condition, Condition] | None = None,
) -> Tensor:
    """The squares of a, b, d, |y| and |y0|, mean over colours: (B, 5, H, W)."""
    h, w = vis.shape[-2:]
    c_ir, c_vis = conditions or (None, None)
    x_ir, x_vis = (pad_to_multiple(x, model.multiple) for x in (ir, vis))
    p0 = model.pseudo_prompt
    f_ir = model.encode(x_ir, t_ir, "ir", strength_ir, c_ir)
    f_vis = model.encode(x_vis, t_vis, "vis", strength_vis, c_vis)

    def picture(latent: Latent) -> Tensor:
        return model.decode(latent)[..., :h, :w].float()

    selected, fused = model.fusion.choose(f_ir, f_vis)
    y_ir, y_vis, chosen, y = picture(f_ir), picture(f_vis), picture(selected), picture(fused).clamp(0, 1)
    y0 = y
    if not torch.equal(t_ir, p0.expand_as(t_ir)) or not torch.equal(t_vis, p0.expand_as(t_vis)):
        plain_ir = model.encode(x_ir, p0.expand_as(t_ir), "ir")
        plain_vis = model.encode(x_vis, p0.expand_as(t_vis), "vis")
        y0 = picture(model.fusion(plain_ir, plain_vis)).clamp(0, 1)
    maps = (chosen - y_vis, y_ir - chosen, y - y0, y, y0)
    return torch.cat([x.square().mean(1, keepdim=True) for x in maps], dim=1)


def _shares(squares: Tensor) -> Tensor:
    """Mean squares of pixels (B, 5, H, W) -> shares (B, 3, H, W)."""
    a, b, d, y, y0 = _smooth(squares).sqrt().chunk(_MAPS, dim=1)
    e = _GREY_LEVEL
    i = (a + e) / (a + b + 2 * e)
    r = d / (d + torch.minimum(y, y0) + e)
    return torch.cat(((1 - r) * i, (1 - r) * (1 - i), r), dim=1)


def _smooth(x: Tensor) -> Tensor:
    """A Gaussian over each map (B, C, H, W); values beyond the edges are those at the edge."""
    radius = round(3 * SIGMA)
    steps = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-steps.square() / (2 * SIGMA**2))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, -1)
    x = F.pad(x, (radius, radius, radius, radius), mode="replicate")
    with torch.autocast(x.device.type, enabled=False):
        x = F.conv2d(x, kernel[:, :, None, :], groups=x.shape[1])
        return F.conv2d(x, kernel[:, :, :, None], groups=x.shape[1])
