"""Metrics of clips: how steady a fused clip is from frame to frame, by the motion that is seen in it.

All follow the motion between neighbouring frames, and differ in whose motion counts: flowD follows that of the
visible clip, BiSWE the fused clip's own, MS2R compares the fused clip's with both sources'.

The papers see motion with a trained network, SEA-RAFT; here it is TV-L1 (Zach, Pock, Bischof 2007; scikit-image's, five
warps of five iterations, else its defaults), so values compare among themselves, and not with the papers' tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lure_cli.core.metrics.base import Array


class Motion(NamedTuple):
    """Displacements in pixels, (2, H, W), rows before columns, between the frames of a clip at t - 1, t and t + 1.

    What lies at x in the one frame lies at x + displacement in the other: `to_previous` goes from t to t - 1,
    `from_previous` from t - 1 to t, and so on.
    """

    to_previous: Array
    from_previous: Array
    to_next: Array
    from_next: Array


def optical_flow(one: Array, other: Array) -> Array:
    """The displacement from each pixel of a frame to where it lies in another one, (2, H, W), float32.

    Args:
        one, other: grey (H, W) on 0..255.
    """
    from skimage.registration import optical_flow_tvl1

    return optical_flow_tvl1(*(np.asarray(x, np.float32) / 255 for x in (one, other)), num_warp=5, num_iter=5)


def warp(x: Array, flow: Array) -> Array:
    """What lies at each pixel's place plus its displacement: bilinear, the edge continued.

    Args:
        x: (H, W) or (H, W, C).
        flow: (2, H, W).
    """
    from scipy.ndimage import map_coordinates

    places = np.indices(x.shape[:2]) + flow
    channels = np.atleast_3d(x)
    parts = [map_coordinates(channels[..., c], places, order=1, mode="nearest") for c in range(channels.shape[2])]
    return np.stack(parts, axis=-1).reshape(x.shape)


def flow_difference(previous: Array, current: Array, visible_to_previous: Array) -> float:
    """flowD: the distance of a fused frame from the one before it, moved as the visible clip moves; 0 or more.

    The mean over the pixels of the Euclidean distance of their colours. Whatever comes into view counts as well.
    TemCoCo sees motion at 960x432 pixels; here it is that of the frames' own size.

    Gong et al.: TemCoCo, temporally consistent multi-modal video fusion with visual-semantic collaboration, 2025.

    Args:
        previous, current: fused frames, (H, W, 3) on 0..255; a grey clip's repeated.
        visible_to_previous: (2, H, W), of the visible frames.
    """
    return float(np.linalg.norm(current - warp(previous, visible_to_previous), axis=2).mean())


def self_warping_error(
    previous: Array, current: Array, following: Array, own: Motion, sources: Sequence[Motion]
) -> float:
    """BiSWE: how far a fused frame is from both neighbours, moved as the fused clip itself moves; 0 or more.

    The mean absolute difference to the previous frame plus that to the next, each over the pixels that both sources see
    in both frames: those where going there and back ends less than a pixel away. 0 where there is none.

    Zhao et al.: A unified solution to video fusion, NeurIPS 2025 (VF-Bench).

    Args:
        previous, current, following: fused frames, (H, W) or (H, W, C) on 0..255.
        own: the motion of the fused clip.
        sources: that of both sources.
    """
    error = 0.0
    for frame, side, back in ((previous, "to_previous", "from_previous"), (following, "to_next", "from_next")):
        difference = np.abs(current - warp(frame, getattr(own, side)))
        seen = np.logical_and.reduce([_there_and_back(getattr(m, side), getattr(m, back)) < 1 for m in sources])
        if seen.any():
            error += float(difference[seen].mean())
    return error


def _there_and_back(there: Array, back: Array) -> Array:
    """How far from its start each pixel ends, (H, W), in pixels."""
    return np.linalg.norm(there + np.moveaxis(warp(np.moveaxis(back, 0, -1), there), -1, 0), axis=0)


def motion_smoothness(own: Motion, sources: Sequence[Motion]) -> float:
    """MS2R: how the change of motion in the fused clip differs from that in its sources; pixels a frame^2, 0 or more.

    The change of motion is the displacement from t to t + 1 less that from t - 1 to t, pixel by pixel; of its
    difference to each source's the mean absolute value over the pixels and both directions, and of that the mean.

    Zhao et al.: A unified solution to video fusion, NeurIPS 2025 (VF-Bench).

    Args:
        own: the motion of the fused clip.
        sources: that of both sources.
    """
    change = own.to_next - own.from_previous
    return float(np.mean([np.abs(change - (m.to_next - m.from_previous)).mean() for m in sources]))
