"""The legend of a picture that is coloured by heat: its scale as a bar, with numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lure_cli.core.thermal.colouring import HeatScale, paint_heat
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

LEAST_HEIGHT = 60
"""Pixels; in less, numbers cannot be read."""
_GROUND, _INK, _GREY = 0.08, 0.94, 0.5
"""Grey levels: behind the legend, of its text, and of the bar where nothing is coloured."""
_BELOW = 0.08
"""Share of the bar that lies below the scale."""


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """The round numbers (multiples of 1, 2 or 5 times a power of ten) from low to high, at most `most` of them."""
    if most < 1:
        return []
    power = math.floor(math.log10((high - low) / most))
    for step in (factor * 10.0**exponent for exponent in (power, power + 1, power + 2) for factor in (1, 2, 5)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            digits = max(0, -math.floor(math.log10(step) + 1e-9))
            return [round(k * step, digits) + 0.0 for k in range(first, last + 1)]
    return []


def draw_legend(height: int, scale: HeatScale, colours: np.ndarray) -> np.ndarray:
    """The legend that stands beside a picture.

    Args:
        height: of the picture, from `LEAST_HEIGHT` on.
        scale, colours: as of `paint_heat`.

    Returns:
        float32 (height, W, 3) in [0, 1]: a bar that is coloured as a grey picture would be, from a little below the
        scale (where it stays grey) up; a mark and a number where colour begins and where the scale ends, `>` if there
        may be hotter pixels, and numbers at round degrees (or percent of the infrared's range) in between. W is even,
        and depends on nothing but the arguments.

    Raises:
        LureError: the picture is not high enough.
    """
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    if height < LEAST_HEIGHT:
        raise LureError(f"no legend fits into {height} pixels of height", "leave --legend out")
    size = max(10, round(height / 30))
    font = ImageFont.load_default(size)
    factor, unit = (1.0, "°C") if scale.unit == "celsius" else (100.0, "% of range")
    low, high = scale.low * factor, scale.high * factor
    top, bottom = round(1.9 * size), height - 1 - round(0.8 * size)
    length = bottom - top
    zero = bottom - _BELOW * length

    def row(value: float) -> float:
        return zero - (value - low) / (high - low) * (zero - top)

    ends = (low, high)
    digits = max(1, 1 - math.floor(math.log10(high - low)))
    labels = {row(v): f"{round(v, digits):g}" for v in ends}
    labels[row(high)] = ("> " if scale.open else "") + labels[row(high)]
    ticks = round_ticks(low, high, max(1, round(length / (2.2 * size))))
    near = 1.15 * size
    labels |= {row(t): f"{t:g}" for t in ticks if all(abs(row(t) - row(v)) >= near for v in ends)}
    bar, left, mark = max(8, size), round(0.6 * size), max(3, size // 3)
    texts = left + bar + 3 * mark
    wide = max(font.getlength(text) for text in labels.values())
    width = max(math.ceil(texts + wide), math.ceil(left + font.getlength(unit))) + left
    width += width % 2

    image = Image.new("L", (width, height), round(255 * _GROUND))
    draw, ink = ImageDraw.Draw(image), round(255 * _INK)
    draw.text((left, 0.25 * size), unit, fill=ink, font=font)
    for y, text in labels.items():
        draw.line((left + bar, round(y), left + bar + mark, round(y)), fill=ink, width=max(1, size // 12))
        draw.text((texts, y), text, fill=ink, font=font, anchor="lm")
    y = round(row(low))
    draw.polygon(
        [(left + bar + 1, y), (left + bar + 1 + 2 * mark, y - mark), (left + bar + 1 + 2 * mark, y + mark)], fill=ink
    )
    legend = np.repeat(np.asarray(image, np.float32)[..., None] / 255, 3, axis=2)
    rows = np.arange(top, bottom + 1)
    heat = scale.low + (zero - rows) / (zero - top) * (scale.high - scale.low)
    grey = np.full((rows.size, bar, 3), _GREY, np.float32)
    strip = np.repeat(heat[:, None], bar, axis=1).astype(np.float32)
    legend[top : bottom + 1, left : left + bar] = paint_heat(grey, strip, scale, colours)
    return legend
