"""Evaluation of clips: how steady fused ones are, frame by frame; see `lure_cli.core.metrics.flicker`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.errors import LureError
from lure_cli.tasks.evaluate.columns import clip_columns, of_clips
from lure_cli.tasks.evaluate.evaluate import SOURCES, check_evaluation, check_names, cores
from lure_cli.tasks.evaluate.images import EvaluateOptions, ImageFiles, is_template
from lure_cli.tasks.evaluate.summary import Column, Evaluation, summarise

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core import metrics


@dataclass(frozen=True)
class ClipsPlan:
    """An evaluation of clips whose files are there. `files` has the sources first, then each method's, by name."""

    options: EvaluateOptions
    columns: tuple[metrics.Column, ...]
    files: Mapping[str, Path]
    baselines: tuple[str, ...]


def are_clips(options: EvaluateOptions) -> bool:
    """Whether clips are to be measured: a file is one, or a metric of clips is asked for."""
    from lure_cli.core.video.source import is_video

    paths = (*(path for _, path in options.fused), options.ir, options.vis)
    return of_clips(options.metrics) or any(path is not None and is_video(str(path)) for path in paths)


def plan_clips(options: EvaluateOptions) -> ClipsPlan:
    """Check names and files before a frame is read. A clip is a video file, or a folder of numbered pictures.

    Raises:
        LureError: a missing clip or source, an unknown metric, one of images, or a method called like a source.
    """
    baselines = check_evaluation(options)
    if template := next((path for _, path in options.fused if is_template(path)), None):
        raise LureError(f"{template}: a template names images, not clips", "give each clip: --fused NAME=PATH")
    check_names([name for name, _ in options.fused], baselines)
    columns = clip_columns(options.metrics)
    if options.frames < 0 or 0 < options.frames < 3:
        raise LureError(f"--frames {options.frames} has no frame with two neighbours", "give 3 or more, or 0 for all")
    if options.reference or options.clean_ir:
        raise LureError("clips have no references here", "leave --reference, --clean-ir and --clean-vis out")
    if options.by_colour:
        raise LureError("--a and --b are images, not clips", "give clips to --ir and --vis")
    if options.common:
        raise LureError(
            "--common is for images; clips are measured frame by frame", "leave it out; --frames N ends early"
        )
    if options.ir is None or options.vis is None:
        raise LureError("clips are measured against the motion in their sources", "give --ir and --vis")
    files = dict(zip(SOURCES, (options.ir, options.vis), strict=True)) | dict(options.fused)
    for path in files.values():
        if not path.exists():
            raise LureError(f"{path}: no such file or folder", "check the spelling of the path")
    return ClipsPlan(options, columns, files, baselines)


def evaluate_clips(plan: ClipsPlan, progress: Callable[[], None] | None = None) -> Evaluation:
    """Measure every frame that has two neighbours; the frames stand for the images of an evaluation.

    Args:
        plan: from `plan_clips`.
        progress: called once a frame.

    Raises:
        LureError: a clip that cannot be read, or ends before the others.
    """
    methods = [name for name in plan.files if name not in SOURCES] + list(plan.baselines)
    values: dict[str, dict[str, list[float]]] = {m: {c.name: [] for c in plan.columns} for m in methods}
    workers = min(plan.options.jobs or cores(), 2 * len(plan.files))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers > 1 else None
    with pool or nullcontext():
        window: deque[dict[str, Any]] = deque(maxlen=3)
        pairs: deque[dict[str, tuple[Any, Any]]] = deque(maxlen=2)
        for frames in _frames(plan):
            window.append(frames)
            if len(window) > 1:
                pairs.append(_motion(plan, methods, window[-2], window[-1], pool))
            if len(window) == 3:
                for method in methods:
                    for column in plan.columns:
                        value = _measure(column.metric.name, method, window, pairs)
                        values[method][column.name].append(value)
            if progress:
                progress()
    measured = len(values[methods[0]][plan.columns[0].name])
    if not measured:
        raise LureError("a clip of fewer than three frames has no frame with two neighbours", "give longer clips")
    columns = tuple(Column(c.name, c.metric.better, c.metric.units.get("", "")) for c in plan.columns)
    return Evaluation(
        convention=plan.options.convention,
        columns=columns,
        images=tuple(ImageFiles(f"{i + 1:06d}", {}) for i in range(measured)),
        methods=summarise(values, columns, plan.baselines),
        first=methods[0],
        each="frame",
        notes=(
            f"{measured} frames with two neighbours; intervals and tests take them for independent, which they are not",
        ),
    )


def _frames(plan: ClipsPlan) -> Iterator[dict[str, np.ndarray]]:
    """The frames of all clips and baselines at one place after the other: (H, W, C), float32 on 0..255, by name."""
    import numpy as np

    from lure_cli.core import metrics
    from lure_cli.core.metrics.baselines import BASELINES

    convention: Any = plan.options.convention
    clips = {name: _read(path, name, plan.options) for name, path in plan.files.items()}
    for place in range(plan.options.frames) if plan.options.frames else count():
        stored = {name: next(clip, None) for name, clip in clips.items()}
        ended = [name for name, x in stored.items() if x is None]
        if ended:
            if len(ended) < len(stored):
                raise LureError(
                    f"{plan.files[ended[0]]} ends after {place} frames, before what is measured",
                    "frames belong together by their place; --frames N measures the first N",
                )
            return
        whole = {name: x for name, x in stored.items() if x is not None}
        sizes = {name: x.shape[1::-1] for name, x in whole.items()}
        for name, (w, h) in sizes.items():
            if (w, h) != sizes["visible"]:
                v, g = sizes["visible"]
                raise LureError(
                    f"{plan.files[name]} is {w}x{h} but the visible clip is {v}x{g}", "bring them to one size"
                )
        greys = [metrics.to_grey(whole[side], convention) for side in SOURCES]
        frames = {name: np.asarray(metrics.to_scale(x), np.float32) for name, x in whole.items()}
        for name in plan.baselines:
            frames[name] = BASELINES[name](*greys)[..., None].astype(np.float32)
        yield frames


def _read(path: Path, name: str, options: EvaluateOptions) -> Iterator[np.ndarray]:
    """The frames of a clip as stored, uint8 or uint16; pictures of sources as `lure fuse` maps them."""
    from lure_cli.core.images.picture import read_levels, read_pixels
    from lure_cli.core.video.picture_folder import list_numbered
    from lure_cli.core.video.reader import VideoFile

    if path.is_dir():
        for _, picture in list_numbered(path):
            if name in SOURCES:
                yield read_levels(picture, options.ranges()[SOURCES.index(name)])[0]
            else:
                yield read_pixels(picture)
        return
    with VideoFile(str(path), grey=name == "infrared") as clip:
        yield from (frame.pixels for frame in clip.frames())
        if clip.damage:
            raise LureError(f"{path}: {clip.damage}", "--frames N measures the first N")


def _motion(
    plan: ClipsPlan,
    methods: list[str],
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    pool: ProcessPoolExecutor | None,
) -> dict[str, tuple[Any, Any]]:
    """The motion forth and back between two neighbouring frames of each clip; None where no metric asks for it."""
    from lure_cli.core.images.picture import to_channels
    from lure_cli.core.metrics.flicker import optical_flow

    asked = {c.metric.name for c in plan.columns}
    everything = [*SOURCES, *methods]
    forth = everything if asked & {"BiSWE", "MS2R"} else []
    back = everything if "BiSWE" in asked else ["visible"] if "flowD" in asked else []
    greys = {name: [to_channels(x[name], 1)[..., 0] for x in (before, after)] for name in {*forth, *back}}
    wanted = [(name, False) for name in forth] + [(name, True) for name in back]
    sides = [greys[name][::-1] if turned else greys[name] for name, turned in wanted]
    flows = (pool.map if pool else map)(optical_flow, [s[0] for s in sides], [s[1] for s in sides])
    found = dict(zip(wanted, flows, strict=True))
    return {name: (found.get((name, False)), found.get((name, True))) for name in greys}


def _measure(
    metric: str, method: str, window: deque[dict[str, Any]], pairs: deque[dict[str, tuple[Any, Any]]]
) -> float:
    """One metric of the middle frame of three."""
    import numpy as np

    from lure_cli.core import metrics
    from lure_cli.core.metrics.flicker import Motion

    previous, current, following = (frames[method] for frames in window)
    if metric == "flowD":
        a, b = (np.broadcast_to(x, (*x.shape[:2], 3)) for x in (previous, current))
        return metrics.flow_difference(a, b, pairs[0]["visible"][1])
    own, *sources = (
        Motion(
            to_previous=pairs[0][n][1], from_previous=pairs[0][n][0], to_next=pairs[1][n][0], from_next=pairs[1][n][1]
        )
        for n in (method, *SOURCES)
    )
    if metric == "MS2R":
        return metrics.motion_smoothness(own, sources)
    return metrics.self_warping_error(previous, current, following, own, sources)
