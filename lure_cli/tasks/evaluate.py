"""Evaluation: metrics of fused images, image by image, and what a table of methods needs."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lure_cli.errors import LureError
from lure_cli.tasks.paths.find import list_images
from lure_cli.tasks.paths.pairing import pair_stem

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core import metrics

RESAMPLES = 9999
"""Bootstrap resamples behind each interval; the seed is fixed, so the same values give the same interval."""


_FUSED = re.compile(r"(.+)[-_. ](?:fused|fusion|fuse|result)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Column:
    """One column of a table: `VIF`, `VIF_ir`, `VIF_min`, `PSNR_ref` ..."""

    name: str
    better: Literal["higher", "lower"]
    unit: str


@dataclass(frozen=True)
class Summary:
    """One method in one column, over all images where the value is defined.

    `low` and `high` bound the mean (95 % percentile bootstrap over images; NaN for fewer than two values). `undefined`
    counts the images whose value is not a finite number (a constant image has no correlation); they are left out of
    the mean. `rank` is 1 for the best mean, ties share the mean of their ranks; `p_value` is that of a paired,
    two-sided Wilcoxon signed-rank test against the first method given. Both are None where there is nothing to compare.
    """

    mean: float
    low: float
    high: float
    count: int
    undefined: int
    rank: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Method:
    """A method's values: column name -> float64 (images,), NaN where undefined, and their summaries."""

    name: str
    floor: bool
    values: Mapping[str, np.ndarray]
    summary: Mapping[str, Summary]
    mean_rank: float | None


@dataclass(frozen=True)
class ImageFiles:
    """The files of one image; `fused` by method, without the floors, which are computed from the sources."""

    name: str
    fused: Mapping[str, Path]
    ir: Path | None = None
    vis: Path | None = None
    clean_ir: Path | None = None
    clean_vis: Path | None = None
    reference: Path | None = None


@dataclass(frozen=True)
class Evaluation:
    """A whole evaluation.

    `methods` are sorted by mean rank, best first; `first` is the one that tests compare with. `images` are those that
    could be measured for every method; `failed` says what became of the others. `notes` are for the reader.
    """

    convention: str
    columns: tuple[Column, ...]
    images: tuple[ImageFiles, ...]
    methods: tuple[Method, ...]
    first: str
    failed: tuple[LureError, ...] = ()
    notes: tuple[str, ...] = ()


def summarise(
    values: Mapping[str, Mapping[str, Sequence[float]]], columns: Sequence[Column], floors: Sequence[str] = ()
) -> tuple[Method, ...]:
    """Means, intervals, ranks and tests of several methods.

    Args:
        values: method -> column -> one value an image, the images in the same order everywhere. The first method is
            the one that the others are tested against.
        columns: the columns to summarise; the mean rank runs over all of them.
        floors: which methods are floors.

    Returns:
        The methods, sorted by mean rank (in the order given if there is only one).
    """
    import numpy as np

    table = {m: {c.name: np.asarray(values[m][c.name], np.float64) for c in columns} for m in values}
    names = list(table)
    ranks: dict[str, dict[str, float]] = {m: {} for m in names}
    means = {m: {c.name: _mean(table[m][c.name]) for c in columns} for m in names}
    if len(names) > 1:
        for column in columns:
            for name, rank in zip(names, _ranks([means[m][column.name] for m in names], column.better), strict=True):
                ranks[name][column.name] = rank
    made = []
    for name in names:
        summary: dict[str, Summary] = {}
        for column in columns:
            x = table[name][column.name]
            low, high = _interval(x[np.isfinite(x)])
            count = int(np.isfinite(x).sum())
            p = None if name == names[0] else _p_value(x, table[names[0]][column.name])
            place = ranks[name].get(column.name)
            summary[column.name] = Summary(means[name][column.name], low, high, count, len(x) - count, place, p)
        mean_rank = float(np.mean(list(ranks[name].values()))) if ranks[name] else None
        made.append(Method(name, name in floors, table[name], summary, mean_rank))
    return tuple(sorted(made, key=lambda m: (m.mean_rank or 0.0, names.index(m.name))))


def _mean(x: np.ndarray) -> float:
    import numpy as np

    finite = x[np.isfinite(x)]
    return float(finite.mean()) if finite.size else math.nan


def _ranks(means: list[float], better: str) -> list[float]:
    """1 for the best; undefined means come last; ties share the mean of their ranks."""
    import numpy as np
    from scipy.stats import rankdata

    keys = np.asarray(means)
    keys = np.where(np.isnan(keys), np.inf, -keys if better == "higher" else keys)
    return [float(r) for r in rankdata(keys)]


def _interval(x: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean."""
    import numpy as np

    if x.size < 2:
        return math.nan, math.nan
    picks = np.random.default_rng(0).integers(0, x.size, (RESAMPLES, x.size))
    low, high = np.percentile(x[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _p_value(x: np.ndarray, first: np.ndarray) -> float | None:
    """Of a paired, two-sided Wilcoxon signed-rank test; None for fewer than two pairs."""
    import numpy as np
    from scipy.stats import wilcoxon

    both = np.isfinite(x) & np.isfinite(first)
    if both.sum() < 2:
        return None
    difference = x[both] - first[both]
    return 1.0 if not difference.any() else float(wilcoxon(difference).pvalue)


@dataclass(frozen=True)
class EvaluateOptions:
    """What `lure eval` was asked to do; see the command's help.

    `fused` holds (name of the method, file or folder); `metrics` None means all.
    """

    fused: tuple[tuple[str, Path], ...]
    ir: Path | None = None
    vis: Path | None = None
    metrics: tuple[str, ...] | None = None
    convention: str = "cddfuse"
    floors: bool = False
    reference: Path | None = None
    clean_ir: Path | None = None
    clean_vis: Path | None = None
    common: bool = False
    jobs: int = 0


@dataclass(frozen=True)
class Plan:
    """An evaluation whose files have been found. `notes` name those that take no part."""

    options: EvaluateOptions
    columns: tuple[metrics.Column, ...]
    images: tuple[ImageFiles, ...]
    methods: tuple[str, ...]
    floors: tuple[str, ...]
    notes: tuple[str, ...] = ()


def parse_fused(values: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """`NAME=PATH` or `PATH`, which is named after the folder or file -> (name, path).

    Raises:
        LureError: two methods of one name.
    """
    found: dict[str, Path] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or os.sep in name or os.path.exists(value):
            name, path = Path(os.path.abspath(value)).stem or "fused", value
        if name in found:
            raise LureError(f"two methods are called '{name}'", "tell them apart: --fused NAME=DIR")
        if not name or not path:
            raise LureError(f"--fused {value} names no method or no folder", "give NAME=DIR")
        found[name] = Path(path)
    return tuple(found.items())


def plan_evaluation(options: EvaluateOptions) -> Plan:
    """Find the files and check the names of the metrics, before a pixel is read.

    Images belong together by name: 'street_ir.png', 'street_vis.jpg', 'street_fused.png' and 'street.png' are one.

    Raises:
        LureError: a missing path, an unknown metric or convention, a metric that needs a file that was not given, files
            that do not pair, or a method that lacks an image (unless `common`).
    """
    from lure_cli.core.metrics.baselines import FLOORS

    _check_convention(options.convention)
    if options.jobs < 0:
        raise LureError(f"{options.jobs} processes cannot be", "give --jobs 1 or more, or 0 for all cores")
    for one, other, names in (
        (options.ir, options.vis, "--ir and --vis"),
        (options.clean_ir, options.clean_vis, "--clean-ir and --clean-vis"),
    ):
        if (one is None) != (other is None):
            raise LureError(f"{names} belong together", "give both")
    scored = options.clean_ir or options.ir
    wanted = find_columns(options.metrics, sources=scored is not None, reference=options.reference is not None)
    floors = tuple(FLOORS) if options.floors else ()
    if floors and options.ir is None:
        raise LureError("--floors needs the sources, which it fuses", "give --ir and --vis")
    clash = [name for name, _ in options.fused if name in (*floors, "infrared", "visible")]
    if clash:
        raise LureError(f"a method cannot be called '{clash[0]}' here", "name it otherwise: --fused NAME=DIR")
    if not options.fused and not floors:
        raise LureError("there is nothing to evaluate", "give --fused DIR, or --floors")
    images, notes = find_images(options)
    return Plan(options, wanted, images, tuple(name for name, _ in options.fused) + floors, floors, notes)


def _check_convention(name: str) -> None:
    from lure_cli.core.metrics import CONVENTIONS

    if name not in CONVENTIONS:
        raise LureError(f"unknown convention '{name}'", f"use one of {', '.join(CONVENTIONS)}")


def explain(convention: str) -> Iterator[dict[str, Any]]:
    """One entry a metric: name, title, better, range, unit, source, how the convention computes it, and its forms."""
    from lure_cli.core.metrics import METRICS, columns

    _check_convention(convention)
    known = columns().values()
    for m in METRICS.values():
        entry = {"name": m.name, "title": m.title, "better": m.better, "range": m.bounds}
        yield entry | {
            "unit": m.unit(convention),  # type: ignore[arg-type]
            "source": m.source,
            "convention": m.conventions.get(convention, ""),
            "forms": [c.name for c in known if c.metric is m and c.name != m.name],
        }


def find_columns(
    names: Sequence[str] | None, sources: bool = True, reference: bool = False
) -> tuple[metrics.Column, ...]:
    """The columns behind the names (upper or lower case, '-' or '_'); None gives all that `lure eval` shows.

    Args:
        names: such as `VIF`, `VIF_ir`, `VIF_min`, `PSNR_ref`.
        sources: whether there are sources to compare with.
        reference: whether there is a reference; its metrics are then added unless one of them is among the names.

    Raises:
        LureError: an unknown name, or one that needs sources or a reference that are not there.
    """
    from lure_cli.core import metrics

    known = metrics.columns()
    of_reference = [n for n, c in known.items() if c.metric.kind == "reference"]
    if names is None:
        shown = [n for m in metrics.DEFAULT for n in (m, *([f"{m}_min"] if m in ("VIF", "SSIM") else []))]
        wanted = [n for n in shown if sources or known[n].metric.kind == "fused"]
    else:
        by_key = {_key(n): n for n in known}
        wanted = []
        for name in names:
            if _key(name) not in by_key:
                base = by_key.get(_key(name.rpartition("_")[0]))
                forms = [n for n, c in known.items() if base and c.metric is known[base].metric]
                keys = difflib.get_close_matches(_key(name), by_key, 3, 0.4)
                near = ", ".join(forms or [by_key[k] for k in keys] or metrics.DEFAULT)
                raise LureError(f"there is no metric '{name}'", f"did you mean {near}? `lure eval --list` explains all")
            wanted.append(by_key[_key(name)])
    if reference and not set(wanted) & set(of_reference):
        wanted += of_reference
    for name in wanted:
        kind = known[name].metric.kind
        if kind == "sources" and not sources:
            raise LureError(f"{name} compares with the sources", "give --ir and --vis, or --clean-ir and --clean-vis")
        if kind == "reference" and not reference:
            raise LureError(f"{name} compares with a reference", "give --reference")
    return tuple(known[name] for name in dict.fromkeys(wanted))


def _key(name: str) -> str:
    return re.sub("[-_ ]", "", name).lower()


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
    tables = {side: _by_name(path) for side, path in given.items()}
    methods = {name: _by_name(path) for name, path in options.fused}
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


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in list_images(folder):
        match = _FUSED.fullmatch(path.stem)
        name = pair_stem(match[1] if match else path.stem)
        if name in found:
            raise LureError(f"{found[name]} and {path} both stand for '{name}'", "keep one of the two")
        found[name] = path
    if not found:
        raise LureError(f"{folder}: holds no image files", "give the folder that holds the images themselves")
    return found


def evaluate(plan: Plan, progress: Callable[[], None] | None = None) -> Evaluation:
    """Measure every image of a plan, on all cores unless told otherwise; one that fails does not stop the others.

    Args:
        plan: from `plan_evaluation`.
        progress: called once an image.
    """
    measured: dict[str, dict[str, dict[str, float]]] = {}
    failed: dict[str, LureError] = {}
    deep: list[Path] = []
    for name, result in _map(_measure_image, [(files, plan) for files in plan.images], plan.options.jobs):
        if isinstance(result, LureError):
            failed[name] = result
        else:
            measured[name], found = result
            deep += found
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
    return Evaluation(
        plan.options.convention,
        tuple(columns),
        images,
        summarise(values, columns, plan.floors),
        plan.methods[0],
        tuple(failed[files.name] for files in plan.images if files.name in failed),
        tuple(notes),
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


def _measure_image(files: ImageFiles, plan: Plan) -> tuple[dict[str, dict[str, float]], list[Path]] | LureError:
    """method -> column -> value, and the files of 16 bits."""
    try:
        return _measure(files, plan)
    except LureError as error:
        return error


def _measure(files: ImageFiles, plan: Plan) -> tuple[dict[str, dict[str, float]], list[Path]]:
    from lure_cli.core import metrics
    from lure_cli.core.images.picture import read_pixels

    convention: Any = plan.options.convention
    scored = {
        "ir": files.clean_ir or files.ir,
        "vis": files.clean_vis or files.vis,
        "reference": files.reference,
        "floor_ir": files.ir if plan.floors else None,
        "floor_vis": files.vis if plan.floors else None,
    }
    paths = {side: path for side, path in scored.items() if path is not None}
    pixels = {path: read_pixels(path) for path in {*paths.values(), *files.fused.values()}}
    _check_sizes(pixels, files)
    of = {side: pixels[path] for side, path in paths.items()}
    ir, vis = (metrics.to_grey(of[side], convention) if side in of else None for side in ("ir", "vis"))
    made = {}
    for method in plan.methods:
        fused = pixels[files.fused[method]] if method in files.fused else _floor(method, of, convention)
        values = metrics.measure(metrics.to_grey(fused, convention), ir, vis, plan.columns, convention)
        for column in plan.columns:
            if column.metric.kind == "reference":
                values[column.name] = column.metric.compute(fused, of["reference"])
        made[method] = values
    return made, [path for path, x in pixels.items() if x.dtype == "uint16"]


def _floor(method: str, of: Mapping[str, np.ndarray], convention: Any) -> np.ndarray:
    """uint8 (H, W)"""
    from lure_cli.core import metrics
    from lure_cli.core.metrics import baselines as floors

    ir, vis = (metrics.to_grey(of[side], convention) for side in ("floor_ir", "floor_vis"))
    return floors.FLOORS[method](ir, vis).astype("uint8")


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


def picture(evaluation: Evaluation, index: int, which: str) -> np.ndarray | None:
    """The pixels behind a thumbnail: uint8 (H, W, 3).

    Args:
        evaluation: the evaluation.
        index: of the image.
        which: `infrared`, `visible` (as given, or the clean ones) or a method's name.

    Returns:
        None where there is no such image, for example no infrared.
    """
    import numpy as np

    from lure_cli.core.images.picture import read_image, read_pixels

    files = evaluation.images[index]
    sides = {"infrared": files.ir or files.clean_ir, "visible": files.vis or files.clean_vis}
    path = sides.get(which) or files.fused.get(which)
    if path is not None:
        return np.rint(read_image(path, channels=3) * 255).astype(np.uint8)
    if which in sides or files.ir is None or files.vis is None:
        return None
    of = {"floor_ir": read_pixels(files.ir), "floor_vis": read_pixels(files.vis)}
    return np.repeat(_floor(which, of, evaluation.convention)[..., None], 3, axis=2)
