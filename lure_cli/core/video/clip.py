"""A clip: what is known of it beforehand, and its frames."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Frame:
    """One picture of a clip.

    Attributes:
        pixels: upright, (H, W, 3) RGB or (H, W, 1) grey: uint8, or uint16 where the clip has more than 8 bits (10 bits
            and such are scaled to 16). Of a folder of pictures whatever they hold.
        time: seconds since the clip's beginning.
        duration: seconds that it is shown.
        number: 0, 1, ...; in a folder the number in its name.
        packets: the sound that came before it, still encoded.
    """

    pixels: np.ndarray
    time: Fraction
    duration: Fraction
    number: int
    packets: tuple[Any, ...] = ()


@dataclass(frozen=True)
class ClipInfo:
    """What is known of a clip before its first frame.

    Attributes:
        size: (width, height) in pixels, upright.
        rate: frames a second; None if it has none of its own (a folder of pictures).
        count: how many frames there are, as far as the header tells.
        aspect: width of a pixel over its height, upright.
        live: its end is not known, and it cannot be read twice.
        start: the first frame's time, in seconds, as far as the header tells.
        matrix, primaries, transfer: of its colours, numbers of ITU-T H.273 (2: not said).
        time_base: the unit of its time stamps in seconds.
    """

    size: tuple[int, int]
    rate: Fraction | None
    count: int | None
    aspect: Fraction = Fraction(1)
    live: bool = False
    start: Fraction = Fraction(0)
    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    time_base: Fraction | None = None
