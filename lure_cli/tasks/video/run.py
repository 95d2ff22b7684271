"""Carrying out a plan of clips: frame by frame, in flat memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from lure_cli.core.files import sweep, whole_file
from lure_cli.core.images.picture import write_image
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.core.video.reader import VideoFile
from lure_cli.core.video.writer import VideoWriter, check_clip
from lure_cli.errors import LureError
from lure_cli.tasks.inference.fuse import Worker
from lure_cli.tasks.inference.job import Stop
from lure_cli.tasks.inference.request import Request
from lure_cli.tasks.inference.stream import Fused, fuse_stream
from lure_cli.tasks.video.plan import ClipPair, ClipPlan, VideoOptions, finished
from lure_cli.tasks.video.sync import FramePairs, Sync, open_clip

if TYPE_CHECKING:
    from lure_cli.core.text.vocabulary import Finding


@dataclass(frozen=True)
class Step:
    """One frame is fused. total: how many there will be, as far as that is known."""

    pair: ClipPair
    done: int
    total: int | None


@dataclass(frozen=True)
class Said:
    """Something about a clip that its owner may want to know; `warning`: the result is not all that was asked for."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Change:
    """The prompt from a frame on, where the clip was examined; findings by side (`vis`, `ir`)."""

    frame: int
    prompt: Prompt
    found: dict[str, tuple[Finding, ...]]

    def record(self) -> dict[str, Any]:
        """Ready for JSON."""
        detected = {m: [asdict(f) for f in found] for m, found in self.found.items()}
        return {"frame": self.frame, "vis": self.prompt.vis, "ir": self.prompt.ir, "detected": detected}


@dataclass
class ClipResult:
    """What became of two clips.

    frames: how many were fused; size is (width, height); rate in frames a second; truncated: why it ended before its
    time; interrupted: the user ended it; changes: the prompts in turn, where they were looked for.
    """

    pair: ClipPair
    request: Request
    status: Literal["done", "skipped", "failed"] = "done"
    frames: int = 0
    seconds: float = 0.0
    size: tuple[int, int] | None = None
    rate: Fraction | None = None
    sync: str | None = None
    truncated: str | None = None
    interrupted: bool = False
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    alignment: dict[str, Any] | None = None
    error: LureError | None = None

    def record(self) -> dict[str, Any]:
        """What a script may want to know, ready for JSON."""
        pair = self.pair
        record: dict[str, Any] = {"name": pair.name, "status": self.status, "output": pair.output}
        record |= {"ir": pair.ir, "vis": pair.vis, "seconds": round(self.seconds, 4), "size": self.size}
        record |= {"frames": self.frames, "fps": str(self.rate) if self.rate else None, "sync": self.sync}
        record |= {"prompt": {"vis": self.request.prompt.vis, "ir": self.request.prompt.ir}}
        record |= {"strength": {"vis": self.request.strength_vis, "ir": self.request.strength_ir}}
        record |= {"truncated": self.truncated, "interrupted": self.interrupted}
        if self.changes:
            record |= {"prompts": [change.record() for change in self.changes]}
        if self.notes:
            record |= {"notes": self.notes}
        if self.alignment is not None:
            record |= {"alignment": self.alignment}
        if self.error:
            record |= {"error": self.error.message, "hint": self.error.hint}
        return record


Event = Step | Said | Change | ClipResult


def fuse_clips(plan: ClipPlan, stop: Stop = lambda: False) -> Iterator[Event]:
    """Fuse every pair of clips of a plan, in order; one that fails does not stop the others, unless `fail_fast`.

    Args:
        plan: from `plan_video`.
        stop: asked before each frame; once it says yes, the clip in hand ends there and is whole.

    Yields:
        What happens, and for each pair a `ClipResult` at its end.

    Raises:
        LureError: the weights or the device cannot be used at all.
    """
    s = plan.options.shared
    worker = Worker(s, plan.weights)
    for folder in {Path(p.output).parent for p in plan.pairs if not p.pictures}:
        sweep(folder)
    for pair, request in zip(plan.pairs, plan.requests, strict=True):
        if stop():
            return
        result = ClipResult(pair, request)
        if finished(pair, plan.options):
            result.status = "skipped"
            yield result
            continue
        started = time.perf_counter()
        try:
            yield from _fuse_clip(plan, pair, result, worker, stop)
        except LureError as error:
            result.status, result.error = "failed", error
        result.seconds += time.perf_counter() - started
        yield result
        if result.status == "failed" and s.fail_fast:
            return


def _fuse_clip(plan: ClipPlan, pair: ClipPair, result: ClipResult, worker: Worker, stop: Stop) -> Iterator[Event]:
    o = plan.options
    with closing(_open(plan, pair)) as pairs:
        pairs.start()
        result.sync = pairs.how
        with _target(pair, o, pairs) as target:
            yield from _say(result, pairs.notes)
            loading = time.perf_counter()
            fuser = worker.fuser
            result.seconds -= time.perf_counter() - loading  # the model is loaded once for all clips
            made = fuse_stream(
                fuser, target.wanted(iter(pairs)), result.request, o.check_every, write=target.write, stop=stop
            )
            with closing(made):
                for fused in made:
                    if fused.changed:
                        change = Change(fused.index, fused.prompt, dict(fused.found))
                        result.changes.append(change)
                        yield change
                    result.frames += 1
                    yield Step(pair, result.frames, pairs.total)
            result.size, result.rate = pairs.vis.about.size, pairs.vis.about.rate
            result.alignment = pairs.alignment.record() if pairs.alignment is not None else None
            total = pairs.total
            result.interrupted = stop() and not (total is not None and pairs.taken >= total)
            if not result.frames and not pair.pictures:
                raise LureError(f"{pair.output}: nothing was fused", "give it the time for a first frame")
            yield from _end(o, pairs, result)
            cut = result.interrupted or result.truncated is not None or pairs.limit is not None
            target.finish(complete=not cut and "vis" not in pairs.left)
            yield from _say(result, target.notes)


def _open(plan: ClipPlan, pair: ClipPair) -> FramePairs:
    """Both clips; a folder of pictures takes the other's rate if none is given."""
    read, sound = plan.options.shared.read, not pair.pictures
    rate = plan.rate
    vis = open_clip(pair.vis, "vis", read, rate, sound=sound)
    try:
        ir = open_clip(pair.ir, "ir", read, rate or vis.about.rate)
    except BaseException:
        vis.close()
        raise
    try:
        if vis.about.rate is None:
            vis.close()
            vis = open_clip(pair.vis, "vis", read, ir.about.rate)
        return FramePairs(ir, vis, read, cast(Sync, plan.options.sync), plan.options.shared.limit)
    except BaseException:
        ir.close()
        vis.close()
        raise


def _say(result: ClipResult, texts: list[str]) -> Iterator[Said]:
    for text in texts:
        result.notes.append(text)
        yield Said(text)
    texts.clear()


def _end(o: VideoOptions, pairs: FramePairs, result: ClipResult) -> Iterator[Said]:
    """What is to be said about the end of a clip; LureError if lengths had to be equal."""
    damages = pairs.damages()
    if result.interrupted:
        pass
    elif damages:
        result.truncated = "; ".join(damages)
        yield Said(f"{result.truncated}: fused up to there, {result.frames} frames", warning=True)
    elif pairs.limit is None or pairs.taken < pairs.limit:
        sides = {"ir": pairs.ir.source, "vis": pairs.vis.source}
        for side, count in pairs.left.items():
            frames = f"{count} frames" if count > 0 else "some frames"
            said = f"{sides[side]} is longer: {frames} of it have no partner"
            if o.length == "equal":
                raise LureError(said, "leave --length equal out to fuse what both have")
            yield from _say(result, [f"{said} and are left out"])
    if pairs.dropped:
        yield from _say(result, [f"{pairs.dropped} live frames were skipped: they come faster than they are fused"])
    for clip in (pairs.ir, pairs.vis):
        if isinstance(clip, VideoFile) and clip.ended is not None:
            yield from _say(result, [f"{clip.source} ended ({clip.ended})"])
        if clip.mended:
            yield from _say(result, [f"{clip.source}: {clip.mended} time stamps ran backwards and were mended"])


@contextmanager
def _target(pair: ClipPair, o: VideoOptions, pairs: FramePairs) -> Iterator[_Pictures | _ClipFile]:
    """Where the frames go; a clip that is not finished leaves nothing behind."""
    if pair.pictures:
        yield _Pictures(pair, o, pairs)
        return
    path = Path(pair.output)
    with whole_file(path) as temporary:
        target = _ClipFile(temporary, pair.output, o, pairs)
        try:
            yield target
        finally:
            target.writer.abandon()
        if os.path.lexists(path) and not o.shared.overwrite:  # made by another process meanwhile
            raise LureError(f"{path} has come into being meanwhile", "give --overwrite to replace it")


class _ClipFile:
    """A clip with the visible one's sound; written in the thread of `write`, finished in that of the caller."""

    def __init__(self, path: Path, name: str, o: VideoOptions, pairs: FramePairs) -> None:
        self.notes: list[str] = []
        self._vis, vis = pairs.vis, pairs.vis
        codec = check_clip(path.suffix, o.codec, o.crf, o.shared.bits)
        self.writer = VideoWriter(path, vis.about, codec, o.crf, o.shared.bits, vis.sound, vis.zero, name)
        self._until = Fraction(0)
        if self.writer.silent:
            kinds = ", ".join(self.writer.silent)
            pairs.notes.append(f"the sound ({kinds}) is left out, as {path.suffix} files cannot hold it; .mkv can")
        if vis.others:
            pairs.notes.append(f"{vis.source}: subtitles are left out")
        if self.writer.unsquare:
            pairs.notes.append(
                f"pixels are not square ({vis.about.aspect}), which {codec} in {path.suffix} does not tell"
            )
        if self.writer.full_chroma:
            pairs.notes.append(
                "the size is odd: colour is written at full resolution (4:4:4), which not all players show"
            )

    def wanted(self, pairs: Iterator[Any]) -> Iterator[Any]:
        return pairs

    def write(self, fused: Fused) -> Fused:
        frame = fused.extra
        self.writer.copy(frame.packets)
        self.writer.write(fused.picture, frame.time, frame.duration)
        self._until = frame.time + frame.duration
        return replace(fused, extra=None)

    def finish(self, *, complete: bool) -> None:
        self.writer.copy(self._vis.sound_until(None if complete else self._until))
        self.writer.close()


class _Pictures:
    """Single pictures, each whole or not there."""

    def __init__(self, pair: ClipPair, o: VideoOptions, pairs: FramePairs) -> None:
        self.notes: list[str] = []
        self._pair, self._shared = pair, o.shared
        self._left_out = 0

    def wanted(self, pairs: Iterator[Any]) -> Iterator[Any]:
        """Without those that are there already, if they are to be skipped."""
        for each in pairs:
            if self._shared.skip_existing and os.path.exists(self._pair.picture(each[2].number)):
                self._left_out += 1
                continue
            yield each

    def write(self, fused: Fused) -> Fused:
        path = self._pair.picture(fused.extra.number)
        if os.path.lexists(path) and not self._shared.overwrite:
            raise LureError(f"{path} has come into being meanwhile", "give --overwrite to replace it")
        write_image(path, fused.picture, bits=self._shared.bits)
        return replace(fused, extra=None)

    def finish(self, *, complete: bool) -> None:
        if self._left_out:
            self.notes.append(f"{self._left_out} pictures were there already")
