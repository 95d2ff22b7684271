"""Images as users give them -> tensors as the model takes them, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lure_cli.core.images.picture import read_picture, to_channels
from lure_cli.core.images.value_range import ValueRange
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from lure_cli.tasks.inference.request import Source


def to_tensor(source: Source, channels: Literal[1, 3], device: torch.device) -> torch.Tensor:
    """A file or an array -> (1, C, H, W) float32 in [0, 1], channels last, on a device.

    Raises:
        LureError: an unreadable file, or an array that is no image.
    """
    import torch

    if isinstance(source, (str, Path)):
        pixels = read_picture(source, channels=channels, value_range=ValueRange() if channels == 1 else None).x
    else:
        pixels = _from_array(source, channels)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return x.to(device).contiguous(memory_format=torch.channels_last)


def to_batch(x: torch.Tensor, channels: Literal[1, 3], name: str, device: torch.device) -> torch.Tensor:
    """A user's tensor -> (B, C, H, W) float32 in [0, 1], channels last, on a device.

    Args:
        x: (B, C, H, W), uint8 or float in [0, 1].
        channels: C.
        name: what errors call the images.
        device: see above.

    Raises:
        LureError: another shape, type or range.
    """
    import torch

    if x.ndim != 4 or x.shape[1] != channels or 0 in x.shape:
        raise LureError(
            f"a tensor of shape {tuple(x.shape)} is no batch of {name} images", f"give (B, {channels}, H, W)"
        )
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise LureError(f"tensors of type {x.dtype} are not understood", "give uint8 or float in [0, 1]")
    y = x.to(device)
    y = y.float() / 255 if y.dtype == torch.uint8 else y.float()
    if not bool(((y >= 0) & (y <= 1)).all()):
        raise LureError(f"the {name} tensor holds values outside [0, 1]", "divide it by the range of your sensor")
    return y.contiguous(memory_format=torch.channels_last)


def to_array(y: torch.Tensor) -> np.ndarray:
    """The only picture of a batch: (1, C, H, W) -> (H, W, C)."""
    array: np.ndarray = y[0].permute(1, 2, 0).cpu().numpy()
    return array


def _from_array(array: np.ndarray, channels: Literal[1, 3]) -> np.ndarray:
    """(H, W), (H, W, 1) or (H, W, 3), uint8, uint16 or float in [0, 1] -> float32 (H, W, channels) in [0, 1]."""
    import numpy as np

    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise LureError(f"an array of shape {array.shape} is no image", "give (H, W), (H, W, 1) or (H, W, 3)")
    if array.dtype in (np.uint8, np.uint16):
        x = array.astype(np.float32) / np.iinfo(array.dtype).max
    elif np.issubdtype(array.dtype, np.floating):
        x = array.astype(np.float32)
        if not np.isfinite(x).all() or x.min() < 0 or x.max() > 1:
            raise LureError("a float array holds values outside [0, 1]", "divide it by the range of your sensor")
    else:
        raise LureError(f"arrays of type {array.dtype} are not understood", "give uint8, uint16 or float in [0, 1]")
    return to_channels(x, channels)
