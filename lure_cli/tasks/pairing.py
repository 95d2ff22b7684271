"""Which infrared file belongs to which visible file, and where the fused image goes; reads names, never pixels."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from string import Formatter
from typing import Literal, get_args

from lure_cli.core.images import SUFFIXES
from lure_cli.errors import LureError

_MARKERS = "ir|infrared|thermal|tir|lwir|nir|vis|vi|visible|rgb|color|colour"
_MARKER = re.compile(_MARKERS, re.IGNORECASE)
_ENDS = re.compile(rf"(.+)[-_. ](?:{_MARKERS})", re.IGNORECASE | re.DOTALL)
_STARTS = re.compile(rf"(?:{_MARKERS})[-_. ](.+)", re.IGNORECASE | re.DOTALL)
_FIELDS = "known fields: {stem} (name of the pair), {ir} and {vis} (own names without suffix), {folder} (sub-folder)"
_WILD = re.compile(r"[*?\[]")
STANDARD = Path("-")
"""Standard input as a source, standard output as a target."""

By = Literal["stem", "name", "regex", "csv"]
BY: tuple[str, ...] = get_args(By)


@dataclass(frozen=True)
class Pair:
    """One infrared file, its visible file, the name that they share (with the sub-folder) and the file to write."""

    name: str
    ir: Path
    vis: Path
    output: Path


@dataclass(frozen=True)
class Pairing:
    """How the files of two folders find each other.

    by: `stem`: the same name up to one infrared or visible marker (see `pair_stem`), in the same sub-folder up to
        sub-folders that are nothing but a marker (`a/ir/1.png` and `a/vis/1.png`); `name`: exactly the same name
        without suffix, in the same sub-folder; `regex`: `pattern` finds the same text (its groups, joined by '_', or
        all of it) in the path below the folder; `csv`: `table` lists them.
    pattern: for `regex`.
    table: for `csv`: a file with the columns ir, vis and, if wanted, name; paths are relative to the two folders.
    recursive: look into sub-folders too; links to folders are followed, each folder is read once.
    """

    by: By = "stem"
    pattern: str | None = None
    table: Path | None = None
    recursive: bool = False


@dataclass(frozen=True)
class Kind:
    """What is paired: the suffixes that are read and written, that of outputs which name none, and a word for it."""

    read: tuple[str, ...]
    written: tuple[str, ...]
    default: str
    word: str


IMAGES = Kind(SUFFIXES, SUFFIXES, ".png", "image")


@dataclass(frozen=True)
class _File:
    """A file that was found, and its path below the folder that was named."""

    path: Path
    below: Path

    @property
    def folder(self) -> tuple[str, ...]:
        """The sub-folder, without parts that only say which of the two sources it is."""
        return tuple(part for part in self.below.parent.parts if not _MARKER.fullmatch(part))


@dataclass(frozen=True)
class _Match:
    """Two files that belong together; `stem` is the name of the pair within its folder."""

    stem: str
    folder: tuple[str, ...]
    ir: Path
    vis: Path

    @property
    def name(self) -> str:
        return "/".join((*self.folder, self.stem))


def list_images(folder: Path) -> list[Path]:
    """The image files directly in the folder, by suffix, sorted by name; hidden files are left out.

    Raises:
        LureError: the folder cannot be read.
    """
    return sorted(found.path for found in _walk(folder, 1, None, SUFFIXES))


def pair_stem(stem: str) -> str:
    """The stem without one infrared or visible marker: 'street_ir', 'VIS-street' and 'street' all give 'street'.

    A marker stands at the end or, failing that, at the start, set off by '_', '-', '.' or a space, in any case.
    A stem that is nothing but a marker stays as it is.
    """
    match = _ENDS.fullmatch(stem) or _STARTS.fullmatch(stem)
    return match[1] if match else stem


def find_pairs(
    ir: Path, vis: Path, output: str | Path | None, pairing: Pairing = Pairing(), kind: Kind = IMAGES
) -> tuple[list[Pair], list[Path]]:
    """Pair two files, or the files of two folders (never by position), and name the outputs.

    Args:
        ir: an infrared file, a folder, a glob pattern (`flir/**/*.tif`; what the parts before the first wildcard name
            is its folder), or `-` for standard input.
        vis: the visible side, a file if `ir` is one, else a folder or pattern.
        output: one of
            - None: `<stem>_fused.png` for two files, `fused/<name>.png` for folders, in the current directory;
            - a folder (it exists, has no suffix, or is a string that ends with a separator): `<folder>/<name>.png`,
              sub-folders kept;
            - a file with an image suffix, for two files only, or `-` for standard output;
            - a template with an image suffix and the fields {stem} (name of the pair), {ir}, {vis} (stems of the
              files), {folder} (the sub-folder), for example `out/{folder}/{stem}_fused.jpg`.
        pairing: how the files of two folders find each other.
        kind: what is paired; for another than images, its suffixes stand for those above.

    Returns:
        The pairs, sorted by name, and the files of either side that have no partner, infrared ones first.
        Under `stem`, the stems of two given files need not match: the visible one names the pair, or the infrared one
        if the visible one is only a marker; if both are (ir.png, vis.png), the folder that holds both does, or else
        the name is 'pair'. What lies in the output's folder is no input, if that folder lies in a searched one.

    Raises:
        LureError: a path is missing, a file meets a folder, both inputs are the same, nothing pairs, two files of a
            side have one name, the pairing or the template is malformed, or an output is ambiguous or is an input.
    """
    many = [is_many(path) for path in (ir, vis)]
    if many[0] != many[1]:
        folder, file = (ir, vis) if many[0] else (vis, ir)
        raise LureError(f"{folder} is a folder but {file} is a file", "give two files or two folders")
    if ir == vis or (STANDARD not in (ir, vis) and not any(map(_is_glob, (ir, vis))) and ir.samefile(vis)):
        raise LureError(f"{ir} is given as both the infrared and the visible input", "give two different inputs")
    _check_pairing(pairing, many[0])
    unmatched: list[Path] = []
    if not many[0]:
        matched = [_Match(name_of_two(ir, vis), (), ir, vis)]
    elif pairing.by == "csv":
        matched = _from_table(ir, vis, pairing)
    else:
        matched, unmatched = _match(ir, vis, pairing, _output_folder(output), kind)
    pairs = [Pair(m.name, m.ir, m.vis, _output(output, m, many[0], kind)) for m in matched]
    _check_outputs(pairs, unmatched)
    return pairs, unmatched


def _is_glob(path: Path) -> bool:
    return bool(_WILD.search(str(path))) and not os.path.lexists(path)


def is_many(path: Path) -> bool:
    """Whether a source is a folder or a pattern, not one file; LureError if there is no such thing."""
    if path == STANDARD:
        return False
    if _is_glob(path):
        return True
    if not os.path.exists(path):
        raise LureError(f"{path}: no such file or folder", "check the spelling of the path")
    return path.is_dir()


def _check_pairing(pairing: Pairing, many: bool) -> None:
    if pairing.by not in BY:
        raise LureError(f"pairing '{pairing.by}' is not known", f"use one of {', '.join(BY)}")
    if not many and (pairing.by != "stem" or pairing.recursive):
        raise LureError("two files need no pairing", "give two folders, or leave the options of pairing out")
    for by, value, option in (("regex", pairing.pattern, "--pair-regex"), ("csv", pairing.table, "--pair-file")):
        if (pairing.by == by) != (value is not None):
            raise LureError(f"--pair {by} and {option} belong together", f"give both, or neither (now: {pairing.by})")
    if pairing.pattern is not None:
        try:
            re.compile(pairing.pattern)
        except re.error as error:
            raise LureError(
                f"--pair-regex '{pairing.pattern}' is no regular expression ({error})", r"for example 'frame_(\d+)'"
            ) from error


def _search(source: Path, recursive: bool, skip: str | None, kind: Kind) -> list[_File]:
    """The files of that kind of a folder or of a glob pattern, sorted by path."""
    if not _is_glob(source):
        found = list(_walk(source, 99 if recursive else 1, skip, kind.read))
    else:
        parts = source.parts
        first = next(i for i, part in enumerate(parts) if _WILD.search(part))
        root, pattern = Path(*parts[:first]), (*parts[first:], *(("*",) if parts[-1] == "**" else ()))
        depth = 99 if "**" in pattern else len(pattern)
        found = [f for f in _walk(root, depth, skip, kind.read) if _fits(f.below.parts, pattern)]
    if not found:
        raise LureError(f"{source}: holds no {kind.word} files", f"known suffixes: {', '.join(kind.read)}")
    return sorted(found, key=lambda f: f.path)


def _fits(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a path fits a pattern, part by part; `**` is any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _fits(parts, pattern[1:]) or (len(parts) > 1 and _fits(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _walk(root: Path, depth: int, skip: str | None, suffixes: tuple[str, ...]) -> Iterator[_File]:
    """Files with such suffixes down to a depth (1: the folder itself), hidden ones left out; a folder is entered once,
    whatever links lead to it, and `skip` (a real path) never."""
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
                if level < depth and (skip is None or os.path.realpath(path) != skip):
                    waiting.append((path, below / entry.name, level + 1))
            elif path.suffix.lower() in suffixes and _is(entry.is_file):
                yield _File(path, below / entry.name)


def _is(kind: Callable[[], bool]) -> bool:
    """Links that lead in a circle are neither files nor folders."""
    try:
        return kind()
    except OSError:
        return False


def _match(ir: Path, vis: Path, pairing: Pairing, skip: str | None, kind: Kind) -> tuple[list[_Match], list[Path]]:
    files = [_search(source, pairing.recursive, skip, kind) for source in (ir, vis)]
    keyed = [_by_key(each, pairing) for each in files]
    irs, viss = keyed
    both = sorted(irs.keys() & viss.keys())
    if not both:
        raise LureError(
            f"no file in {ir} pairs with one in {vis}: {_examples(irs)} against {_examples(viss)}",
            _NO_PAIR[pairing.by],
        )
    matched = [_Match(key[-1], viss[key].folder, irs[key].path, viss[key].path) for key in both]
    taken = {f.path for key in both for f in (irs[key], viss[key])}
    return sorted(matched, key=lambda m: m.name), [f.path for each in files for f in each if f.path not in taken]


_NO_PAIR = {
    "stem": "partners share a name up to a marker such as _ir or _vis: street_ir.png and street_vis.jpg",
    "name": "partners have exactly the same name without suffix; --pair stem allows markers such as _ir and _vis",
    "regex": "the pattern must find the same text in both paths",
}


def _by_key(files: list[_File], pairing: Pairing) -> dict[tuple[str, ...], _File]:
    found: dict[tuple[str, ...], _File] = {}
    for file in files:
        key = _key(file, pairing)
        if key is None:
            continue
        if key in found:
            raise LureError(
                f"{found[key].path} and {file.path} both stand for '{'/'.join(key)}'",
                "keep one of the two; infrared and visible images belong in two separate folders",
            )
        found[key] = file
    return found


def _key(file: _File, pairing: Pairing) -> tuple[str, ...] | None:
    """What two files must share; the last part names the pair. None: the file takes no part."""
    if pairing.by == "stem":
        return (*file.folder, pair_stem(file.below.stem))
    if pairing.by == "name":
        return (*file.below.parent.parts, file.below.stem)
    assert pairing.pattern is not None
    match = re.search(pairing.pattern, file.below.as_posix())
    if match is None:
        return None
    text = "_".join(g for g in match.groups() if g is not None) if match.re.groups else match[0]
    return (text.replace("/", "_"),) if text else None


def _from_table(ir: Path, vis: Path, pairing: Pairing) -> list[_Match]:
    """Pairs as a CSV file lists them; whether the files are there shows when they are fused."""
    assert pairing.table is not None
    file, hint = pairing.table, "CSV with the header ir,vis or ir,vis,name; paths relative to the two folders"
    for source in (ir, vis):
        if _is_glob(source):
            raise LureError(f"{source}: --pair csv takes folders, no patterns", hint)
    try:
        rows = list(csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines(), strict=True))
    except OSError as error:
        raise LureError(f"{file}: cannot be read ({error.strerror})", "name an existing file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LureError(f"{file}: not CSV in UTF-8 ({error})", hint) from error
    if not rows:
        raise LureError(f"{file}: lists no pairs", hint)
    matched = []
    for number, row in enumerate(rows, 2):
        if unknown := [str(key) for key in row if key not in ("ir", "vis", "name")]:
            raise LureError(f"{file}, line {number}: unknown column '{unknown[0]}'", hint)
        a, b, name = (row.get(key) or "" for key in ("ir", "vis", "name"))
        if not a or not b:
            raise LureError(f"{file}, line {number}: a pair needs both ir and vis", hint)
        if "/" in name or name in (".", ".."):
            raise LureError(f"{file}, line {number}: '{name}' is no name of a file", "names hold no '/'")
        seen = _File(vis / b, Path() if os.path.isabs(b) or ".." in Path(b).parts else Path(b))
        matched.append(_Match(name or pair_stem(Path(b).stem), seen.folder, ir / a, vis / b))
    return sorted(matched, key=lambda m: m.name)


def _examples(keys: dict[tuple[str, ...], _File]) -> str:
    shown = ", ".join(f"'{'/'.join(key)}'" for key in list(keys)[:3]) or "nothing"
    return shown + (", ..." if len(keys) > 3 else "")


def name_of_two(ir: Path, vis: Path) -> str:
    """The name of a pair of two given files: see `find_pairs`."""
    named = [path for path in (vis, ir) if path != STANDARD]
    for path in named:
        if not _MARKER.fullmatch(path.stem):
            return pair_stem(path.stem)
    folders = {path.absolute().parent.resolve() for path in named}
    return folders.pop().name or "pair" if len(folders) == 1 else "pair"


def _is_template(text: str) -> bool:
    return "{" in text or "}" in text


def _is_folder(output: str | Path) -> bool:
    """Whether an output means a folder: it exists as one, or is neither a template nor a name with a suffix."""
    text = str(output)
    ends = text.endswith(("/", os.sep))
    return os.path.isdir(output) or (not _is_template(text) and (ends or not Path(output).suffix))


def _output_folder(output: str | Path | None) -> str | None:
    """The real path of the folder that all outputs go to, or None where a template has none of its own."""
    if output is None or _is_folder(output):
        return os.path.realpath("fused" if output is None else output)
    fixed = os.path.dirname(str(output).partition("{")[0])
    return os.path.realpath(fixed) if fixed else None


def _output(output: str | Path | None, match: _Match, many: bool, kind: Kind) -> Path:
    if output is None:
        return Path("fused", f"{match.name}{kind.default}") if many else Path(f"{match.stem}_fused{kind.default}")
    path, text = Path(output), str(output)
    if path == STANDARD:
        if many:
            raise LureError("standard output takes one picture, not those of a folder", "give a folder or a template")
        if kind is not IMAGES:
            raise LureError(f"standard output takes no {kind.word}", "give it a file")
        return path
    if _is_folder(output):
        return path / f"{match.name}{kind.default}"
    template = _is_template(text)
    if template:
        values = {"stem": match.stem, "ir": match.ir.stem, "vis": match.vis.stem}
        path = Path(_fill(text, values, "/".join(match.folder) or "."))
    if path.suffix.lower() not in kind.written:
        raise LureError(
            f"the output {text} has no known {kind.word} suffix",
            f"use one of {', '.join(kind.written)}, or end a folder's name with '/'",
        )
    if many and not template:
        raise LureError(f"the output {text} is one file for several pairs", f"give a folder or a template; {_FIELDS}")
    return path


def _fill(template: str, values: dict[str, str], folder: str) -> str:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise LureError(f"the output template {template} is malformed ({error})", _FIELDS) from error
    for _, field, spec, conversion in parts:
        if field is not None and (field not in (*values, "folder") or spec or conversion):
            raise LureError(f"the output template {template} has an unknown field", _FIELDS)
        # as a whole path component it would leave the folder
        if field is not None and values.get(field) in (".", ".."):
            raise LureError(f"the name '{values[field]}' cannot stand in an output", "rename the input files")
    return template.format_map({**values, "folder": folder})


def _check_outputs(pairs: list[Pair], unmatched: list[Path]) -> None:
    inputs = {os.path.realpath(path) for pair in pairs for path in (pair.ir, pair.vis) if path != STANDARD}
    inputs.update(map(os.path.realpath, unmatched))
    taken: dict[str, str] = {}
    for pair in pairs:
        if pair.output == STANDARD:
            continue
        target = os.path.realpath(pair.output)
        if target in inputs:
            raise LureError(f"the output {pair.output} is also an input", "write to another folder or name")
        if target in taken:
            raise LureError(
                f"'{taken[target]}' and '{pair.name}' would both be written to {pair.output}",
                f"tell them apart with a field in the template; {_FIELDS}",
            )
        taken[target] = pair.name
    for folder in {pair.output.parent for pair in pairs if pair.output != STANDARD}:
        check_folder(folder)


def check_folder(folder: Path) -> None:
    """LureError unless files can be made in a folder, which may not exist yet."""
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise LureError(f"{folder}: {there} is not a folder", "give another output")
    if not os.access(there, os.W_OK | os.X_OK):
        raise LureError(f"{there}: no files can be written to this folder", "give another output, or get the rights")
