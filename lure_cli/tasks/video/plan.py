"""From what a user names to which clips are fused to what; nothing is carried out. See `tasks.inference.plan`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from fractions import Fraction
from pathlib import Path
from string import Formatter

from lure_cli.core.images.formats import check_output, has_image_suffix
from lure_cli.core.video.live_output import LiveOutput, hidden, is_live_output
from lure_cli.core.video.picture_folder import list_numbered
from lure_cli.core.video.source import SUFFIXES as READ
from lure_cli.core.video.source import is_live, is_realtime, is_video
from lure_cli.core.video.writer import SUFFIXES as WRITTEN
from lure_cli.core.video.writer import check_clip
from lure_cli.errors import LureError
from lure_cli.tasks.inference.options import FuseOptions
from lure_cli.tasks.inference.plan import Plan, plan_job
from lure_cli.tasks.inference.stream import CHECK_EVERY
from lure_cli.tasks.paths.find import Kind, is_many
from lure_cli.tasks.paths.outputs import check_folder
from lure_cli.tasks.paths.pairing import find_pairs, name_of_two
from lure_cli.tasks.video.sync import SYNC
from lure_cli.tasks.weights.hub import Notify

CLIPS = Kind(READ, WRITTEN, ".mp4", "video")
_FIELDS = "known fields: {frame} (its number, also {frame:06d}), {stem} (name of the pair), {ir} and {vis}"


@dataclass(frozen=True)
class VideoOptions:
    """What `lure fuse` was asked to do with clips; see the command's help.

    shared: what clips have in common with images; of its `ir` and `vis` only the names here count, and its `limit` is
        that of the frames.
    ir, vis: a video file, a folder of numbered pictures, a camera, a URL; or, both, folders of video files or patterns.
    fps: frames a second of folders of pictures, such as 25 or 30000/1001.
    sync: see `FramePairs`.
    length: `shortest`, or `equal`: clips of unequal lengths are refused.
    check_every: frames from one look for degradations to the next, for prompts that say `auto`.
    codec, crf: see `lure_cli.core.video.writer.check_clip`.
    live: addresses and playlists that the pictures are sent to as they come, see `LiveOutput`; without `shared.output`
        nothing else is written.
    """

    shared: FuseOptions
    ir: str
    vis: str
    _: KW_ONLY
    fps: str | None = None
    sync: str = "auto"
    length: str = "shortest"
    check_every: int = CHECK_EVERY
    codec: str = "auto"
    crf: int | None = None
    live: tuple[str, ...] = ()

    @property
    def newest(self) -> bool:
        """Whether the newest frames are wanted, since somebody watches and the sources do not wait."""
        return bool(self.live) and any(map(is_realtime, (self.ir, self.vis)))

    @property
    def rate(self) -> Fraction | None:
        """`fps` as a number; LureError if it is none."""
        if self.fps is None:
            return None
        try:
            rate = Fraction(self.fps)
        except (ValueError, ZeroDivisionError):
            rate = Fraction(0)
        if not 0 < rate <= 1000:
            raise LureError(f"--fps {self.fps} is no frame rate", "give frames a second, for example 25 or 30000/1001")
        return rate.limit_denominator(1001)


@dataclass(frozen=True)
class ClipOutput:
    """What `-o` says.

    Attributes:
        pictures: single pictures, as the template has the field {frame}.
        file: one file, or one a frame; not a folder.
        template: there are fields that tell several pairs apart, or that are not known.
    """

    pictures: bool = False
    file: bool = False
    template: bool = False

    @classmethod
    def parse(cls, output: str | None) -> ClipOutput:
        """Read an output; whether its fields are known and well-formed is not looked at."""
        if output is None:
            return cls()
        fields = set(re.findall(r"\{(\w*)", output))
        pictures = "frame" in fields
        file = pictures or Path(output).suffix.lower() in WRITTEN
        return cls(pictures, file, template=bool(fields - {"frame"}))


@dataclass(frozen=True)
class ClipPair:
    """Two sources, the name that they share, and what to write: a clip or, if `pictures`, files by a template; None: no
    file. `live`: what the pictures are sent to besides."""

    name: str
    ir: str
    vis: str
    output: str | None
    pictures: bool = False
    live: tuple[LiveOutput, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of all outputs, without passwords."""
        return (*((self.output,) if self.output is not None else ()), *(o.name for o in self.live))

    def picture(self, number: int) -> Path:
        """The file of one frame."""
        names = {"stem": self.name, "ir": Path(self.ir).stem, "vis": Path(self.vis).stem}
        return Path((self.output or "").format(frame=number, **names))


ClipPlan = Plan[VideoOptions, ClipPair]


def split_outputs(outputs: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """All that `-o` was given -> the file, folder or template, if there is one, and the live outputs.

    Raises:
        LureError: there are several files.
    """
    live = tuple(o for o in outputs if is_live_output(o))
    files = [o for o in outputs if not is_live_output(o)]
    if len(files) > 1:
        raise LureError(
            f"-o is given {len(files)} files", "give one; beside it only live outputs, such as udp://127.0.0.1:5000"
        )
    return (files[0] if files else None), live


def wants_video(ir: str, vis: str, output: str | None, live: Sequence[str] = ()) -> bool:
    """Whether `lure fuse` was given clips, not images."""
    return (
        bool(live)
        or ClipOutput.parse(output).file
        or any(is_video(source) or _holds(source) == (True, False) for source in (ir, vis))
    )


def _holds(folder: str) -> tuple[bool, bool]:
    """Whether a folder holds video files, and images; neither, if it is none or cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = [Path(e.name) for e in entries if not e.name.startswith(".")]
    except OSError:
        return False, False
    return any(n.suffix.lower() in READ for n in names), any(map(has_image_suffix, names))


def plan_video(options: VideoOptions, notify: Notify | None = None) -> ClipPlan:
    """Check everything that can be checked before a clip is opened or the model loads; `notify` is told of downloads.

    Raises:
        LureError: options that clips do not have, inputs that are missing or do not pair, outputs that cannot be
            written, PyAV is missing; also as `plan_job`.
    """
    o = options
    _check(o)
    live = tuple(map(LiveOutput.parse, o.live))
    pairs, unmatched = _find_clips(o, notify)
    if live:
        pairs = [_sent(pairs[0], live, o)]
    for pair in pairs:
        _check_target(pair, o)
    return Plan(o, *plan_job(o.shared, pairs, existing=_existing, notify=notify), tuple(unmatched))


def _find_clips(o: VideoOptions, notify: Notify | None) -> tuple[Sequence[ClipPair], list[Path]]:
    """The pairs of clips that are meant, and files without a partner."""
    s, output = o.shared, ClipOutput.parse(o.shared.output)
    rate = o.rate
    many = all(not is_live(source) and _is_many(source) for source in (o.ir, o.vis))
    folders = [not is_live(source) and Path(source).is_dir() for source in (o.ir, o.vis)]
    unmatched: list[Path] = []
    if many and not (output.file and not output.template):
        if o.live:
            raise LureError(f"{hidden(o.live[0])} takes one pair of clips, not folders of them", "name two clips")
        files, unmatched = find_pairs(Path(o.ir), Path(o.vis), s.output, s.pairing, CLIPS, notify)
        pairs = [ClipPair(p.name, str(p.ir), str(p.vis), str(p.output)) for p in files]
        if s.read.align_once:
            raise LureError("--align-once is for images", "every clip gets one transform of its own")
    else:
        if s.shard is not None or s.prompt_file is not None or s.pairing.recursive or s.pairing.by != "stem":
            raise LureError("--shard, --prompt-file and options of pairing are for folders", "leave them out")
        pairs = [_one_pair(o, output)]
    if rate is not None and not any(folders):
        raise LureError("--fps is for folders of numbered pictures", "a video keeps its own frame rate")
    if rate is None and all(folders) and not many:
        raise LureError("folders of pictures have no frame rate", "say it, for example --fps 25")
    return pairs, unmatched


def _sent(pair: ClipPair, live: tuple[LiveOutput, ...], o: VideoOptions) -> ClipPair:
    """The one pair with its live outputs, each of which is checked."""
    if o.shared.skip_existing:
        raise LureError("--skip-existing is for files", "leave it out where something is sent")
    pair = replace(pair, live=live)
    for name in {n for n in pair.outputs if pair.outputs.count(n) > 1}:
        raise LureError(f"-o {name} is given twice", "give it once")
    if pair.output is None and (o.codec != "auto" or o.crf is not None or o.shared.bits != 8):
        raise LureError("--codec, --crf and --bits are for files", "leave them out: H.264 of 8 bits is sent")
    for output in live:
        if output.playlist is not None:
            if output.playlist.is_dir():
                raise LureError(f"{output.name} is a folder", "name the playlist in it, such as out/live.m3u8")
            check_folder(output.playlist.parent)
    return pair


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
    for what in s.extras:
        raise LureError(f"--{what} is for images", "fuse the frames that are wanted as single images")
    if is_live(o.ir) or not os.path.isdir(o.ir):  # of radiometric files numbered pictures may consist
        s.read.radiometry.refuse_overrides("clips hold no raw thermal data")
    if s.output == "-" or "-" in (o.ir, o.vis):
        raise LureError("clips do not go through standard input and output", "give files")


def _is_many(source: str) -> bool:
    """Whether a source stands for several clips: a folder that holds some, or a pattern."""
    return is_many(Path(source)) and _holds(source) != (False, True)


def _one_pair(o: VideoOptions, kind: ClipOutput) -> ClipPair:
    """The one pair of two sources that are not folders of clips."""
    for source in (o.ir, o.vis):
        if not is_live(source) and not os.path.exists(source):
            raise LureError(f"{source}: no such file or folder", "check the spelling of the path")
        if os.path.isdir(source):
            list_numbered(Path(source))  # is refused here, before anything is loaded
    if o.ir == o.vis:
        raise LureError(f"{o.ir} is given as both the infrared and the visible input", "give two different inputs")
    name, output = _name_of(o), o.shared.output
    if output is None and o.live:
        return ClipPair(name, o.ir, o.vis, None)
    if output is None:
        if is_live(o.ir) or is_live(o.vis):
            raise LureError("a live input has no name to make the output's from", "give -o, for example -o fused.mkv")
        output = f"{name}_fused{CLIPS.default}"
    elif kind.pictures:
        return _check_template(ClipPair(name, o.ir, o.vis, output, pictures=True))
    elif os.path.isdir(output) or output.endswith(("/", os.sep)) or not Path(output).suffix:
        output = str(Path(output) / f"{name}{CLIPS.default}")
    elif kind.template:
        output = str(_check_template(ClipPair(name, o.ir, o.vis, output)).picture(0))
    return ClipPair(name, o.ir, o.vis, output)


def _name_of(o: VideoOptions) -> str:
    """The name of two sources; of two live ones `live`."""
    if is_live(o.ir) and is_live(o.vis):
        return "live"
    return name_of_two(Path(o.vis if is_live(o.ir) else o.ir), Path(o.vis))


def _check_template(pair: ClipPair) -> ClipPair:
    try:
        fields = {part[1] for part in Formatter().parse(pair.output or "") if part[1] is not None}
        if not fields <= {"frame", "stem", "ir", "vis"}:
            raise ValueError("an unknown field")
        pair.picture(0)
    except (ValueError, KeyError, IndexError) as error:
        raise LureError(f"the output template {pair.output} is malformed ({error})", _FIELDS) from error
    return pair


def _check_target(pair: ClipPair, o: VideoOptions) -> None:
    """Whether the output can hold what is asked for, can be written and is no input."""
    if pair.pictures:
        if o.codec != "auto" or o.crf is not None:
            raise LureError("--codec and --crf are for clips", "leave them out")
        check_output(pair.picture(0).suffix, o.shared.bits, False)
        check_folder(pair.picture(0).parent)
        return
    if pair.output is None:
        return
    check_clip(Path(pair.output).suffix, codec=o.codec, quality=o.crf, bits=o.shared.bits)
    check_folder(Path(pair.output).parent)
    for source in (pair.ir, pair.vis):
        if not is_live(source) and os.path.realpath(source) == os.path.realpath(pair.output):
            raise LureError(f"the output {pair.output} is also an input", "write to another folder or name")


def _existing(pair: ClipPair) -> Path | None:
    """The clip that is there already, or a file that looks like a frame or an HLS segment of an earlier run."""
    for live in pair.live:
        if live.playlist is not None:
            found = [live.playlist] if os.path.lexists(live.playlist) else live.segments()
            if found:
                return found[0]
    if pair.output is None:
        return None
    if not pair.pictures:
        return Path(pair.output) if os.path.lexists(pair.output) else None
    folder, name = os.path.split(pair.picture(0))
    pattern = re.escape(os.path.split(pair.output)[1])
    pattern = re.sub(r"\\\{frame[^}]*\\\}", lambda _: r"\d+", pattern)
    pattern = pattern.replace(r"\{stem\}", re.escape(pair.name))
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return None
    existing = (n for n in sorted(names) if n == name or re.fullmatch(pattern, n))
    return next((Path(folder, n) for n in existing), None)


def finished(pair: ClipPair, options: VideoOptions) -> bool:
    """Whether a clip is left out since its output is there; of pictures each is judged on its own."""
    return (
        options.shared.skip_existing and pair.output is not None and not pair.pictures and os.path.exists(pair.output)
    )
