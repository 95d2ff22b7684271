"""Which images are measured: fused ones and their sources."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from lure_cli.core.images.value_range import ValueRange, parse_range
from lure_cli.errors import LureError
from lure_cli.tasks.paths.find import IMAGES, list_images, search
from lure_cli.tasks.paths.markers import pair_stem

_FUSED = re.compile(r"(.+)[-_. ](?:fused|fusion|fuse|result)", re.IGNORECASE | re.DOTALL)
_FIELD = re.compile(r"\{(stem|method)\}|\*")


@dataclass(frozen=True)
class ImageFiles:
    """The files of one image; `fused` by method, without the baselines, which are computed from the sources."""

    name: str
    fused: Mapping[str, Path]
    ir: Path | None = None
    vis: Path | None = None
    clean_ir: Path | None = None
    clean_vis: Path | None = None
    reference: Path | None = None


@dataclass(frozen=True)
class EvaluateOptions:
    """What `lure eval` was asked to do; see the command's help.

    `fused` holds (name of the method, file, folder or template), as of `parse_fused`; `metrics` None means all;
    `frames` holds for clips, 0 means all. With `by_colour` the sources are two images of any kind, and the numbers of
    both are read as those of visible ones.
    """

    fused: tuple[tuple[str, Path], ...]
    ir: Path | None = None
    vis: Path | None = None
    _: KW_ONLY
    metrics: tuple[str, ...] | None = None
    convention: str = "cddfuse"
    baselines: bool = False
    reference: Path | None = None
    clean_ir: Path | None = None
    clean_vis: Path | None = None
    common: bool = False
    jobs: int = 0
    ir_range: str = "auto"
    vis_range: str = "auto"
    by_colour: bool = False
    frames: int = 0

    def ranges(self) -> tuple[ValueRange, ValueRange]:
        """Which numbers of infrared and visible sources are black and white; LureError if that is not understood."""
        return parse_range(self.ir_range, "vis" if self.by_colour else "ir"), parse_range(self.vis_range, "vis")


def parse_fused(values: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """`NAME=PATH` or `PATH`, which is named after the folder or file -> (name, path).

    A path that holds `{stem}` is a template of files: `NAME=DIR/{stem}_NAME.jpg` those of one method, and
    `DIR/{stem}_{method}.jpg` or `DIR/{method}/{stem}.png` those of all methods that are found; the name is empty then.

    Raises:
        LureError: two methods of one name, or a template with both a name and `{method}`, or with neither.
    """
    methods: dict[str, Path] = {}
    templates: list[tuple[str, Path]] = []
    for value in values:
        name, equals, path = value.partition("=")
        if is_template(value):
            named = bool(equals) and os.sep not in name and "{" not in name
            if named == ("{method}" in value):
                raise LureError(
                    f"--fused {value}: " + ("the name is given twice" if named else "no method is named"),
                    "give DIR/{stem}_{method}.jpg, or NAME=DIR/{stem}_NAME.jpg",
                )
            if not named:
                templates.append(("", Path(value)))
                continue
        elif not equals or os.sep in name or os.path.exists(value):
            name, path = Path(os.path.abspath(value)).stem or "fused", value
        if name in methods:
            raise LureError(f"two methods are called '{name}'", "tell them apart: --fused NAME=DIR")
        if not name or not path:
            raise LureError(f"--fused {value} names no method or no folder", "give NAME=DIR")
        methods[name] = Path(path)
    return (*methods.items(), *templates)


def is_template(path: str | Path) -> bool:
    """Whether a path stands for many files: it holds `{stem}`, and no file is called so."""
    return "{stem}" in str(path) and not os.path.lexists(path)


def find_images(options: EvaluateOptions) -> tuple[tuple[ImageFiles, ...], tuple[str, ...]]:
    """The files of each image, which belong together by name, sorted by it; and notes on those that take no part.

    The methods of an image stand in the order given, those of a template sorted by name.

    Raises:
        LureError: a missing path, folders among files, nothing that pairs, or a method that lacks an image.
    """
    sides = {"ir": options.ir, "vis": options.vis, "clean_ir": options.clean_ir, "clean_vis": options.clean_vis}
    sides = {**sides, "reference": options.reference}
    given = {side: path for side, path in sides.items() if path is not None}
    everything = [*given.values(), *(path for _, path in options.fused)]
    for path in everything:
        if not path.exists() and not is_template(path):
            raise LureError(f"{path}: no such file or folder", "check the spelling of the path")
    folders = [path for path in everything if path.is_dir() or is_template(path)]
    if not folders:
        name = pair_stem(Path(options.fused[0][1] if options.fused else everything[0]).stem)
        return (ImageFiles(name, dict(options.fused), **given),), ()
    if len(folders) < len(everything):
        file = next(path for path in everything if not path.is_dir())
        raise LureError(f"{folders[0]} is a folder but {file} is a file", "give files only, or folders only")
    tables = {side: images_by_name(path) for side, path in given.items()}
    common = set.intersection(*map(set, tables.values())) if tables else None
    notes = [
        f"unmatched: {file}"
        for table in tables.values()
        for name, file in sorted(table.items())
        if name not in (common or ())
    ]
    methods: dict[str, dict[str, Path]] = {}
    for method, path in options.fused:
        found = _by_template(path, method, common, notes) if is_template(path) else {method: images_by_name(path)}
        if twice := found.keys() & methods.keys():
            raise LureError(f"two methods are called '{min(twice)}'", "tell them apart: --fused NAME=DIR")
        methods |= found
    if common is None:
        common = set.union(*map(set, methods.values()))
    for method, table in methods.items():
        missing = sorted(common - set(table))
        if missing and not options.common:
            raise LureError(
                f"method {method} lacks {len(missing)} of {len(common)} images: {', '.join(missing[:5])}"
                + (", ..." if len(missing) > 5 else ""),
                "add them, or give --common to score every method on the images that all have",
            )
        notes += [f"unmatched: {table[name]}" for name in sorted(set(table) - common)]
    shared = common.intersection(*map(set, methods.values())) if methods else common
    if len(shared) < len(common):
        notes.append(f"scored on {len(shared)} of {len(common)} images, which every method has")
    if not shared:
        raise LureError(
            f"no image name is in all of {', '.join(map(str, everything))}",
            "images belong together by name: street_ir.png, street_vis.png, street_fused.png or street.png",
        )
    return tuple(
        ImageFiles(name, {m: t[name] for m, t in methods.items()}, **{s: t[name] for s, t in tables.items()})
        for name in sorted(shared)
    ), tuple(notes)


def images_by_name(folder: Path) -> dict[str, Path]:
    """The images of a folder by what they show: 'street_fused.png', 'street_ir.png' and 'street.png' are 'street'.

    Raises:
        LureError: none, or two of one name.
    """
    files: dict[str, Path] = {}
    for path in list_images(folder):
        match = _FUSED.fullmatch(path.stem)
        name = pair_stem(match[1] if match else path.stem)
        if name in files:
            raise LureError(f"{files[name]} and {path} both stand for '{name}'", "keep one of the two")
        files[name] = path
    if not files:
        raise LureError(f"{folder}: holds no image files", "give the folder that holds the images themselves")
    return files


def _by_template(template: Path, method: str, stems: set[str] | None, notes: list[str]) -> dict[str, dict[str, Path]]:
    """The files of a template (see `parse_fused`), by method and name of the image.

    Args:
        template: its `*` stand for anything.
        method: where the template has no `{method}`.
        stems: the names of the images, which tell where a method's begins; the longest that fits counts.
        notes: told of the files that belong to no image.
    """
    if stems is None:
        raise LureError(
            f"{template}: which part of a name is the image's can be told from the sources only", "give --ir and --vis"
        )
    if not stems:
        return {method: {}}
    files = search(Path(_FIELD.sub("*", str(template))), False, (), IMAGES)
    fits = _pattern(template, stems)
    several = "method" in fits.groupindex
    found: dict[str, dict[str, Path]] = {}
    others: list[Path] = []
    for file in files:
        match = fits.fullmatch(unicodedata.normalize("NFC", file.path.as_posix()))
        if match is None:
            others.append(file.path)
            continue
        table = found.setdefault(match["method"] if several else method, {})
        if match["stem"] in table:
            raise LureError(
                f"{table[match['stem']]} and {file.path} both stand for '{match['stem']}'", "keep one of the two"
            )
        table[match["stem"]] = file.path
    if not found:
        raise LureError(
            f"{template}: no file is named so after an image of the sources, such as '{min(stems)}'",
            f"there is {others[0]}, for example",
        )
    if others:
        notes.append(f"{template}: {len(others)} other file{'s' * (len(others) != 1)} left out, such as {others[0]}")
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _pattern(template: Path, stems: set[str]) -> re.Pattern[str]:
    """Of the paths of a template, as text with slashes; the groups are `stem` and, if it has one, `method`."""
    longest = sorted(stems, key=len, reverse=True)
    groups = {"stem": "|".join(map(re.escape, longest)), "method": "[^/]+"}
    seen: set[str] = set()
    pattern, end = "", 0
    text = unicodedata.normalize("NFC", template.as_posix())
    for field in _FIELD.finditer(text):
        pattern += re.escape(text[end : field.start()])
        name, end = field[1], field.end()
        if name is None:
            pattern += "[^/]*"
        else:
            pattern += f"(?P={name})" if name in seen else f"(?P<{name}>{groups[name]})"
            seen.add(name)
    return re.compile(pattern + re.escape(text[end:]))
