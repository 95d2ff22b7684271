"""Large images in tiles: the same picture as in one piece, in the memory of one tile. One code for tensors of torch and
arrays of numpy: it only cuts them up and puts them together.

All that the model does is local, but for the global context, which is drawn from a thumbnail of the whole image and
handed to every tile. With an overlap of at least the model's reach each pixel sees what it would see in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from types import EllipsisType
from typing import Any, Literal, Protocol

from lure_cli.core.engine.steady import Views
from lure_cli.core.pixels import Modality

AUTO_PIXELS = 1_600_000
"""Images of up to as many pixels are computed in one piece unless a tile size is given."""
AUTO_TILE = 1024
"""Side of the tiles of larger ones, in pixels, without the overlap."""

Array = Any
"""A `torch.Tensor` or a `numpy.ndarray`, as the model takes them."""
TileSize = int | Literal["auto"]
Region = tuple[EllipsisType, slice, slice]
"""The part of an image that a tile sees, as an index."""


class TileableModel(Protocol):
    """A model whose picture can be put together from tiles: `Lure`, or one that runs elsewhere."""

    @property
    def multiple(self) -> int:
        """Edges of tiles are at multiples of this."""

    def reach(self, conditions: Sequence[Any]) -> int:
        """How many pixels away a pixel of the result can still see under these conditions, from `condition_from`."""

    def context_view(self, x: Array) -> Array:
        """What the model sees of the whole image x (B, C, H, W)."""

    def condition_from(self, view: Array, t: Array, modality: Modality) -> Any:
        """What the model needs to know of the whole image, by its `context_view`, and its text t (B, D) to compute a
        part."""

    def __call__(
        self,
        ir: Array,
        vis: Array,
        t_ir: Array,
        t_vis: Array,
        strength_ir: float = 1.0,
        strength_vis: float = 1.0,
        conditions: tuple[Any, Any] | None = None,
    ) -> Array:
        """See `Lure.forward`; `conditions` are from `condition_from`."""

    def restore(self, x: Array, t: Array, modality: Modality, strength: float = 1.0, condition: Any = None) -> Array:
        """See `Lure.restore`; `condition` is from `condition_from`."""

    def empty_like(self, x: Array) -> Array:
        """A place for a picture, float32 of the shape of x; its values are whatever they are."""

    def grey_as(self, vis: Array, y: Array) -> Array:
        """y (B, 3, H, W), made grey where the visible image is."""


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
    halo = -(-overlap // multiple) * multiple
    return [(max(0, a - halo), min(length, b + halo), a, b) for a, b in pairwise(cuts) if a < b]


def conditions_of(
    model: TileableModel,
    ir: Array,
    vis: Array,
    t_ir: Array,
    t_vis: Array,
    steady: Callable[[Views], Views] | None = None,
) -> tuple[Any, Any]:
    """What the model needs to know of a whole pair to compute a part; arguments as of `fuse_tiled`."""
    views = model.context_view(ir), model.context_view(vis)
    if steady is not None:
        views = steady(views)
    return model.condition_from(views[0], t_ir, "ir"), model.condition_from(views[1], t_vis, "vis")


def fuse_tiled(
    model: TileableModel,
    ir: Array,
    vis: Array,
    t_ir: Array,
    t_vis: Array,
    strength_ir: float = 1.0,
    strength_vis: float = 1.0,
    *,
    tile: int,
    overlap: int | None = None,
    steady: Callable[[Views], Views] | None = None,
) -> Array:
    """As calling the model, tile by tile.

    Args:
        model: the model.
        ir, vis, t_ir, t_vis, strength_ir, strength_vis: as `Lure.forward` takes them.
        tile: side of a tile in pixels, without the overlap; 0 is one piece.
        overlap: pixels that each tile sees beyond its edges; None: the model's reach, which leaves no seam. Less is
            faster, and seams may show.
        steady: puts other views of the whole images in the place of their own; see `core/engine/steady.py`.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    if not tile and steady is None:
        return model(ir, vis, t_ir, t_vis, strength_ir, strength_vis)
    conditions = conditions_of(model, ir, vis, t_ir, t_vis, steady)
    if not tile:
        return model(ir, vis, t_ir, t_vis, strength_ir, strength_vis, conditions)

    def fuse(region: Region) -> Array:
        return model(ir[region], vis[region], t_ir, t_vis, strength_ir, strength_vis, conditions)

    y = tiled(model, fuse, model.empty_like(vis), tile, overlap, conditions)
    return model.grey_as(vis, y)  # a tile may be grey where the whole is not; the other way round it can't be


def restore_tiled(
    model: TileableModel,
    x: Array,
    t: Array,
    modality: Modality,
    strength: float = 1.0,
    *,
    tile: int,
    overlap: int | None = None,
) -> Array:
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
    condition = model.condition_from(model.context_view(x), t, modality)

    def restore(region: Region) -> Array:
        return model.restore(x[region], t, modality, strength, condition)

    y = tiled(model, restore, model.empty_like(x), tile, overlap, [condition])
    return y if modality == "ir" else model.grey_as(x, y)


def tiled(
    model: TileableModel,
    compute: Callable[[Region], Array],
    whole: Array,
    tile: int,
    overlap: int | None,
    conditions: Sequence[Any],
) -> Array:
    """Fill an image with what is computed of its parts, under these conditions."""
    height, width = whole.shape[-2:]
    overlap = model.reach(conditions) if overlap is None else overlap
    for top, bottom, y0, y1 in spans(height, tile, overlap, model.multiple):
        for left, right, x0, x1 in spans(width, tile, overlap, model.multiple):
            part = compute((..., slice(top, bottom), slice(left, right)))
            whole[..., y0:y1, x0:x1] = part[..., y0 - top : y1 - top, x0 - left : x1 - left]
    return whole
