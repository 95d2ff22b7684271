"""Where results go: a file, a folder, a template, standard output; reads names, never pixels."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Protocol

from lure_cli.errors import LureError
from lure_cli.tasks.paths.find import IMAGES, MAPS, STANDARD, TEMPERATURES, Kind

EXTRAS: Mapping[str, Kind] = {"temperature": TEMPERATURES, "provenance": MAPS}
"""What may be written beside a picture, by the option that asks for it."""


def existing_form(path: Path) -> Path:
    """The path as it is on disk, where its names may be composed or decomposed (NFC, NFD); else as it stands.

    A folder that was copied from a Mac has decomposed names, which look the same and are others.
    """
    if str(path).isascii() or os.path.lexists(path) or path == path.parent:
        return path
    parent = existing_form(path.parent)
    for form in ("NFC", "NFD"):
        if os.path.lexists(other := parent / unicodedata.normalize(form, path.name)):  # type: ignore[arg-type]
            return other
    return parent / path.name


class Item(Protocol):
    """One piece of a job: its name (with the sub-folder), the files that it is made from, and the file to write.

    `sources` has the keys `ir` and `vis`, or one of them; `extras` are further files to write, by what they hold (see
    `EXTRAS`).
    """

    @property
    def name(self) -> str: ...
    @property
    def output(self) -> Path: ...
    @property
    def sources(self) -> Mapping[str, Path]: ...
    @property
    def extras(self) -> Mapping[str, Path]: ...


def files_of(item: Item) -> list[Path]:
    """The files that an item writes, the picture first; none for standard output."""
    return [path for path in (item.output, *item.extras.values()) if path != STANDARD]


@dataclass(frozen=True)
class Naming:
    """How a job names its outputs.

    word: `<stem>_<word>.png` is written for one item, `<word>/<name>.png` for many, if the user names nothing.
    things: what is made, one output each.
    fields: what templates may hold, for hints.
    """

    word: str
    things: str
    fields: str


@dataclass(frozen=True)
class Names:
    """What an output's name may be made from: the name within its folder, the sub-folder, and more template fields."""

    stem: str
    folder: tuple[str, ...] = ()
    fields: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """With the sub-folder."""
        return "/".join((*self.folder, self.stem))


def folders_of_outputs(output: str | Path | None, extras: Mapping[str, str], naming: Naming) -> set[str]:
    """The real paths of the folders that all pictures and what is wanted beside them go to."""
    folders = {folder_of_outputs(each, naming) for each in (output, *extras.values())}
    return {folder for folder in folders if folder is not None}


def folder_of_outputs(output: str | Path | None, naming: Naming) -> str | None:
    """The real path of the folder that all of them go to; None where a template has no folder of its own."""
    if output is None or _is_folder(output):
        return os.path.realpath(naming.word if output is None else output)
    fixed = os.path.dirname(str(output).partition("{")[0])
    return os.path.realpath(fixed) if fixed else None


def output_of(output: str | Path | None, names: Names, many: bool, naming: Naming, kind: Kind = IMAGES) -> Path:
    """The file to write; under the name that is there already, if that differs in how its letters are composed.

    Args:
        output: one of
            - None: see `Naming.word`, in the current directory;
            - a folder (it exists, has no suffix, or is a string that ends with a separator): `<folder>/<name>.png`,
              sub-folders kept;
            - a file with an image suffix, for one item only, or `-` for standard output;
            - a template with an image suffix and the fields {stem}, {folder} and those of `names`.
        names: of the item.
        many: whether the job may have several items.
        naming: see there.
        kind: what is written; for another than images, its suffixes stand for those above.

    Raises:
        LureError: one file for several items, an unknown suffix, a malformed template.
    """
    if output is None:
        where = f"{naming.word}/{names.name}" if many else f"{names.stem}_{naming.word}"
        return existing_form(Path(where + kind.default))
    path, text = Path(output), str(output)
    if path == STANDARD:
        if many:
            raise LureError("standard output takes one picture, not those of a folder", "give a folder or a template")
        if kind is not IMAGES:
            raise LureError(f"standard output takes no {kind.word}", "give it a file")
        return path
    if _is_folder(output):
        return existing_form(path / f"{names.name}{kind.default}")
    template = _is_template(text)
    if template:
        path = Path(_fill(text, names, naming))
    if path.suffix.lower() not in kind.written:
        raise LureError(
            f"the output {text} has no known {kind.word} suffix",
            f"use one of {', '.join(kind.written)}, or end a folder's name with '/'",
        )
    if many and not template:
        raise LureError(
            f"the output {text} is one file for several {naming.things}",
            f"give a folder or a template; {naming.fields}",
        )
    return existing_form(path)


def check_outputs(items: Sequence[Item], others: Sequence[Path], naming: Naming) -> None:
    """LureError if two outputs are one file, one is an input (`others` are inputs too) or cannot be made there."""
    inputs = {os.path.realpath(path) for item in items for path in item.sources.values() if path != STANDARD}
    inputs.update(map(os.path.realpath, others))
    taken: dict[str, str] = {}
    named = [(f"'{item.name}'", item.output) for item in items if item.output != STANDARD]
    named += [(f"the {what} of '{item.name}'", path) for item in items for what, path in item.extras.items()]
    for name, path in named:
        target = os.path.realpath(path)
        if target in inputs:
            raise LureError(f"the output {path} is also an input", "write to another folder or name")
        target = unicodedata.normalize("NFC", target)  # two names that look the same are one file on a Mac
        if target in taken:
            raise LureError(
                f"{taken[target]} and {name} would both be written to {path}",
                f"tell them apart with another folder, or a field in the template; {naming.fields}",
            )
        taken[target] = name
    for folder in {path.parent for item in items for path in files_of(item)}:
        check_folder(folder)


def extras_of(extras: Mapping[str, str], names: Names, many: bool, naming: Naming) -> dict[str, Path]:
    """The files of what is wanted beside the picture, each as `output_of`; both by what they hold, see `EXTRAS`."""
    return {what: output_of(output, names, many, naming, EXTRAS[what]) for what, output in extras.items()}


def check_folder(folder: Path) -> None:
    """LureError unless files can be made in a folder, which may not exist yet."""
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise LureError(f"{folder}: {there} is not a folder", "give another output")
    if not os.access(there, os.W_OK | os.X_OK):
        raise LureError(f"{there}: no files can be written to this folder", "give another output, or get the rights")


def _is_template(text: str) -> bool:
    return "{" in text or "}" in text


def _is_folder(output: str | Path) -> bool:
    """Whether an output means a folder: it exists as one, or is neither a template nor a name with a suffix."""
    text = str(output)
    ends = text.endswith(("/", os.sep))
    return os.path.isdir(output) or (not _is_template(text) and (ends or not Path(output).suffix))


def _fill(template: str, names: Names, naming: Naming) -> str:
    values = {"stem": names.stem, **(names.fields or {})}
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise LureError(f"the output template {template} is malformed ({error})", naming.fields) from error
    for _, field, spec, conversion in parts:
        if field is not None and (field not in (*values, "folder") or spec or conversion):
            raise LureError(f"the output template {template} has an unknown field", naming.fields)
        # as a whole path component it would leave the folder
        if field is not None and values.get(field) in (".", ".."):
            raise LureError(f"the name '{values[field]}' cannot stand in an output", "rename the input files")
    return template.format_map({**values, "folder": "/".join(names.folder) or "."})
