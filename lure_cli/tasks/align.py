"""Aligning: laying infrared images onto their visible images, and `align` for files and folders."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lure_cli.core.images.picture import write_image
from lure_cli.core.registration.alignment import MODELS, Alignment, describe, require_simpleitk
from lure_cli.core.registration.transform_file import read_transform, write_transform
from lure_cli.errors import LureError
from lure_cli.tasks.inference.inputs import ReadOptions, common_alignment, read_pair
from lure_cli.tasks.paths.find import is_many
from lure_cli.tasks.paths.pairing import Pair, find_pairs

__all__ = ["AlignOptions", "Aligned", "Alignment", "align", "describe", "plan_align"]


@dataclass(frozen=True)
class AlignOptions:
    """What `lure align` was asked to do; see the command's help."""

    ir: Path
    vis: Path
    output: str | None = None
    model: str = "auto"
    once: bool = False
    transform: str | None = None
    apply: Path | None = None
    ir_range: str = "full"
    resize_ir: bool = False
    overwrite: bool = False

    @property
    def read(self) -> ReadOptions:
        """How the pairs are read."""
        return ReadOptions(ir_range=self.ir_range, resize_ir=self.resize_ir, align=self.model, align_once=self.once)


@dataclass(frozen=True)
class AlignPlan:
    """A job that has been checked as far as that goes without reading pixels; `transforms` are the files to write the
    transforms to, one a pair and all the same with `once`, or none."""

    options: AlignOptions
    pairs: tuple[Pair, ...]
    unmatched: tuple[Path, ...]
    transforms: tuple[Path, ...] = ()
    known: Alignment | None = None


@dataclass(frozen=True)
class Aligned:
    """What became of one pair; `seconds` runs from reading to writing."""

    pair: Pair
    alignment: Alignment | None = None
    seconds: float = 0.0
    error: LureError | None = None


def plan_align(options: AlignOptions, notify: Callable[[str], None] | None = None) -> AlignPlan:
    """Check everything that can be checked before pixels are read; `notify` as of `find_pairs`.

    Raises:
        LureError: an unknown model, options that exclude each other, inputs that do not pair, outputs that collide or
            exist without `overwrite`, a transform file that cannot be used, SimpleITK is missing.
    """
    o = options
    if o.model not in MODELS:
        raise LureError(f"model '{o.model}' is not known", "give --model auto or --model affine")
    if o.apply is not None and (o.once or o.transform is not None or o.model != "auto"):
        raise LureError("--apply excludes --once, --transform and --model", "a known transform is not estimated")
    if o.apply is None:
        require_simpleitk()
    o.read.check()
    many = is_many(o.ir)
    if o.once and not many:
        raise LureError("--once is for folders", "give two folders, or leave it out")
    output = o.output
    if output is None:
        output = "aligned/" if many else "{stem}_aligned.png"
    pairs, unmatched = find_pairs(o.ir, o.vis, output, notify=notify)
    transforms: tuple[Path, ...] = ()
    if o.transform is not None:
        transforms = _transform_files(o.transform, pairs, one=o.once or not many)
    known = None if o.apply is None else read_transform(o.apply)
    if not o.overwrite:
        for path in (*(pair.output for pair in pairs), *transforms):
            if os.path.lexists(path):
                raise LureError(f"{path} exists already", "give --overwrite, or another name")
    return AlignPlan(o, tuple(pairs), tuple(unmatched), transforms, known)


def _transform_files(text: str, pairs: list[Pair], *, one: bool) -> tuple[Path, ...]:
    """One file for all, or with the field {stem} one file a pair."""
    paths = [Path(text.replace("{stem}", pair.name)) for pair in pairs]
    for path in paths:
        if path.suffix.lower() != ".json":
            raise LureError(f"the transform file {text} does not end in .json", "name a .json file")
    if not one and len(set(paths)) < len(paths):
        raise LureError(
            f"the transform file {text} is one file for several pairs",
            "give a template such as 'out/{stem}.json', or --once for one transform",
        )
    return tuple(paths)


def align(plan: AlignPlan) -> Iterator[Aligned]:
    """Align every pair of a plan, one result at a time; a pair that fails does not stop the others.

    Raises:
        LureError: with `once`, none of the pairs to estimate from can be read, or the estimate is refused.
    """
    o = plan.options
    alignment = plan.known
    if o.once:
        alignment = common_alignment(plan.pairs, o.read)
        if plan.transforms and alignment is not None:
            write_transform(plan.transforms[0], alignment)
    for i, pair in enumerate(plan.pairs):
        started = time.perf_counter()
        try:
            inputs = read_pair(pair, o.read, alignment)
            deep = inputs.ir_bits > 8 and pair.output.suffix.lower() in (".png", ".tif", ".tiff")
            write_image(pair.output, inputs.ir, bits=16 if deep else 8)
            if plan.transforms and not o.once:
                assert inputs.alignment is not None
                write_transform(plan.transforms[i], inputs.alignment)
        except LureError as error:
            yield Aligned(pair, seconds=time.perf_counter() - started, error=error)
            continue
        yield Aligned(pair, inputs.alignment, time.perf_counter() - started)
