"""What is installed here: versions, devices, weights."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from lure_cli.tasks.weights.find import PARTS, SHIPPED
from lure_cli.tasks.weights.inspect import WeightsInfo, try_weights
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
