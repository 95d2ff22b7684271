"""Palettes: the colours of a scale, from its lower end to its upper one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

PALETTES: dict[str, str] = {
    "iron": "04000f 24096b 75109a bb1a80 e5483a f78f14 fccb3c fffbe2",
    "whitehot": "0d0d0d ffffff",
    "blackhot": "f7f7f7 0d0d0d",
    "hotmetal": "0a0000 640c04 bd2a04 ef6a06 fbb62c fffbe0",
    "lava": "020f2b 0d4a70 5d3372 b3243f e85a1e fab132 fff6cc",
    "arctic": "07125a 2446c4 3d9bdd a2b6c2 dcb052 f8cf38 fff8c4",
    "rainbow": "33208f 1f62de 14b3cc 36bd4d c8d62c f8981d d4161c",
    # Of matplotlib (CC0).
    "inferno": "000004 0e092b 2d0b59 4f0d6c 6d186e 8d2369 ad305d c83f4b e15635 f2741c fb9606 fbbc21 f3e35a fcffa4",
    "magma": "000004 0d0a29 271258 491078 671b80 862781 a6317d c53c74 e34e65 f66c5c fc9065 feb67c fdda9c fcfdbf",
    "plasma": "0d0887 370499 5801a4 7701a8 920fa3 ac2694 c23c81 d45270 e4695e f1814d fa9b3d feb82c fad824 f0f921",
    "viridis": "440154 481c6e 453581 3d4d8a 34618d 2b748e 24878e 1f998a 25ac82 40bd72 67cc5c 98d83e cde11d fde725",
}
"""Palettes that need no other package: colours (sRGB) at equal steps of the scale."""
ALIASES = {"ironbow": "iron"}
STEPS = 1024
"""Colours of a table."""
_DARK = 0.35
"""Lightness (of Oklab) below which a palette that begins dark is cut off."""


def palette_colours(name: str) -> np.ndarray:
    """The colours of a palette, as they lie on a picture.

    Args:
        name: one of `PALETTES` or `ALIASES`, or a colormap of matplotlib, where that is installed.

    Returns:
        float32 (`STEPS`, 3), sRGB in [0, 1]. What lies in the first half of a palette that begins in black is left out
        up to a lightness of `_DARK`: what is hot shall not be darker than what it lies on.

    Raises:
        LureError: no such palette, or it is matplotlib's, which is not installed.
    """
    import numpy as np

    plain = name.lower().replace("-", "").replace("_", "")
    stops = PALETTES.get(ALIASES.get(plain, plain))
    x = _of_matplotlib(name) if stops is None else _of_stops(stops.split())
    lab = _to_oklab(x)
    half = len(lab) // 2
    begin = int(np.argmax(lab[:half, 0] >= _DARK))
    places = np.linspace(begin, len(lab) - 1, STEPS)
    mixed = np.stack([np.interp(places, np.arange(len(lab)), lab[:, i]) for i in range(3)], 1)
    return np.clip(_from_oklab(mixed), 0, 1).astype(np.float32)


def _of_stops(stops: list[str]) -> np.ndarray:
    """Colours at equal steps -> (N, 3), with the steps between them equal to the eye."""
    import numpy as np

    lab = _to_oklab(np.array([list(bytes.fromhex(stop)) for stop in stops]) / 255)
    places = np.linspace(0, len(stops) - 1, STEPS)
    return _from_oklab(np.stack([np.interp(places, np.arange(len(stops)), lab[:, i]) for i in range(3)], 1))


def _of_matplotlib(name: str) -> np.ndarray:
    """A colormap of matplotlib, (256, 3)."""
    import numpy as np

    hint = f"use one of {', '.join(PALETTES)}"
    try:
        from matplotlib import colormaps
    except ImportError as error:
        raise LureError(
            f"palette '{name}' is not known without matplotlib", f'{hint}; or pip install "lure-cli[plot]"'
        ) from error
    if name not in colormaps:
        raise LureError(f"palette '{name}' is not known", f"{hint}, or a colormap of matplotlib")
    colours: np.ndarray = np.asarray(colormaps[name](np.arange(256) / 255))[:, :3]
    return colours


# Oklab (B. Ottosson, 2020, https://bottosson.github.io/posts/oklab): steps of equal length look equally large.
_TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def _to_oklab(rgb: np.ndarray) -> np.ndarray:
    """sRGB (N, 3) in [0, 1] -> Oklab: lightness in [0, 1], green to red, blue to yellow."""
    import numpy as np

    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ np.array(_TO_LMS).T) @ np.array(_TO_LAB).T


def _from_oklab(lab: np.ndarray) -> np.ndarray:
    """Oklab (N, 3) -> sRGB in [0, 1]."""
    import numpy as np

    linear = (lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
