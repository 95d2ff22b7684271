"""The vocabulary: which degradations there are, and what a prompt says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NONE = "none"
"""Name of the pseudo prompt p0: nothing is wrong with this image."""

VIS_DEGRADATIONS = ("haze", "rain", "snow", "lowlight", "overexposure", "noise", "blur", "lowres")
IR_DEGRADATIONS = ("lowcontrast", "noise", "stripe", "blur", "lowres")
DEGRADATIONS: dict[str, tuple[str, ...]] = {"vis": VIS_DEGRADATIONS, "ir": IR_DEGRADATIONS}
FIRST = ("haze", "rain", "lowlight", "overexposure", "noise", "blur", "lowres", "lowcontrast", "stripe")
"""What weights know whose file does not say."""
ALL = (*FIRST, "snow")
"""Every name once, in the order of their text vectors: a new name stands at the end, so that no vector changes."""


def known_names(recorded: object) -> tuple[str, ...]:
    """What weights know whose record lists these names, in the order of `ALL`: those of them that this version has; an
    empty list stands for `FIRST`.

    Raises:
        TypeError: no list.
    """
    if not isinstance(recorded, (list, tuple)):
        raise TypeError(f"degradations: {recorded!r} is no list")
    return tuple(name for name in ALL if name in recorded) if recorded else FIRST


@dataclass(frozen=True)
class Prompt:
    """A prompt, understood: the degradations meant per modality (names as in `DEGRADATIONS`); empty means p0."""

    vis: tuple[str, ...] = ()
    ir: tuple[str, ...] = ()


Focus = Literal["pair", "vis", "ir"]
"""What a text is about: the pair, or one image alone (`--prompt-ir`, `--prompt-vis`)."""

SLIGHT, MEDIUM, HEAVY = 0.25, 0.5, 0.9
"""Severities: "slight", nothing said, "heavy"."""
SEVERITIES = (SLIGHT, MEDIUM, HEAVY)


@dataclass(frozen=True)
class Finding:
    """One degradation that a text speaks of, or that an image shows.

    Attributes:
        degradation: its name.
        score: how sure that is, in [0, 1]. severity: how strong it is, in [0, 1].
    """

    degradation: str
    score: float
    severity: float
