"""Which infrared file belongs to which visible file, and where the fused image goes; reads names, never pixels."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from lure_cli.errors import LureError
from lure_cli.tasks.paths.find import IMAGES, STANDARD, File, Kind, is_glob, is_many, search
from lure_cli.tasks.paths.outputs import Names, Naming, check_outputs, folder_of_outputs, output_of

_MARKERS = "ir|infrared|thermal|tir|lwir|nir|vis|vi|visible|rgb|color|colour"
_MARKER = re.compile(_MARKERS, re.IGNORECASE)
_ENDS = re.compile(rf"(.+)[-_. ](?:{_MARKERS})", re.IGNORECASE | re.DOTALL)
_STARTS = re.compile(rf"(?:{_MARKERS})[-_. ](.+)", re.IGNORECASE | re.DOTALL)

By = Literal["stem", "name", "regex", "csv"]
BY: tuple[str, ...] = get_args(By)
FUSED = Naming(
    "fused",
    "pairs",
    "known fields: {stem} (name of the pair), {ir} and {vis} (own names without suffix), {folder} (sub-folder)",
)


@dataclass(frozen=True)
class Pair:
    """One infrared file, its visible file, the name that they share (with the sub-folder) and the file to write."""

    name: str
    ir: Path
    vis: Path
    output: Path

    @property
    def sources(self) -> Mapping[str, Path]:
        """The two files."""
        return {"ir": self.ir, "vis": self.vis}


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
class _Match:
    """Two files that belong together; `stem` is the name of the pair within its folder."""

    stem: str
    folder: tuple[str, ...]
    ir: Path
    vis: Path

    @property
    def names(self) -> Names:
        return Names(self.stem, self.folder, {"ir": self.ir.stem, "vis": self.vis.stem})


def pair_stem(stem: str) -> str:
    """The stem without one infrared or visible marker: 'street_ir', 'VIS-street' and 'street' all give 'street'.

    A marker stands at the end or, failing that, at the start, set off by '_', '-', '.' or a space, in any case.
    A stem that is nothing but a marker stays as it is.
    """
    match = _ENDS.fullmatch(stem) or _STARTS.fullmatch(stem)
    return match[1] if match else stem


def find_pairs(
    ir: Path,
    vis: Path,
    output: str | Path | None,
    pairing: Pairing = Pairing(),
    kind: Kind = IMAGES,
    notify: Callable[[str], None] | None = None,
) -> tuple[list[Pair], list[Path]]:
    """Pair two files, or the files of two folders (never by position), and name the outputs.

    Args:
        ir: an infrared file, a folder, a glob pattern (`flir/**/*.tif`; what the parts before the first wildcard name
            is its folder), or `-` for standard input.
        vis: the visible side, a file if `ir` is one, else a folder or pattern.
        output: as `output_of` takes it. None: `<stem>_fused.png` for two files, `fused/<name>.png` for folders.
            Templates have the fields {stem} (name of the pair), {ir}, {vis} (stems of the files), {folder} (the
            sub-folder), for example `out/{folder}/{stem}_fused.jpg`.
        pairing: how the files of two folders find each other.
        kind: what is paired; for another than images, its suffixes stand for those above.
        notify: told of files that are left out.

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
    if ir == vis or (STANDARD not in (ir, vis) and not any(map(is_glob, (ir, vis))) and ir.samefile(vis)):
        raise LureError(f"{ir} is given as both the infrared and the visible input", "give two different inputs")
    _check_pairing(pairing, many[0])
    unmatched: list[Path] = []
    if not many[0]:
        matched = [_Match(name_of_two(ir, vis), (), ir, vis)]
    elif pairing.by == "csv":
        matched = _from_table(ir, vis, pairing)
    else:
        matched, unmatched = _match(ir, vis, pairing, folder_of_outputs(output, FUSED), kind, notify)
    pairs = [Pair(m.names.name, m.ir, m.vis, output_of(output, m.names, many[0], FUSED, kind)) for m in matched]
    check_outputs(pairs, unmatched, FUSED)
    return pairs, unmatched


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


def _match(
    ir: Path, vis: Path, pairing: Pairing, skip: str | None, kind: Kind, notify: Callable[[str], None] | None
) -> tuple[list[_Match], list[Path]]:
    files = [search(source, pairing.recursive, skip, kind, notify) for source in (ir, vis)]
    keyed = [_by_key(each, pairing) for each in files]
    irs, viss = keyed
    both = sorted(irs.keys() & viss.keys())
    if not both:
        raise LureError(
            f"no file in {ir} pairs with one in {vis}: {_examples(irs)} against {_examples(viss)}",
            _NO_PAIR[pairing.by],
        )
    matched = [_Match(key[-1], _folder(viss[key]), irs[key].path, viss[key].path) for key in both]
    taken = {f.path for key in both for f in (irs[key], viss[key])}
    return sorted(matched, key=lambda m: m.names.name), [f.path for each in files for f in each if f.path not in taken]


_NO_PAIR = {
    "stem": "partners share a name up to a marker such as _ir or _vis: street_ir.png and street_vis.jpg",
    "name": "partners have exactly the same name without suffix; --pair stem allows markers such as _ir and _vis",
    "regex": "the pattern must find the same text in both paths",
}


def _by_key(files: list[File], pairing: Pairing) -> dict[tuple[str, ...], File]:
    keyed: dict[tuple[str, ...], File] = {}
    for file in files:
        key = _key(file, pairing)
        if key is None:
            continue
        if key in keyed:
            raise LureError(
                f"{keyed[key].path} and {file.path} both stand for '{'/'.join(key)}'",
                "keep one of the two; infrared and visible images belong in two separate folders",
            )
        keyed[key] = file
    return keyed


def _key(file: File, pairing: Pairing) -> tuple[str, ...] | None:
    """What two files must share; the last part names the pair. None: the file takes no part."""
    if pairing.by == "stem":
        return (*_folder(file), pair_stem(file.below.stem))
    if pairing.by == "name":
        return (*file.below.parent.parts, file.below.stem)
    assert pairing.pattern is not None
    match = re.search(pairing.pattern, file.below.as_posix())
    if match is None:
        return None
    text = "_".join(g for g in match.groups() if g is not None) if match.re.groups else match[0]
    return (text.replace("/", "_"),) if text else None


def _folder(file: File) -> tuple[str, ...]:
    """The sub-folder, without parts that only say which of the two sources it is."""
    return tuple(part for part in file.below.parent.parts if not _MARKER.fullmatch(part))


def _from_table(ir: Path, vis: Path, pairing: Pairing) -> list[_Match]:
    """Pairs as a CSV file lists them; whether the files are there shows when they are fused."""
    assert pairing.table is not None
    file, hint = pairing.table, "CSV with the header ir,vis or ir,vis,name; paths relative to the two folders"
    for source in (ir, vis):
        if is_glob(source):
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
        seen = File(vis / b, Path() if os.path.isabs(b) or ".." in Path(b).parts else Path(b))
        matched.append(_Match(name or pair_stem(Path(b).stem), _folder(seen), ir / a, vis / b))
    return sorted(matched, key=lambda m: m.names.name)


def _examples(keys: dict[tuple[str, ...], File]) -> str:
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
