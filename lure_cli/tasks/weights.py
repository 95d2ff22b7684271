"""Where weights are found; reads no pixels and imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lure_cli.config import MODELS, nearest
from lure_cli.errors import LureError

DEFAULT = "lure-small"


@dataclass(frozen=True)
class Record:
    """What is known of a weight file that ships with the package."""

    file: str
    sha256: str


SHIPPED: dict[str, Record] = {
    "lure-small": Record(
        file="lure-small.safetensors",
        sha256="ac394e7007607e79f54869976919c3f824b989d7082aacb5c36c1322885554cf",
    ),
}

DETECTOR = Record(
    file="lure-detect.safetensors",
    sha256="a15d07a33f57727124d078861f71b678230041c17aadbfdfad99ae87ede80464",
)
"""The network behind `--prompt auto` and `lure detect`."""


TEXT = Record(
    file="lure-text.safetensors",
    sha256="42e13bfad8102858977ebe13d05e09ba7fd3072f543eee055a1c010adab3dcfa",
)
"""The text encoder that understands prompts."""


def shipped_path(name: str) -> Path | None:
    """The file of shipped weights: inside the installed package, or in the checkout's `weights` folder."""
    return _find(SHIPPED[name].file)


def text_weights() -> Path:
    """The file of the shipped text encoder, its bytes checked; LureError as `detector_path`."""
    return _checked(TEXT)


def detector_path() -> Path:
    """The file of the shipped detector, its bytes checked against the record.

    Raises:
        LureError: it is missing or not the recorded one.
    """
    return _checked(DETECTOR)


def _checked(record: Record) -> Path:
    import hashlib

    path = _find(record.file)
    if path is None:
        raise LureError(f"{record.file} is missing from this installation", "install lure-cli again")
    with path.open("rb") as f:
        if hashlib.file_digest(f, "sha256").hexdigest() != record.sha256:
            raise LureError(f"{path}: its checksum differs from the recorded one", "install lure-cli again")
    return path


def _find(file: str) -> Path | None:
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "weights", package.parent / "weights"):
        path = folder / file
        if path.is_file():
            return path
    return None


def resolve_weights(weights: str) -> Path:
    """A name of shipped weights, or a path, to an existing file.

    Raises:
        LureError: no such file, an unknown name, or a model that has no weights yet.
    """
    path = Path(weights)
    if path.suffix == ".safetensors" or path.exists():
        if not path.is_file():
            raise LureError(f"{weights}: no such weight file", f"shipped: {', '.join(SHIPPED)}")
        return path
    if weights in SHIPPED:
        found = shipped_path(weights)
        if found is None:
            raise LureError(f"weights '{weights}' are missing from this installation", "install lure-cli again")
        return found
    if weights in MODELS:
        raise LureError(f"there are no weights of '{weights}' yet", "train them with `lure train`, or use lure-small")
    raise LureError(
        f"weights '{weights}' are not known", f"give a .safetensors file or: {nearest(weights, [*SHIPPED])}"
    )
