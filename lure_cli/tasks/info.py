"""What is installed here: versions, devices, weights."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lure_cli import __version__
from lure_cli.errors import LureError
from lure_cli.tasks.weights import SHIPPED, TEXT, shipped_path, text_weights

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
    """`ok`, `differs`, `missing`, or `unreadable: ...`."""
    sha256: str = ""
    parameters: int = 0
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
        weights=(*(_weights_info(name) for name in SHIPPED), _text_info()),
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _weights_info(name: str) -> WeightsInfo:
    from lure_cli.core.checkpoint import load_model, sha256
    from lure_cli.core.model import parameter_count

    path = shipped_path(name)
    if path is None:
        return WeightsInfo(name, "", "missing")
    digest = sha256(path)
    state = "ok" if digest == SHIPPED[name].sha256 else "differs"
    try:
        model, _, provenance = load_model(path)
    except LureError as error:
        return WeightsInfo(name, str(path), f"unreadable: {error.message}", digest)
    return WeightsInfo(name, str(path), state, digest, parameter_count(model), asdict(provenance))


def _text_info() -> WeightsInfo:
    from lure_cli.core.language import Language

    try:
        path = text_weights()
        found = Language.load(path)
    except LureError as error:
        return WeightsInfo("lure-text", "", f"unreadable: {error.message}")
    return WeightsInfo("lure-text", str(path), "ok", TEXT.sha256, found.parameters, found.metadata["provenance"])
