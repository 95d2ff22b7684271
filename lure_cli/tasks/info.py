"""What is installed here: versions, devices, weights."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lure_cli.errors import LureError
from lure_cli.tasks.weights import PARTS, SHIPPED, local_weights
from lure_cli.version import __version__

_PACKAGES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "safetensors",
    "huggingface_hub",
    "imagecodecs",
    "pillow",
    "tifffile",
    "typer",
)


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
    text_encoder: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Info:
    """Answer of `lure info`."""

    lure: str
    python: str
    system: str
    packages: dict[str, str]
    devices: dict[str, str]
    threads: int
    weights: tuple[WeightsInfo, ...]


def collect_info() -> Info:
    """Look around; nothing is downloaded and no error is raised for what is missing."""
    import torch

    from lure_cli.core.devices import native_bf16

    cpu = torch.device("cpu")
    devices = {"cpu": f"{platform.machine()}, bfloat16 {'native' if native_bf16(cpu) else 'emulated'}"}
    for i in range(torch.cuda.device_count()):
        devices[f"cuda:{i}"] = torch.cuda.get_device_name(i)
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    return Info(
        lure=__version__,
        python=platform.python_version(),
        system=platform.platform(),
        packages={name: _version(name) for name in _PACKAGES},
        devices=devices,
        threads=torch.get_num_threads(),
        weights=tuple(try_weights(name) for name in (*SHIPPED, *PARTS)),
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


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
    from lure_cli.core.text.parser import Language

    path, checksum = local_weights(weights)
    kind = PARTS.get(weights, "model")
    made = WeightsInfo(weights, str(path), checksum, kind, sha256(path), path.stat().st_size)
    if kind == "text encoder":
        text = Language.load(path)
        return replace(made, parameters=text.parameters, provenance=text.metadata["provenance"])
    if kind == "detector":
        detector = load_detector(path)
        values = sum(a.size for layers in detector.layers.values() for a in layers.values())
        return replace(made, parameters=values, provenance=dict(detector.provenance))
    model, encoder, whence = load_model(path)
    made = replace(made, parameters=parameter_count(model), text_encoder=encoder.spec)
    return replace(made, config=asdict(model.cfg), provenance=asdict(whence))


def try_weights(weights: str) -> WeightsInfo:
    """As `inspect_weights`; what is wrong is told in `checksum`."""
    try:
        return inspect_weights(weights)
    except LureError as error:
        return WeightsInfo(weights, "", error.message)
