"""Temperatures: a file's plain numbers in degrees Celsius, and what is told of an image of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lure_cli.core.thermal.radiometry import UNITS, ZERO_CELSIUS
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

_SCALES = {"c": (0.0, 1.0), "k": (ZERO_CELSIUS, 1.0), "ck": (27315.0, 100.0)}
"""Of each unit: the number that is 0 degrees Celsius, and how far a degree reaches."""
_ABSOLUTE_ZERO = 0.005 - ZERO_CELSIUS
"""Degrees Celsius below which nothing is a temperature: absolute zero, as hundredths of a kelvin tell it."""
_PLAUSIBLE = (-200.0, 3500.0)
"""Degrees Celsius of the middle of a scene: from liquid nitrogen to what thermal cameras read at most."""


def to_celsius(numbers: np.ndarray, unit: str) -> np.ndarray:
    """Numbers of a unit of `UNITS` -> degrees Celsius, float32 of the same shape, exact to 0.0005 below 4000."""
    import numpy as np

    zero, degree = _SCALES[unit]
    celsius: np.ndarray = ((numbers.astype(np.float64) - zero) / degree).astype(np.float32)
    return celsius


def from_celsius(degrees: float, unit: str) -> float:
    """The number that a file in a unit of `UNITS` holds for a temperature."""
    zero, degree = _SCALES[unit]
    return degrees * degree + zero


def coldest_number(unit: str) -> float:
    """The number of a unit below which nothing is a temperature."""
    return from_celsius(_ABSOLUTE_ZERO, unit)


def check_type(pixels: np.ndarray) -> None:
    """LureError unless an image (H, W, C), as a file holds it, may hold temperatures: grey, of more than 8 bits."""
    hint = "give the camera's 16-bit or float file (TIFF, PNG), or leave --unit out"
    if pixels.dtype.itemsize == 1:
        raise LureError("8 bits a pixel cannot be temperatures", hint)
    if pixels.shape[2] > 1 and ((pixels[..., :1] != pixels) & (pixels == pixels)).any():  # NaN is not itself
        raise LureError("an image in colour cannot hold temperatures", hint)


def check_unit(middle: float, unit: str) -> None:
    """LureError if the middle one of a scene's numbers is no temperature that a camera sees in that unit."""
    celsius = (middle - _SCALES[unit][0]) / _SCALES[unit][1]
    if _PLAUSIBLE[0] <= celsius <= _PLAUSIBLE[1]:
        return
    others = [((middle - zero) / degree, name) for name, (zero, degree) in _SCALES.items()]
    likely, name = min(others, key=lambda other: abs(other[0]))
    fits = f"--unit {name} would make it {likely:.1f} °C"
    raise LureError(
        f"its numbers are no temperatures in {UNITS[unit]}: {middle:.7g}, the middle one, would be {celsius:.1f} °C",
        fits if _PLAUSIBLE[0] <= likely <= _PLAUSIBLE[1] else "look up in which unit the camera exports",
    )


@dataclass(frozen=True)
class Temperatures:
    """What is told of an image of temperatures: degrees Celsius, and (x, y) of the hottest and coldest pixel."""

    min: float
    mean: float
    max: float
    hottest: tuple[int, int]
    coldest: tuple[int, int]

    @classmethod
    def of(cls, celsius: np.ndarray, measured: np.ndarray | None = None) -> Temperatures | None:
        """Of an image (H, W); NaN, which was not measured, has no part. None if that is all of it.

        Args:
            celsius: the temperatures.
            measured: (H, W), if those are interpolated between the sensor's pixels: what the nearest of these measured.
                The extremes are its own, which interpolation flattens (a hot spot of one pixel by half and more), and
                of the pixels that show them the most extreme one is the place.
        """
        import numpy as np

        known = ~np.isnan(celsius)
        if not known.any():
            return None
        measured = celsius if measured is None else measured
        found = []
        for sign in (1, -1):
            most = np.where(known, sign * measured, np.float32(-np.inf))
            extreme = np.nanmax(most)
            place = int(np.argmax(np.where(most == extreme, sign * celsius, np.float32(-np.inf))))
            found.append((sign * float(extreme), divmod(place, celsius.shape[1])))
        (high, (top, left)), (low, (bottom, right)) = found
        mean = float(celsius[known].mean(dtype=np.float64))
        return cls(low, mean, high, (left, top), (right, bottom))

    def record(self) -> dict[str, Any]:
        """For JSON: degrees to a hundredth."""
        return {k: round(v, 2) if isinstance(v, float) else list(v) for k, v in asdict(self).items()}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Temperatures:
        """From what `asdict` gave, by way of JSON."""
        places = {k: (int(record[k][0]), int(record[k][1])) for k in ("hottest", "coldest")}
        return cls(record["min"], record["mean"], record["max"], **places)

    def __str__(self) -> str:
        """For a person: '24.1 to 83.5 °C, hottest at 120,88'."""
        return f"{self.min:.1f} to {self.max:.1f} °C, hottest at {self.hottest[0]},{self.hottest[1]}"
