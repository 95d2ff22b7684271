"""A pair as a program gives it to a `Fuser` -> the arrays of both images, on one grid."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from lure_cli.core.images.picture import to_channels
from lure_cli.core.images.value_range import ValueRange
from lure_cli.core.registration.alignment import lay
from lure_cli.errors import LureError
from lure_cli.tasks.inference.inputs import read_one_file
from lure_cli.tasks.inference.request import as_they_are
from lure_cli.tasks.inference.tensors import to_pixels

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.registration.alignment import Alignment
    from lure_cli.tasks.inference.request import Request, Source


def read_pair(
    ir: Source, vis: Source | None, request: Request, rig: Alignment | None
) -> tuple[np.ndarray, np.ndarray, Alignment | None]:
    """Both images as float32 (H, W, C) in [0, 1], and how the infrared was laid onto the visible one, if it was.

    Args:
        ir, vis: as `Fuser.__call__` takes them; without `vis` the file `ir` holds both.
        request: whose ranges count.
        rig: lays infrared images of their own size onto the visible ones; None: the sizes have to be equal.

    Raises:
        LureError: what cannot be read, is no image or no file of both; sizes that differ.
    """
    if vis is None:
        if not isinstance(ir, (str, Path)):
            raise LureError("no visible image is given", "give it as vis; only radiometric files hold both")
        auto = ValueRange(), ValueRange(modality="vis")
        ranges = request.ir_range or auto[0], request.vis_range or auto[1]
        both = read_one_file(Path(ir), *ranges, name=str(ir))
        if both.invalid:
            warnings.warn(both.notes[-1].text, stacklevel=4)
        r = as_they_are(request)
        return to_pixels(both.ir, 1, r.ir_range), to_pixels(both.vis, 3, r.vis_range), both.alignment
    x_ir, x_vis = to_pixels(ir, 1, request.ir_range), to_pixels(vis, 3, request.vis_range)
    (h, w), (hv, wv) = x_ir.shape[:2], x_vis.shape[:2]
    if rig is not None:
        by = rig.fitted((w, h), (wv, hv))
        return to_pixels(lay(x_ir, to_channels(x_vis, 1), by), 1, ValueRange("full")), x_vis, by
    if (h, w) != (hv, wv):
        raise LureError(
            f"{name_of(ir, 'the infrared image')} is {w}x{h} but {name_of(vis, 'the visible image')} is {wv}x{hv}",
            "resize one of them so that the two views coincide",
        )
    return x_ir, x_vis, None


def name_of(source: Source, otherwise: str = "") -> str:
    """What errors call an image: its file, if it has one."""
    return str(source) if isinstance(source, (str, Path)) else otherwise
