"""What is installed here: versions, devices, weights; and what image files hold."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from lure_cli.core.cpu import thread_count
from lure_cli.core.images.formats import JPEG, identify
from lure_cli.core.images.guards import open_image
from lure_cli.core.images.header import read_header
from lure_cli.core.images.picture import read_raw
from lure_cli.core.images.radiometric import read_thermogram
from lure_cli.core.thermal.makers import closed_maker, closed_note
from lure_cli.errors import LureError
from lure_cli.tasks.weights.find import MODELS, PARTS
from lure_cli.tasks.weights.inspect import WeightsInfo, try_weights
from lure_cli.version import __version__

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.thermal.flir import Thermogram

_PACKAGES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "onnxruntime",
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
    devices, threads = _devices()
    return Info(
        lure=__version__,
        python=platform.python_version(),
        system=platform.platform(),
        packages={name: _version(name) for name in _PACKAGES},
        devices=devices,
        threads=threads,
        weights=tuple(try_weights(name) for name in (*MODELS, *PARTS)),
    )


def _devices() -> tuple[dict[str, str], int]:
    """What can compute, and how many threads of the CPU do."""
    try:
        import torch
    except ModuleNotFoundError:
        return {"cpu": f"{platform.machine()}, by onnxruntime alone"}, thread_count()
    from lure_cli.core.devices import native_bf16

    cpu = torch.device("cpu")
    devices = {"cpu": f"{platform.machine()}, bfloat16 {'native' if native_bf16(cpu) else 'emulated'}"}
    for i in range(torch.cuda.device_count()):
        devices[f"cuda:{i}"] = torch.cuda.get_device_name(i)
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    return devices, torch.get_num_threads()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@dataclass(frozen=True)
class Radiometric:
    """What a radiometric file says of its picture; numbers that are not finite are None.

    make, model, date: of the camera and the picture; empty if the file does not say.
    emissivity, humidity: 0 to 1; reflected, atmosphere: degrees Celsius; distance: metres.
    photo: (width, height) of the photo inside; None if there is none.
    ratio, offset: where the infrared lies in it: how much wider the photo sees, and by how many of its pixels (x, y)
        the infrared's centre lies beside its own; None if the file does not say.
    """

    make: str
    model: str
    date: str
    emissivity: float | None
    reflected: float | None
    distance: float | None
    atmosphere: float | None
    humidity: float | None
    photo: tuple[int, int] | None
    ratio: float | None
    offset: tuple[int, int] | None


@dataclass(frozen=True)
class FileInfo:
    """What an image file holds; `error` says why that cannot be told.

    type: as people call it.
    size: (width, height); of a radiometric file, of what is measured.
    channels, bits, numbers, alpha: as `lure_cli.core.images.stored.Header`.
    unit: of the numbers: `degrees Celsius` of a radiometric file, else empty.
    least, mean, most: of all numbers that are finite; None if none is.
    radiometric: see there; None of ordinary files.
    maker: whose software alone reads the temperatures inside; empty of other files. `remark` says what that means.
    """

    file: Path
    type: str = ""
    size: tuple[int, int] = (0, 0)
    channels: int = 0
    bits: int = 0
    numbers: str = ""
    alpha: bool = False
    unit: str = ""
    least: float | None = None
    mean: float | None = None
    most: float | None = None
    radiometric: Radiometric | None = None
    maker: str = ""
    remark: str = ""
    error: LureError | None = None


def describe_files(paths: Sequence[Path]) -> Iterator[FileInfo]:
    """Look into image files, one result at a time; one that cannot be read does not stop the others."""
    for path in paths:
        try:
            yield _describe(path)
        except LureError as error:
            yield FileInfo(path, error=error)


def _describe(path: Path) -> FileInfo:
    if path.suffix in (".safetensors", ".onnx") and path.is_file():
        raise LureError(f"{path}: a weight file, no image", f"what it holds: lure weights info {path}")
    header = read_header(path)
    with open_image(path) as file:
        file_format = identify(file)
        maker = closed_maker(file) if file_format is JPEG else None
    thermogram = read_thermogram(path) if file_format is JPEG else None
    kind, unit = file_format.name, ""
    if thermogram is not None:
        kind, unit, pixels = f"radiometric {kind}", "degrees Celsius", thermogram.celsius
    else:
        pixels = read_raw(path, drop_alpha=True)
    least, mean, most = _range(pixels)
    return FileInfo(
        path,
        kind,
        (header.width, header.height),
        header.channels,
        header.bits,
        header.numbers,
        header.alpha,
        unit,
        least,
        mean,
        most,
        None if thermogram is None else _radiometric(thermogram),
        maker or "",
        "" if maker is None else closed_note(maker),
    )


def _range(pixels: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """Least, mean and most of the finite numbers."""
    import numpy as np

    finite = pixels[np.isfinite(pixels)]
    return (float(finite.min()), float(finite.mean(dtype=float)), float(finite.max())) if finite.size else (None,) * 3


def _radiometric(t: Thermogram) -> Radiometric:
    return Radiometric(
        t.make,
        t.model,
        t.date,
        emissivity=_finite(t.emissivity),
        reflected=_finite(t.reflected),
        distance=_finite(t.distance),
        atmosphere=_finite(t.atmosphere),
        humidity=_finite(t.humidity),
        photo=None if t.photo is None else (t.photo.shape[1], t.photo.shape[0]),
        ratio=None if t.placement is None else t.placement.ratio,
        offset=None if t.placement is None else (t.placement.x, t.placement.y),
    )


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
