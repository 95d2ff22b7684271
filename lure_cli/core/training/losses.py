"""Losses of both stages. Images are (B, C, H, W) in [0, 1]; every loss is a scalar, computed in float32."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lure_cli.core.model.lure import Latent
from lure_cli.core.pixels import luma


def charbonnier(x: Tensor, y: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt((x - y)^2 + epsilon^2) per image (B,): L1 that is smooth at zero."""
    return ((x - y).square() + epsilon**2).sqrt().mean((1, 2, 3))


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences along width and height, each cropped to (B, C, H-1, W-1)."""
    return x[..., :-1, 1:] - x[..., :-1, :-1], x[..., 1:, :-1] - x[..., :-1, :-1]


def gradient_loss(x: Tensor, y: Tensor) -> Tensor:
    """L1 between the gradients of x and y per image (B,)."""
    (xh, xv), (yh, yv) = gradients(x), gradients(y)
    return (xh - yh).abs().mean((1, 2, 3)) + (xv - yv).abs().mean((1, 2, 3))


def ssim_map(x: Tensor, y: Tensor, window: int = 7) -> Tensor:
    """SSIM of the lumas per pixel (data range 1, uniform window, biased moments), the valid part only.

    For training only: metrics that are reported come from the evaluator.
    """
    x, y = luma(x.float()), luma(y.float())
    k = x.new_full((1, 1, 1, window), 1 / window)
    mx, my, xx, yy, xy = _windowed(torch.cat((x, y, x * x, y * y, x * y), 1), k).chunk(5, 1)
    vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))


def reconstruction_loss(x: Tensor, y: Tensor, w_ssim: float, w_grad: float) -> Tensor:
    """L_rec per image (B,): pixel (Charbonnier) + structure (1 - SSIM) + gradient term (METHOD: stage I)."""
    return charbonnier(x, y) + w_ssim * (1 - ssim_map(x, y).mean((1, 2, 3))) + w_grad * gradient_loss(x, y)


LEVEL_CELLS = 4
"""Cells a side of a crop whose mean brightness L_level compares."""


def level_loss(x: Tensor, y: Tensor) -> Tensor:
    """L_level per image (B,): L1 between the means of 4x4 cells, per plane. (our addition)

    A picture that is too bright as a whole costs L_rec little more than one with a little noise.
    """
    seen, wanted = (F.adaptive_avg_pool2d(v.float(), LEVEL_CELLS) for v in (x, y))
    return (seen - wanted).abs().mean((1, 2, 3))


def task_weights(degraded: Tensor, y: Tensor, w_ssim: float, w_grad: float) -> Tensor:
    """Weights (B,) that set each image's L_rec in relation to the loss of its degraded input.

    Our choice: w = 0.1 / (0.03 + L_rec(degraded, y)). A dark image starts with ten times the loss of a noisy one; left
    alone, the light tasks drown the others.
    """
    with torch.no_grad():
        return 0.1 / (0.03 + reconstruction_loss(degraded, y, w_ssim, w_grad))


def content_loss(latent: Latent, target: Latent) -> Tensor:
    """Content part of L_unified: latents of degraded images near those of their clean versions under p0.

    Our choice of distance: L1 per scale, in units of each channel's spread in the target, gradient stopped there.
    """
    total = latent[0].new_zeros((), dtype=torch.float32)
    for f, clean in zip(latent, target, strict=True):
        clean = clean.detach().float()
        centred = clean - clean.mean((0, 2, 3), keepdim=True)
        spread = centred.square().mean((0, 2, 3), keepdim=True).sqrt() + 0.05
        total = total + ((f.float() - clean).abs() / spread).mean()
    return total / len(latent)


def moment_distance(a: Latent, b: Latent, per_image: bool) -> Tensor:
    """Distribution part of L_unified: how far the channels' statistics of two groups of latents are apart.

    Our choice: squared difference of the means and of the standard deviations, in units of the channel's spread,
    averaged over scales. Training applies it to each task's image against its clean version (`per_image`), and to the
    two modalities as batches, there on the coarsest scale alone: finer ones hold the pixels, whose brightness differs
    from batch to batch by right.
    """
    dims = (2, 3) if per_image else (0, 2, 3)

    def moments(f: Tensor) -> tuple[Tensor, Tensor]:
        mean = f.mean(dims)
        return mean, ((f * f).mean(dims) - mean * mean).clamp_min(1e-6).sqrt()

    total = a[0].new_zeros((), dtype=torch.float32)
    for f, g in zip(a, b, strict=True):
        (mf, sf), (mg, sg) = moments(f.float()), moments(g.float())
        unit = sg.detach() + 0.05
        total = total + ((mf - mg) / unit).square().mean() + ((sf - sg) / unit).square().mean()
    return total / len(a)


def saliency(ir: Tensor) -> Tensor:
    """How much each infrared pixel stands out as hot, in [0, 1], smooth; (B, 1, H, W).

    Our reading of "saliency-aware": standard score against the image, through a ramp from 0.5 to 2 deviations.
    """
    mean, std = ir.mean((2, 3), keepdim=True), ir.std((2, 3), keepdim=True) + 0.02
    s = ((ir - mean) / std - 0.5) / 1.5
    return F.avg_pool2d(F.pad(s.clamp(0, 1), (2, 2, 2, 2), mode="replicate"), 5, stride=1)


def intensity_target(ir: Tensor, vis_luma: Tensor, kind: str) -> Tensor:
    """Target luma of L_int: `maximum` of the sources, or `saliency`: the maximum where the infrared is hot, else
    the visible, with part of the infrared's brighter share; (B, 1, H, W)."""
    maximum = torch.maximum(ir, vis_luma)
    if kind == "maximum":
        return maximum
    s = saliency(ir)
    return vis_luma + (0.4 + 0.6 * s) * (maximum - vis_luma)


def information_fidelity(fused: Tensor, source: Tensor, gain: float = 1.0) -> Tensor:
    """VIF of a source in the fused image per image (B,), differentiable; both (B, 1, H, W), sides 41 at least.

    As the evaluator's `visual_information_fidelity` (Sheikh and Bovik, IEEE Trans. Image Process. 2006), but that
    contrast beyond `gain` times the source's counts no more (our addition: unbounded, the term is a contrast stretch).
    """
    f, s = 255 * fused.float(), 255 * source.float()
    kept, total = f.new_zeros(len(f)), f.new_zeros(len(f))
    for scale in range(4):
        size = 2 ** (4 - scale) + 1
        window = torch.exp(-0.5 * ((torch.arange(size, device=f.device) - size // 2) / (size / 5)) ** 2)
        window = (window / window.sum()).view(1, 1, 1, size)
        if scale:
            f, s = (_windowed(x, window)[..., ::2, ::2] for x in (f, s))
        mf, ms, ff, ss, fs = _windowed(torch.cat((f, s, f * f, s * s, f * s), 1), window).chunk(5, 1)
        var_f, var, cov = (ff - mf * mf).clamp_min(0), (ss - ms * ms).clamp_min(0), fs - mf * ms
        g = (cov / (var + 1e-3)).clamp_min(0)
        left = (var_f - g * cov).clamp_min(1e-3)
        g = g.clamp_max(gain)
        kept = kept + torch.log1p(g * g * var / (left + 2)).sum((1, 2, 3))
        total = total + torch.log1p(var / 2).sum((1, 2, 3))
    return kept / (total + 1e-6)


def _windowed(x: Tensor, window: Tensor) -> Tensor:
    """Each plane of (B, C, H, W) under a window (1, 1, 1, K) along both axes, the valid part only."""
    planes = F.conv2d(F.conv2d(x.flatten(0, 1)[:, None], window), window.transpose(2, 3))
    return planes.view(*x.shape[:2], *planes.shape[-2:])


def edge_preservation(fused: Tensor, ir: Tensor, vis: Tensor) -> Tensor:
    """Qabf per image (B,), differentiable; all (B, 1, H, W).

    As the evaluator's `edge_preservation` (Xydeas and Petrovic, Electronics Letters 2000), but that the angle between
    edges does not jump where one is nearly horizontal, and that the border is repeated.
    """
    kernel = fused.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    sobel = torch.stack((kernel, kernel.T))[:, None]

    def edges(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gx, gy = F.conv2d(F.pad(255 * x.float(), (1, 1, 1, 1), mode="replicate"), sobel).chunk(2, 1)
        return gx, gy, (gx * gx + gy * gy + 1e-4).sqrt()

    fx, fy, strength_f = edges(fused)
    kept, total = fused.new_zeros(len(fused)), fused.new_zeros(len(fused))
    for source in (ir, vis):
        sx, sy, strength = edges(source)
        ratio = torch.minimum(strength, strength_f) / torch.maximum(strength, strength_f)
        cosine = ((fx * sx + fy * sy).abs() / (strength_f * strength)).clamp(0, 1 - 1e-5)
        angle = 1 - torch.acos(cosine) / (math.pi / 2)
        quality = 0.9994 * torch.sigmoid(15 * (ratio - 0.5)) * 0.9879 * torch.sigmoid(22 * (angle - 0.8))
        kept, total = kept + (quality * strength).sum((1, 2, 3)), total + strength.sum((1, 2, 3))
    return kept / total


BASE = 16
"""Side of the areas in pixels whose mean brightness L_base holds."""


@dataclass(frozen=True)
class FusionWeights:
    """Weights of the terms of L_II; those of METHOD, and three of our own: `base`, `vif` and `edge`."""

    intensity: float
    grad: float
    ssim: float
    color: float
    base: float = 0.0
    vif: float = 0.0
    edge: float = 0.0


def fusion_loss(
    fused: Tensor, ir: Tensor, vis: Tensor, intensity: str, weights: FusionWeights, gain: float = 1.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """L_II = w_i L_int + w_g L_grad + w_s L_ssim + w_c L_color + w_b L_base + w_v L_vif + w_e L_edge (METHOD: stage II;
    the last three are ours).

    L_base: squared error of the means of `BASE` by `BASE` pixels, against the target of L_int. Without it, L_vif and
    L_edge darken parts of a bright sky to make room for the texture that the infrared has there.
    L_vif = 1 - (V_ir + V_vis + min(V_ir, V_vis)) / 3, V the information of each source that the fused image holds:
    a sum alone is highest for the copy of one source. L_edge = 1 - Qabf.

    Args:
        fused, vis: (B, 3, H, W); ir: (B, 1, H, W); clean.
        intensity: target of L_int, see `intensity_target`.
        gain: see `information_fidelity`.

    Returns:
        the loss and its parts, unweighted.
    """
    y, v = luma(fused), luma(vis)
    target = intensity_target(ir, v, intensity)
    l_int = F.l1_loss(y, target)
    l_grad = y.new_zeros(())
    for gy, gi, gv in zip(gradients(y), gradients(ir), gradients(v), strict=True):
        l_grad = l_grad + F.l1_loss(gy, torch.where(gi.abs() > gv.abs(), gi, gv))  # the larger one, with its sign
    l_ssim = 1 - 0.5 * (ssim_map(y, ir).mean() + ssim_map(y, v).mean())
    l_color = F.l1_loss(fused - y, vis - v)  # colour differences R-Y, G-Y, B-Y
    parts = {"int": l_int, "grad": l_grad, "ssim": l_ssim, "color": l_color}
    loss = weights.intensity * l_int + weights.grad * l_grad + weights.ssim * l_ssim + weights.color * l_color
    if weights.base:
        parts["base"] = F.mse_loss(F.avg_pool2d(y, BASE), F.avg_pool2d(target, BASE))
        loss = loss + weights.base * parts["base"]
    if weights.vif:
        of_ir, of_vis = information_fidelity(y, ir, gain), information_fidelity(y, v, gain)
        parts["vif"] = 1 - (of_ir + of_vis + torch.minimum(of_ir, of_vis)).mean() / 3
        loss = loss + weights.vif * parts["vif"]
    if weights.edge:
        parts["edge"] = 1 - edge_preservation(y, ir, v).mean()
        loss = loss + weights.edge * parts["edge"]
    return loss, {k: p.detach() for k, p in parts.items()}
