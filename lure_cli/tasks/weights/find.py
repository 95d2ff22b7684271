"""Where weights are found; reads no pixels and imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lure_cli.config import nearest
from lure_cli.core.files import PACKAGE, sha256
from lure_cli.errors import LureError
from lure_cli.tasks.weights.hub import Notify, cached, download, list_cached
from lure_cli.tasks.weights.record import MODEL, RECORD, check_weights
from lure_cli.tasks.weights.repo import Repo, parse_repo

DEFAULT = "lure-small"


TERMS = "research and non-commercial use only: terms of the training sets"
"""Of what was trained on published research data; models say it in their metadata too."""


@dataclass(frozen=True)
class ShippedFile:
    """A weight file that ships with the package, its checksum, and on what terms."""

    file: str
    sha256: str
    terms: str = TERMS


SHIPPED: dict[str, ShippedFile] = {
    "lure-small": ShippedFile(
        file="lure-small.safetensors",
        sha256="34cdbf9a4d9087994df9f8d8f5d6bf792cee30dd3f5c1f56ee9787715d2d05e0",
    ),
    "lure-base": ShippedFile(
        file="lure-base.safetensors",
        sha256="bcb6cbad546f51717731d5fbed749c637631de757bb53fb4e2ac4eab4a8dc574",
    ),
}

ONNX: dict[str, ShippedFile] = {
    "lure-small.onnx": ShippedFile(
        file="lure-small.onnx",
        sha256="21bb389f8714ba78ced5142510785c709cfcf497e8955c62c249f642809d2f07",
    ),
}
"""Shipped models as `lure export onnx` writes them: the model's name and `.onnx`."""
DETECTOR = ShippedFile(
    file="lure-detect.safetensors",
    sha256="a4e464a1343fd40fb0531b316a4e57c442abe640a07dcdedad9649e676b9495a",
)
"""The network behind `--prompt auto` and `lure detect`."""
TEXT = ShippedFile(
    file="lure-text.safetensors",
    sha256="af011511e47069f56de33c2c9d4c6f69f8360af345ede4ecbf174e6ec2986627",
    terms="Apache-2.0 (its teacher's; the words' list: MIT)",
)
"""The parser that understands prompts."""
MODELS = SHIPPED | ONNX
"""All that fuses."""
PARTS = {"lure-text": "text encoder", "lure-detect": "detector"}
"""The shipped files that are no fusion models: name -> kind."""


def shipped_path(name: str) -> Path | None:
    """The file of shipped weights: inside the installed package, or in the checkout's `weights` folder."""
    return locate(SHIPPED[name].file)


def onnx_of(weights: str) -> Path | None:
    """The ONNX file that ships of a shipped model, its bytes checked; None if there is none.

    Args:
        weights: the name, or the file that ships under it.

    Raises:
        LureError: it is missing or not the recorded one.
    """
    for name, model in SHIPPED.items():
        twin = ONNX.get(f"{name}.onnx")
        if twin is not None and (weights == name or Path(weights) == locate(model.file)):
            return _verified(twin)
    return None


def text_weights() -> Path:
    """The file of the shipped prompt parser, its bytes checked; LureError as `detector_path`."""
    return _verified(TEXT)


def detector_path() -> Path:
    """The file of the shipped detector, its bytes checked against the record.

    Raises:
        LureError: it is missing or not the recorded one.
    """
    return _verified(DETECTOR)


def _verified(shipped: ShippedFile) -> Path:
    path = locate(shipped.file)
    if path is None:
        raise LureError(f"{shipped.file} is missing from this installation", _get_again(shipped.file))
    if sha256(path) != shipped.sha256:
        raise LureError(f"{path}: its checksum differs from the recorded one", _get_again(shipped.file))
    return path


def _get_again(file: str) -> str:
    """What to do about a shipped file that is missing or damaged, and which other weights are here."""
    checkout = (PACKAGE.parent / "pyproject.toml").is_file()
    advice = f"run: git checkout -- weights/{file}" if checkout else "install lure-cli again"
    others = [name for name, other in MODELS.items() if file != other.file and locate(other.file)]
    model = any(file == other.file for other in MODELS.values())
    return f"{advice}; or use {', '.join(others)}" if model and others else advice


def locate(file: str) -> Path | None:
    """A shipped file by its name: in the installed package, or in the checkout; None if it is missing."""
    for folder in (PACKAGE / "weights", PACKAGE.parent / "weights"):
        path = folder / file
        if path.is_file():
            return path
    return None


def resolve_weights(weights: str, notify: Notify | None = None) -> Path:
    """Weights as users name them -> an existing file, downloaded if need be.

    Args:
        weights: see `find_weights`.
        notify: is given what is downloaded; the client shows a progress bar besides.

    Raises:
        LureError: as `find_weights` and `lure_cli.tasks.weights.hub.download`.
    """
    place = find_weights(weights)
    return place if isinstance(place, Path) else cached(place) or download(place, notify)


def find_weights(weights: str) -> Path | Repo:
    """A file for weights that are here, checked where there is a record of them; a repository for others.

    In this order: a file or folder that exists (a folder holds `model.safetensors` and `lure.json`, as a repository
    does), the name of shipped weights, and `owner/repo[@revision]` on the hub, `main` if no revision is given.

    Raises:
        LureError: no such file, an unknown name, or a file that is missing or not as recorded.
    """
    path = Path(weights)
    if os.path.isdir(path) and weights not in MODELS:
        if not os.path.isfile(path / MODEL):
            hides = "; the folder hides a repository of that name" if parse_repo(weights) else ""
            raise LureError(f"{weights}: a folder without {MODEL}", f"give the weight file in it{hides}")
        path /= MODEL
    if os.path.isfile(path):
        if path.name == MODEL and os.path.isfile(path.with_name(RECORD)):
            check_weights(path, "get both files again")
        return path
    if weights in MODELS:
        return _verified(MODELS[weights])
    if path.suffix in (".safetensors", ".onnx"):
        raise LureError(f"{weights}: no such weight file", f"shipped: {', '.join(MODELS)}")
    repo = parse_repo(weights)
    if repo is None:
        raise LureError(
            f"weights '{weights}' are not known",
            f"give a .safetensors file, owner/repo on the hub, or: {nearest(weights, [*SHIPPED])}",
        )
    return repo


def local_weights(weights: str) -> tuple[Path, str]:
    """As `resolve_weights`, but nothing is downloaded; and `ok`, or `no record` for a file that none speaks of.

    Args:
        weights: what `find_weights` takes, or the name of another file that ships (`PARTS`).

    Raises:
        LureError: as `find_weights`, or they are not in the cache.
    """
    if weights in PARTS and not os.path.exists(weights):
        return (text_weights() if PARTS[weights] == "text encoder" else detector_path()), "ok"
    place = find_weights(weights)
    if isinstance(place, Path):
        shipped = weights in MODELS and place != Path(weights)
        recorded = shipped or (place.name == MODEL and place.with_name(RECORD).is_file())
        return place, "ok" if recorded else "no record"
    path = cached(place)
    if path is None:
        raise LureError(f"{weights}: not in the cache, and no such file here", f"run: lure weights download {place}")
    return path, "ok"


def update_weights(weights: str, notify: Notify | None = None, force: bool = False) -> Path:
    """As `resolve_weights`, but the hub is asked for a newer commit, or with `force` for the same files again."""
    place = find_weights(weights)
    return place if isinstance(place, Path) else download(place, notify, force)


MISSING = "missing"
"""The path of a shipped file that is not here."""


@dataclass(frozen=True)
class Entry:
    """Weights that are here: the name that commands take, the size in bytes."""

    name: str
    kind: str
    size: int
    path: str
    commit: str = ""


def list_weights() -> tuple[Entry, ...]:
    """Shipped weights, then models in the hub client's cache; sizes are read, contents are not."""
    shipped = {name: ("model", entry) for name, entry in SHIPPED.items()}
    shipped |= {name: ("ONNX model", entry) for name, entry in ONNX.items()}
    shipped |= {name: (PARTS[name], entry) for name, entry in zip(PARTS, (TEXT, DETECTOR), strict=True)}
    entries = []
    for name, (kind, known) in shipped.items():
        path = locate(known.file)
        entries.append(Entry(name, kind, path.stat().st_size if path else 0, str(path or MISSING)))
    for c in list_cached():
        size = c.path.stat().st_size if c.path.exists() else 0
        entries.append(Entry(str(c.repo), "model", size, str(c.path), c.commit))
    return tuple(entries)


def weights_label(weights: str) -> str:
    """A short name for weights that may be part of a file's path: `lure-small`, `mine`, `owner-repo@v1.0`."""
    if os.path.exists(weights) or Path(weights).suffix == ".safetensors" or parse_repo(weights) is None:
        return Path(weights).stem
    return weights.replace("/", "-")
