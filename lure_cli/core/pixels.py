"""Pixels: the two modalities, luma, grey, padding and PSNR. Images are (B, C, H, W) in [0, 1], of torch, or of numpy
where both are named. It can be imported without torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Pixels = TypeVar("Pixels", Tensor, np.ndarray)

Modality = Literal["ir", "vis"]


CHANNELS: dict[Modality, int] = {"ir": 1, "vis": 3}
MODALITY_NAMES: dict[Modality, str] = {"vis": "visible", "ir": "infrared"}
"""In words: as messages name the images, and as the folders of a data folder are called."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G, B in the luma (ITU-R BT.601)."""
THUMBNAIL = 32
"""Side in pixels of the thumbnail from which the global context is drawn; the same for every image size."""


def is_grey(x: Pixels) -> Pixels:
    """Which images of a batch (B, 3, H, W), of torch or numpy, have three equal planes: (B, 1, 1, 1)."""
    return (x[:, 1:] == x[:, :1]).reshape(x.shape[0], -1).all(1).reshape(-1, 1, 1, 1)  # type: ignore[return-value]


def luma(x: Pixels) -> Pixels:
    """(B, 3, H, W) -> (B, 1, H, W), of torch or numpy, ITU-R BT.601; a one-channel image is returned as it is."""
    if x.shape[1] == 1:
        return x
    r, g, b = LUMA
    return r * x[:, 0:1] + g * x[:, 1:2] + b * x[:, 2:3]  # type: ignore[return-value]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad right and bottom to a multiple: by reflection as far as that is defined, then by repeating the edge."""
    from torch.nn.functional import pad

    h, w = x.shape[-2:]
    ph, pw = -h % multiple, -w % multiple
    rh, rw = min(ph, h - 1), min(pw, w - 1)
    if rh or rw:
        x = pad(x, (0, rw, 0, rh), mode="reflect")
    if ph > rh or pw > rw:
        x = pad(x, (0, pw - rw, 0, ph - rh), mode="replicate")
    return x


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB per image (B,), peak 1, after clipping x to [0, 1]."""
    mse = (x.clamp(0, 1) - y).square().mean((1, 2, 3))
    return -10 / math.log(10) * mse.clamp_min(1e-12).log()
