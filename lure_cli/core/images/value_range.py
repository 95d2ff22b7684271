"""Value ranges: which numbers of a file are black and white."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.pixels import Modality


_PERCENTILES = (0.5, 99.5)
_TOPS = (255, 1023, 4095, 16383, 65535)
"""What cameras of 8, 10, 12, 14 and 16 bits call white."""
_SAMPLE = 1 << 19
"""How many numbers are looked at to find those that are no measurement."""
_NODATA_LOW = (0.0, -999.0, -9999.0, -32768.0, -99999.0, -273.15)
_NODATA_HIGH = (9999.0, 32767.0, 65535.0, 99999.0)
"""Numbers that programs write where nothing was measured; the ends of the integer types count too."""
_ABSURD = 1e30
"""Floats from here on (such as the lowest float of 32 bits) measure nothing."""


@dataclass(frozen=True)
class ValueRange:
    """Which of a file's numbers become 0 and 1; what lies outside is clipped.

    Kinds:
        full: the whole range of the integer type (0..255, 0..65535, -32768..32767, ...); floats must lie in [0, 1].
        auto: as `full` for 8-bit files and for floats within [0, 1].
            Infrared: also for 16 bits (unsigned) if percentiles 0.5 and 99.5 lie at least a quarter of the range apart;
            else, as a file of a thermal camera with 14 bits would come out flat grey, as `percentile`.
            Visible: else from 0 to the white of the fewest bits (8, 10, 12, 14, 15 or 16, of integers also more) that
            hold the largest number; as `percentile` with negative numbers.
        percentile: the percentiles `low` and `high` of the image become 0 and 1; where they are one number, as in an
            almost empty image, its minimum and maximum do.
        values: the numbers `low` and `high` do, in the file's own unit (grey levels, degrees, ...).

    An image of one number alone, of which percentiles tell nothing, keeps its place in the full range, or becomes 0.5
    if it has none (floats outside [0, 1], signed and 32-bit integers).

    Invalid pixels become 0 and have no part in `auto` and `percentile`: those that are NaN or infinite or what the file
    says means "no data", of `auto` and `percentile` over more than 8 bits also isolated extremes; see `_isolated`.

    Attributes:
        kind, low, high: see above.
        modality: `ir` or `vis`.
        least, most: of a range that was resolved: numbers beyond them are invalid.
        nodata: the number that means "no data".
    """

    kind: Literal["full", "auto", "percentile", "values"] = "auto"
    low: float = _PERCENTILES[0]
    high: float = _PERCENTILES[1]
    modality: Modality = "ir"
    least: float = -math.inf
    most: float = math.inf
    nodata: float | None = None


def parse_range(text: str, modality: Modality = "ir") -> ValueRange:
    """`auto`, `full`, `percentile`, `percentile:LO,HI` or `MIN,MAX`, as --ir-range and --vis-range take it.

    Raises:
        LureError: none of these, or numbers in the wrong order.
    """
    word = text.strip().lower()
    if word == "full":
        return ValueRange("full", modality=modality)
    if word in ("auto", "percentile"):
        return ValueRange("auto" if word == "auto" else "percentile", modality=modality)
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
    return ValueRange("percentile" if percentile else "values", low, high, modality)


def fills(pixels: np.ndarray, wanted: ValueRange, white: int) -> bool:
    """Whether numbers, of which the file's depth allows `white` as the largest, are to be taken over that full range:
    by `full`, and by `auto` as `ValueRange` says of 16 bits."""
    import numpy as np

    if wanted.kind == "auto" and wanted.modality == "ir" and pixels.dtype == "uint16":
        checked = pixels[pixels > 0] if (pixels == 0).any() else pixels  # a black border is no part of the scene
        low, high = np.percentile(checked, _PERCENTILES) if checked.size else np.array([0, white])
        return bool(high - low >= white / 4)
    return wanted.kind in ("full", "auto")


def to_unit(pixels: np.ndarray, wanted: ValueRange, nodata: float | None = None) -> tuple[np.ndarray, str | None, int]:
    """The file's numbers -> float32 in [0, 1]; where that is not their full range, how; and how many pixels are
    invalid."""
    resolved, mapping, invalid = resolve_range([pixels], wanted, nodata)
    return apply_range(pixels, resolved), mapping, invalid


def resolve_range(
    pixels: Sequence[np.ndarray], wanted: ValueRange, nodata: float | None = None
) -> tuple[ValueRange, str | None, int]:
    """Decide for some images of one source, all at once, which numbers become 0 and 1.

    Args:
        pixels: (H, W, C) as files hold them, of one type; usually one image, for a clip some of its frames.
        wanted: any kind.
        nodata: the number that means "no data", if the file names one.

    Returns:
        A range of kind `full` or `values`, which holds for every image of that source; where that is not the full
        range, or pixels are invalid, how the numbers are mapped, in words; how many pixels are invalid.

    Raises:
        LureError: no number is valid, or they lie too far apart; floats outside [0, 1] where they have to lie within.
    """
    first = pixels[0]
    if first.dtype == "uint8" and nodata is None and wanted.kind in ("full", "auto"):
        return ValueRange("full"), None, 0
    nodata = _as_stored(nodata, first.dtype)
    checked = _bounds(pixels, wanted, nodata)
    masks = [_invalid(each, checked) for each in pixels]
    valid = [each if mask is None else each[~mask] for each, mask in zip(pixels, masks, strict=True)]
    valid = [each for each in valid if each.size]
    invalid = sum(int(mask.sum()) for mask in masks if mask is not None)
    if not valid:
        raise LureError(
            "all of its pixels are NaN, infinite or no data", "check that the file is the one that is meant"
        )
    resolved, mapping = _map(valid, wanted)
    resolved = replace(resolved, least=checked.least, most=checked.most, nodata=nodata)
    if not invalid or (resolved.kind == "full" and _are_black(pixels, masks)):
        return resolved, mapping, 0
    total = sum(each.shape[0] * each.shape[1] for each in pixels)
    note = f"{invalid} of {total} pixels are invalid ({_describe(pixels, masks)}) and black"
    return resolved, note if mapping is None else f"{mapping}; {note}", invalid


def _map(pixels: Sequence[np.ndarray], wanted: ValueRange) -> tuple[ValueRange, str | None]:
    """As `resolve_range`, of valid numbers alone."""
    import numpy as np

    first = pixels[0]
    floats = first.dtype.kind == "f"
    full = ValueRange("full")
    low, high = min(each.min() for each in pixels), max(each.max() for each in pixels)
    plain = (low >= 0 and high <= 1) if floats else first.dtype in ("uint8", "uint16")
    if floats and wanted.kind == "full" and not plain:
        raise LureError(f"floats of unknown range ({low:.7g} to {high:.7g})", give_range(wanted.modality))
    if wanted.kind == "full" or (wanted.kind == "auto" and plain and first.dtype != "uint16"):
        return full, None
    least, most = float(low), float(high)
    kind = "floats" if floats else f"{8 * first.dtype.itemsize} {'signed ' * (first.dtype.kind == 'i')}bits"
    if wanted.kind == "auto" and wanted.modality == "vis":
        top = _white(least, most, first.dtype)
        if top is not None and (most > 0 or not plain):
            if first.dtype.kind == "u" and top == np.iinfo(first.dtype).max:
                return full, None
            bits = "" if top == 1 else f"white of {int(top).bit_length()} bits, as "
            return ValueRange("values", 0, top), f"0..{top:.10g} of {kind} -> 0..1 ({bits}the largest is {most:.7g})"
        if plain:
            return full, None
    low, high, how = wanted.low, wanted.high, "as given"
    if wanted.kind != "values":
        percentiles = (wanted.low, wanted.high)
        how = f"percentiles {percentiles[0]:g} and {percentiles[1]:g}"
        together = first if len(pixels) == 1 else np.concatenate([each.ravel() for each in pixels])
        with np.errstate(all="ignore"):  # floats at the end of their range
            low, high = (float(v) for v in np.percentile(together, percentiles))
        if wanted.kind == "auto" and plain and high - low >= 65535 / 4:
            return full, None
        if low == high:
            low, high, how = least, most, "minimum and maximum"
    if low == high:
        if plain:
            return full, None
        return ValueRange("values", low, high), f"{low:.7g} of {kind} -> 0.5 (all pixels are equal)"
    if not math.isfinite(high - low):
        raise LureError(f"numbers from {low:g} to {high:g} lie too far apart", give_range(wanted.modality))
    return ValueRange("values", low, high), f"{low:.7g}..{high:.7g} of {kind} -> 0..1 ({how})"


def _white(least: float, most: float, dtype: np.dtype[Any]) -> float | None:
    """The number that is white in a visible image which reaches from `least` to `most`; None if there is no telling."""
    if dtype.kind == "f":  # resampling goes a little beyond black and white
        return next((top for top in (1, *_TOPS) if most <= 1.1 * top and least >= -0.1 * top), None)
    if least < 0:
        return None
    largest = 2 ** (8 * dtype.itemsize - (dtype.kind == "i")) - 1
    tops = (*_TOPS, *(2**n - 1 for n in range(17, 65)))
    return min(largest, next(top for top in tops if most <= top))


def give_range(modality: Modality) -> str:
    """The hint where the range has to be said."""
    return f"give --{modality}-range MIN,MAX in the file's own numbers, or --{modality}-range percentile"


def _as_stored(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    """The number as pixels of this type hold it; None if they cannot."""
    import numpy as np

    if nodata is None or not math.isfinite(nodata):
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(np.asarray(nodata).astype(dtype))
    limits = np.iinfo(dtype)
    return nodata if nodata == int(nodata) and limits.min <= nodata <= limits.max else None


def _bounds(pixels: Sequence[np.ndarray], wanted: ValueRange, nodata: float | None) -> ValueRange:
    """The bounds of the numbers that are valid, and nodata."""
    import numpy as np

    bare = ValueRange(nodata=nodata)
    if wanted.kind not in ("auto", "percentile") or pixels[0].dtype == "uint8":
        return bare
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
        below, above = _isolated(np.sort(sane), pixels, wanted.modality)
        least, most = max(least, below), min(most, above)
    return replace(bare, least=least, most=most)


def _isolated(values: np.ndarray, pixels: Sequence[np.ndarray], modality: Modality) -> tuple[float, float]:
    """Bounds that leave out what no scene holds: extremes far from all the rest, by the rest's own spread.

    The spread is 1.3 times what lies between the percentiles 10 and 90. At the lower end these are left out: a number
    that stands for "no data" (also 0) more than the spread below, with what interpolation at the edge of such an area
    has mixed; up to 2 % of dead pixels with a gap of twice the spread. At the upper end, where a fire saturates: a
    number that stands for "no data" three spreads above with next to nothing in between; up to 2 % of single pixels,
    hardly one beside another, with a gap of twice the spread.

    Args:
        values: finite, sorted, float64.
        pixels: the images they are from.
        modality: of visible images only numbers for "no data" are looked for; 0 is black anyway.
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
                least, values, changed = float(rest[cut]), rest[cut:], True
        elif modality == "ir":
            few = max(2, values.size // 50)
            gaps = np.diff(values[: few + 1])
            at = int(np.argmax(gaps)) + 1 if gaps.size else 0
            rest = values[at:]
            bottom, spread = _spread(rest)
            if at and spread > 0 and gaps[at - 1] > 2 * spread:
                least, values, changed = float(rest[0]), rest, True
        high = values[-1]
        rest = values[: int(np.searchsorted(values, high, "left"))]
        bottom, spread = _spread(rest)
        count, top = values.size - rest.size, bottom + spread
        if high in codes_high and spread > 0 and high - top > 3 * spread:
            between = rest.size - int(np.searchsorted(rest, (top + high) / 2))
            if between <= count // 10:
                most, values, changed = float(rest[-1]), rest, True
                continue
        if modality == "ir":
            few = max(2, values.size // 50)
            gaps = np.diff(values[-few - 1 :])
            rest = values[: values.size - few + int(np.argmax(gaps))] if gaps.size else values
            spread = _spread(rest)[1]
            if spread > 0 and gaps.max() > 2 * spread and _are_single(pixels, rest[-1]):
                most, values, changed = float(rest[-1]), rest, True
        if not changed:
            break
    return least, most


def _spread(values: np.ndarray) -> tuple[float, float]:
    """Percentile 10 of sorted numbers and 1.3 times how far percentile 90 lies above it; no spread of few numbers."""
    if values.size < 16:
        return 0.0, 0.0
    low, high = values[values.size // 10], values[-1 - values.size // 10]
    return float(low), 1.3 * float(high - low)


def _are_single(pixels: Sequence[np.ndarray], above: float) -> bool:
    """Whether the pixels above a number are many (a thousandth), and hardly one has another of them beside it."""
    import numpy as np

    count = beside = total = 0
    for each in pixels:
        mask = each[..., 0] > above
        touches = np.zeros_like(mask)
        for a, b in ((mask[1:], touches[:-1]), (mask[:-1], touches[1:])):
            b |= a
        for a, b in ((mask[:, 1:], touches[:, :-1]), (mask[:, :-1], touches[:, 1:])):
            b |= a
        count, beside, total = count + int(mask.sum()), beside + int((mask & touches).sum()), total + mask.size
    return count >= 0.001 * total and beside <= 0.1 * count


def _invalid(pixels: np.ndarray, checked: ValueRange) -> np.ndarray | None:
    """(H, W), which pixels are invalid: of colours, those with all channels beyond the bounds, or one that is NaN;
    None if none can be."""
    import numpy as np

    masks = []
    if checked.nodata is not None:
        masks.append((pixels == np.asarray(checked.nodata).astype(pixels.dtype)).all(axis=-1))
    if checked.least > -math.inf:
        masks.append((pixels < checked.least).all(axis=-1))
    if checked.most < math.inf:
        masks.append((pixels > checked.most).all(axis=-1))
    if pixels.dtype.kind == "f":
        masks.append(~np.isfinite(pixels).all(axis=-1))
    mask = np.logical_or.reduce(masks) if masks else None
    return mask if mask is not None and mask.any() else None


def _are_black(pixels: Sequence[np.ndarray], masks: Sequence[np.ndarray | None]) -> bool:
    """Whether all that is invalid is 0, which is black anyway."""
    return all(mask is None or not each[mask].any() for each, mask in zip(pixels, masks, strict=True))


def _describe(pixels: Sequence[np.ndarray], masks: Sequence[np.ndarray | None]) -> str:
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


def apply_range(pixels: np.ndarray, resolved: ValueRange) -> np.ndarray:
    """The numbers of an image -> float32 in [0, 1] of the same shape; invalid pixels become 0.

    Args:
        pixels: (H, W, C) as a file holds them.
        resolved: from `resolve_range`; where low and high are one number, lower ones become 0, it 0.5, higher ones 1.

    Raises:
        LureError: floats outside [0, 1] over the full range.
    """
    import numpy as np

    mask = _invalid(pixels, resolved)
    if mask is not None:
        pixels = np.where(mask[..., None], np.zeros(1, pixels.dtype), pixels)
    x = _apply(pixels, resolved)
    if mask is not None:
        x[mask] = 0
    return x


def _apply(pixels: np.ndarray, resolved: ValueRange) -> np.ndarray:
    """As `apply_range`, of numbers that are finite."""
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
            raise LureError(f"floats of unknown range ({low:.7g} to {high:.7g})", give_range("ir"))
        return pixels.astype(np.float32)
    limits = np.iinfo(pixels.dtype)
    if limits.max <= 65535 and limits.min == 0:
        x: np.ndarray = np.divide(pixels, limits.max, dtype=np.float32, order="C")
        return x
    shifted = pixels.astype(np.float64) - limits.min
    return (shifted / (limits.max - limits.min)).astype(np.float32)
