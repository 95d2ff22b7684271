"""Colour by heat: what is hot in a picture is laid over with the colours of a palette."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lure_cli.core.pixels import LUMA
from lure_cli.core.thermal.palettes import palette_colours
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

Unit = Literal["celsius", "range"]
"""What is known of heat: degrees Celsius, or only how the infrared's numbers lie within its range, [0, 1]."""
_LEAST: dict[str, float] = {"celsius": 1.0, "range": 0.02}
"""The shortest scale that is settled by content: over less, noise would run through all colours."""
ONSET = 0.2
"""Share of the scale, from its lower end, over which the colour comes in."""
_NOISES = 6.0
"""Standard deviations of the infrared's noise that this has to hold at least."""
_LEAST_NOISE = 0.005
"""Share of the scale below which nothing is seen: coding leaves that much where it leaves no noise."""
_NEW = 0.2
"""Share of a frame in the heat that is steadied over time, where nothing but noise changes."""
_DETAIL = 0.5
"""How much of the picture's fine luma is seen in the colours."""


@dataclass(frozen=True)
class HeatScale:
    """The heat at either end of a palette, `low` < `high`, and `onset`: over how much of it, from `low` on, the colour
    comes in. What is hotter than `high` has the last colour; `open`: there may be such pixels. `hottest`: of what
    it was settled on; `noise`: standard deviation of what is noise."""

    low: float
    high: float
    unit: Unit
    onset: float
    open: bool = False
    hottest: float = math.inf
    noise: float = 0.0

    def __str__(self) -> str:
        factor, digits, unit = (1, 1, "°C") if self.unit == "celsius" else (100, 0, "% of the infrared's range")
        low, high, hottest = (f"{factor * heat:.{digits}f}" for heat in (self.low, self.high, self.hottest))
        nothing = "" if self.hottest > self.low else f"; nothing is that hot (at most {hottest})"
        return f"from {low} to {high} {unit}{nothing}"


@dataclass(frozen=True)
class Limit:
    """An end of the scale as the user names it: degrees Celsius, or a percentile of the heat in the picture."""

    value: float
    percentile: bool

    @classmethod
    def parse(cls, text: str, option: str) -> Limit:
        """`30` or `90%`; LureError, which names the option, if it is neither."""
        word = text.strip()
        percentile = word.endswith("%")
        try:
            value = float(word.removesuffix("%"))
        except ValueError:
            value = math.nan
        if not (0 <= value <= 100 if percentile else math.isfinite(value)):
            raise LureError(
                f"{option} {text} is not understood", "give degrees Celsius, as 30, or a percentile, as 90%"
            )
        return cls(value, percentile)

    def __str__(self) -> str:
        return f"{self.value:g}{'%' if self.percentile else ''}"

    def of(self, heat: np.ndarray) -> float:
        """The heat that it means, in that of finite values."""
        import numpy as np

        return float(np.percentile(heat, self.value)) if self.percentile else self.value


@dataclass(frozen=True, kw_only=True)
class HeatColours:
    """How a picture is coloured by heat.

    palette: see `lure_cli.core.thermal.palettes.palette_colours`.
    start: from where on there is colour; hotter than that is hot.
    end: where the palette ends; None: at the hottest.
    legend: add the scale on the right.
    """

    palette: str
    start: Limit = Limit(90, True)
    end: Limit | None = None
    legend: bool = False

    @classmethod
    def parse(cls, palette: str | None, start: str | None, end: str | None, legend: bool) -> HeatColours | None:
        """From what --palette, --palette-from, --palette-to and --legend say; None without a palette.

        Raises:
            LureError: the others without a palette; an unknown palette; limits that are not understood or out of order.
        """
        if palette is None:
            if start is not None or end is not None or legend:
                raise LureError(
                    "--palette-from, --palette-to and --legend need --palette", "name the colours, as --palette iron"
                )
            return None
        colours = cls(
            palette=palette,
            start=cls.start if start is None else Limit.parse(start, "--palette-from"),
            end=None if end is None else Limit.parse(end, "--palette-to"),
            legend=legend,
        )
        first, last = colours.start, colours.end
        if last is not None and last.percentile == first.percentile and last.value <= first.value:
            raise LureError(f"--palette-to {last} is not above --palette-from {first}", "swap them")
        palette_colours(palette)
        return colours

    def settle(self, heats: Sequence[np.ndarray], unit: Unit, *, sampled: bool = False) -> HeatScale:
        """The scale of a picture, or of a clip by some of its frames.

        Args:
            heats: (H, W) each, NaN where nothing was measured.
            unit: theirs.
            sampled: there is more than these.

        Raises:
            LureError: degrees where the unit is another, nothing was measured, or the ends come out in the wrong order.
        """
        import numpy as np

        for option, limit in (("from", self.start), ("to", self.end)):
            if unit != "celsius" and limit is not None and not limit.percentile:
                raise LureError(
                    f"--palette-{option} {limit} means degrees, but its temperatures are not known",
                    "give a percentile, as 90%; or say by --unit what the numbers of a 16-bit or float file are",
                )
        values = np.concatenate([heat[np.isfinite(heat)] for heat in heats])
        if not values.size:
            raise LureError("no pixel has a temperature", "leave --palette out")
        least, coolest, hottest = _LEAST[unit], float(values.min()), float(values.max())
        low = self.start.of(values)
        if self.start.percentile and self.end is None:
            low = max(coolest, min(low, hottest - least))  # where much is at the hottest, as of a saturated sensor
        high = max(hottest, low + least) if self.end is None else self.end.of(values)
        if high <= low:
            raise LureError(
                f"--palette-to {self.end} ({high:.4g}) is not above --palette-from {self.start} ({low:.4g})",
                "leave --palette-to out: the scale then ends at the hottest",
            )
        noise = max(_LEAST_NOISE * (high - low), *(noise_of(heat) for heat in heats))
        onset = min(max(ONSET * (high - low), _NOISES * noise), (high - low) / 2)
        more = hottest > high or (sampled and not (unit == "range" and high >= 1))
        return HeatScale(low, high, unit, onset, open=more, hottest=hottest, noise=noise)

    def record(self, scale: HeatScale) -> dict[str, Any]:
        """Ready for JSON."""
        return {"name": self.palette, "from": scale.low, "to": scale.high, "unit": scale.unit}


def noise_of(heat: np.ndarray) -> float:
    """Standard deviation of the noise of (H, W), in its unit: the median of a mask that takes out what is flat or
    slopes (J. Immerkaer, 1996); 0 of images too small for it."""
    import numpy as np

    if min(heat.shape) < 3:
        return 0.0
    x = heat.astype(np.float64)
    d = x[:-2] - 2 * x[1:-1] + x[2:]
    d = np.abs(d[:, :-2] - 2 * d[:, 1:-1] + d[:, 2:])
    d = d[np.isfinite(d)]
    return float(np.median(d)) / (0.6745 * 6) if d.size else 0.0


def steadied(heat: np.ndarray, before: np.ndarray, noise: float) -> np.ndarray:
    """The heat of a frame of a clip without the noise that changes from frame to frame.

    Args:
        heat: (H, W), NaN where nothing was measured.
        before: what came out for the frame before.
        noise: standard deviation; changes of less than as much as the colour takes to come in are taken for it, and are
            followed slowly; larger ones at once.

    Returns:
        (H, W)
    """
    import numpy as np

    change = heat - before
    part = np.minimum(np.abs(change) / np.float32(_NOISES * noise), 1)
    mixed = before + (_NEW + (1 - _NEW) * part * part) * change
    return np.where(np.isfinite(mixed), mixed, heat).astype(np.float32)


def opacity(above: np.ndarray, onset: float) -> np.ndarray:
    """Of the colour, 0 to 1: smoothly over `onset`, where heat lies `above` the lower end of the scale."""
    import numpy as np

    rise = np.clip(above / np.float32(onset), 0, 1)
    part: np.ndarray = rise * rise * (3 - 2 * rise)
    return part


def paint_heat(picture: np.ndarray, heat: np.ndarray, scale: HeatScale, colours: np.ndarray) -> np.ndarray:
    """Colour what is hot.

    Args:
        picture: float (H, W, 3) in [0, 1].
        heat: (H, W) in the scale's unit, NaN where nothing was measured.
        scale: see there.
        colours: (N, 3) in [0, 1], of the scale from end to end.

    Returns:
        (H, W, 3) in [0, 1]. Pixels that are not hotter than `scale.low`, or without a measurement, are as they were to
        the last bit. From there on colour comes in smoothly (as `scale.onset` says). Its mean, over a neighbourhood, is
        that of the scale; the fine luma of the picture is added, so that edges and texture are still seen.
    """
    import numpy as np

    place = (heat - np.float32(scale.low)) / np.float32(scale.high - scale.low)
    hot = place > 0  # False of NaN
    if not hot.any():
        return picture
    rows, columns = np.flatnonzero(hot.any(axis=1)), np.flatnonzero(hot.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    hot, place, part = hot[box], np.where(hot, place, 0)[box], picture[box]
    alpha = opacity(place * np.float32(scale.high - scale.low), scale.onset)[..., None]
    colour = colours[np.rint(np.minimum(place, 1) * (len(colours) - 1)).astype(int)]
    colour = np.clip(colour + _DETAIL * _fine_luma(part, alpha[..., 0], max(picture.shape[:2]))[..., None], 0, 1)
    mixed = part + alpha * (colour - part)
    result = picture.copy()
    result[box] = np.where(hot[..., None], mixed, part).astype(picture.dtype)
    return result


def _fine_luma(x: np.ndarray, weight: np.ndarray, side: int) -> np.ndarray:
    """Luma (H, W) of (H, W, 3) less its mean over a neighbourhood, of which each pixel counts as `weight` (H, W) says;
    `side` of the whole picture sets how far that goes."""
    import numpy as np
    from scipy.ndimage import uniform_filter

    luma = x @ np.array(LUMA, x.dtype)
    size = max(3, side // 40) | 1

    def mean(plane: np.ndarray) -> np.ndarray:
        smoothed: np.ndarray = uniform_filter(uniform_filter(plane, size, mode="constant"), size, mode="constant")
        return smoothed

    return luma - mean(luma * weight) / np.maximum(mean(weight), 1e-6)
