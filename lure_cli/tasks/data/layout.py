"""What is wrong with the folders and file names of a data folder; no file is opened.

Training stops at the first fault of those that it reads; here all are listed, those of the test parts too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lure_cli.config import nearest
from lure_cli.core.images.formats import has_image_suffix
from lure_cli.core.training.layout import DataFolder, Part, Side, entries, subfolders

Level = Literal["fault", "warning"]


@dataclass(frozen=True)
class Issue:
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


def level_of(part: Part) -> Level:
    """How bad it is where a part is spoilt."""
    return "fault" if part.use == "trained on" else "warning"


def layout_issues(data: DataFolder) -> Iterator[Issue]:
    """All that is wrong with folders and names."""
    for folder in data.folders:
        yield from _folder_issues(data, folder)
    for part in data.parts:
        for side in part.sides:
            yield from _file_issues(data, side, paired=len(part.sides) > 1)
        yield from _pair_issues(part) if any(side.files for side in part.sides) else _hollow(data, part)
    if not any(part.kind == "fusion" and part.use == "trained on" and part.samples for part in data.parts):
        yield Issue("fault", "no-fusion", "fusion", (), "no pairs under fusion/<set>/train, which both stages need")


def _folder_issues(data: DataFolder, folder: Path) -> Iterator[Issue]:
    """Of a folder above the images: strangers in it, images a level too high, nothing at all."""
    known, name = data.folders[folder], data.below(folder)
    inside = subfolders(folder)
    for path in data.strangers(folder):
        guess = nearest(path.name, list(known or ()))
        if folder.parent == data.root / "restoration":
            message = f"unknown degradation; did you mean {guess}?"
            yield Issue("fault", "unknown-degradation", data.below(path), (), message)
        else:
            message = f"is never read; did you mean {guess}?" if "," not in guess else f"is never read; known: {guess}"
            yield Issue("warning", "unknown-folder", data.below(path), (), message)
    if known == ("train", "test") and not any(p.name in known for p in inside):
        yield Issue("warning", "empty", name, (), "holds neither train/ nor test/")
    if known is None and not inside and folder.parent != data.root / "clean":
        yield Issue("warning", "empty", name, (), "holds no sets")
    stray = [p.name for p in entries(folder) if p.is_file() and has_image_suffix(p)]
    if stray and known != ("test",):  # a clean set's images lie in its own folder
        message = f"{count(stray, 'image')} outside of any set, never read: {some(stray)}"
        yield Issue("warning", "stray", name, tuple(stray), message)


def _file_issues(data: DataFolder, side: Side, paired: bool) -> Iterator[Issue]:
    """Of a folder of images: what is never read of it."""
    folder = data.below(side.folder)
    files = [p for p in entries(side.folder) if not p.is_dir()]
    previous: dict[str, str] = {}
    for path in filter(has_image_suffix, files):
        if other := previous.get(path.stem):
            message = f"{other} and {path.name} share a name; only the second is read"
            yield Issue("warning", "same-name", folder, (other, path.name), message)
        previous[path.stem] = path.name
    if rest := [p.name for p in files if not has_image_suffix(p)]:
        message = f"{count(rest, 'file')} of other types: {some(rest)}"
        yield Issue("warning", "no-image", folder, tuple(rest), message)
    for path in subfolders(side.folder) if paired else ():
        message = "is never read; images lie in the folder above"
        yield Issue("warning", "unknown-folder", data.below(path), (), message)


def _hollow(data: DataFolder, part: Part) -> Iterator[Issue]:
    """Of a part without an image; a set of single images may hold test images alone."""
    if not (part.kind in ("clean", "labelled") and (data.root / part.name / "test").is_dir()):
        yield Issue("warning", "empty", part.name, (), "holds no images")


def _pair_issues(part: Part) -> Iterator[Issue]:
    """Of a part of pairs: a side that is empty, or files without a partner."""
    if len(part.sides) == 1:
        return
    for side, other in (part.sides, part.sides[::-1]):
        alone = sorted(side.files[k].name for k in side.files.keys() - other.files.keys())
        if not side.files:
            message = f"{side.name}/ holds no images, but {other.name}/ holds {len(other.files)}"
            yield Issue(level_of(part), "empty", part.name, (), message)
        elif alone and other.files:
            message = f"{count(alone, 'file')} of {side.name}/ without a partner in {other.name}/: {', '.join(alone)}"
            yield Issue(level_of(part), "unpaired", part.name, tuple(alone), message)


def count(items: Sequence[object], word: str) -> str:
    """`3 files`."""
    return f"{len(items)} {word}{'s' * (len(items) != 1)}"


def share(items: Sequence[object], among: Any) -> str:
    """`3 of 20 images`."""
    return f"{len(items)} of {count(list(among), 'image')}"


def some(names: Sequence[str]) -> str:
    """The first three names."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
