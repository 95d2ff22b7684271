"""What a weight file holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lure_cli.errors import LureError
from lure_cli.tasks.weights.find import DETECTOR, MODELS, PARTS, TEXT, local_weights

COUNTED = (480, 640)
"""Height and width of the pair whose arithmetic is told."""
UNSTATED = "not stated"
"""Terms that nobody wrote down."""


@dataclass(frozen=True)
class WeightsInfo:
    """One weight file: where it is, whether its bytes are the recorded ones, and what its metadata says."""

    name: str
    path: str
    checksum: str
    """`ok`, `no record` (a file of your own), or what is wrong."""
    kind: str = ""
    """`model`, `ONNX model`, `text encoder` or `detector`."""
    sha256: str = ""
    size: int = 0
    """Of the file, in bytes."""
    parameters: int = 0
    """How many numbers it holds; 0 for an ONNX file, whose graph holds more than the model."""
    gflop_plain: float = 0.0
    """Of a model: the arithmetic of a pair of `COUNTED` pixels, a multiply-add as two operations."""
    gflop_prompts: float = 0.0
    """The same with prompts for both images."""
    terms: str = ""
    """On what terms it may be used; `not stated` if neither the file nor the record says it."""
    text_encoder: str = ""
    degradations: tuple[str, ...] = ()
    """What a model was trained to restore, as prompts name it."""
    config: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def inspect_weights(weights: str) -> WeightsInfo:
    """All that is known of a weight file that is here; it is checked and loaded, and nothing is downloaded.

    Args:
        weights: what `find_weights` takes, or the name of another file that ships (`lure-text`, `lure-detect`).

    Raises:
        LureError: not here, not as recorded, damaged, foreign, or of a newer format.
    """
    from lure_cli.core.detector.detector import load_detector
    from lure_cli.core.files import sha256
    from lure_cli.core.model.checkpoint import load_model
    from lure_cli.core.model.cost import pair_gflop
    from lure_cli.core.model.lure import parameter_count
    from lure_cli.core.text.parser import PromptParser

    path, checksum = local_weights(weights)
    kind = "ONNX model" if path.suffix.lower() == ".onnx" else PARTS.get(weights, "model")
    info = WeightsInfo(weights, str(path), checksum, kind, sha256(path), path.stat().st_size, terms=_terms(weights))
    if kind == "text encoder":
        parser = PromptParser.load(path)
        return replace(info, parameters=parser.parameters, provenance=parser.metadata["provenance"])
    if kind == "detector":
        detector = load_detector(path)
        values = sum(a.size for layers in detector.layers.values() for a in layers.values())
        return replace(info, parameters=values, provenance=dict(detector.provenance))
    if kind == "ONNX model":
        from lure_cli.core.onnx.runtime import load_onnx

        _, table, provenance = load_onnx(path, "cpu")
        record = asdict(provenance)
        info = replace(info, text_encoder=table.spec, terms=provenance.licence or info.terms)
        return replace(info, degradations=record.pop("degradations"), provenance=record)
    model, encoder, provenance = load_model(path)
    plain, prompts = (round(g, 3) for g in pair_gflop(model, *COUNTED))
    info = replace(info, parameters=parameter_count(model), text_encoder=encoder.spec)
    info = replace(info, gflop_plain=plain, gflop_prompts=prompts, terms=provenance.licence or info.terms)
    record = asdict(provenance)
    return replace(info, degradations=record.pop("degradations"), config=asdict(model.cfg), provenance=record)


def try_weights(weights: str) -> WeightsInfo:
    """As `inspect_weights`; `checksum` says what is wrong."""
    try:
        return inspect_weights(weights)
    except LureError as error:
        return WeightsInfo(weights, "", error.message, terms=_terms(weights))


def _terms(weights: str) -> str:
    """The terms of weights that ship, as recorded."""
    known = MODELS | dict(zip(PARTS, (TEXT, DETECTOR), strict=True))
    return known[weights].terms if weights in known else UNSTATED
