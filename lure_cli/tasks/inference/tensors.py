"""Images as users give them -> float32 arrays and batches in [0, 1]."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lure_cli.core.images.guards import name_errors
from lure_cli.core.images.picture import read_picture, to_channels
from lure_cli.core.images.value_range import ValueRange, apply_range, resolve_range
from lure_cli.core.pixels import MODALITY_NAMES, Modality
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from lure_cli.tasks.inference.request import Source

_GIVE = "give a file, or an array (H, W), (H, W, 1) or (H, W, 3) of integers or floats"


def to_pixels(source: Source, channels: Literal[1, 3], value_range: ValueRange | None = None) -> np.ndarray:
    """An image in any form -> float32 (H, W, C) in [0, 1].

    Args:
        source: see `Source`.
        channels: 1 for infrared, 3 for visible.
        value_range: which numbers become 0 and 1; None as `auto`, but for visible arrays as `full`.

    Raises:
        LureError: an unreadable file, or what is no image.
    """
    modality: Modality = "ir" if channels == 1 else "vis"
    if value_range is None:
        as_file = channels == 1 or isinstance(source, (str, Path))
        value_range = ValueRange("auto" if as_file else "full", modality=modality)
    if isinstance(source, (str, Path)):
        picture = read_picture(source, channels=channels, value_range=value_range)
        pixels, mapping, invalid = picture.x, picture.mapping, picture.invalid
    else:
        array = StoredArray.of(source)
        with name_errors(f"the {MODALITY_NAMES[modality]} image"):
            resolved, mapping, invalid = array.resolve(value_range)
            pixels = to_channels(array.apply(resolved), channels)
    if invalid:
        name = source if isinstance(source, (str, Path)) else f"the {MODALITY_NAMES[modality]} image"
        warnings.warn(f"{name}: {mapping}", stacklevel=4)
    return pixels


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
    if not bool(y.isfinite().all()):
        raise LureError(f"the {name} tensor holds NaN or infinite values", "replace them: x.nan_to_num(0)")
    if not bool(((y >= 0) & (y <= 1)).all()):
        raise LureError(f"the {name} tensor holds values outside [0, 1]", "divide it by the range of your sensor")
    return y.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class StoredArray:
    """An image as a program holds it: pixels (H, W, 1) or (H, W, 3) of any integer or float type, in the machine's
    byte order, and a mask (H, W) of those that are invalid, if it has one."""

    pixels: np.ndarray
    mask: np.ndarray | None = None

    @classmethod
    def of(cls, source: Source) -> StoredArray:
        """From an array, masked array, nested list, tensor (H, W[, C]) or PIL image; LureError if that is no image."""
        import numpy as np

        mask = None
        if hasattr(source, "getbands"):
            source = _from_pillow(source)
        elif hasattr(source, "detach"):
            source = _from_tensor(source)
        elif isinstance(source, np.ma.MaskedArray):
            mask, source = np.ma.getmaskarray(source), source.data
        try:
            array = np.asarray(source)
        except Exception as error:  # ragged lists, and whatever other libraries' objects raise
            raise LureError(f"a {type(source).__name__} is no image", _GIVE) from error
        if array.dtype.kind not in "biuf":
            raise LureError(f"an image of type {array.dtype} is not understood", _GIVE)
        if array.ndim == 2:
            array = array[:, :, None]
        if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
            planes = " (or move its channels to the end)" if array.ndim == 3 and array.shape[0] in (1, 3) else ""
            raise LureError(
                f"an array of shape {array.shape} is no image", f"give (H, W), (H, W, 1) or (H, W, 3){planes}"
            )
        if array.dtype.kind == "b":
            array = array.astype(np.uint8) * np.uint8(255)
        elif array.dtype.kind == "i" and array.dtype.itemsize == 1:
            array = array.astype(np.int16)
        elif array.dtype == np.float16:
            array = array.astype(np.float32)
        if mask is not None and mask.ndim == 3:
            mask = np.asarray(mask.any(axis=2))
        return cls(np.ascontiguousarray(array, array.dtype.newbyteorder("=")), mask)

    def resolve(self, wanted: ValueRange) -> tuple[ValueRange, str | None, int]:
        """As `resolve_range`; what is masked has no part."""
        if self.mask is None or not self.mask.any():
            return resolve_range([self.pixels], wanted)
        if self.mask.all():
            raise LureError("all of its pixels are masked", "check the mask: True leaves a pixel out")
        resolved, mapping, invalid = resolve_range([self.pixels[~self.mask][:, None]], wanted)
        masked = int(self.mask.sum())
        note = f"{masked} of {self.mask.size} pixels are masked and black"
        return resolved, note if mapping is None else f"{mapping}; {note}", invalid + masked

    def apply(self, resolved: ValueRange) -> np.ndarray:
        """As `apply_range`; what is masked becomes 0."""
        import numpy as np

        if self.mask is None:
            return apply_range(self.pixels, resolved)
        x = apply_range(np.where(self.mask[..., None], np.zeros(1, self.pixels.dtype), self.pixels), resolved)
        x[self.mask] = 0
        return x


def _from_pillow(image: Any) -> np.ndarray:
    """Upright, palettes and CMYK converted, an opaque alpha dropped; LureError where something is transparent."""
    import numpy as np
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode == "1":
        image = image.convert("L")
    if image.mode not in ("L", "RGB", "F", "I") and not image.mode.startswith("I;"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    array = np.asarray(image)
    if image.mode == "RGBA":
        if (array[..., 3] < 255).any():
            raise LureError("an image with transparent pixels is no picture to fuse", "use image.convert('RGB')")
        array = array[..., :3]
    if image.mode == "I" and array.min() >= 0 and array.max() <= 65535:  # how Pillow holds some files of 16 bits
        array = array.astype(np.uint16)
    return array


def _from_tensor(x: Any) -> np.ndarray:
    """(H, W), (H, W, 1) or (H, W, 3) on any device; LureError of tensors with their channels first, and batches."""
    import torch

    if x.ndim == 4 or (x.ndim == 3 and x.shape[2] not in (1, 3)):
        raise LureError(
            f"a tensor of shape {tuple(x.shape)} is no image (H, W) or (H, W, C)",
            "turn (C, H, W) by x.permute(1, 2, 0); batches (B, C, H, W) go to Fuser.batch",
        )
    x = x.detach().cpu()
    array: np.ndarray = (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    return array
