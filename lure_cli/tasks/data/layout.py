"""The files of a data folder, part by part, and what is wrong with its folders and names; no file is opened.

`core.data.find_corpus` stops at the first fault and leaves out what training does not read; this goes on, and has the
test parts too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lure_cli.config import nearest
from lure_cli.core.images.formats import has_image_suffix
from lure_cli.core.pixels import Modality
from lure_cli.core.text.vocabulary import DEGRADATIONS
from lure_cli.core.training.corpus import FOLDERS
from lure_cli.errors import LureError

Level = Literal["fault", "warning"]
Use = Literal["trained on", "never trained on", "excluded"]
Files = dict[str, Path]
"""The images of one side, by stem."""


@dataclass(frozen=True)
class Finding:
    """Something wrong, in one folder.

    Attributes:
        level: `fault`: training would stop at it or learn from the wrong thing; `warning`: it would go on.
        code: what it is, for scripts: `unpaired`, `size`, `unreadable`, ...
        folder: where, below the data folder.
        files: names of the files it is about (may be empty).
        message: a sentence for a person, without the folder's name.
    """

    level: Level
    code: str
    folder: str
    files: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Place:
    """Where the files of a part lie: sides (name, modality, folder); two sides make pairs."""

    name: str
    kind: str
    modality: Modality | None
    degradation: str | None
    use: Use
    sides: tuple[tuple[str, Modality, Path], ...]


@dataclass
class DataFolder:
    """What was found.

    Attributes:
        root: the folder.
        exclude: names of sets that training leaves out.
        places: the parts, in the order of the layout.
        files: images of each part, by side.
        samples: pairs or single images of each part; both sides of a pair exist.
        findings: what is wrong so far.
    """

    root: Path
    exclude: tuple[str, ...]
    places: list[Place] = field(default_factory=list)
    files: dict[str, dict[str, Files]] = field(default_factory=dict)
    samples: dict[str, list[tuple[Path, ...]]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def say(self, level: Level, code: str, folder: str | Path, files: Sequence[str], message: str) -> None:
        """Note a finding in a folder (a path, or its name below the root)."""
        name = folder if isinstance(folder, str) else self.below(folder)
        self.findings.append(Finding(level, code, name, tuple(files), message))

    def below(self, path: Path) -> str:
        """The name of a path below the root."""
        return path.relative_to(self.root).as_posix()


def scan_folder(root: Path, exclude: tuple[str, ...] = ()) -> DataFolder:
    """Find all parts, images and pairs of a data folder of the layout that `core.data.find_corpus` reads.

    Raises:
        LureError: no such folder.
    """
    if not root.is_dir():
        raise LureError(f"{root}: no such folder", "name the data folder; the README shows its layout")
    found = DataFolder(root, exclude)
    for place in _places(found):
        found.places.append(place)
        found.files[place.name] = {side: _files(folder, found, place) for side, _, folder in place.sides}
        found.samples[place.name] = _samples(place, found.files[place.name], found)
    if not any(p.kind == "fusion" and p.use == "trained on" and found.samples[p.name] for p in found.places):
        found.say("fault", "no-fusion", "fusion", (), "no pairs under fusion/<set>/train, which both stages need")
    return found


# --- the layout ------------------------------------------------------------------------------------------------------


def _places(data: DataFolder) -> Iterator[Place]:
    root = data.root
    known = ("fusion", "restoration", "clean")
    _strangers(data, root, known)
    if root.joinpath("fusion").is_dir():
        for folder in _sets(data, root / "fusion"):
            sides: tuple[tuple[str, Modality], ...] = (("ir", "ir"), ("vi", "vis"))
            yield from _splits(data, folder, "fusion", None, None, sides)
    for modality, word in FOLDERS.items():
        for task in _sets(data, root / "restoration" / word, empty_is_fine=True):
            if task.name not in DEGRADATIONS[modality]:
                message = f"unknown degradation; did you mean {nearest(task.name, list(DEGRADATIONS[modality]))}?"
                data.say("fault", "unknown-degradation", task, (), message)
                continue
            for folder in _sets(data, task):
                both: tuple[tuple[str, Modality], ...] = (("degraded", modality), ("clean", modality))
                yield from _splits(data, folder, "restoration", modality, task.name, both)
        for folder in _sets(data, root / "clean" / word, empty_is_fine=True):
            _strangers(data, folder, ("test",))
            yield Place(
                data.below(folder), "clean", modality, None, _use(data, folder.name), (("clean", modality, folder),)
            )
            if (folder / "test").is_dir():
                name, sides_of_test = data.below(folder / "test"), (("clean", modality, folder / "test"),)
                yield Place(name, "clean", modality, None, "never trained on", sides_of_test)
    for part in ("restoration", "clean"):
        if (root / part).is_dir():
            _strangers(data, root / part, tuple(FOLDERS.values()))


def _use(data: DataFolder, name: str) -> Use:
    return "excluded" if name in data.exclude else "trained on"


def _splits(
    data: DataFolder,
    folder: Path,
    kind: str,
    modality: Modality | None,
    degradation: str | None,
    sides: tuple[tuple[str, Modality], ...],
) -> Iterator[Place]:
    """The train and test part of a set of pairs."""
    _strangers(data, folder, ("train", "test"))
    names = tuple(side for side, _ in sides)
    found = [split for split in ("train", "test") if (folder / split).is_dir()]
    if not found:
        data.say("warning", "empty", folder, (), "holds neither train/ nor test/")
    for split in found:
        _strangers(data, folder / split, names)
        use: Use = "never trained on" if split == "test" else _use(data, folder.name)
        where = tuple((side, m, folder / split / side) for side, m in sides)
        yield Place(data.below(folder / split), kind, modality, degradation, use, where)


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, without what is hidden; nothing if there is no such folder."""
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []
    except OSError as error:
        raise LureError(f"{folder}: cannot be read ({error.strerror})", "get the right to read it") from error


def _folders(folder: Path) -> list[Path]:
    return [p for p in _entries(folder) if p.is_dir()]


def _sets(data: DataFolder, folder: Path, empty_is_fine: bool = False) -> list[Path]:
    found = _folders(folder)
    if folder.is_dir():
        if not found and not empty_is_fine:
            data.say("warning", "empty", folder, (), "holds no sets")
        _stray_images(data, folder)
    return found


def _strangers(data: DataFolder, folder: Path, known: Sequence[str]) -> None:
    """Folders that training does not know, most often misspelt, and images that lie a level too high."""
    for path in _folders(folder):
        if path.name not in known:
            guess = nearest(path.name, list(known))
            message = f"is never read; did you mean {guess}?" if "," not in guess else f"is never read; known: {guess}"
            data.say("warning", "unknown-folder", path, (), message)
    if "test" not in known or "train" in known:  # a clean set's images lie in its own folder
        _stray_images(data, folder)


def _stray_images(data: DataFolder, folder: Path) -> None:
    names = [p.name for p in _entries(folder) if p.is_file() and has_image_suffix(p)]
    if names and not any(f.code == "stray" and f.folder == data.below(folder) for f in data.findings):
        message = f"{count(names, 'image')} outside of any set, never read: {some(names)}"
        data.say("warning", "stray", folder, names, message)


# --- files and pairs -------------------------------------------------------------------------------------------------


def _files(folder: Path, data: DataFolder, place: Place) -> dict[str, Path]:
    """The image files of one side, by stem."""
    found: dict[str, Path] = {}
    other = []
    for path in _entries(folder):
        if path.is_dir():
            continue
        if not has_image_suffix(path):
            other.append(path.name)
        elif path.stem in found:
            names = (found[path.stem].name, path.name)
            message = f"{names[0]} and {names[1]} share a name; only the second is read"
            data.say("warning", "same-name", folder, names, message)
        found |= {path.stem: path} if has_image_suffix(path) else {}
    if other:
        data.say("warning", "no-image", folder, other, f"{count(other, 'file')} of other types: {some(other)}")
    if len(place.sides) > 1:
        for path in _folders(folder):
            data.say("warning", "unknown-folder", path, (), "is never read; images lie in the folder above")
    return found


def _samples(place: Place, files: dict[str, Files], data: DataFolder) -> list[tuple[Path, ...]]:
    """The pairs (or single images), and what is wrong with their names."""
    level: Level = "fault" if place.use == "trained on" else "warning"
    sides = list(files.values())
    if not any(sides):
        if not (place.kind == "clean" and (data.root / place.name / "test").is_dir()):
            data.say("warning", "empty", place.name, (), "holds no images")
        return []
    if len(sides) == 1:
        return [(path,) for path in sides[0].values()]
    for side, found in files.items():
        if not found:
            other = next(name for name in files if name != side)
            message = f"{side}/ holds no images, but {other}/ holds {len(files[other])}"
            data.say(level, "empty", place.name, (), message)
    if all(sides):
        for side, found in files.items():
            other = next(name for name in files if name != side)
            alone = sorted(found[k].name for k in found.keys() - files[other].keys())
            if alone:
                message = f"{count(alone, 'file')} of {side}/ without a partner in {other}/: {', '.join(alone)}"
                data.say(level, "unpaired", place.name, alone, message)
    return [tuple(side[k] for side in sides) for k in sides[0] if k in sides[1]]


def count(items: Sequence[object], word: str) -> str:
    """`3 files`."""
    return f"{len(items)} {word}{'s' * (len(items) != 1)}"


def share(items: Sequence[object], among: Any) -> str:
    """`3 of 20 images`."""
    return f"{len(items)} of {count(list(among), 'image')}"


def some(names: Sequence[str]) -> str:
    """The first three names."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
