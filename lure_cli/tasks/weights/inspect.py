"""What a weight file holds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lure_cli.core.machine import torch_installed
from lure_cli.core.records import read_metadata
from lure_cli.core.text.vocabulary import known_names
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
    if not torch_installed():
        return _read_record(info, path)
    from lure_cli.core.model.checkpoint import load_model
    from lure_cli.core.model.cost import pair_gflop
    from lure_cli.core.model.lure import parameter_count

    model, encoder, provenance = load_model(path)
    plain, prompts = (round(g, 3) for g in pair_gflop(model, *COUNTED))
    info = replace(info, parameters=parameter_count(model), text_encoder=encoder.spec)
    info = replace(info, gflop_plain=plain, gflop_prompts=prompts, terms=provenance.licence or info.terms)
    record = asdict(provenance)
    return replace(info, degradations=record.pop("degradations"), config=asdict(model.cfg), provenance=record)


def _read_record(info: WeightsInfo, path: Path) -> WeightsInfo:
    """What a model's file says of itself, without the torch that would load it: its arithmetic is not counted."""
    from safetensors import safe_open

    from lure_cli.config import ModelConfig, Provenance, from_mapping

    metadata, hint = read_metadata(path), "get the file again"
    if metadata.get("kind") != "model":
        raise LureError(f"{path}: holds no fusion model", "give a file that `lure train` wrote as weights.safetensors")
    try:
        cfg = from_mapping(ModelConfig, metadata["config"], str(path))
        provenance = from_mapping(Provenance, metadata["provenance"], str(path))
        degradations = known_names(metadata.get("degradations", ()))
        with safe_open(path, "np") as file:
            sizes = {k: math.prod(file.get_slice(k).get_shape()) for k in file.keys()}  # noqa: SIM118 (no dict)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LureError(f"{path}: its record is damaged ({error})", hint) from error
    sizes.pop("pseudo_prompt", None)  # no parameter
    record = asdict(provenance) | {"degradations": degradations}
    info = replace(info, parameters=sum(sizes.values()), text_encoder=str(metadata.get("text_encoder", "")))
    info = replace(info, terms=provenance.licence or info.terms, degradations=record.pop("degradations"))
    return replace(info, config=asdict(cfg), provenance=record)


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
