"""Colour by heat of pairs: where the heat is taken from, and what of a pair changes with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lure_cli.core.images.radiometric import closed_maker_of
from lure_cli.core.thermal.colouring import HeatColours, Unit
from lure_cli.core.thermal.makers import closed_hint
from lure_cli.core.thermal.painter import HeatPainter
from lure_cli.errors import LureError
from lure_cli.tasks.inference.inputs import Note, PairInputs
from lure_cli.tasks.paths.pairing import Pair

if TYPE_CHECKING:
    import numpy as np


def colour_by_heat(
    picture: np.ndarray,
    heat: np.ndarray,
    palette: str = "iron",
    start: str | float = "90%",
    end: str | float | None = None,
    *,
    unit: Unit = "celsius",
    legend: bool = False,
) -> np.ndarray:
    """Colour what is hot in a fused picture, as --palette of `lure fuse` does.

    Args:
        picture: float (H, W, 3) in [0, 1].
        heat: (H, W), degrees Celsius, NaN where nothing was measured; with the unit `range` the infrared in [0, 1].
        palette: see `lure_cli.core.thermal.palettes.palette_colours`.
        start, end: from where on there is colour, and where the palette ends: degrees as a number, percentiles as
            "90%"; None: at the hottest.
        unit: that of the heat.
        legend: add the scale on the right.

    Returns:
        (H, W, 3) of the picture's type, wider with a legend; what is not hotter than `start` is as it was.

    Raises:
        LureError: arrays that do not fit each other, an unknown palette, limits that cannot be meant.
    """
    import numpy as np

    heat = np.asarray(heat, np.float32)
    if picture.ndim != 3 or picture.shape[2] != 3 or heat.shape != picture.shape[:2]:
        raise LureError(f"picture {picture.shape} and heat {heat.shape} do not fit", "give (H, W, 3) and (H, W)")
    colours = HeatColours.parse(palette, str(start), None if end is None else str(end), legend)
    assert colours is not None
    return HeatPainter(colours, [heat], unit).paint(picture, heat)


def heat_of(inputs: PairInputs) -> tuple[np.ndarray, Unit]:
    """The heat of a pair, (H, W), NaN where nothing was measured, and its unit: temperatures if they are known, else
    the infrared as it is fused."""
    import numpy as np

    from lure_cli.core.registration.alignment import inside

    if inputs.celsius is not None:
        return inputs.celsius, "celsius"
    x = inputs.ir[..., 0]
    return x if inputs.alignment is None else np.where(inside(inputs.alignment), x, np.float32(np.nan)), "range"


def with_painter(inputs: PairInputs, colours: HeatColours, pair: Pair) -> PairInputs:
    """The pair with what will colour its picture. Beside a legend the alpha channel becomes wider, and opaque
    there; a georeference, which counts from the upper left corner, still holds.

    Args:
        inputs: as it was read.
        colours: what is wanted.
        pair: its files, for the notes.

    Raises:
        LureError: as `HeatPainter`.
    """
    import numpy as np

    heat, unit = heat_of(inputs)
    try:
        painter = HeatPainter(colours, [heat], unit)
    except LureError as error:
        maker = closed_maker_of(pair.ir) if unit == "range" else None
        hint = error.hint if maker is None else f"give a percentile, as 90%; or {closed_hint(maker)}"
        raise LureError(f"{pair.ir}: {error.message}", hint) from error
    notes = (*inputs.notes, Note("palette", f"{pair.ir}: {painter}"))
    alpha = inputs.alpha
    if alpha is not None:
        alpha = np.pad(alpha, ((0, 0), (0, painter.wider), (0, 0)), constant_values=1)
    return replace(inputs, painter=painter, alpha=alpha, notes=notes)
