"""Large images in tiles: the same picture as in one piece, in the memory of one tile.

All that the model does is local, but for the global context, which is drawn from a thumbnail of the whole image and
handed to every tile. With an overlap of at least `Lure.reach` each pixel sees what it would see in one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import EllipsisType
from typing import Literal

import torch
from torch import Tensor

from lure_cli.core.model.lure import Lure
from lure_cli.core.onnx.runtime import OnnxLure
from lure_cli.core.pixels import Modality, is_grey, luma

AUTO_PIXELS = 1_600_000
"""Images of up to as many pixels are computed in one piece unless a tile size is given."""
AUTO_TILE = 1024
"""Side of the tiles of larger ones, in pixels, without the overlap."""

TileSize = int | Literal["auto"]
Seen = tuple[EllipsisType, slice, slice]
"""The part of an image that a tile sees."""


def tile_side(height: int, width: int, tile: TileSize) -> int:
    """The side to tile with, or 0 for one piece, as `auto` decides by the number of pixels alone, on any machine."""
    if tile == "auto":
        return AUTO_TILE if height * width > AUTO_PIXELS else 0
    return tile if tile and max(height, width) > tile else 0


def spans(length: int, tile: int, overlap: int, multiple: int) -> list[tuple[int, int, int, int]]:
    """Cut 0..length in equal parts of at most about `tile`: (first, last, keep_first, keep_last) of each.

    first..last is what the part sees, its edges at multiples of `multiple` (or the image's end), keep_first..keep_last
    what is kept of it; the kept parts fill 0..length without gap or overlap.
    """
    count = -(-length // tile)
    cuts = [min(length, round(length * i / count / multiple) * multiple) for i in range(count)] + [length]
    reach = -(-overlap // multiple) * multiple
    return [(max(0, a - reach), min(length, b + reach), a, b) for a, b in pairwise(cuts) if a < b]


def fuse_tiled(
    model: Lure | OnnxLure,
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
    """As calling the model, tile by tile.

    Args:
        model: the model.
        ir, vis, t_ir, t_vis, strength_ir, strength_vis: as `Lure.forward` takes them.
        tile: side of a tile in pixels, without the overlap; 0 is one piece.
        overlap: pixels that each tile sees beyond its edges; None: `model.reach`, which leaves no seam. Less is
            faster, and seams may show.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    if not tile:
        return model(ir, vis, t_ir, t_vis, strength_ir, strength_vis)
    edits = model.edit(ir, t_ir, "ir"), model.edit(vis, t_vis, "vis")

    def fuse(seen: Seen) -> Tensor:
        return model(ir[seen], vis[seen], t_ir, t_vis, strength_ir, strength_vis, edits)

    return _grey_as_a_whole(vis, _tiled(model, fuse, torch.empty_like(vis, dtype=torch.float32), tile, overlap))


def restore_tiled(
    model: Lure | OnnxLure,
    x: Tensor,
    t: Tensor,
    modality: Modality,
    strength: float = 1.0,
    *,
    tile: int,
    overlap: int | None = None,
) -> Tensor:
    """As `Lure.restore`, tile by tile.

    Args:
        model: the model.
        x, t, modality, strength: as `Lure.restore` takes them.
        tile, overlap: as `fuse_tiled`.

    Returns:
        (B, C, H, W) in [0, 1].
    """
    if not tile:
        return model.restore(x, t, modality, strength)
    edit = model.edit(x, t, modality)

    def restore(seen: Seen) -> Tensor:
        return model.restore(x[seen], t, modality, strength, edit)

    y = _tiled(model, restore, torch.empty_like(x, dtype=torch.float32), tile, overlap)
    return y if modality == "ir" else _grey_as_a_whole(x, y)


def _tiled(
    model: Lure | OnnxLure, compute: Callable[[Seen], Tensor], whole: Tensor, tile: int, overlap: int | None
) -> Tensor:
    """Fill an image with what is computed of its parts."""
    height, width = whole.shape[-2:]
    reach = model.reach if overlap is None else overlap
    for top, bottom, y0, y1 in spans(height, tile, reach, model.multiple):
        for left, right, x0, x1 in spans(width, tile, reach, model.multiple):
            part = compute((..., slice(top, bottom), slice(left, right)))
            whole[..., y0:y1, x0:x1] = part[..., y0 - top : y1 - top, x0 - left : x1 - left]
    return whole


def _grey_as_a_whole(vis: Tensor, y: Tensor) -> Tensor:
    """A tile may be grey where the whole is not; the other way round it can't be."""
    return torch.where(is_grey(vis), luma(y).expand_as(y), y)
