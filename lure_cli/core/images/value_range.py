"""Value ranges: which numbers of a file are black and white."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from lure_cli.core.images.invalid import (
    ANY_NUMBER,
    ValidNumbers,
    are_black,
    as_stored,
    describe_invalid,
    find_valid,
    invalid_pixels,
)
from lure_cli.core.thermal.temperature import check_type, check_unit, coldest_number, from_celsius, to_celsius
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.pixels import Modality


_PERCENTILES = (0.5, 99.5)
_TOPS = (255, 1023, 4095, 16383, 65535)
"""What cameras of 8, 10, 12, 14 and 16 bits call white."""


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
    says means "no data", of `auto` and `percentile` over more than 8 bits also isolated extremes; see
    `lure_cli.core.images.invalid`.

    With a unit the numbers are temperatures: `values` are degrees Celsius, `auto` is `percentile`, there is no `full`,
    and invalid pixels (also those below absolute zero) are left out of every kind.

    Attributes:
        kind, low, high: see above.
        modality: `ir` or `vis`.
        valid: of a range that was resolved: the numbers that are measurements.
        unit: of the file's numbers, see `lure_cli.core.thermal.radiometry.UNITS`; `auto`: they are no temperatures.
    """

    kind: Literal["full", "auto", "percentile", "values"] = "auto"
    low: float = _PERCENTILES[0]
    high: float = _PERCENTILES[1]
    modality: Modality = "ir"
    valid: ValidNumbers = ANY_NUMBER
    unit: str = "auto"

    @property
    def of_temperatures(self) -> bool:
        """Whether the numbers are temperatures."""
        return self.unit != "auto"

    def in_numbers(self) -> ValueRange:
        """A range of temperatures -> that of the numbers which stand for them in the file."""
        if self.kind == "full":
            raise LureError("temperatures have no full range", "give --ir-range MIN,MAX in degrees Celsius, or auto")
        if self.kind == "values":
            return replace(self, low=from_celsius(self.low, self.unit), high=from_celsius(self.high, self.unit))
        return replace(self, kind="percentile")


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

    if wanted.of_temperatures:
        return False
    if wanted.kind == "auto" and wanted.modality == "ir" and pixels.dtype == "uint16":
        checked = pixels[pixels > 0] if (pixels == 0).any() else pixels  # a black border is no part of the scene
        low, high = np.percentile(checked, _PERCENTILES) if checked.size else np.array([0, white])
        return bool(high - low >= white / 4)
    return wanted.kind in ("full", "auto")


def resolve_range(
    pixels: Sequence[np.ndarray], wanted: ValueRange, nodata: float | None = None, trusted: bool = False
) -> tuple[ValueRange, str | None, int]:
    """Decide for some images of one source, all at once, which numbers become 0 and 1.

    Args:
        pixels: (H, W, C) as files hold them, of one type; usually one image, for a clip some of its frames.
        wanted: any kind.
        nodata: the number that means "no data", if the file names one.
        trusted: all finite numbers are measurements, be they isolated or not.

    Returns:
        A range of kind `full` or `values` in the file's numbers, which holds for every image of that source; where that
        is not the full range, or pixels are invalid, how the numbers are mapped, in words; how many pixels are invalid.

    Raises:
        LureError: no number is valid, or they lie too far apart; floats outside [0, 1] where they have to lie within;
            numbers that cannot be temperatures in the range's unit.
    """
    first = pixels[0]
    if wanted.of_temperatures:
        wanted = wanted.in_numbers()
        for each in pixels:
            check_type(each)
    if first.dtype == "uint8" and nodata is None and wanted.kind in ("full", "auto"):
        return ValueRange("full", modality=wanted.modality), None, 0
    nodata = as_stored(nodata, first.dtype)
    measured = wanted.of_temperatures or (wanted.kind in ("auto", "percentile") and first.dtype != "uint8")
    numbers = ValidNumbers(nodata=nodata)
    if measured and not trusted:
        numbers = find_valid(pixels, wanted.modality, nodata, wanted.of_temperatures)
    if wanted.of_temperatures:
        numbers = numbers._replace(least=max(numbers.least, coldest_number(wanted.unit)))
    masks = [invalid_pixels(each, numbers) for each in pixels]
    valid = [each if mask is None else each[~mask] for each, mask in zip(pixels, masks, strict=True)]
    valid = [each for each in valid if each.size]
    invalid = sum(int(mask.sum()) for mask in masks if mask is not None)
    if not valid:
        raise LureError(
            "all of its pixels are NaN, infinite or no data", "check that the file is the one that is meant"
        )
    if wanted.of_temperatures:
        check_unit(_middle(valid), wanted.unit)
    resolved, mapping = _map(valid, wanted)
    resolved = replace(resolved, valid=numbers, unit=wanted.unit)
    if not invalid or (resolved.kind == "full" and are_black(pixels, masks)):
        return resolved, mapping, 0
    total = sum(each.shape[0] * each.shape[1] for each in pixels)
    note = f"{invalid} of {total} pixels are invalid ({describe_invalid(pixels, masks)}) and black"
    return resolved, note if mapping is None else f"{mapping}; {note}", invalid


def _map(pixels: Sequence[np.ndarray], wanted: ValueRange) -> tuple[ValueRange, str | None]:
    """As `resolve_range`, of valid numbers alone."""
    import numpy as np

    first = pixels[0]
    floats = first.dtype.kind == "f"
    full = ValueRange("full", modality=wanted.modality)
    low, high = min(each.min() for each in pixels), max(each.max() for each in pixels)
    plain = (low >= 0 and high <= 1) if floats else first.dtype in ("uint8", "uint16")
    if floats and wanted.kind == "full" and not plain:
        raise LureError(f"floats of unknown range ({low:.7g} to {high:.7g})", give_range(wanted.modality))
    plain = plain and not wanted.of_temperatures
    if wanted.kind == "full" or (wanted.kind == "auto" and plain and first.dtype != "uint16"):
        return full, None
    least, most = float(low), float(high)
    kind = "floats" if floats else f"{8 * first.dtype.itemsize} {'signed ' * (first.dtype.kind == 'i')}bits"

    def named(*ends: float) -> str:
        if not wanted.of_temperatures:
            return f"{'..'.join(f'{v:.7g}' for v in ends)} of {kind}"
        return f"{'..'.join(f'{t:.2f}' for t in to_celsius(np.array(ends), wanted.unit))} °C"

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
        return ValueRange("values", low, high), f"{named(low)} -> 0.5 (all pixels are equal)"
    if not math.isfinite(high - low):
        raise LureError(f"numbers from {low:g} to {high:g} lie too far apart", give_range(wanted.modality))
    return ValueRange("values", low, high), f"{named(low, high)} -> 0..1 ({how})"


def _middle(pixels: Sequence[np.ndarray]) -> float:
    """The median of about a thousand numbers of each image."""
    import numpy as np

    return float(np.median(np.concatenate([each.ravel()[:: each.size // 1000 + 1] for each in pixels])))


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


def apply_range(pixels: np.ndarray, resolved: ValueRange) -> np.ndarray:
    """The numbers of an image -> float32 in [0, 1] of the same shape; invalid pixels become 0.

    Args:
        pixels: (H, W, C) as a file holds them.
        resolved: from `resolve_range`; where low and high are one number, lower ones become 0, it 0.5, higher ones 1.

    Raises:
        LureError: floats outside [0, 1] over the full range.
    """
    import numpy as np

    mask = invalid_pixels(pixels, resolved.valid)
    if mask is not None:
        pixels = np.where(mask[..., None], np.zeros(1, pixels.dtype), pixels)
    x = _apply(pixels, resolved)
    if mask is not None:
        x[mask] = 0
    return x


def temperatures(pixels: np.ndarray, resolved: ValueRange) -> np.ndarray:
    """The numbers of an image (H, W, C) -> degrees Celsius, float32 (H, W), NaN where they are invalid.

    Args:
        pixels: as a file holds them, its channels alike.
        resolved: from `resolve_range` of a range with a unit.
    """
    import numpy as np

    celsius = to_celsius(pixels[..., 0], resolved.unit)
    mask = invalid_pixels(pixels, resolved.valid)
    if mask is not None:
        celsius[mask] = np.nan
    return celsius


def _apply(pixels: np.ndarray, resolved: ValueRange) -> np.ndarray:
    """As `apply_range`, of numbers that are finite."""
    import numpy as np

    if resolved.kind == "full":
        return full_range(pixels, resolved.modality)
    low, high = resolved.low, resolved.high
    if low == high:
        return ((np.sign(pixels.astype(np.float64) - low) + 1) / 2).astype(np.float32)
    # Differences of integers of 16 bits are exact in float32; the others can lie far from zero.
    x: np.ndarray = pixels.astype(np.float32 if pixels.dtype.itemsize <= 2 else np.float64)
    with np.errstate(over="ignore"):  # far outside, to be clipped
        return np.clip((x - low) / (high - low), 0, 1).astype(np.float32)


def full_range(pixels: np.ndarray, modality: Modality = "ir") -> np.ndarray:
    """Over the whole range of an integer type; floats have to be in [0, 1] already (an error names the option of the
    modality)."""
    import numpy as np

    if pixels.dtype.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):
            raise LureError(f"floats of unknown range ({low:.7g} to {high:.7g})", give_range(modality))
        return pixels.astype(np.float32)
    limits = np.iinfo(pixels.dtype)
    if limits.max <= 65535 and limits.min == 0:
        x: np.ndarray = np.divide(pixels, limits.max, dtype=np.float32, order="C")
        return x
    shifted = pixels.astype(np.float64) - limits.min
    return (shifted / (limits.max - limits.min)).astype(np.float32)
