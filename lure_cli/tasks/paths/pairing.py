"""Which infrared file belongs to which visible file, and where the fused image goes; reads names, never pixels."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from lure_cli.errors import LureError
from lure_cli.tasks.paths.find import IMAGES, STANDARD, File, Kind, is_glob, is_many, search
from lure_cli.tasks.paths.markers import DJI, is_marker, pair_stem
from lure_cli.tasks.paths.outputs import (
    Names,
    Naming,
    check_outputs,
    existing_form,
    extras_of,
    folders_of_outputs,
    output_of,
)
from lure_cli.tasks.paths.table import read_table

_CLOCKS = timedelta(seconds=1)
"""How far apart the time stamps of one shot of DJI's may be."""

By = Literal["stem", "name", "regex", "csv"]
BY: tuple[str, ...] = get_args(By)
FUSED = Naming(
    "fused",
    "pairs",
    "known fields: {stem} (name of the pair), {ir} and {vis} (own names without suffix), {folder} (sub-folder)",
)


@dataclass(frozen=True)
class Pair:
    """One infrared file, its visible file, the name that they share (with the sub-folder), the file to write, and
    further ones, by what they hold. With `by_colour` they are just two files, the first and the second."""

    name: str
    ir: Path
    vis: Path
    output: Path
    extras: Mapping[str, Path] = field(default_factory=dict, hash=False)
    by_colour: bool = False

    @property
    def sources(self) -> Mapping[str, Path]:
        """The two files."""
        first, second = ("a", "b") if self.by_colour else ("ir", "vis")
        return {first: self.ir, second: self.vis}


@dataclass(frozen=True)
class Pairing:
    """How the files of two folders find each other.

    by: `stem`: the same name up to one infrared or visible marker (see `pair_stem`), in the same sub-folder up to
        sub-folders that are nothing but a marker (`a/ir/1.png` and `a/vis/1.png`); of DJI's names, `_T` is infrared
        and `_V`, `_W`, `_Z` are visible, and time stamps a second apart count as the same where number and all else
        agree and no other file comes into question; `name`: exactly the same name
        without suffix, in the same sub-folder; `regex`: `pattern` finds the same text (its groups, joined by '_', or
        all of it) in the path below the folder; `csv`: `table` lists them.
    pattern: for `regex`.
    table: for `csv`: a file with the columns ir, vis and, if wanted, name; paths are relative to the two folders, with
        slashes or backslashes.
    recursive: look into sub-folders too; links to folders are followed, each folder is read once.

    Names are compared in composed Unicode (NFC): those of a folder that was copied from a Mac are decomposed.
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


def find_pairs(
    ir: Path,
    vis: Path,
    output: str | Path | None,
    pairing: Pairing = Pairing(),
    kind: Kind = IMAGES,
    notify: Callable[[str], None] | None = None,
    extras: Mapping[str, str] | None = None,
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
        notify: told of files that are left out, and of pairs whose time stamps differ.
        extras: as `output`, for what is wanted beside the pictures, see `EXTRAS`.

    Returns:
        The pairs, sorted by name, and the files of either side that have no partner, infrared ones first.
        Under `stem`, the stems of two given files need not match: the visible one names the pair, or the infrared one
        if the visible one is only a marker; if both are (ir.png, vis.png), the folder that holds both does, or else
        the name is 'pair'. What lies in an output's folder is no input, if that folder lies in a searched one.

    Raises:
        LureError: a path is missing (one in the table, too), a file meets a folder, both inputs are the same, nothing
            pairs, two files of a side have one name, the pairing or the template is malformed, or an output is
            ambiguous or is an input.
    """
    many = [is_many(path) for path in (ir, vis)]
    if many[0] != many[1]:
        folder, file = (ir, vis) if many[0] else (vis, ir)
        raise LureError(f"{folder} is a folder but {file} is a file", "give two files or two folders")
    if ir == vis or (STANDARD not in (ir, vis) and not any(map(is_glob, (ir, vis))) and ir.samefile(vis)):
        hint = f"; of one folder that holds both, two patterns, such as '{ir / '*_T.JPG'}'" if ir.is_dir() else ""
        raise LureError(f"{ir} is given as both inputs", f"give two different inputs{hint}")
    check_pairing(pairing, many[0])
    unmatched: list[Path] = []
    if not many[0]:
        matched = [_Match(name_of_two(ir, vis), (), ir, vis)]
    elif pairing.by == "csv":
        matched = _from_table(ir, vis, pairing)
    else:
        matched, unmatched = _match(ir, vis, pairing, folders_of_outputs(output, extras or {}, FUSED), kind, notify)
    pairs = [make_pair(m.names, m.ir, m.vis, output, extras or {}, many[0], kind) for m in matched]
    check_outputs(pairs, unmatched, FUSED)
    return pairs, unmatched


def pair_files(
    irs: Sequence[File],
    viss: Sequence[File],
    output: str | Path | None,
    pairing: Pairing,
    refuse: Callable[[LureError], None],
    extras: Mapping[str, str],
) -> list[Pair]:
    """As `find_pairs` for folders, with files that are known and outputs that are not checked; there may be no pair.

    Args:
        irs, viss: the files of either side.
        output, pairing, extras: see there; the pairing is checked already, and not by a table.
        refuse: told why files are left out that could belong to two pairs.
    """
    keyed = [_by_key(files, pairing, side, refuse) for files, side in ((irs, "ir"), (viss, "vis"))]
    try:
        matched = _partners(*keyed, clocks=pairing.by == "stem")[0]
    except LureError as error:
        refuse(error)
        matched = _partners(*keyed, clocks=False)[0]
    return [make_pair(m.names, m.ir, m.vis, output, extras, True) for m in matched]


def make_pair(
    names: Names,
    ir: Path,
    vis: Path,
    output: str | Path | None,
    extras: Mapping[str, str],
    many: bool,
    kind: Kind = IMAGES,
) -> Pair:
    """Two files and what is made of them; arguments as of `find_pairs` and `output_of`."""
    outputs = output_of(output, names, many, FUSED, kind), extras_of(extras, names, many, FUSED)
    return Pair(names.name, ir, vis, *outputs)


def check_pairing(pairing: Pairing, many: bool) -> None:
    """LureError on options that cannot be meant for two files, or for two folders (`many`)."""
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
    ir: Path, vis: Path, pairing: Pairing, skip: Collection[str], kind: Kind, notify: Callable[[str], None] | None
) -> tuple[list[_Match], list[Path]]:
    files = [search(source, pairing.recursive, skip, kind, notify) for source in (ir, vis)]
    irs, viss = (_by_key(each, pairing, side) for each, side in zip(files, ("ir", "vis"), strict=True))
    matched, apart = _partners(irs, viss, clocks=pairing.by == "stem")
    if apart and notify is not None:
        many = f"{len(apart)} pairs have" if len(apart) > 1 else "one pair has"
        notify(f"{many} time stamps that differ by a second; their numbers agree: {apart[0].ir} and {apart[0].vis}")
    if not matched:
        raise LureError(
            f"no file in {ir} pairs with one in {vis}: {_examples(irs, files[0])} against {_examples(viss, files[1])}",
            _way_out(files[0], files[1], pairing.by),
        )
    taken = {path for m in matched for path in (m.ir, m.vis)}
    return matched, [f.path for each in files for f in each if f.path not in taken]


def _partners(
    irs: Mapping[tuple[str, ...], File], viss: Mapping[tuple[str, ...], File], *, clocks: bool
) -> tuple[list[_Match], list[_Match]]:
    """Those that belong together, sorted by name, and which of them have time stamps a second apart (`clocks`: such may
    belong together)."""
    apart = _a_second_apart(irs, viss) if clocks else {}
    both = {key: key for key in irs.keys() & viss.keys()} | apart  # of the infrared file to that of the visible one
    matched = {a: _Match(b[-1], _folder(viss[b]), irs[a].path, viss[b].path) for a, b in both.items()}
    return sorted(matched.values(), key=lambda m: m.names.name), [matched[a] for a in sorted(apart)]


_NO_PAIR = {
    "stem": "partners share a name up to a marker such as _ir or _vis: street_ir.png and street_vis.jpg",
    "name": "partners have exactly the same name without suffix; --pair stem allows markers such as _ir and _vis",
    "regex": "the pattern must find the same text in both paths",
}
_PATTERNS = (
    r"(\d+)[^/\d]*$",  # the last number of a name
    r"(?:^|/)[^/\d]*(\d+)[^/]*$",  # the first
    r"(?:^|/)(?:.*[-_ ])?([^-_ /.]+)[.][^/.]+$",  # the last word
    r"(?:^|/)([^-_ /.]+)[^/]*$",  # the first
)


def _way_out(irs: Sequence[File], viss: Sequence[File], by: By) -> str:
    """What else to try, for these very names: the pattern that pairs most files, or else a table."""
    if by == "regex":
        return _NO_PAIR[by]
    if all(all(DJI.fullmatch(file.below.stem) for file in files) for files in (irs, viss)) and by == "stem":
        letters = [{DJI.sub(r"\4", file.below.stem).upper() for file in files} for files in (irs, viss)]
        if "T" not in letters[0] and letters[1] == {"T"}:
            return "in DJI's names, _T is infrared and _V, _W and _Z are visible: swap --ir and --vis"
    ways = []
    for pattern in _PATTERNS:
        try:
            a, b = (_by_key(files, Pairing("regex", pattern), "") for files in (irs, viss))
        except LureError:  # it finds the same text in two files of one side
            continue
        if common := sorted(a.keys() & b.keys()):
            ways.append((len(common), pattern, a[common[0]].path.name, b[common[0]].path.name))
    if not ways:
        row = f"{irs[0].below.as_posix()},{viss[0].below.as_posix()}"
        return (
            f"{_NO_PAIR[by]}; else list them: --pair csv --pair-file FILE, with the header ir,vis and lines like {row}"
        )
    _, pattern, one, other = max(ways, key=lambda way: way[0])
    return f"{_NO_PAIR[by]}; if {one} and {other} belong together: --pair regex --pair-regex '{pattern}'"


def _a_second_apart(
    irs: Mapping[tuple[str, ...], File], viss: Mapping[tuple[str, ...], File]
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Keys of DJI's files whose time stamps differ by a second; only where each is the only one in question."""
    shots: list[dict[tuple[str, ...], list[tuple[datetime, tuple[str, ...]]]]] = [{}, {}]
    for shot, keyed in zip(shots, (irs, viss), strict=True):
        for key, file in keyed.items():
            match = DJI.fullmatch(unicodedata.normalize("NFC", file.below.stem))
            if match is None or match[2] is None:
                continue
            try:
                time = datetime.strptime(match[2], "%Y%m%d%H%M%S")
            except ValueError:
                continue
            shot.setdefault((*key[:-1], match[3], match[5]), []).append((time, key))
    apart = {}
    for which, those in shots[0].items():
        others = shots[1].get(which, [])
        _check_one_lens(others, viss)
        for time, key in those:
            near = [(t, k) for t, k in others if abs(t - time) <= _CLOCKS]
            if len(near) == 1 and near[0][0] != time and sum(abs(t - near[0][0]) <= _CLOCKS for t, _ in those) == 1:
                apart[key] = near[0][1]
    return apart


def _check_one_lens(shots: Sequence[tuple[datetime, tuple[str, ...]]], viss: Mapping[tuple[str, ...], File]) -> None:
    """LureError if two cameras took one shot: by the second of its time stamp alone it would be one or the other."""
    for (t, a), (u, b) in zip(sorted(shots), sorted(shots)[1:], strict=False):
        letters = {DJI.sub(r"\4", viss[key].below.stem).upper() for key in (a, b)}
        if u - t <= _CLOCKS and len(letters) > 1:
            raise _both(viss[a], viss[b], a)


def _both(file: File, other: File, key: tuple[str, ...]) -> LureError:
    """Two files of one side have the same key."""
    hint = "keep one of the two; infrared and visible images belong in two separate folders"
    matches = [DJI.fullmatch(each.below.stem) for each in (file, other)]
    if unicodedata.normalize("NFC", str(file.path)) == unicodedata.normalize("NFC", str(other.path)):
        hint = "the names differ only in how Unicode composes their letters (NFC, NFD): rename or remove one"
    elif matches[0] and matches[1]:
        hint = f"name the pictures of one camera by a pattern, such as '*_{matches[0][4]}{file.path.suffix}'"
    return LureError(f"{file.path} and {other.path} both stand for '{'/'.join(key)}'", hint)


def _by_key(
    files: Sequence[File], pairing: Pairing, side: str, refuse: Callable[[LureError], None] | None = None
) -> dict[tuple[str, ...], File]:
    """The files by what partners share; LureError if two have the same, or `refuse` is told and both are left out."""
    keyed: dict[tuple[str, ...], File] = {}
    twice: set[tuple[str, ...]] = set()
    for file in files:
        key = _key(file, pairing, side)
        if key is None:
            continue
        if key in keyed:
            if refuse is None:
                raise _both(keyed[key], file, key)
            refuse(_both(keyed[key], file, key))
            twice.add(key)
            continue
        keyed[key] = file
    return {key: file for key, file in keyed.items() if key not in twice}


def _key(file: File, pairing: Pairing, side: str) -> tuple[str, ...] | None:
    """What two files must share; the last part names the pair. None: the file takes no part."""
    if pairing.by == "stem":
        dji = DJI.fullmatch(file.below.stem)
        if dji and (dji[4] in "Tt") != (side == "ir"):
            return None
        return (*_folder(file), pair_stem(file.below.stem))
    if pairing.by == "name":
        return tuple(unicodedata.normalize("NFC", part) for part in (*file.below.parent.parts, file.below.stem))
    assert pairing.pattern is not None
    pattern, text = (unicodedata.normalize("NFC", each) for each in (pairing.pattern, file.below.as_posix()))
    match = re.search(pattern, text)
    if match is None:
        return None
    text = "_".join(g for g in match.groups() if g is not None) if match.re.groups else match[0]
    return (text.replace("/", "_"),) if text else None


def _folder(file: File) -> tuple[str, ...]:
    """The sub-folder, without parts that only say which of the two sources it is; in composed Unicode (NFC)."""
    parts = file.below.parent.parts
    return tuple(unicodedata.normalize("NFC", part) for part in parts if not is_marker(part))


def _from_table(ir: Path, vis: Path, pairing: Pairing) -> list[_Match]:
    """Pairs as a CSV file lists them; all files have to be there."""
    assert pairing.table is not None
    file, hint = pairing.table, "CSV with the header ir,vis or ir,vis,name; paths relative to the two folders"
    for source in (ir, vis):
        if is_glob(source):
            raise LureError(f"{source}: --pair csv takes folders, no patterns", hint)
    rows = read_table(file, ("ir", "vis", "name"), ("ir", "vis"), hint)
    if not rows:
        raise LureError(f"{file}: lists no pairs", hint)
    matched, missing = [], []
    for number, row in rows:
        a, b, name = row["ir"], row["vis"], row["name"]
        if not a or not b:
            raise LureError(f"{file}, line {number}: a pair needs both ir and vis", hint)
        if "/" in name or "\\" in name or name in (".", ".."):
            raise LureError(f"{file}, line {number}: '{name}' is no name of a file", "names hold no '/' and no '\\'")
        one, other = _listed(ir, a), _listed(vis, b)
        missing += [(number, path) for path in (one, other) if not os.path.isfile(path)]
        below = Path(os.path.relpath(other, vis)) if other.is_relative_to(vis) else Path()
        seen = File(other, Path() if ".." in below.parts or os.path.isabs(b) else below)
        matched.append(_Match(name or pair_stem(other.stem), _folder(seen), one, other))
    if missing:
        number, path = missing[0]
        more = f"; of the files listed, {len(missing)} are missing" if len(missing) > 1 else ""
        raise LureError(
            f"{file}, line {number}: {path}: no such file{more}", f"paths are relative to {ir} (ir) and {vis} (vis)"
        )
    return sorted(matched, key=lambda m: m.names.name)


def _listed(folder: Path, text: str) -> Path:
    """The file that a table names: as it stands there, or with the backslashes of Windows as slashes."""
    spellings = [existing_form(folder / spelling) for spelling in (text, text.replace("\\", "/"))]
    return next((path for path in spellings if os.path.isfile(path)), spellings[0])


def _examples(keys: Mapping[tuple[str, ...], File], files: Sequence[File]) -> str:
    names = ["/".join(key) for key in keys] or [file.below.as_posix() for file in files]
    return ", ".join(f"'{name}'" for name in names[:3]) + (", ..." if len(names) > 3 else "")


def name_of_two(ir: Path, vis: Path) -> str:
    """The name of a pair of two given files: see `find_pairs`."""
    named = [path for path in (vis, ir) if path != STANDARD]
    for path in named:
        if not is_marker(path.stem):
            return pair_stem(path.stem)
    folders = {path.absolute().parent.resolve() for path in named}
    return folders.pop().name or "pair" if len(folders) == 1 else "pair"
