"""Carrying out a plan of clips: frame by frame, in flat memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import cast

from lure_cli.core.files import sweep
from lure_cli.core.video.reader import VideoFile
from lure_cli.errors import LureError
from lure_cli.tasks.inference.job import Stop, load_fuser
from lure_cli.tasks.inference.pipeline import AHEAD
from lure_cli.tasks.inference.request import FuserLike, left_out
from lure_cli.tasks.inference.stream import fuse_stream
from lure_cli.tasks.video.plan import ClipPair, ClipPlan, finished
from lure_cli.tasks.video.result import Change, ClipResult, Event, Message, Progress
from lure_cli.tasks.video.sync import FramePairs, Sync, open_clip
from lure_cli.tasks.video.target import LiveTarget, Target, open_target


def fuse_clips(plan: ClipPlan, stop: Stop = lambda: False, fuser: FuserLike | None = None) -> Iterator[Event]:
    """Fuse every pair of clips of a plan, in order; one that fails does not stop the others, unless `fail_fast`.

    Args:
        plan: from `plan_video`.
        stop: asked before each frame; once it says yes, the clip in hand ends there and is whole.
        fuser: the model, if it is not to be loaded.

    Yields:
        What happens, and for each pair a `ClipResult` at its end; where weights or device cannot be used, failed ones.
    """
    worker = ClipWorker(plan, stop, fuser)
    for folder in {Path(pair.output).parent for pair in plan.items if pair.output is not None and not pair.pictures}:
        sweep(folder)
    for pair, request in plan.jobs:
        if stop():
            return
        result = ClipResult(pair, request)
        yield from worker.run(result)
        yield result
        if result.status == "failed" and plan.options.shared.fail_fast:
            return


class ClipWorker:
    """Fuses the clips of a plan; arguments as of `fuse_clips`."""

    def __init__(self, plan: ClipPlan, stop: Stop, fuser: FuserLike | None = None) -> None:
        self.plan, self.options, self.stop, self._fuser = plan, plan.options, stop, fuser

    @cached_property
    def fuser(self) -> FuserLike:
        """The model, loaded when the first clip needs it; LureError if the weights or the device cannot be used."""
        return self._fuser or load_fuser(self.options.shared, self.plan.weights)

    def run(self, result: ClipResult) -> Iterator[Event]:
        """Fuse two clips; what becomes of them is set in the result."""
        if finished(result.pair, self.options):
            result.status = "skipped"
            return
        started = time.perf_counter()
        try:
            with closing(self._open(result.pair)) as pairs:
                yield from self._fuse(pairs, result)
        except LureError as error:
            result.status, result.error = "failed", error
        result.seconds += time.perf_counter() - started

    def _open(self, pair: ClipPair) -> FramePairs:
        """Both clips; a folder of pictures takes the other's rate if none is given."""
        read, rate = self.options.shared.read, self.options.rate
        sound = pair.output is not None and not pair.pictures
        vis = open_clip(pair.vis, "vis", read, rate, sound=sound)
        try:
            ir = open_clip(pair.ir, "ir", read, rate or vis.info.rate)
        except BaseException:
            vis.close()
            raise
        try:
            if vis.info.rate is None:
                vis.close()
                vis = open_clip(pair.vis, "vis", read, ir.info.rate)
            sync, limit = cast(Sync, self.options.sync), self.options.shared.limit
            return FramePairs(ir, vis, read, sync, limit, self.options.shared.heat, self.options.newest)
        except BaseException:
            ir.close()
            vis.close()
            raise

    def _fuse(self, pairs: FramePairs, result: ClipResult) -> Iterator[Event]:
        pairs.start()
        result.sync = pairs.how
        with open_target(result.pair, self.options, pairs, self.stop) as target:
            yield from _messages(result, pairs.notes)
            loading = time.perf_counter()
            fuser = self.fuser
            result.seconds -= time.perf_counter() - loading  # the model is loaded once for all clips
            frames = fuse_stream(
                fuser,
                target.wanted(iter(pairs)),
                result.request,
                self.options.check_every,
                write=lambda fused: target.write(pairs.coloured(fused)),
                stop=self.stop,
                ahead=1 if self.options.newest else AHEAD,
            )
            with closing(frames):
                for frame in frames:
                    if frame.changed:
                        change = Change(frame.index, frame.prompt, frame.findings)
                        result.changes.append(change)
                        yield change
                        unknown = left_out(frame.findings, fuser.degradations)
                        yield from _messages(result, [text for text in unknown if text not in result.notes])
                    result.frames += 1
                    result.computed_by = frame.computed_by
                    yield from self._news(target, result)
                    yield Progress(result.pair, result.frames, pairs.total)
            result.size, result.rate = pairs.size, pairs.vis.info.rate
            result.alignment = pairs.alignment.record() if pairs.alignment is not None else None
            result.palette = pairs.painter.record() if pairs.painter is not None else None
            total = pairs.total
            result.interrupted = self.stop() and not (total is not None and pairs.taken >= total)
            if not result.frames and not result.pair.pictures:
                raise LureError(f"{result.pair.outputs[0]}: nothing was fused", "give it the time for a first frame")
            yield from self._end(pairs, result)
            cut = result.interrupted or result.truncated is not None or pairs.limit is not None
            target.finish(complete=not cut and "vis" not in pairs.left)
            yield from _messages(result, target.notes)
            if isinstance(target, LiveTarget):
                yield from self._news(target, result)
                result.live = target.record()
                target.check()

    def _news(self, target: Target, result: ClipResult) -> Iterator[Message]:
        """What happened to receivers since the last time."""
        for text, warning in target.events() if isinstance(target, LiveTarget) else ():
            result.notes.append(text)
            yield Message(text, warning)

    def _end(self, pairs: FramePairs, result: ClipResult) -> Iterator[Message]:
        """What is to be said about the end of a clip; LureError if lengths had to be equal."""
        damages = pairs.damages()
        if result.interrupted:
            pass
        elif damages:
            result.truncated = "; ".join(damages)
            yield Message(f"{result.truncated}: fused up to there, {result.frames} frames", warning=True)
        elif pairs.limit is None or pairs.taken < pairs.limit:
            sides = {"ir": pairs.ir.source, "vis": pairs.vis.source}
            for side, count in pairs.left.items():
                frames = f"{count} frames" if count > 0 else "some frames"
                longer = f"{sides[side]} is longer: {frames} of it have no partner"
                if self.options.length == "equal":
                    raise LureError(longer, "leave --length equal out to fuse what both have")
                yield from _messages(result, [f"{longer} and are left out"])
        if pairs.dropped:
            skipped = f"{pairs.dropped} live frames were skipped: they come faster than they are fused"
            yield from _messages(result, [skipped])
        for clip in (pairs.ir, pairs.vis):
            if isinstance(clip, VideoFile) and clip.ended is not None:
                yield from _messages(result, [f"{clip.source} ended ({clip.ended})"])
            if clip.mended:
                yield from _messages(
                    result, [f"{clip.source}: {clip.mended} time stamps ran backwards and were mended"]
                )


def _messages(result: ClipResult, texts: list[str]) -> Iterator[Message]:
    """Messages that are kept in the result as well."""
    for text in texts:
        result.notes.append(text)
        yield Message(text)
    texts.clear()
