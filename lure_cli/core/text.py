"""Text: from a prompt to one condition per modality.

Two steps, kept apart: `parse_prompt` understands which degradations a person means in which image, a `TextEncoder`
turns that into unit vectors. The vocabulary is closed: a prompt with a word that it does not know is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from lure_cli.config import nearest
from lure_cli.errors import LureError

if TYPE_CHECKING:
    from torch import Tensor

NONE = "none"
"""Name of the pseudo prompt p0: nothing is wrong with this image."""

VIS_DEGRADATIONS = ("haze", "rain", "lowlight", "overexposure", "noise", "blur", "lowres")
IR_DEGRADATIONS = ("lowcontrast", "noise", "stripe", "blur", "lowres")
DEGRADATIONS: dict[str, tuple[str, ...]] = {"vis": VIS_DEGRADATIONS, "ir": IR_DEGRADATIONS}
_ALL = tuple(dict.fromkeys((*VIS_DEGRADATIONS, *IR_DEGRADATIONS)))

ALIASES: dict[str, tuple[str, ...]] = {
    "haze": ("haze", "hazy", "fog", "foggy", "mist", "misty", "smog", "dehaze", "defog"),
    "rain": ("rain", "rainy", "rain streaks", "raindrops", "derain"),
    "lowlight": (
        *("lowlight", "low light", "low lighting", "dark", "darkness", "night", "underexposed", "underexposure"),
        *("under exposed", "under exposure", "dim", "poor lighting"),
    ),
    "overexposure": (
        *("overexposure", "overexposed", "over exposure", "over exposed", "too bright", "overbright", "glare"),
    ),
    "noise": ("noise", "noisy", "grain", "grainy", "denoise"),
    "blur": ("blur", "blurry", "blurred", "out of focus", "defocus", "unsharp", "deblur"),
    "lowres": (*("lowres", "low res", "low resolution", "lowresolution", "pixelated", "upscaled", "super resolution"),),
    "lowcontrast": ("lowcontrast", "low contrast", "flat", "poor contrast"),
    "stripe": ("stripe", "stripes", "striped", "stripe noise", "striping", "banding", "column noise", "destripe"),
    NONE: ("none", "clean", "no degradation", "nothing", "pseudo prompt"),
}
"""What a person may write for each name."""

_MODALITY_WORDS = {
    **dict.fromkeys(("visible", "vis", "vi", "rgb", "color", "colour"), "vis"),
    **dict.fromkeys(("infrared", "ir", "thermal", "tir"), "ir"),
}
_FILLER = frozenset(
    "a an the in on of is are this that there with image images picture pictures source sources photo frame "
    "degradation degradations degraded suffers from has have scene camera fusion task for and it to please remove "
    "restore fix both".split()
)
_PHRASES = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
_LONGEST = max(len(p.split()) for p in _PHRASES)


@dataclass(frozen=True)
class Prompt:
    """A prompt, understood: the degradations meant per modality (names as in `DEGRADATIONS`); empty means p0."""

    vis: tuple[str, ...] = ()
    ir: tuple[str, ...] = ()


@dataclass
class _Clause:
    """A part of a sentence between commas and 'and'."""

    names: list[str] = field(default_factory=list)
    modality: str | None = None
    joined: bool = False  # by "and" to the clause after it


def parse_prompt(prompt: str | None = None, ir: str | None = None, vis: str | None = None) -> Prompt:
    """Understand what a user wrote.

    Args:
        prompt: about the pair; degradations go to the image named in the same clause, else to the only modality that
            knows them, else (noise, blur, low resolution) to both.
        ir, vis: about that image alone; each replaces what `prompt` says about it.

    Raises:
        LureError: a word outside the vocabulary, or a degradation that the named modality does not know. It is
            refused, never replaced by a guess.
    """
    found: dict[str, list[str]] = {"vis": [], "ir": []}
    if prompt is not None:
        _assign(_clauses(prompt), prompt, found)
    for modality, text in (("ir", ir), ("vis", vis)):
        if text is None:
            continue
        found[modality] = []
        clauses = _clauses(text)
        for clause in clauses:
            if clause.modality not in (None, modality):
                raise LureError(f"prompt '{text}' speaks of the other image", "use --prompt for both images")
            clause.modality = modality
        _assign(clauses, text, found)
    return Prompt(*(tuple(n for n in DEGRADATIONS[m] if n in found[m]) for m in ("vis", "ir")))


def _clauses(text: str) -> list[_Clause]:
    """Split a text into clauses and look its words up, longest phrase first."""
    words = re.findall(r"[a-z0-9]+|[,;.]", text.lower().replace("'", ""))
    clauses, i = [_Clause()], 0
    while i < len(words):
        for n in range(min(_LONGEST, len(words) - i), 0, -1):
            name = _PHRASES.get(" ".join(words[i : i + n]))
            if name is not None:
                clauses[-1].names.append(name)
                i += n
                break
        else:
            word = words[i]
            if word in ",;." or word == "and":
                if clauses[-1].names or clauses[-1].modality:
                    clauses[-1].joined = word == "and"
                    clauses.append(_Clause())
            elif word in _MODALITY_WORDS:
                modality = _MODALITY_WORDS[word]
                clause = clauses[-1]
                if clause.modality not in (None, modality):  # "infrared and visible" without degradations between
                    raise LureError(
                        f"prompt '{text}': one clause names both images",
                        "separate them, for example 'haze in the visible image and stripes in the infrared image'",
                    )
                clause.modality = modality
            elif word not in _FILLER:
                raise LureError(
                    f"prompt '{text}': the word '{word}' is not known",
                    f"nearest known: {nearest(word, [a for a in _PHRASES if a not in ALIASES[NONE]])}",
                )
            i += 1
    if not any(c.names for c in clauses):
        raise LureError(f"prompt '{text}' names no degradation", f"known: {', '.join((*_ALL, NONE))}")
    return clauses


def _assign(clauses: list[_Clause], text: str, found: dict[str, list[str]]) -> None:
    """Give each clause's degradations to a modality."""
    for i, clause in enumerate(clauses):
        modality = clause.modality
        for name in clause.names:
            if name == NONE:
                continue
            homes = [m for m in ("vis", "ir") if name in DEGRADATIONS[m]]
            if modality is None and len(homes) == 2 and clause.joined and clauses[i + 1].modality:
                homes = [str(clauses[i + 1].modality)]  # "noise and blur in the infrared image"
            elif modality is not None and modality not in homes:
                raise LureError(
                    f"prompt '{text}': '{name}' is not known for the {'infrared' if modality == 'ir' else 'visible'}"
                    " image",
                    f"known there: {', '.join(DEGRADATIONS[modality])}",
                )
            elif modality is not None:
                homes = [modality]
            for m in homes:
                found[m].append(name)


class TextEncoder(Protocol):
    """Turns degradations into text vectors; frozen."""

    dim: int
    spec: str
    """What the checkpoint records so that the same encoder can be built again."""

    def encode(self, names: Sequence[Sequence[str]]) -> Tensor:
        """One sequence of degradation names an image (empty: p0) -> unit vectors (B, D), float32."""
        ...


class VocabularyEncoder:
    """One fixed unit vector a name, mutually orthogonal (rows of a Hadamard matrix); several names: their unit sum."""

    def __init__(self, dim: int = 32) -> None:
        import torch

        h = torch.ones(1, 1)
        while h.shape[0] < dim:
            h = torch.cat((torch.cat((h, h), 1), torch.cat((h, -h), 1)))  # Sylvester's construction
        if h.shape[0] != dim or dim <= len(_ALL) + 1:
            raise ValueError(f"dim must be a power of two above {len(_ALL) + 1}, not {dim}")
        self.dim = dim
        self.spec = "vocabulary"
        self._vectors = {name: h[i + 1] / dim**0.5 for i, name in enumerate((NONE, *_ALL))}

    def encode(self, names: Sequence[Sequence[str]]) -> Tensor:
        """See `TextEncoder.encode`. KeyError on a name outside the vocabulary."""
        import torch

        rows = [torch.stack([self._vectors[n] for n in (each or (NONE,))]).sum(0) for each in names]
        return torch.nn.functional.normalize(torch.stack(rows), dim=1)


def build_text_encoder(spec: str, dim: int) -> TextEncoder:
    """The encoder that a checkpoint's record names."""
    if spec != "vocabulary":
        raise LureError(f"text encoder '{spec}' is not known to this version", "upgrade lure-cli")
    return VocabularyEncoder(dim)
