"""Which images are measured: fused ones and their sources."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from lure_cli.core.images.value_range import ValueRange, parse_range
from lure_cli.errors import LureError
from lure_cli.tasks.paths.find import list_images
from lure_cli.tasks.paths.pairing import pair_stem

_FUSED = re.compile(r"(.+)[-_. ](?:fused|fusion|fuse|result)", re.IGNORECASE | re.DOTALL)


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

    `fused` holds (name of the method, file or folder); `metrics` None means all.
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

    def ranges(self) -> tuple[ValueRange, ValueRange]:
        """Which numbers of infrared and visible sources are black and white; LureError if that is not understood."""
        return parse_range(self.ir_range), parse_range(self.vis_range, "vis")


def parse_fused(values: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """`NAME=PATH` or `PATH`, which is named after the folder or file -> (name, path).

    Raises:
        LureError: two methods of one name.
    """
    methods: dict[str, Path] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or os.sep in name or os.path.exists(value):
            name, path = Path(os.path.abspath(value)).stem or "fused", value
        if name in methods:
            raise LureError(f"two methods are called '{name}'", "tell them apart: --fused NAME=DIR")
        if not name or not path:
            raise LureError(f"--fused {value} names no method or no folder", "give NAME=DIR")
        methods[name] = Path(path)
    return tuple(methods.items())


def find_images(options: EvaluateOptions) -> tuple[tuple[ImageFiles, ...], tuple[str, ...]]:
    """The files of each image, which belong together by name, sorted by it; and notes on those that take no part.

    Raises:
        LureError: a missing path, folders among files, nothing that pairs, or a method that lacks an image.
    """
    sides = {"ir": options.ir, "vis": options.vis, "clean_ir": options.clean_ir, "clean_vis": options.clean_vis}
    sides = {**sides, "reference": options.reference}
    given = {side: path for side, path in sides.items() if path is not None}
    everything = [*given.values(), *(path for _, path in options.fused)]
    for path in everything:
        if not path.exists():
            raise LureError(f"{path}: no such file or folder", "check the spelling of the path")
    folders = [path for path in everything if path.is_dir()]
    if not folders:
        name = pair_stem(Path(options.fused[0][1] if options.fused else everything[0]).stem)
        return (ImageFiles(name, dict(options.fused), **given),), ()
    if len(folders) < len(everything):
        file = next(path for path in everything if not path.is_dir())
        raise LureError(f"{folders[0]} is a folder but {file} is a file", "give files only, or folders only")
    tables = {side: images_by_name(path) for side, path in given.items()}
    methods = {name: images_by_name(path) for name, path in options.fused}
    common = set.intersection(*map(set, tables.values())) if tables else set.union(*map(set, methods.values()))
    notes = [
        f"unmatched: {file}" for table in tables.values() for name, file in sorted(table.items()) if name not in common
    ]
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
