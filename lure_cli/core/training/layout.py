"""The layout of a data folder, and the one reader of it; no file is opened.

    fusion/<set>/{train,test}/{ir,vi}                                           registered pairs, equal names
    restoration/<visible|infrared>/<degradation>/<set>/{train,test}/{degraded,clean}   real pairs, equal names
    clean/<visible|infrared>/<set>                                              clean single images
    clean/<visible|infrared>/<set>/test                                         those for tests
    labelled/<visible|infrared>/<names>/<set>                                   real single images, for the detector
    labelled/<visible|infrared>/<names>/<set>/test                              those for tests

<names> are what the images show: `clean`, a degradation, or several joined by a plus, as `haze+lowlight`.

A folder named `test` is never trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from lure_cli.core.images.formats import has_image_suffix
from lure_cli.core.pixels import MODALITY_NAMES, Modality
from lure_cli.core.text.vocabulary import DEGRADATIONS
from lure_cli.errors import LureError

Kind = Literal["fusion", "restoration", "clean", "labelled"]
Use = Literal["trained on", "never trained on", "excluded"]
Files = tuple[Path, ...]
"""Files of one sample: an image, a (degraded, clean) pair, or an (ir, vis) pair."""
KINDS: tuple[Kind, ...] = ("fusion", "restoration", "clean", "labelled")


@dataclass(frozen=True)
class Side:
    """One folder of images, with what they show."""

    name: str
    modality: Modality
    folder: Path

    @cached_property
    def files(self) -> dict[str, Path]:
        """The images by stem; of several with one stem the last.

        Raises:
            LureError: the folder cannot be read.
        """
        return {p.stem: p for p in entries(self.folder) if has_image_suffix(p) and not p.is_dir()}


@dataclass(frozen=True)
class Part:
    """One set's training or test images.

    Attributes:
        name: its folder, below the data folder. set: the name of its set.
        modality: None for pairs of both. degradation: of restoration pairs. labels: of labelled images, none if clean.
        sides: two make pairs.
    """

    name: str
    kind: Kind
    set: str
    modality: Modality | None
    degradation: str | None
    use: Use
    sides: tuple[Side, ...]
    labels: tuple[str, ...] = ()

    @cached_property
    def samples(self) -> tuple[Files, ...]:
        """Single images, or the pairs of which both sides are there."""
        first, *others = (side.files for side in self.sides)
        return tuple((first[k], *(o[k] for o in others)) for k in first if all(k in o for o in others))


@dataclass(frozen=True)
class DataFolder:
    """A data folder's parts, in the order of the layout.

    `folders` are all folders above the images, with the names that belong in them; None where any does, as in a folder
    of sets.
    """

    root: Path
    parts: tuple[Part, ...]
    folders: Mapping[Path, tuple[str, ...] | None]

    def strangers(self, folder: Path) -> list[Path]:
        """Folders in a folder of the layout that do not belong there, most often misspelt."""
        known = self.folders.get(folder)
        return [] if known is None else [p for p in subfolders(folder) if p.name not in known]

    def below(self, path: Path) -> str:
        """The name of a path below the root."""
        return path.relative_to(self.root).as_posix()


def read_layout(root: Path, exclude: Sequence[str] = ()) -> DataFolder:
    """All parts of a data folder; what does not fit the layout is left out.

    Args:
        root: the folder.
        exclude: names of sets that training leaves out.

    Raises:
        LureError: no such folder, or one in it cannot be read.
    """
    if not root.is_dir():
        raise LureError(f"{root}: no such folder", "name the data folder; the training guide shows its layout")
    folders: dict[Path, tuple[str, ...] | None] = {}

    def enter(folder: Path, known: tuple[str, ...] | None = None) -> list[Path]:
        """The subfolders that belong there."""
        if folder.is_dir():
            folders[folder] = known
        return [p for p in subfolders(folder) if known is None or p.name in known]

    def part(
        folder: Path,
        kind: Kind,
        name: str,
        test: bool,
        sides: Sequence[Side],
        degradation: str = "",
        labels: tuple[str, ...] = (),
    ) -> Part:
        use: Use = "never trained on" if test else "excluded" if name in exclude else "trained on"
        modality = None if kind == "fusion" else sides[0].modality
        below = folder.relative_to(root).as_posix()
        return Part(below, kind, name, modality, degradation or None, use, tuple(sides), labels)

    def pairs(folder: Path, kind: Kind, modalities: Mapping[str, Modality], degradation: str = "") -> Iterator[Part]:
        for split in reversed(enter(folder, ("train", "test"))):  # train before test
            enter(split, tuple(modalities))
            sides = [Side(name, m, split / name) for name, m in modalities.items()]
            yield part(split, kind, folder.name, split.name == "test", sides, degradation)

    def singles(above: Path, kind: Kind, modality: Modality, labels: tuple[str, ...] = ()) -> Iterator[Part]:
        for folder in enter(above):
            yield part(folder, kind, folder.name, False, [Side("clean", modality, folder)], labels=labels)
            for test in enter(folder, ("test",)):
                yield part(test, kind, folder.name, True, [Side("clean", modality, test)], labels=labels)

    def walk() -> Iterator[Part]:
        words = tuple(MODALITY_NAMES.values())
        enter(root, KINDS)
        for kind in KINDS[1:]:
            enter(root / kind, words)
        for folder in enter(root / "fusion"):
            yield from pairs(folder, "fusion", {"ir": "ir", "vi": "vis"})
        for m, word in MODALITY_NAMES.items():
            for task in enter(root / "restoration" / word, DEGRADATIONS[m]):
                for folder in enter(task):
                    yield from pairs(folder, "restoration", {"degraded": m, "clean": m}, task.name)
            yield from singles(root / "clean" / word, "clean", m)
            labelled = root / "labelled" / word
            known = [p.name for p in subfolders(labelled) if read_labels(p.name, m) is not None]
            for folder in enter(labelled, tuple(dict.fromkeys(("clean", *DEGRADATIONS[m], *known)))):
                yield from singles(folder, "labelled", m, read_labels(folder.name, m) or ())

    return DataFolder(root, tuple(walk()), folders)


def read_labels(name: str, modality: Modality) -> tuple[str, ...] | None:
    """What a folder of labelled images says that they show; empty for `clean`, None if it says nothing known."""
    labels = () if name == "clean" else tuple(name.split("+"))
    return labels if set(labels) <= set(DEGRADATIONS[modality]) else None


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, without what is hidden; nothing if there is no such folder.

    Raises:
        LureError: it cannot be read.
    """
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []
    except OSError as error:
        raise LureError(f"{folder}: cannot be read ({error.strerror})", "get the right to read it") from error


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, as `entries` gives them."""
    return [p for p in entries(folder) if p.is_dir()]
