"""What is asked for and what comes back: prompts, what is to be examined instead, strengths; a picture."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lure_cli.core.images.value_range import ValueRange
from lure_cli.core.pixels import MODALITY_NAMES, Modality
from lure_cli.core.text.vocabulary import NONE, Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.prompt import parse_prompt

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.engine.steady import Views
    from lure_cli.core.text.vocabulary import Finding

    Source = str | Path | np.ndarray
    """An image: a file, or an array (H, W), (H, W, 1) or (H, W, 3) of integers or floats; also a masked array (what is
    masked is invalid), a nested list, a tensor of that shape, or a PIL image."""
    Findings = Mapping[str, tuple[Finding, ...]]
    """What was found in the images that were examined, by modality (`vis`, `ir`)."""


AUTO = "auto"
"""The prompt that has the images examined and what is found in them taken for the prompt."""
STRONGEST = 2.0


@dataclass(frozen=True)
class Request:
    """What is wanted of a pair: the prompt, the modalities (`vis`, `ir`) to be examined instead, the strengths,
    and which numbers of either image are black and white (see `to_tensor` for None). In streams `steady` gives the
    views of the whole images that the model goes by, from their own; see `core/engine/steady.py`."""

    prompt: Prompt = field(default_factory=Prompt)
    auto: tuple[Modality, ...] = ()
    strength_ir: float = 1.0
    strength_vis: float = 1.0
    ir_range: ValueRange | None = None
    vis_range: ValueRange | None = None
    steady: Callable[[Views], Views] | None = None


class ModelOutput(NamedTuple):
    """A picture, float32 (H, W, 1) or (H, W, 3) in [0, 1]; the prompt that was used, what was found, further pictures
    of the size, by what they show, and what computed it, as `Fuser.computed_by`."""

    picture: np.ndarray
    prompt: Prompt
    findings: Findings
    extras: Mapping[str, np.ndarray] = {}
    computed_by: str = ""


class FuserLike(Protocol):
    """What jobs and streams ask of a model; see `Fuser`."""

    @property
    def degradations(self) -> tuple[str, ...]: ...

    def fuse_request(self, ir: Source, vis: Source, request: Request) -> ModelOutput: ...

    def restore_request(self, image: Source, modality: Modality, request: Request) -> ModelOutput: ...

    def provenance_request(self, ir: Source, vis: Source, request: Request) -> np.ndarray: ...

    def detect(self, image: Source, modality: Modality) -> tuple[Finding, ...]: ...


def request_of(
    prompt: str | None = None,
    prompt_ir: str | None = None,
    prompt_vis: str | None = None,
    strength: float = 1.0,
    strength_ir: float | None = None,
    strength_vis: float | None = None,
) -> Request:
    """As `parse_prompt`, and "auto" for any of the three; a strength of one image replaces that of both.

    Raises:
        LureError: a prompt that is not understood, or a strength outside 0 to 2.
    """
    texts: dict[Modality, str | None] = {"vis": prompt_vis, "ir": prompt_ir}
    auto = tuple(m for m, text in texts.items() if _is_auto(prompt if text is None else text))
    own = {m: NONE if m in auto else text for m, text in texts.items()}
    parsed = parse_prompt(None if _is_auto(prompt) else prompt, ir=own["ir"], vis=own["vis"])
    strengths = {m: strength if s is None else s for m, s in (("ir", strength_ir), ("vis", strength_vis))}
    for s in (strength, *strengths.values()):
        if not 0 <= s <= STRONGEST:
            raise LureError(
                f"strength {s:g} is outside 0 to {STRONGEST:g}", "0 restores nothing, 1 is the usual strength"
            )
    return Request(parsed, auto, strengths["ir"], strengths["vis"])


def request_of_one(modality: Modality, prompt: str | None = None, strength: float = 1.0) -> Request:
    """What is wanted of one image alone; as `request_of`, for a prompt that is about this image."""
    return request_of(**{f"prompt_{modality}": prompt}, strength=strength)  # type: ignore[arg-type]


def as_they_are(request: Request) -> Request:
    """The request, for arrays that are mapped to [0, 1] already."""
    return replace(request, ir_range=ValueRange("full"), vis_range=ValueRange("full", modality="vis"))


def with_findings(prompt: Prompt, findings: Findings, known: Collection[str]) -> Prompt:
    """The prompt, saying of the images that were examined what was found there and is among the `known` names."""
    return replace(
        prompt, **{m: tuple(f.degradation for f in each if f.degradation in known) for m, each in findings.items()}
    )


def left_out(findings: Findings, known: Collection[str]) -> list[str]:
    """What was found, but is not among the `known` names of some weights: one text an image, for a note."""
    unknown = {m: [f.degradation for f in findings.get(m, ()) if f.degradation not in known] for m in MODALITY_NAMES}
    return [
        f"{', '.join(names)} was found in the {MODALITY_NAMES[m]} image, but these weights were not trained on it"
        for m, names in unknown.items()
        if names
    ]


_INSTEAD = {"snow": "rain"}
"""What is like a degradation that not all weights know, and known to all."""


def check_known(prompt: Prompt, known: Collection[str], weights: str = "these weights") -> None:
    """LureError if a prompt speaks of what is not among the `known` names of weights."""
    for name in (*prompt.vis, *prompt.ir):
        if name not in known:
            instead = _INSTEAD.get(name)
            hint = (
                f"say '{instead}' instead, or give newer weights" if instead in known else f"known: {', '.join(known)}"
            )
            raise LureError(f"{weights} do not know '{name}': they were trained without it", hint)


def no_provenance(what: str) -> LureError:
    """Of weights that cannot be looked into."""
    return LureError(f"{what} do not show where a picture comes from", "use .safetensors weights and the backend torch")


def _is_auto(prompt: str | None) -> bool:
    return prompt is not None and prompt.strip().lower() == AUTO
