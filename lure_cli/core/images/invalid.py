"""Invalid pixels: numbers of a thermal or scientific image that measure nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.pixels import Modality


_SAMPLE = 1 << 19
"""How many numbers are looked at to find those that are no measurement."""
_NODATA_LOW = (0.0, -999.0, -9999.0, -32768.0, -99999.0, -273.15)
_NODATA_HIGH = (9999.0, 32767.0, 65535.0, 99999.0)
"""Numbers that programs write where nothing was measured; the ends of the integer types count too."""
_ABSURD = 1e30
"""Floats from here on (such as the lowest float of 32 bits) measure nothing."""


class ValidNumbers(NamedTuple):
    """Which numbers are measurements: `least` to `most`, but for `nodata`; never NaN and infinite ones."""

    least: float = -math.inf
    most: float = math.inf
    nodata: float | None = None


ANY_NUMBER = ValidNumbers()


def as_stored(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    """The number as pixels of this type hold it; None if they cannot."""
    import numpy as np

    if nodata is None or not math.isfinite(nodata):
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(np.asarray(nodata).astype(dtype))
    limits = np.iinfo(dtype)
    return nodata if nodata == int(nodata) and limits.min <= nodata <= limits.max else None


def find_valid(
    pixels: Sequence[np.ndarray], modality: Modality, nodata: float | None, temperatures: bool = False
) -> ValidNumbers:
    """Which numbers of some images of one source and type, (H, W, C) each, are measurements; see `_isolated`."""
    import numpy as np

    size = sum(each.size for each in pixels)
    step = max(1, size // _SAMPLE) | 1
    sample = np.concatenate([each.ravel()[::step] for each in pixels]).astype(np.float64)
    if nodata is not None:
        sample = sample[sample != nodata]
    sample = sample[np.isfinite(sample)]
    sane = sample[np.abs(sample) < _ABSURD]
    least, most = -math.inf, math.inf
    if sane.size and sane.size < sample.size:
        least, most = -_ABSURD, _ABSURD
    if sane.size:
        below, above = _isolated(np.sort(sane), pixels, modality, temperatures)
        least, most = max(least, below), min(most, above)
    return ValidNumbers(least, most, nodata)


def _isolated(
    values: np.ndarray, pixels: Sequence[np.ndarray], modality: Modality, temperatures: bool
) -> tuple[float, float]:
    """Bounds that leave out what no scene holds: extremes far from all the rest, by the rest's own spread.

    The spread is 1.3 times what lies between the percentiles 10 and 90. At the lower end these are left out: a number
    that stands for "no data" (also 0) more than the spread below, with what interpolation at the edge of such an area
    has mixed; up to 2 % of dead pixels with a gap of twice the spread. At the upper end, where a fire saturates: a
    number that stands for "no data" three spreads above with next to nothing in between; up to 2 % of single pixels,
    hardly one beside another, with a gap of twice the spread. A bound lies in the middle of its gap, as the numbers may
    be a sample, or those of some frames.

    Args:
        values: finite, sorted, float64.
        pixels: the images they are from.
        modality: of visible images only numbers for "no data" are looked for; 0 is black anyway.
        temperatures: something cold may stand before an even background: dead are only single pixels, and mixed only
            those at the edge of an area of "no data".
    """
    import numpy as np

    integers = pixels[0].dtype.kind in "iu"
    ends = np.iinfo(pixels[0].dtype) if integers else None
    codes_low = set(_NODATA_LOW) | ({float(ends.min)} if ends else {float(np.float32(-273.15))})
    codes_high = {float(ends.max)} if ends else set()
    if modality == "vis":
        codes_low.discard(0.0)
    if modality == "ir" or not integers:
        codes_high |= set(_NODATA_HIGH)
    least, most = -math.inf, math.inf
    for _ in range(4):  # several such numbers may be there, one beyond the other
        changed = False
        low = values[0]
        if low in codes_low:
            count = int(np.searchsorted(values, low, "right"))
            rest = values[count:]
            bottom, spread = _spread(rest)
            if spread > 0 and bottom - low > spread:
                fence = bottom - spread
                between = int(np.searchsorted(rest, fence))
                cut = between if between <= count else 0
                if cut and temperatures:
                    cut = int(np.searchsorted(rest, _coldest_apart(pixels, low, fence)))
                least = float((rest[cut - 1] if cut else low) + rest[cut]) / 2
                values, changed = rest[cut:], True
        elif modality == "ir":
            few = max(2, values.size // 50)
            gaps = np.diff(values[: few + 1])
            at = int(np.argmax(gaps)) + 1 if gaps.size else 0
            rest = values[at:]
            bottom, spread = _spread(rest)
            if at and spread > 0 and gaps[at - 1] > 2 * spread:
                bound = float(values[at - 1] + rest[0]) / 2
                if not temperatures or _are_apart([each[..., 0] < bound for each in pixels]):
                    least, values, changed = bound, rest, True
        high = values[-1]
        rest = values[: int(np.searchsorted(values, high, "left"))]
        bottom, spread = _spread(rest)
        count, top = values.size - rest.size, bottom + spread
        if high in codes_high and spread > 0 and high - top > 3 * spread:
            between = rest.size - int(np.searchsorted(rest, (top + high) / 2))
            if between <= count // 10:
                most, values, changed = float(rest[-1] + high) / 2, rest, True
                continue
        if modality == "ir":
            few = max(2, values.size // 50)
            gaps = np.diff(values[-few - 1 :])
            rest = values[: values.size - few + int(np.argmax(gaps))] if gaps.size else values
            spread = _spread(rest)[1]
            if spread > 0 and gaps.max() > 2 * spread:
                bound = float(rest[-1] + values[rest.size]) / 2
                if _are_single([each[..., 0] > bound for each in pixels]):
                    most, values, changed = bound, rest, True
        if not changed:
            break
    return least, most


def _coldest_apart(pixels: Sequence[np.ndarray], low: float, fence: float) -> float:
    """The smallest number above `low` of pixels which lie further than two pixels from those of `low`, so that no
    interpolation has mixed it; at most `fence`."""
    from scipy.ndimage import binary_dilation

    for each in pixels:
        plane = each[..., 0]
        mixed = (plane > low) & (plane < fence)
        if (apart := mixed & ~binary_dilation(plane == low, iterations=2)).any():
            fence = float(plane[apart].min())
    return fence


def _spread(values: np.ndarray) -> tuple[float, float]:
    """Percentile 10 of sorted numbers and 1.3 times how far percentile 90 lies above it; no spread of few numbers."""
    if values.size < 16:
        return 0.0, 0.0
    low, high = values[values.size // 10], values[-1 - values.size // 10]
    return float(low), 1.3 * float(high - low)


def _are_single(masks: Sequence[np.ndarray]) -> bool:
    """Whether the pixels of some masks (H, W) are many (a thousandth), and apart."""
    return sum(int(mask.sum()) for mask in masks) >= 0.001 * sum(mask.size for mask in masks) and _are_apart(masks)


def _are_apart(masks: Sequence[np.ndarray]) -> bool:
    """Whether hardly one of the pixels of some masks (H, W) has another of them beside it."""
    import numpy as np

    count = beside = 0
    for mask in masks:
        touches = np.zeros_like(mask)
        for a, b in ((mask[1:], touches[:-1]), (mask[:-1], touches[1:])):
            b |= a
        for a, b in ((mask[:, 1:], touches[:, :-1]), (mask[:, :-1], touches[:, 1:])):
            b |= a
        count, beside = count + int(mask.sum()), beside + int((mask & touches).sum())
    return beside <= 0.1 * count


def invalid_pixels(pixels: np.ndarray, valid: ValidNumbers) -> np.ndarray | None:
    """(H, W), which pixels are invalid: of colours, those with all channels beyond the bounds, or one that is NaN;
    None if none can be."""
    import numpy as np

    masks = []
    if valid.nodata is not None:
        masks.append((pixels == np.asarray(valid.nodata).astype(pixels.dtype)).all(axis=-1))
    if valid.least > -math.inf:
        masks.append((pixels < valid.least).all(axis=-1))
    if valid.most < math.inf:
        masks.append((pixels > valid.most).all(axis=-1))
    if pixels.dtype.kind == "f":
        masks.append(~np.isfinite(pixels).all(axis=-1))
    mask = np.logical_or.reduce(masks) if masks else None
    return mask if mask is not None and mask.any() else None


def are_black(pixels: Sequence[np.ndarray], masks: Sequence[np.ndarray | None]) -> bool:
    """Whether all that is invalid is 0, which is black anyway."""
    return all(mask is None or not each[mask].any() for each, mask in zip(pixels, masks, strict=True))


def describe_invalid(pixels: Sequence[np.ndarray], masks: Sequence[np.ndarray | None]) -> str:
    """Which numbers are invalid: the one they all are, or from which to which, and NaN."""
    import numpy as np

    numbers = np.concatenate([each[mask].ravel() for each, mask in zip(pixels, masks, strict=True) if mask is not None])
    names = []
    if numbers.dtype.kind == "f":
        finite = np.isfinite(numbers)
        if np.isnan(numbers).any():
            names.append("NaN")
        if np.isinf(numbers).any():
            names.append("infinite")
        numbers = numbers[finite]
    if numbers.size:
        low, high = float(numbers.min()), float(numbers.max())
        names.append(f"{low:.7g}" if low == high else f"{low:.7g} to {high:.7g}")
    return ", ".join(names)
