"""AVIF where Pillow does not do: its depth, and pictures of 10 and 12 bits, which Pillow reads with 8."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from lure_cli.core.images.boxes import boxes
from lure_cli.core.images.guards import CONVERT
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

_LONGEST_HEADER = 1 << 20


def avif_depth(file: BinaryIO) -> int:
    """Bits of a channel, as the first configuration record of an AVIF file says: 8, 10 or 12."""
    for kind, start, end in boxes(file):
        if kind == b"meta":
            file.seek(start)
            content = file.read(min(end - start, _LONGEST_HEADER))
            at = content.find(b"av1C")
            if 0 <= at < len(content) - 6:
                high, twelve = content[at + 6] & 0x40, content[at + 6] & 0x20
                return 12 if high and twelve else 10 if high else 8
    return 8


def decode_deep_avif(file: BinaryIO, size: tuple[int, int]) -> np.ndarray:
    """Decode 10 or 12 bits: uint16 (H, W) or (H, W, 3 or 4), the file's numbers kept, not turned.

    Args:
        file: as it is.
        size: width and height that Pillow has read.
    """
    import imagecodecs

    file.seek(0)
    pixels: np.ndarray = imagecodecs.avif_decode(file.read(), numthreads=1)
    if pixels.shape[1::-1] != size or pixels.ndim > 3 or pixels.dtype != "uint16":
        raise LureError("AVIF whose sizes or frames differ", CONVERT)
    return pixels
