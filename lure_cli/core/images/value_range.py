"""Value ranges: which numbers of a file are black and white."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np


_PERCENTILES = (0.5, 99.5)
_GIVE_RANGE = "give --ir-range MIN,MAX in the file's own numbers, or --ir-range percentile"


@dataclass(frozen=True)
class ValueRange:
    """Which of a file's numbers become 0 and 1; what lies outside is clipped.

    Kinds:
        full: the whole range of the integer type (0..255, 0..65535, -32768..32767, ...); floats must lie in [0, 1].
        auto: as `full` for 8-bit files and for floats within [0, 1], also for 16 bits (unsigned) if percentiles 0.5
            and 99.5 lie at least a quarter of the range apart; else, as a file of a thermal camera with 14 bits would
            come out flat grey, as `percentile`.
        percentile: the percentiles `low` and `high` of the image become 0 and 1; where they are one number, as in an
            almost empty image, its minimum and maximum do.
        values: the numbers `low` and `high` do, in the file's own unit (grey levels, degrees, ...).

    An image of one number alone, of which percentiles tell nothing, keeps its place in the full range, or becomes 0.5
    if it has none (floats outside [0, 1], signed and 32-bit integers).
    """

    kind: Literal["full", "auto", "percentile", "values"] = "auto"
    low: float = _PERCENTILES[0]
    high: float = _PERCENTILES[1]


def parse_range(text: str) -> ValueRange:
    """`auto`, `full`, `percentile`, `percentile:LO,HI` or `MIN,MAX`, as the option --ir-range takes it.

    Raises:
        LureError: none of these, or numbers in the wrong order.
    """
    word = text.strip().lower()
    if word == "full":
        return ValueRange("full")
    if word in ("auto", "percentile"):
        return ValueRange("auto" if word == "auto" else "percentile")
    percentile = word.startswith("percentile:")
    hint = "give auto, full, percentile, percentile:LO,HI (0 to 100) or MIN,MAX"
    try:
        low, high = (float(part) for part in word.removeprefix("percentile:").split(","))
    except ValueError as error:
        raise LureError(f"value range '{text}' is not understood", hint) from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise LureError(f"value range '{text}' does not run from a smaller to a larger number", hint)
    if percentile and not (low >= 0 and high <= 100):
        raise LureError(f"value range '{text}': percentiles lie between 0 and 100", hint)
    return ValueRange("percentile" if percentile else "values", low, high)


def fills(pixels: np.ndarray, wanted: ValueRange, white: int) -> bool:
    """Whether numbers, of which the file's depth allows `white` as the largest, are to be taken over that full range:
    by `full`, and by `auto` as `ValueRange` says of 16 bits."""
    import numpy as np

    if wanted.kind == "auto" and pixels.dtype == "uint16":
        low, high = np.percentile(pixels, _PERCENTILES)
        return bool(high - low >= white / 4)
    return wanted.kind in ("full", "auto")


def to_unit(pixels: np.ndarray, wanted: ValueRange) -> tuple[np.ndarray, str | None]:
    """The file's numbers -> float32 in [0, 1] and, where that is not their full range, how."""
    resolved, mapping = resolve_range([pixels], wanted)
    return apply_range(pixels, resolved), mapping


def resolve_range(pixels: Sequence[np.ndarray], wanted: ValueRange) -> tuple[ValueRange, str | None]:
    """Decide for some images of one source, all at once, which numbers become 0 and 1.

    Args:
        pixels: as files hold them, of one type; usually one image, for a clip some of its frames.
        wanted: any kind.

    Returns:
        A range of kind `full` or `values`, which holds for every image of that source, and, where that is not the full
        range, how the numbers are mapped, in words.

    Raises:
        LureError: numbers that are NaN or infinite or lie too far apart; floats outside [0, 1] where they have to lie
            within.
    """
    import numpy as np

    first = pixels[0]
    floats = first.dtype.kind == "f"
    if floats and (bad := sum(int(np.count_nonzero(~np.isfinite(each))) for each in pixels)):
        raise LureError(
            f"{bad} of its {sum(p.size for p in pixels)} numbers are NaN or infinite", "replace them in the file"
        )
    full = ValueRange("full")
    low, high = min(each.min() for each in pixels), max(each.max() for each in pixels)
    plain = (low >= 0 and high <= 1) if floats else first.dtype in ("uint8", "uint16")
    if wanted.kind == "full" or (wanted.kind == "auto" and plain and first.dtype != "uint16"):
        return full, None
    least, most = float(low), float(high)
    low, high, how = wanted.low, wanted.high, "as given"
    if wanted.kind != "values":
        how = f"percentiles {low:g} and {high:g}"
        together = first if len(pixels) == 1 else np.concatenate([each.ravel() for each in pixels])
        with np.errstate(all="ignore"):  # floats at the end of their range
            low, high = (float(v) for v in np.percentile(together, (low, high)))
        if wanted.kind == "auto" and plain and high - low >= 65535 / 4:
            return full, None
        if low == high:
            low, high, how = least, most, "minimum and maximum"
    kind = "floats" if floats else f"{8 * first.dtype.itemsize} {'signed ' * (first.dtype.kind == 'i')}bits"
    if low == high:
        if plain:
            return full, None
        return ValueRange("values", low, high), f"{low:.7g} of {kind} -> 0.5 (all pixels are equal)"
    if not math.isfinite(high - low):
        raise LureError(f"numbers from {low:g} to {high:g} lie too far apart", _GIVE_RANGE)
    return ValueRange("values", low, high), f"{low:.7g}..{high:.7g} of {kind} -> 0..1 ({how})"


def apply_range(pixels: np.ndarray, resolved: ValueRange) -> np.ndarray:
    """The numbers of an image -> float32 in [0, 1] of the same shape.

    Args:
        pixels: as a file holds them.
        resolved: from `resolve_range`; where low and high are one number, lower ones become 0, it 0.5, higher ones 1.

    Raises:
        LureError: floats outside [0, 1] over the full range.
    """
    import numpy as np

    if resolved.kind == "full":
        return full_range(pixels)
    low, high = resolved.low, resolved.high
    if low == high:
        return ((np.sign(pixels.astype(np.float64) - low) + 1) / 2).astype(np.float32)
    # Differences of integers of 16 bits are exact in float32; the others can lie far from zero.
    x: np.ndarray = pixels.astype(np.float32 if pixels.dtype.itemsize <= 2 else np.float64)
    with np.errstate(over="ignore"):  # far outside, to be clipped
        return np.clip((x - low) / (high - low), 0, 1).astype(np.float32)


def full_range(pixels: np.ndarray) -> np.ndarray:
    """Over the whole range of an integer type; floats have to be in [0, 1] already."""
    import numpy as np

    if pixels.dtype.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):
            raise LureError(f"floats of unknown range ({low:.7g} to {high:.7g})", _GIVE_RANGE)
        return pixels.astype(np.float32)
    limits = np.iinfo(pixels.dtype)
    if limits.max <= 65535 and limits.min == 0:
        x: np.ndarray = np.divide(pixels, limits.max, dtype=np.float32, order="C")
        return x
    shifted = pixels.astype(np.float64) - limits.min
    return (shifted / (limits.max - limits.min)).astype(np.float32)
