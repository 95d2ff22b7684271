"""How a thermal camera's numbers become temperatures: what the user says, where it is not what the file says."""

from __future__ import annotations

from dataclasses import dataclass

from lure_cli.errors import LureError

UNITS = {"auto": "", "c": "degrees Celsius", "k": "kelvin", "ck": "centikelvin (hundredths of a kelvin)"}
"""Units of the numbers of a file that is not radiometric by itself; `auto`: they are no temperatures."""
ZERO_CELSIUS = 273.15
"""Kelvin."""


@dataclass(frozen=True, kw_only=True)
class Radiometry:
    """How numbers are read as temperatures.

    unit: of files that hold plain numbers (TIFF, PNG): one of `UNITS`.
    emissivity, reflected, distance: of radiometric files, instead of what the file says: of the object (0 to 1), the
        reflected apparent temperature in degrees Celsius, metres to the object.
    """

    unit: str = "auto"
    emissivity: float | None = None
    reflected: float | None = None
    distance: float | None = None

    def check(self) -> None:
        """LureError on values that cannot be meant."""
        if self.unit not in UNITS:
            raise LureError(f"--unit {self.unit} is not known", "use c, k, ck (centikelvin) or auto")
        if self.emissivity is not None and not 0 < self.emissivity <= 1:
            raise LureError(f"--emissivity {self.emissivity:g} is not above 0 and up to 1", "0.95 is usual")
        if self.reflected is not None and not -ZERO_CELSIUS < self.reflected < 5000:
            raise LureError(f"--reflected {self.reflected:g} is no temperature", "give degrees Celsius, as 20")
        if self.distance is not None and not 0 <= self.distance < 1e6:
            raise LureError(f"--distance {self.distance:g} is no distance", "give metres, from 0 on")

    def refuse_overrides(self, why: str = "it is not radiometric: it holds no raw thermal data") -> None:
        """LureError, of what is not radiometric, if it is told what only a radiometric file can be told."""
        for name in ("emissivity", "reflected", "distance"):
            if getattr(self, name) is not None:
                raise LureError(
                    f"{why} that --{name} could apply to",
                    f"leave --{name} out; plain numbers with a --unit are taken as they are",
                )
