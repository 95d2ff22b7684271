"""Looking for degradations: the shipped detector, and `detect` for files and folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lure_cli.core.images.picture import read_picture
from lure_cli.core.images.value_range import ValueRange
from lure_cli.core.text.vocabulary import DEGRADATIONS
from lure_cli.errors import LureError
from lure_cli.tasks.paths.find import list_images
from lure_cli.tasks.weights.find import detector_path

if TYPE_CHECKING:
    from lure_cli.core.detector.detector import Detector
    from lure_cli.core.text.vocabulary import Finding


@dataclass(frozen=True)
class DetectOptions:
    """What `lure detect` was asked to do: image files or folders of them, all of one modality (`ir` or `vis`)."""

    images: tuple[Path, ...]
    modality: str


@dataclass(frozen=True)
class Judgement:
    """What was found in one image; `error` says why it could not be looked at."""

    image: Path
    findings: tuple[Finding, ...] = ()
    error: LureError | None = None


@cache
def shipped_detector() -> Detector:
    """The detector that ships with the package; LureError if it is missing, damaged or not the recorded one."""
    from lure_cli.core.detector.detector import load_detector

    return load_detector(detector_path())


def detect(options: DetectOptions) -> Iterator[Judgement]:
    """Judge every image, one result at a time; a file that cannot be read does not stop the others.

    Raises:
        LureError: an unknown modality, a folder without images, or a detector that cannot be used.
    """
    if options.modality not in DEGRADATIONS:
        raise LureError(f"modality '{options.modality}' is not known", "give --modality ir or --modality vis")
    paths: list[Path] = []
    for path in options.images:
        inside = list_images(path) if path.is_dir() else [path]
        if not inside:
            raise LureError(f"{path}: holds no image files", "name a folder that does, or single files")
        paths += inside
    detector = shipped_detector()
    channels: Literal[1, 3] = 1 if options.modality == "ir" else 3
    value_range = ValueRange(modality="ir" if channels == 1 else "vis")
    for path in paths:
        try:
            picture = read_picture(path, channels=channels, value_range=value_range)
            yield Judgement(path, detector.detect(picture.x, options.modality))
        except LureError as error:
            yield Judgement(path, error=error)
