"""Aligning: laying infrared images onto their visible images, and `align` for files and folders."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lure_cli.core.images import read_image, write_image
from lure_cli.core.registration import (
    MOST_PAIRS,
    Alignment,
    Model,
    describe,
    estimate,
    estimate_once,
    require_simpleitk,
    warp,
)
from lure_cli.errors import LureError
from lure_cli.tasks.pairing import Pair, find_pairs

if TYPE_CHECKING:
    import numpy as np

__all__ = ["AlignOptions", "Aligned", "Alignment", "align", "align_pair", "describe", "estimate_once", "plan_align"]

MODELS = ("auto", "affine")


def align_pair(ir: np.ndarray, vis: np.ndarray, model: Model = "auto") -> tuple[np.ndarray, Alignment]:
    """Lay an infrared image onto its visible image.

    Args:
        ir: float32 (H, W, 1) in [0, 1].
        vis: float32 (H, W, 1) or (H, W, 3) in [0, 1], of the same size.
        model: `auto` or `affine`, see `estimate`.

    Returns:
        The warped infrared image, the very same array where nothing moves, and the transform.

    Raises:
        LureError: as `estimate`.
    """
    from lure_cli.core.images import to_channels

    alignment = estimate(ir, to_channels(vis, 1), model=model)
    return warp(ir, alignment), alignment


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
    overwrite: bool = False


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


def plan_align(options: AlignOptions) -> AlignPlan:
    """Check everything that can be checked before pixels are read.

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
    many = o.ir.is_dir()
    if o.once and not many:
        raise LureError("--once is for folders", "give two folders, or leave it out")
    output = o.output
    if output is None:
        output = "aligned/" if many else "{stem}_aligned.png"
    pairs, unmatched = find_pairs(o.ir, o.vis, output)
    transforms: tuple[Path, ...] = ()
    if o.transform is not None:
        transforms = _transform_files(o.transform, pairs, one=o.once or not many)
    known = None if o.apply is None else read_transform(o.apply)
    if not o.overwrite:
        for path in (*(pair.output for pair in pairs), *transforms):
            if path.exists():
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
        LureError: with `once`, a pair to estimate from cannot be read or the estimate is refused.
    """
    o = plan.options
    alignment = plan.known
    if o.once:
        alignment = _estimate_folder(plan)
        if plan.transforms:
            write_transform(plan.transforms[0], alignment)
    for i, pair in enumerate(plan.pairs):
        started = time.perf_counter()
        try:
            ir, vis = read_image(pair.ir, channels=1), read_image(pair.vis, channels=1)
            _check_size(pair, ir, vis)
            found = alignment or estimate(ir, vis, model=cast(Model, o.model))
            _write_warped(pair.output, warp(ir, found))
            if plan.transforms and not o.once:
                write_transform(plan.transforms[i], found)
        except LureError as error:
            told = error if str(pair.ir) in error.message else LureError(f"{pair.name}: {error.message}", error.hint)
            yield Aligned(pair, seconds=time.perf_counter() - started, error=told)
            continue
        yield Aligned(pair, found, time.perf_counter() - started)


def _estimate_folder(plan: AlignPlan) -> Alignment:
    """One transform for the pairs, from `MOST_PAIRS` of them, evenly spread."""
    count = min(len(plan.pairs), MOST_PAIRS)
    chosen = [plan.pairs[round(i * (len(plan.pairs) - 1) / max(count - 1, 1))] for i in range(count)]
    images = []
    for pair in chosen:
        ir, vis = read_image(pair.ir, channels=1), read_image(pair.vis, channels=1)
        _check_size(pair, ir, vis)
        images.append((ir, vis))
    return estimate_once(images, model=cast(Model, plan.options.model))


def _check_size(pair: Pair, ir: np.ndarray, vis: np.ndarray) -> None:
    if ir.shape != vis.shape:
        (h, w), (hv, wv) = ir.shape[:2], vis.shape[:2]
        raise LureError(
            f"{pair.ir} is {w}x{h} but {pair.vis} is {wv}x{hv}", "resize one of them so that the two views coincide"
        )


def _write_warped(path: Path, x: np.ndarray) -> None:
    write_image(path, x)


def record(alignment: Alignment) -> dict[str, Any]:
    """An alignment as it is written to a transform file: `matrix` (2x3), `size` (width, height), `moved` (pixels),
    `shift` (dx, dy of the centre in pixels), `rotation` (degrees), `scale` (factor), `confidence` (0 to 1)."""
    a, b, c, d, e, f = alignment.matrix
    return {
        "matrix": [[a, b, c], [d, e, f]],
        "size": list(alignment.size),
        "moved": alignment.moved,
        "shift": list(alignment.shift),
        "rotation": alignment.rotation,
        "scale": alignment.scale,
        "confidence": alignment.confidence,
    }


def write_transform(path: Path, alignment: Alignment) -> None:
    """Write a transform file, whole or not at all.

    Raises:
        LureError: it cannot be written.
    """
    temporary = path.parent / f".lure-{uuid.uuid4().hex}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(record(alignment), indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise LureError(
            f"{path}: cannot be written ({error.strerror})", "check that the folder is writable and the disk has room"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_transform(path: Path) -> Alignment:
    """Read a transform file; only `matrix` and `size` must be there, the rest follows from them.

    Raises:
        LureError: it cannot be read, is no JSON, or holds no such transform.
    """
    hint = "it needs the keys 'matrix' (2 rows of 3 numbers) and 'size' (width, height), as --transform writes them"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LureError(f"{path}: cannot be read ({error.strerror})", "check the spelling of the path") from error
    except ValueError as error:
        raise LureError(f"{path}: no JSON ({error})", hint) from error
    try:
        return _alignment_of(found)
    except (KeyError, TypeError, ValueError) as error:
        raise LureError(f"{path}: holds no transform", hint) from error


def _alignment_of(found: Mapping[str, Any]) -> Alignment:
    import math

    (a, b, c), (d, e, f) = ((float(v) for v in row) for row in found["matrix"])
    width, height = (int(v) for v in found["size"])
    confidence = float(found.get("confidence", 1.0))
    if not all(map(math.isfinite, (a, b, c, d, e, f, confidence))) or a * e - b * d <= 0 or min(width, height) < 1:
        raise ValueError("not a transform of the plane")
    return Alignment((a, b, c, d, e, f), (width, height), confidence)
