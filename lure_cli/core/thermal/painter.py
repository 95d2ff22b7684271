"""All that colours the pictures of one scale: a single one, or those of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lure_cli.core.thermal.colouring import HeatColours, Unit, paint_heat, steadied
from lure_cli.core.thermal.legend import draw_legend
from lure_cli.core.thermal.palettes import palette_colours

if TYPE_CHECKING:
    import numpy as np


class HeatPainter:
    """Colours pictures by heat, and adds the legend if that is wanted.

    Args:
        colours: what is wanted.
        heats, unit: as of `HeatColours.settle`.
        sampled: the heats are some of a clip, whose frames are painted one after another: their heat is steadied, so
            that what lies about the threshold does not flicker.

    Attributes:
        scale: what was settled.
        legend: float32 (H, W, 3); None: none is wanted.

    Raises:
        LureError: as `HeatColours.settle` and `draw_legend`.
    """

    def __init__(self, colours: HeatColours, heats: Sequence[np.ndarray], unit: Unit, *, sampled: bool = False) -> None:
        self.colours, self._table = colours, palette_colours(colours.palette)
        self.scale = colours.settle(heats, unit, sampled=sampled)
        self._clip = sampled
        self._before: np.ndarray | None = None
        self.legend = draw_legend(heats[0].shape[0], self.scale, self._table) if colours.legend else None

    @property
    def wider(self) -> int:
        """Pixels by which the legend makes pictures wider."""
        return 0 if self.legend is None else self.legend.shape[1]

    def paint(self, picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
        """Colour a picture; see `paint_heat`.

        Args:
            picture: float (H, W, 3) in [0, 1].
            heat: (H, W).

        Returns:
            (H, W + `wider`, 3), of the picture's type.
        """
        import numpy as np

        if self._clip:
            heat = heat if self._before is None else steadied(heat, self._before, self.scale.noise)
            self._before = heat
        painted = paint_heat(picture, heat, self.scale, self._table)
        return painted if self.legend is None else np.hstack([painted, self.legend.astype(painted.dtype)])

    def __str__(self) -> str:
        legend = "" if self.legend is None else f"; the legend makes the picture {self.wider} pixels wider"
        return f"{self.colours.palette} {self.scale}{legend}"

    def record(self) -> dict[str, Any]:
        """Ready for JSON: `name`, `from` and `to` in `unit` (`celsius`, or `range`: of the infrared's numbers, 0 to 1),
        and `legend`: the pixels that it adds."""
        return self.colours.record(self.scale) | {"legend": self.wider}
