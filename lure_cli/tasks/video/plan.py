"""Fusing clips: planned first, then carried out frame by frame in flat memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from string import Formatter

from lure_cli.core.images.formats import check_output, has_image_suffix
from lure_cli.core.video.source import SUFFIXES as READ
from lure_cli.core.video.source import is_live, is_video
from lure_cli.core.video.writer import SUFFIXES as WRITTEN
from lure_cli.core.video.writer import check_clip
from lure_cli.errors import LureError
from lure_cli.tasks.inference.fuser import pick_backend
from lure_cli.tasks.inference.plan import FuseOptions, plan_requests
from lure_cli.tasks.inference.request import Request
from lure_cli.tasks.inference.stream import CHECK_EVERY
from lure_cli.tasks.paths.find import Kind, is_many
from lure_cli.tasks.paths.outputs import check_folder
from lure_cli.tasks.paths.pairing import find_pairs, name_of_two
from lure_cli.tasks.video.sync import SYNC
from lure_cli.tasks.weights.find import resolve_weights

CLIPS = Kind(READ, WRITTEN, ".mp4", "video")
_FIELDS = "known fields: {frame} (its number, also {frame:06d}), {stem} (name of the pair), {ir} and {vis}"


@dataclass(frozen=True)
class VideoOptions:
    """What `lure fuse` was asked to do with clips; see the command's help.

    shared: what clips have in common with images; of its `ir` and `vis` only the names here count.
    ir, vis: a video file, a folder of numbered pictures, a camera, a URL; or, both, folders of video files or patterns.
    fps: frames a second of folders of pictures, such as 25 or 30000/1001.
    sync: see `FramePairs`.
    length: `shortest`, or `equal`: clips of unequal lengths are refused.
    check_every: frames from one look for degradations to the next, for prompts that say `auto`.
    codec, crf: see `lure_cli.core.video.writer.check_clip`.
    """

    shared: FuseOptions
    ir: str
    vis: str
    fps: str | None = None
    sync: str = "auto"
    length: str = "shortest"
    check_every: int = CHECK_EVERY
    codec: str = "auto"
    crf: int | None = None


@dataclass(frozen=True)
class ClipPair:
    """Two sources, the name that they share, and what to write: a clip, or a template for pictures with {frame}."""

    name: str
    ir: str
    vis: str
    output: str

    @property
    def pictures(self) -> bool:
        """Whether single pictures are written."""
        return "{frame" in self.output

    def picture(self, number: int) -> Path:
        """The file of one frame."""
        names = {"stem": self.name, "ir": Path(self.ir).stem, "vis": Path(self.vis).stem}
        return Path(self.output.format(frame=number, **names))


@dataclass(frozen=True)
class ClipPlan:
    """A job that has been checked as far as that goes without opening a clip."""

    options: VideoOptions
    pairs: tuple[ClipPair, ...]
    requests: tuple[Request, ...]
    unmatched: tuple[Path, ...]
    weights: Path
    rate: Fraction | None


def wants_video(ir: str, vis: str, output: str | None) -> bool:
    """Whether `lure fuse` was given clips, not images."""
    if output is not None and (Path(output).suffix.lower() in CLIPS.written or "{frame" in output):
        return True
    return any(is_video(source) or _holds(source) == (True, False) for source in (ir, vis))


def _holds(folder: str) -> tuple[bool, bool]:
    """Whether a folder holds video files, and images; neither, if it is none or cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = [Path(e.name) for e in entries if not e.name.startswith(".")]
    except OSError:
        return False, False
    return any(n.suffix.lower() in READ for n in names), any(map(has_image_suffix, names))


def plan_video(options: VideoOptions, say: Callable[[str], None] | None = None) -> ClipPlan:
    """Check everything that can be checked before a clip is opened or the model loads; `say` is told of downloads.

    Raises:
        LureError: options that cannot be meant or that clips do not have, a prompt that is not understood, inputs that
            are missing or do not pair, outputs that cannot be written or exist, missing weights or PyAV.
    """
    o, s = options, options.shared
    _check(o)
    rate = _parse_fps(o.fps)
    many = all(not is_live(x) and Path(x) != Path("-") and _is_many(x) for x in (o.ir, o.vis))
    folders = [not is_live(x) and Path(x).is_dir() for x in (o.ir, o.vis)]
    single = s.output is not None and ("{frame" in s.output or Path(s.output).suffix.lower() in WRITTEN)
    unmatched: list[Path] = []
    if many and not (single and "{" not in str(s.output).replace("{frame", "")):
        found, unmatched = find_pairs(Path(o.ir), Path(o.vis), s.output, s.pairing, CLIPS)
        pairs = [ClipPair(p.name, str(p.ir), str(p.vis), str(p.output)) for p in found]
        if s.read.align_once:
            raise LureError("--align-once is for images", "every clip gets one transform of its own")
    else:
        if s.shard is not None or s.prompt_file is not None or s.pairing.recursive or s.pairing.by != "stem":
            raise LureError("--shard, --prompt-file and options of pairing are for folders", "leave them out")
        pairs = [_one(o)]
    if rate is not None and not any(folders):
        raise LureError("--fps is for folders of numbered pictures", "a video keeps its own frame rate")
    if rate is None and all(folders) and not many:
        raise LureError("folders of pictures have no frame rate", "say it, for example --fps 25")
    jobs = plan_requests(s, pairs)
    for pair, _ in jobs:
        _check_target(pair, o)
    weights = resolve_weights(s.weights, say)
    pick_backend(s.backend, weights)
    return ClipPlan(o, tuple(p for p, _ in jobs), tuple(r for _, r in jobs), tuple(unmatched), weights, rate)


def _check(o: VideoOptions) -> None:
    s = o.shared
    if s.engine != "local":
        raise LureError("clips are fused by the engine local", "leave --engine out")
    if o.sync not in SYNC:
        raise LureError(f"--sync {o.sync} is not known", f"use one of {', '.join(SYNC)}")
    if o.length not in ("shortest", "equal"):
        raise LureError(f"--length {o.length} is not known", "use shortest or equal")
    if o.check_every < 1:
        raise LureError(f"--check-every {o.check_every} is no number of frames", "give a number from 1 on")
    if s.output == "-" or "-" in (o.ir, o.vis):
        raise LureError("clips do not go through standard input and output", "give files")


def _is_many(source: str) -> bool:
    """Whether a source stands for several clips: a folder that holds some, or a pattern."""
    return is_many(Path(source)) and _holds(source) != (False, True)


def _parse_fps(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise LureError(f"--fps {text} is no frame rate", "give frames a second, for example 25 or 30000/1001")
    return rate.limit_denominator(1001)


def _one(o: VideoOptions) -> ClipPair:
    """The one pair of two sources that are not folders of clips."""
    for source in (o.ir, o.vis):
        if not is_live(source) and not os.path.exists(source):
            raise LureError(f"{source}: no such file or folder", "check the spelling of the path")
    if o.ir == o.vis:
        raise LureError(f"{o.ir} is given as both the infrared and the visible input", "give two different inputs")
    live = [is_live(x) for x in (o.ir, o.vis)]
    name = (
        "live"
        if all(live)
        else name_of_two(*(Path(o.vis if lv else x) for x, lv in zip((o.ir, o.vis), live, strict=True)))
    )
    output = o.shared.output
    if output is None:
        if any(live):
            raise LureError("a live input has no name to make the output's from", "give -o, for example -o fused.mkv")
        output = f"{name}_fused{CLIPS.default}"
    elif "{frame" in output:
        return _check_template(ClipPair(name, o.ir, o.vis, output))
    elif os.path.isdir(output) or output.endswith(("/", os.sep)) or not Path(output).suffix:
        output = str(Path(output) / f"{name}{CLIPS.default}")
    elif "{" in output:
        output = str(_check_template(ClipPair(name, o.ir, o.vis, output)).picture(0))
    return ClipPair(name, o.ir, o.vis, output)


def _check_template(pair: ClipPair) -> ClipPair:
    try:
        fields = {part[1] for part in Formatter().parse(pair.output) if part[1] is not None}
        if not fields <= {"frame", "stem", "ir", "vis"}:
            raise ValueError("an unknown field")
        pair.picture(0)
    except (ValueError, KeyError, IndexError) as error:
        raise LureError(f"the output template {pair.output} is malformed ({error})", _FIELDS) from error
    return pair


def _check_target(pair: ClipPair, o: VideoOptions) -> None:
    """Whether the output can hold what is asked for, can be written, is no input and does not exist."""
    s = o.shared
    if pair.pictures:
        if o.codec != "auto" or o.crf is not None:
            raise LureError("--codec and --crf are for clips", "leave them out")
        check_output(pair.picture(0).suffix, s.bits, False)
        check_folder(pair.picture(0).parent)
        there = _existing_picture(pair) if not (s.overwrite or s.skip_existing) else None
    else:
        check_clip(Path(pair.output).suffix, codec=o.codec, quality=o.crf, bits=s.bits)
        check_folder(Path(pair.output).parent)
        for source in (pair.ir, pair.vis):
            if not is_live(source) and os.path.realpath(source) == os.path.realpath(pair.output):
                raise LureError(f"the output {pair.output} is also an input", "write to another folder or name")
        there = pair.output if os.path.lexists(pair.output) and not (s.overwrite or s.skip_existing) else None
    if there is not None:
        raise LureError(f"{there} exists already", "give --overwrite or --skip-existing, or another name")


def _existing_picture(pair: ClipPair) -> str | None:
    """A file that looks like a frame of an earlier run."""
    example = str(pair.picture(0))
    folder, name = os.path.split(example)
    pattern = re.escape(os.path.split(pair.output)[1])
    pattern = re.sub(r"\\\{frame[^}]*\\\}", lambda _: r"\\d+", pattern)
    pattern = pattern.replace(r"\{stem\}", re.escape(pair.name))
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return None
    return next((os.path.join(folder, n) for n in sorted(names) if n == name or re.fullmatch(pattern, n)), None)


def finished(pair: ClipPair, options: VideoOptions) -> bool:
    """Whether a clip is left out since its output is there; of pictures each is judged on its own."""
    return options.shared.skip_existing and not pair.pictures and os.path.exists(pair.output)
