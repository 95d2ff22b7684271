"""What a weight file holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lure_cli.errors import LureError
from lure_cli.tasks.weights.find import PARTS, local_weights


@dataclass(frozen=True)
class WeightsInfo:
    """One weight file: where it is, whether its bytes are the recorded ones, and what its metadata says."""

    name: str
    path: str
    checksum: str
    """`ok`, `no record` (a file of your own), or what is wrong."""
    kind: str = ""
    """`model`, `text encoder` or `detector`."""
    sha256: str = ""
    size: int = 0
    """Of the file, in bytes."""
    parameters: int = 0
    """How many numbers it holds."""
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
    from lure_cli.core.model.lure import parameter_count
    from lure_cli.core.text.parser import PromptParser

    path, checksum = local_weights(weights)
    kind = PARTS.get(weights, "model")
    info = WeightsInfo(weights, str(path), checksum, kind, sha256(path), path.stat().st_size)
    if kind == "text encoder":
        parser = PromptParser.load(path)
        return replace(info, parameters=parser.parameters, provenance=parser.metadata["provenance"])
    if kind == "detector":
        detector = load_detector(path)
        values = sum(a.size for layers in detector.layers.values() for a in layers.values())
        return replace(info, parameters=values, provenance=dict(detector.provenance))
    model, encoder, provenance = load_model(path)
    record = asdict(provenance)
    info = replace(info, parameters=parameter_count(model), text_encoder=encoder.spec)
    return replace(info, degradations=record.pop("degradations"), config=asdict(model.cfg), provenance=record)


def try_weights(weights: str) -> WeightsInfo:
    """As `inspect_weights`; `checksum` says what is wrong."""
    try:
        return inspect_weights(weights)
    except LureError as error:
        return WeightsInfo(weights, "", error.message)
