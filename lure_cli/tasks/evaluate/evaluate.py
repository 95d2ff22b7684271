"""Evaluation: metrics of fused images, image by image, and what a table of methods needs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.errors import LureError
from lure_cli.tasks.evaluate.columns import check_convention, find_columns
from lure_cli.tasks.evaluate.images import EvaluateOptions, ImageFiles, find_images
from lure_cli.tasks.evaluate.summary import Column, Evaluation, summarise

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core import metrics

SOURCES = ("infrared", "visible")
"""What the sources are called beside the methods."""
_Measured = tuple[dict[str, dict[str, float]], list[Path], dict[Path, str]]


@dataclass(frozen=True)
class Plan:
    """An evaluation whose files have been found. `notes` name those that take no part."""

    options: EvaluateOptions
    columns: tuple[metrics.Column, ...]
    images: tuple[ImageFiles, ...]
    methods: tuple[str, ...]
    baselines: tuple[str, ...]
    notes: tuple[str, ...] = ()


def check_evaluation(options: EvaluateOptions) -> tuple[str, ...]:
    """Check what needs no file, for images and clips; the names of the baselines that are asked for.

    Raises:
        LureError: an unknown convention or range, options that do not go together, or nothing to measure.
    """
    from lure_cli.core.metrics.baselines import BASELINES

    check_convention(options.convention)
    options.ranges()
    if options.metrics is not None and not options.metrics:
        raise LureError("--metrics names no metric", "leave it out for the usual ones; `lure eval --list` names all")
    if options.jobs < 0:
        raise LureError(f"{options.jobs} processes cannot be", "give --jobs 1 or more, or 0 for all cores")
    for one, other, names in (
        (options.ir, options.vis, "--ir and --vis"),
        (options.clean_ir, options.clean_vis, "--clean-ir and --clean-vis"),
    ):
        if (one is None) != (other is None):
            raise LureError(f"{names} belong together", "give both")
    baselines = tuple(BASELINES) if options.baselines else ()
    if baselines and options.ir is None:
        raise LureError("--floors needs the sources, which it fuses", "give --ir and --vis")
    if not options.fused and not baselines:
        raise LureError("there is nothing to evaluate", "give --fused DIR, or --floors")
    return baselines


def check_names(methods: Collection[str], baselines: Sequence[str]) -> None:
    """LureError if a method is called like a baseline that is measured, or like a source."""
    if clash := [name for name in methods if name in (*baselines, *SOURCES)]:
        raise LureError(f"a method cannot be called '{clash[0]}' here", "name it otherwise: --fused NAME=DIR")


def plan_evaluation(options: EvaluateOptions) -> Plan:
    """Find the files and check the names of the metrics, before a pixel is read.

    Images belong together by name: 'street_ir.png', 'street_vis.jpg', 'street_fused.png' and 'street.png' are one.

    Raises:
        LureError: a missing path, an unknown metric or convention, a metric that needs a file that was not given, files
            that do not pair, or a method that lacks an image (unless `common`).
    """
    baselines = check_evaluation(options)
    if options.frames:
        raise LureError("--frames counts the frames of clips, and these are images", "leave it out")
    scored = options.clean_ir or options.ir
    columns = find_columns(options.metrics, sources=scored is not None, reference=options.reference is not None)
    images, notes = find_images(options)
    methods = (*images[0].fused, *baselines)
    check_names(images[0].fused, baselines)
    return Plan(options, columns, images, methods, baselines, notes)


def evaluate(plan: Plan, progress: Callable[[], None] | None = None) -> Evaluation:
    """Measure every image of a plan, on all cores unless told otherwise; one that fails does not stop the others.

    Args:
        plan: from `plan_evaluation`.
        progress: called once an image.
    """
    measured: dict[str, dict[str, dict[str, float]]] = {}
    failed: dict[str, LureError] = {}
    deep: list[Path] = []
    mappings: dict[Path, str] = {}
    for name, result in _map(_measure_image, [(files, plan) for files in plan.images], plan.options.jobs):
        if isinstance(result, LureError):
            failed[name] = result
        else:
            measured[name], of_16_bits, of_sources = result
            deep += of_16_bits
            mappings |= of_sources
        if progress:
            progress()
    images = tuple(files for files in plan.images if files.name in measured)
    values = {
        m: {c.name: [measured[files.name][m][c.name] for files in images] for c in plan.columns} for m in plan.methods
    }
    columns = [Column(c.name, c.metric.better, c.metric.unit(plan.options.convention)) for c in plan.columns]  # type: ignore[arg-type]
    if not plan.options.metrics:  # nobody asked for it by name, and grey images have none
        grey = all(math.isnan(v) for m in values.values() for v in m.get("CIEDE2000", ()))
        columns = [c for c in columns if c.name != "CIEDE2000" or not grey]
    notes = list(plan.notes)
    if deep:
        count, files = len(set(deep)), sorted(set(deep))
        notes.append(
            f"{count} files have 16 bits (first: {files[0]}): 65535 counts as 255, fractions are kept, and histograms"
            " have 256 levels of that range"
        )
    if mappings:
        count, path = len(mappings), min(mappings)
        sources = "1 source is" if count == 1 else f"{count} sources are"
        notes.append(f"{sources} mapped as `lure fuse` does it (first: {path}: {mappings[path]})")
    return Evaluation(
        convention=plan.options.convention,
        columns=tuple(columns),
        images=images,
        methods=summarise(values, columns, plan.baselines),
        first=plan.methods[0],
        failed=tuple(failed[files.name] for files in plan.images if files.name in failed),
        notes=tuple(notes),
    )


def _map(call: Callable[..., Any], items: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[tuple[str, Any]]:
    """(name of the image, result) as they come, in worker processes if there is enough to do."""
    workers = min(jobs or cores(), len(items))
    if workers < 2 or (not jobs and len(items) < 4):
        for item in items:
            yield item[0].name, call(*item)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        pending: dict[Future[Any], str] = {pool.submit(call, *item): item[0].name for item in items}
        try:
            for done in as_completed(pending):
                yield pending[done], done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _measure_image(files: ImageFiles, plan: Plan) -> _Measured | LureError:
    """method -> column -> value, the files of 16 bits, and how sources were mapped."""
    try:
        return _measure(files, plan)
    except LureError as error:
        return error


def _measure(files: ImageFiles, plan: Plan) -> _Measured:
    from lure_cli.core import metrics
    from lure_cli.core.images.picture import read_pixels

    convention: Any = plan.options.convention
    scored = {
        "ir": files.clean_ir or files.ir,
        "vis": files.clean_vis or files.vis,
        "reference": files.reference,
        "baseline_ir": files.ir if plan.baselines else None,
        "baseline_vis": files.vis if plan.baselines else None,
    }
    paths = {side: path for side, path in scored.items() if path is not None}
    pixels: dict[Path, np.ndarray] = {}
    mappings: dict[Path, str] = {}
    for side, path in paths.items():
        if side != "reference" and path not in pixels:
            pixels[path], mapping = _read_source(path, plan.options, infrared=side.endswith("ir"))
            mappings |= {path: mapping} if mapping else {}
    pixels |= {path: read_pixels(path) for path in {*paths.values(), *files.fused.values()} - pixels.keys()}
    _check_sizes(pixels, files)
    of = {side: pixels[path] for side, path in paths.items()}
    by_method = {}
    for method in plan.methods:
        fused = pixels[files.fused[method]] if method in files.fused else _baseline(method, of, convention)
        values = metrics.measure_stored(fused, of.get("ir"), of.get("vis"), plan.columns, convention)
        for column in plan.columns:
            if column.metric.kind == "reference":
                values[column.name] = column.metric.compute(fused, of["reference"])
            elif column.metric.kind == "blind":
                values[column.name] = column.metric.compute(fused)
        by_method[method] = values
    return by_method, [path for path, x in pixels.items() if x.dtype == "uint16" and path not in mappings], mappings


def _read_source(path: Path, options: EvaluateOptions, *, infrared: bool) -> tuple[np.ndarray, str | None]:
    """A source as it is fused; see `read_levels`."""
    from lure_cli.core.images.picture import read_levels

    ir_range, vis_range = options.ranges()
    return read_levels(path, ir_range if infrared else vis_range)


def _baseline(method: str, of: Mapping[str, np.ndarray], convention: Any) -> np.ndarray:
    """uint8 (H, W)"""
    from lure_cli.core import metrics
    from lure_cli.core.metrics.baselines import BASELINES

    ir, vis = (metrics.to_grey(of[side], convention) for side in ("baseline_ir", "baseline_vis"))
    return BASELINES[method](ir, vis).astype("uint8")


def _check_sizes(pixels: Mapping[Path, np.ndarray], files: ImageFiles) -> None:
    first = files.vis or files.clean_vis or files.reference or next(iter(files.fused.values()))
    if first not in pixels:
        first = next(iter(pixels))
    h, w = pixels[first].shape[:2]
    for path, x in pixels.items():
        if x.shape[:2] != (h, w):
            raise LureError(
                f"{path} is {x.shape[1]}x{x.shape[0]} but {first} is {w}x{h}",
                "evaluate images of the size of their sources; nothing is resized here",
            )


def picture(evaluation: Evaluation, index: int, which: str, options: EvaluateOptions) -> np.ndarray | None:
    """The pixels behind a thumbnail: uint8 (H, W, 3).

    Args:
        evaluation: the evaluation.
        index: of the image.
        which: `infrared`, `visible` (as given, or the clean ones) or a method's name.
        options: those of the evaluation.

    Returns:
        None where there is no such image, for example no infrared.
    """
    import numpy as np

    from lure_cli.core.images.picture import read_image, to_channels
    from lure_cli.core.metrics import to_scale

    files = evaluation.images[index]
    sides = {"infrared": files.ir or files.clean_ir, "visible": files.vis or files.clean_vis}
    path = sides.get(which)
    if path is not None:
        x = to_scale(_read_source(path, options, infrared=which == "infrared")[0])
        return np.rint(to_channels(x, 3)).astype(np.uint8)
    if (path := files.fused.get(which)) is not None:
        return np.rint(read_image(path, channels=3) * 255).astype(np.uint8)
    if which in sides or files.ir is None or files.vis is None:
        return None
    of = {
        "baseline_ir": _read_source(files.ir, options, infrared=True)[0],
        "baseline_vis": _read_source(files.vis, options, infrared=False)[0],
    }
    return np.repeat(_baseline(which, of, evaluation.convention)[..., None], 3, axis=2)
