"""Aligning: laying infrared images onto their visible images, for files and folders; and the check of a rig."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.images.picture import to_channels, write_image
from lure_cli.core.images.radiometric import radiometric_sizes
from lure_cli.core.registration.alignment import MODELS, Alignment, describe, require_simpleitk
from lure_cli.core.registration.transform_file import read_transform, write_transform
from lure_cli.errors import LureError
from lure_cli.tasks.inference.inputs import common_alignment, read_pair
from lure_cli.tasks.inference.options import ReadOptions
from lure_cli.tasks.inference.placement import fit_of
from lure_cli.tasks.paths.find import is_many
from lure_cli.tasks.paths.pairing import Pair, find_pairs

if TYPE_CHECKING:
    from lure_cli.core.registration.residual import Residual

__all__ = ["AlignOptions", "Aligned", "Alignment", "align", "check_rig", "describe", "fit_of", "plan_align", "sum_up"]

MOST_DRIFT = 2.0
"""Pixels from which on a rig is no longer what it was."""


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
    check: Path | None = None
    ir_range: str | None = None
    resize_ir: bool = False
    overwrite: bool = False

    @property
    def read(self) -> ReadOptions:
        """How the pairs are read, if their transform is estimated."""
        return ReadOptions(
            ir_range=self.ir_range or "full", resize_ir=self.resize_ir, align=self.model, align_once=self.once
        )

    def read_by(self, rig: Alignment) -> ReadOptions:
        """How they are read, if it is known."""
        return ReadOptions(ir_range=self.ir_range or "full", rig=rig)


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
    """What became of one pair; `seconds` runs from reading to writing, `notes` say how the pair was read."""

    pair: Pair
    alignment: Alignment | None = None
    seconds: float = 0.0
    error: LureError | None = None
    notes: tuple[str, ...] = ()


def plan_align(options: AlignOptions, notify: Callable[[str], None] | None = None) -> AlignPlan:
    """Check everything that can be checked before pixels are read; `notify` as of `find_pairs`.

    Raises:
        LureError: an unknown model, options that exclude each other, inputs that do not pair, outputs that collide or
            exist without `overwrite`, a transform file that cannot be used, SimpleITK is missing.
    """
    o = options
    if o.model not in MODELS:
        raise LureError(f"model '{o.model}' is not known", "give --model auto or --model affine")
    known = o.apply or o.check
    if known is not None and (o.once or o.transform is not None or o.model != "auto" or o.resize_ir):
        name = "--apply" if o.check is None else "--check"
        raise LureError(
            f"{name} excludes --once, --transform, --model and --resize-ir", "a known transform is not estimated"
        )
    if o.check is not None and (o.apply is not None or o.output is not None or o.overwrite):
        raise LureError("--check excludes --apply, -o and --overwrite", "it writes no image")
    if known is None:
        require_simpleitk()
    o.read.check()
    many = is_many(o.ir)
    if o.once and not many:
        raise LureError("--once is for folders", "give two folders, or leave it out")
    output = o.output
    if output is None:
        output = "aligned/" if many else "{stem}_aligned.png"
    pairs, unmatched = find_pairs(o.ir, o.vis, output, notify=notify)
    if o.ir_range is None and any(_is_radiometric(pair.ir) for pair in pairs):
        o = replace(o, ir_range="auto")
    transforms: tuple[Path, ...] = ()
    if o.transform is not None:
        transforms = _transform_files(o.transform, pairs, one=o.once or not many)
    alignment = None if known is None else read_transform(known)
    if not o.overwrite and o.check is None:
        for path in (*(pair.output for pair in pairs), *transforms):
            if os.path.lexists(path):
                raise LureError(f"{path} exists already", "give --overwrite, or another name")
    return AlignPlan(o, tuple(pairs), tuple(unmatched), transforms, alignment)


def _is_radiometric(path: Path) -> bool:
    """Whether a file's numbers are degrees, which have no full range; damage is told when it is read."""
    with suppress(LureError):
        return radiometric_sizes(path) is not None
    return False


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
    o, alignment = plan.options, None
    read = o.read if plan.known is None else o.read_by(plan.known)
    if o.once:
        alignment = common_alignment(plan.pairs, o.read)
        if plan.transforms and alignment is not None:
            write_transform(plan.transforms[0], alignment)
    for i, pair in enumerate(plan.pairs):
        started = time.perf_counter()
        try:
            inputs = read_pair(pair, read, alignment, surrounded=False)
            deep = inputs.ir_bits > 8 and pair.output.suffix.lower() in (".png", ".tif", ".tiff")
            write_image(pair.output, inputs.ir, bits=16 if deep else 8)
            if plan.transforms and not o.once:
                assert inputs.alignment is not None
                write_transform(plan.transforms[i], inputs.alignment)
        except LureError as error:
            yield Aligned(pair, seconds=time.perf_counter() - started, error=error)
            continue
        notes = tuple(note.text for note in inputs.notes if note.kind not in ("aligned", "rig", "resized"))
        yield Aligned(pair, inputs.alignment, time.perf_counter() - started, notes=notes)


@dataclass(frozen=True)
class Checked:
    """How far off a rig is for one pair; `alignment` is the rig as it was used there."""

    pair: Pair
    alignment: Alignment | None = None
    residual: Residual | None = None
    error: LureError | None = None

    def record(self) -> dict[str, Any]:
        """Ready for JSON: `off` and `shift` in pixels of the visible image; `sure`: the pair shows enough to tell."""
        record: dict[str, Any] = {"name": self.pair.name, "ir": str(self.pair.ir), "vis": str(self.pair.vis)}
        if self.error is not None:
            return record | {"status": "failed", "error": self.error.message, "hint": self.error.hint}
        assert self.residual is not None
        r = self.residual
        record |= {"status": "done", "off": round(r.moved, 3), "shift": [round(v, 3) for v in r.shift]}
        return record | {"confidence": round(r.confidence, 3), "sure": r.is_sure}


@dataclass(frozen=True)
class RigCheck:
    """The sum of a check: how many pairs there were, and how many showed enough to tell; of these the median of how far
    off they are, and the drift (what they have in common), in pixels; None if there is none."""

    pairs: int
    sure: int
    median: float | None
    drift: float | None

    @property
    def warning(self) -> str | None:
        """What is wrong with the rig; None if nothing is."""
        if self.drift is None:
            return "no pair shows enough to tell whether the rig still holds"
        if self.drift > MOST_DRIFT:
            return f"the rig is off by {self.drift:.1f} pixels: estimate it anew (lure align --once --transform)"
        return None

    def record(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "pairs": self.pairs,
            "sure": self.sure,
            "median": None if self.median is None else round(self.median, 3),
            "drift": None if self.drift is None else round(self.drift, 3),
            "warning": self.warning,
        }


def check_rig(plan: AlignPlan) -> Iterator[Checked]:
    """How far off the known transform of a plan is, pair by pair; a pair that fails does not stop the others."""
    from lure_cli.core.registration.residual import residual

    assert plan.known is not None
    read = plan.options.read_by(plan.known)
    for pair in plan.pairs:
        try:
            inputs = read_pair(pair, read, surrounded=False)
        except LureError as error:
            yield Checked(pair, error=error)
            continue
        assert inputs.alignment is not None
        yield Checked(pair, inputs.alignment, residual(inputs.ir, to_channels(inputs.vis, 1), inputs.alignment))


def sum_up(checked: Sequence[Checked]) -> RigCheck:
    """The sum of a check."""
    from lure_cli.core.registration.residual import drift

    sure = [c.residual for c in checked if c.residual is not None and c.residual.is_sure]
    if not sure:
        return RigCheck(len(checked), 0, None, None)
    return RigCheck(len(checked), len(sure), statistics.median(r.moved for r in sure), drift(sure))
