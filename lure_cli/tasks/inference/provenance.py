"""Maps of provenance: where the infrared has no part, and which colours they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.registration.alignment import Alignment

COLOURS = ((230, 159, 0), (0, 114, 178), (255, 255, 255))
"""Of infrared (orange), visible (blue) and restoration (white): all can tell them apart."""


def without_infrared(shares: np.ndarray, placed: Alignment | None) -> np.ndarray:
    """Beyond the infrared's edge, where the visible image stands in it (see `lay`), its share is the visible one's.

    Args:
        shares: float32 (H, W, 3), see `Fuser.provenance_map`.
        placed: how the infrared was laid onto the visible image; None: it is of the same view.
    """
    from lure_cli.core.registration.alignment import shown

    seen = None if placed is None else shown(placed)
    if seen is None:
        return shares
    shares = shares.copy()
    shares[..., 1] += (1 - seen[..., 0]) * shares[..., 0]
    shares[..., 0] *= seen[..., 0]
    return shares


def colours_of(shares: np.ndarray) -> np.ndarray:
    """Shares (H, W, 3) -> their `COLOURS`, mixed by them: float32 (H, W, 3) in [0, 1]."""
    import numpy as np

    return shares @ (np.array(COLOURS, np.float32) / 255)
