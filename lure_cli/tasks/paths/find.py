"""Which files a user means by a file, a folder or a pattern; reads names, and first bytes of what has no known one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from lure_cli.core.images.formats import READ_SUFFIXES, SUFFIXES, is_surely_image
from lure_cli.errors import LureError

_WILD = re.compile(r"[*?\[]")
STANDARD = Path("-")
"""Standard input as a source, standard output as a target."""


@dataclass(frozen=True)
class Kind:
    """What is looked for: the suffixes that are read and written, that of outputs without one, a word for it, and what
    tells by the content whether a file of another name is one too."""

    read: tuple[str, ...]
    written: tuple[str, ...]
    default: str
    word: str
    is_one: Callable[[Path], bool] | None = None


IMAGES = Kind(READ_SUFFIXES, SUFFIXES, ".png", "image", is_surely_image)
TEMPERATURES = Kind((".tif", ".tiff"), (".tif", ".tiff"), ".tif", "temperature")
MAPS = Kind((), (".png", ".tif", ".tiff"), ".png", "map")
"""Pictures whose colours mean something, so that they are written without loss."""


@dataclass(frozen=True)
class File:
    """A file that was found, and its path below the folder that was named."""

    path: Path
    below: Path


def list_images(folder: Path) -> list[Path]:
    """The image files directly in the folder, by suffix or content, sorted by name; hidden files are left out.

    Raises:
        LureError: the folder cannot be read.
    """
    return sorted(file.path for file in _take(_walk(folder, 1, ()), IMAGES)[0])


def is_glob(path: Path) -> bool:
    """Whether a path is a pattern, and not a file that is called so."""
    return bool(_WILD.search(str(path))) and not os.path.lexists(path)


def is_many(path: Path) -> bool:
    """Whether a source is a folder or a pattern, not one file; LureError if there is no such thing."""
    if path == STANDARD:
        return False
    if is_glob(path):
        return True
    if not os.path.exists(path):
        raise LureError(f"{path}: no such file or folder", "check the spelling of the path")
    return path.is_dir()


def search(
    source: Path, recursive: bool, skip: Collection[str], kind: Kind, notify: Callable[[str], None] | None = None
) -> list[File]:
    """The files of that kind of a folder or of a glob pattern, sorted by path, but for what lies in folders to skip
    (real paths); `notify` is told of those left out."""
    files, others = _take(_candidates(source, recursive, skip), kind)
    if not files:
        below = () if recursive or is_glob(source) else _walk(source, 99, skip)
        if deeper := next((file for file in below if file.path.suffix.lower() in kind.read), None):
            every = ", or all of them with --recursive (lure fuse, lure restore)" if kind is IMAGES else ""
            raise LureError(
                f"{source}: holds no {kind.word} files, but its sub-folders do",
                f"name a sub-folder, such as {deeper.path.parent}{every}",
            )
        raise LureError(f"{source}: holds no {kind.word} files", f"known suffixes: {', '.join(kind.read)}")
    if others and notify is not None:
        example = min(file.below for file in others)
        notify(f"{source}: {len(others)} other file{'s' * (len(others) != 1)} left out, such as {example}")
    return sorted(files, key=lambda f: f.path)


def present(source: Path, recursive: bool, skip: Collection[str], kind: Kind = IMAGES) -> list[File]:
    """As `search`, by the names alone; there may be none."""
    files = _take(_candidates(source, recursive, skip), replace(kind, is_one=None))[0]
    return sorted(files, key=lambda f: f.path)


def root_of(source: Path) -> Path:
    """The folder itself, or that of a pattern: what the parts before its first wildcard name."""
    return Path(*source.parts[: _first_wild(source)]) if is_glob(source) else source


def _first_wild(pattern: Path) -> int:
    return next(i for i, part in enumerate(pattern.parts) if _WILD.search(part))


def _candidates(source: Path, recursive: bool, skip: Collection[str]) -> list[File]:
    """All files of a folder or of a glob pattern, whatever their kind."""
    if not is_glob(source):
        return list(_walk(source, 99 if recursive else 1, skip))
    parts = source.parts
    pattern = (*parts[_first_wild(source) :], *(("*",) if parts[-1] == "**" else ()))
    depth = 99 if "**" in pattern else len(pattern)
    return [f for f in _walk(root_of(source), depth, skip) if _fits(f.below.parts, pattern)]


def _take(files: Iterable[File], kind: Kind) -> tuple[list[File], list[File]]:
    """Those of a kind, and the others. A file that only its content makes one is left out where it is named like one
    that has such a suffix: a copy, or another form of it."""
    taken: list[File] = []
    unsure: list[File] = []
    for file in files:
        (taken if file.path.suffix.lower() in kind.read else unsure).append(file)
    names = {path for file in taken for path in (file.path, file.path.with_suffix(""))}
    others: list[File] = []
    for file in unsure:
        is_one = kind.is_one is not None and file.path.with_suffix("") not in names and kind.is_one(file.path)
        (taken if is_one else others).append(file)
    return taken, others


def _fits(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a path fits a pattern, part by part; `**` is any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _fits(parts, pattern[1:]) or (len(parts) > 1 and _fits(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _walk(root: Path, depth: int, skip: Collection[str]) -> Iterator[File]:
    """Files down to a depth (1: the folder itself), hidden ones left out; a folder is entered once,
    whatever links lead to it, and those to skip never."""
    seen: set[tuple[int, int]] = set()
    waiting = [(root, Path(), 1)]
    while waiting:
        folder, below, level = waiting.pop()
        try:
            status = folder.stat()
            with os.scandir(folder) as entries:
                here = sorted(entries, key=lambda e: e.name)
        except OSError as error:
            raise LureError(
                f"{folder}: cannot be read ({error.strerror})", "give an existing folder that you may read"
            ) from error
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in here:
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            if _is(entry.is_dir):
                if level < depth and not (skip and os.path.realpath(path) in skip):
                    waiting.append((path, below / entry.name, level + 1))
            elif _is(entry.is_file):
                yield File(path, below / entry.name)


def _is(kind: Callable[[], bool]) -> bool:
    """Links that lead in a circle are neither files nor folders."""
    try:
        return kind()
    except OSError:
        return False
