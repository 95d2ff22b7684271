"""Random crops of image files, each with a view of the whole image that it is a part of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lure_cli.core.images.picture import read_pixels, to_channels
from lure_cli.core.images.value_range import full_range
from lure_cli.core.model.context import context_view
from lure_cli.core.pixels import THUMBNAIL, pad_to_multiple
from lure_cli.core.training.fields import Scene, chance, uniform
from lure_cli.core.training.layout import Files
from lure_cli.errors import LureError


@dataclass(frozen=True)
class Crop:
    """A part of an image."""

    image: Tensor
    """The whole of it: uint8 (C, H, W)."""
    whole: Tensor
    """Its `context_view` (3 C, T, T)."""
    small: Tensor
    """Its `small_copies`, uint8."""
    window: tuple[slice, slice]
    size: int
    mirrored: bool

    @cached_property
    def pixels(self) -> Tensor:
        """What lies in the window, brought to the size of the crop: (C, S, S) in [0, 1], in steps of 1/255."""
        part = self.image[:, *self.window]
        if part.shape[1:] != (self.size, self.size):
            part = F.interpolate(part[None], size=(self.size, self.size), mode="bilinear", antialias=True)[0]
        return (part.flip(2) if self.mirrored else part).float() / 255

    def scene(self, lamp_ratio: float) -> Scene:
        """Where the crop lies in the image."""
        (top, left), (h, w) = self.window, self.image.shape[1:]
        sides = (left.stop / w, left.start / w) if self.mirrored else (left.start / w, left.stop / w)
        thumbnail = self.whole.chunk(3)[0]
        return Scene(self.pixels, thumbnail, top.start / h, top.stop / h, *sides, lamp_ratio=lamp_ratio)


def view_of(image: Tensor) -> Tensor:
    """`context_view` of one image (C, H, W) in [0, 1]."""
    return context_view(pad_to_multiple(image[None], 2), extremes=True)[0]


SMALL = 64
"""Side of the small copies of an image, a multiple of the thumbnail's."""


def small_copies(image: Tensor) -> Tensor:
    """Three small copies of an image (C, H, W), whatever its shape: (3, C, `SMALL`, `SMALL`). Mean, least and greatest
    value of each place, the latter two of 2x2 pixels' means. Degraded one by one they tell the view of the degraded
    image: what changes the light keeps the order of equally lit pixels.
    """
    means = F.avg_pool2d(pad_to_multiple(image[None], 2), 2)[0]
    high, low = (sign * F.adaptive_max_pool2d(sign * means, SMALL) for sign in (1, -1))
    return torch.stack((F.adaptive_avg_pool2d(image, SMALL), low, high))


def view_of_copies(mean: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The view of the image that these are `small_copies` of."""
    thumbnail = F.adaptive_avg_pool2d(mean, THUMBNAIL)
    least, most = low.amin((1, 2), True), high.amax((1, 2), True)
    return torch.cat((thumbnail, *(v.expand_as(thumbnail) for v in (least, most))))


def view_with(whole: Tensor, part: Tensor) -> Tensor:
    """The view of an image whose extremes are those of a part (C, H, W), where that has the greater: grain and stripes,
    which only the part was given, are among what the least and the greatest value of an image show."""
    thumbnail, low, high = whole.chunk(3)
    for seen in (thumbnail, F.avg_pool2d(part, 2)):
        low = torch.minimum(low, seen.amin((1, 2), keepdim=True))
        high = torch.maximum(high, seen.amax((1, 2), keepdim=True))
    return torch.cat((thumbnail, low, high))


Loaded = tuple[Tensor, Tensor, Tensor]
"""Of one file: the image, uint8 (C, H, W), its view as a whole, its `small_copies` in 8 bits."""


class CropReader:
    """Reads image files and crops them at random; keeps what it has read in memory.

    Args:
        size: side of the crops in pixels.
        cache_gib: most memory for images.
    """

    def __init__(self, size: int, cache_gib: float) -> None:
        self.size, self._cache_bytes = size, cache_gib * 2**30
        self._cache: OrderedDict[tuple[Path, int], Loaded] = OrderedDict()
        self._cached_bytes = 0
        self._full = False

    def draw(self, files: Files, planes: Sequence[int], g: Generator, zoom: float) -> list[Crop]:
        """The same random crop of all files of one sample, from a window up to `zoom` times as large, mirrored in half
        of the cases.

        Raises:
            LureError: a file cannot be read, or they differ in size.
        """
        images = [self._load(p, c) for p, c in zip(files, planes, strict=True)]
        h, w = images[0][0].shape[1:]
        if any(loaded[0].shape[1:] != (h, w) for loaded in images):
            raise LureError(f"{files[0]} and {files[1]} differ in size", "pairs must be registered")
        # A third keeps its pixels; the rest is seen from further away, as whole images are at inference.
        factor = 1.0 if chance(g, 1 / 3) else uniform(g, 1.0, zoom)
        side = min(round(self.size * factor), h, w)
        top = int(torch.randint(h - side + 1, (), generator=g))
        left = int(torch.randint(w - side + 1, (), generator=g))
        mirrored = chance(g, 0.5)
        window = slice(top, top + side), slice(left, left + side)
        return [Crop(*loaded, window, self.size, mirrored) for loaded in images]

    def preload(self, files: Sequence[tuple[Path, int]], threads: int) -> None:
        """Read files, each with its number of planes, until the cache is full; what is in it then stays, and no more is
        kept. Files that cannot be read are left to `draw` to report."""
        with ThreadPoolExecutor(threads) as pool:
            for i in range(0, len(files), 8 * threads):
                if self._cached_bytes < self._cache_bytes:
                    part = [file for file in files[i : i + 8 * threads] if file not in self._cache]
                    for file, loaded in zip(part, pool.map(lambda f: _try(*f), part), strict=True):
                        if loaded and self._cached_bytes < self._cache_bytes:
                            self._cache[file] = loaded
                            self._cached_bytes += _bytes(loaded)
        self._full = True

    def _load(self, path: Path, planes: int) -> Loaded:
        """What of a file is needed, from memory where it was read before and the cache had room."""
        key = (path, planes)
        if key in self._cache:
            if not self._full:
                self._cache.move_to_end(key)
            return self._cache[key]
        loaded = _read(path, planes)
        if not self._full:
            self._cache[key] = loaded
            self._cached_bytes += _bytes(loaded)
            while self._cached_bytes > self._cache_bytes and len(self._cache) > 1:
                self._cached_bytes -= _bytes(self._cache.popitem(last=False)[1])
        return loaded


def _read(path: Path, planes: int) -> Loaded:
    pixels = read_pixels(path)
    if pixels.dtype != np.uint8 or pixels.shape[2] != planes:
        pixels = (to_channels(full_range(pixels), planes) * 255).round().astype(np.uint8)  # type: ignore[arg-type]
    image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    values = image.float() / 255
    return image, view_of(values), (small_copies(values) * 255).round().to(torch.uint8)


def _try(path: Path, planes: int) -> Loaded | None:
    with suppress(LureError):
        return _read(path, planes)
    return None


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(t.nbytes for t in tensors)
