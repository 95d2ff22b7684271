"""Where fused frames go: a clip, or single pictures; and live outputs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.files import whole_file
from lure_cli.core.images.picture import write_image
from lure_cli.core.video.sender import Sender
from lure_cli.core.video.source import is_realtime
from lure_cli.core.video.writer import VideoWriter, check_clip
from lure_cli.errors import LureError
from lure_cli.tasks.inference.job import Stop
from lure_cli.tasks.inference.stream import Fused
from lure_cli.tasks.video.plan import ClipPair, VideoOptions
from lure_cli.tasks.video.sync import FramePairs

if TYPE_CHECKING:
    from lure_cli.tasks.video.sync import FramePair


@contextmanager
def open_target(pair: ClipPair, o: VideoOptions, pairs: FramePairs, stop: Stop = lambda: False) -> Iterator[Target]:
    """Where the frames go; a clip that is not finished leaves nothing behind. `stop` ends waiting."""
    if not pair.live:
        with _open_files(pair, o, pairs) as files:
            assert files is not None
            yield files
        return
    with _open_files(pair, o, pairs) as files:
        target = LiveTarget(pair, o, pairs, files, stop)
        try:
            yield target
        finally:
            target.close()


@contextmanager
def _open_files(pair: ClipPair, o: VideoOptions, pairs: FramePairs) -> Iterator[PicturesTarget | ClipTarget | None]:
    if pair.output is None:
        yield None
        return
    if pair.pictures:
        yield PicturesTarget(pair, o, pairs)
        return
    path = Path(pair.output)
    try:
        with whole_file(path) as temporary:
            target = ClipTarget(temporary, pair.output, o, pairs)
            try:
                yield target
            finally:
                target.writer.abandon()
            if os.path.lexists(path) and not o.shared.overwrite:  # made by another process meanwhile
                raise LureError(f"{path} has come into being meanwhile", "give --overwrite to replace it")
    except OSError as error:
        raise LureError(
            f"{path}: cannot be written ({error.strerror or error})",
            "check that the folder is writable and the disk has room",
        ) from error


class ClipTarget:
    """A clip with the visible one's sound; written in the thread of `write`, finished in that of the caller."""

    def __init__(self, path: Path, name: str, o: VideoOptions, pairs: FramePairs) -> None:
        self.notes: list[str] = []
        self._vis, vis = pairs.vis, pairs.vis
        encoding = check_clip(path.suffix, codec=o.codec, quality=o.crf, bits=o.shared.bits)
        info = replace(vis.info, size=pairs.size)
        self.writer = VideoWriter(path, info, encoding, sound=vis.sound, zero=vis.zero, name=name)
        self._until = Fraction(0)
        if o.live and vis.sound:
            pairs.notes.append("the sound goes into the file alone")
        if self.writer.silent:
            kinds = ", ".join(self.writer.silent)
            pairs.notes.append(f"the sound ({kinds}) is left out, as {path.suffix} files cannot hold it; .mkv can")
        if vis.subtitles:
            pairs.notes.append(f"{vis.source}: subtitles are left out")
        if self.writer.unsquare:
            pairs.notes.append(
                f"pixels are not square ({vis.info.aspect}), which {encoding.codec} in {path.suffix} does not tell"
            )
        if self.writer.full_chroma:
            pairs.notes.append(
                "the size is odd: colour is written at full resolution (4:4:4), which not all players show"
            )

    def wanted(self, pairs: Iterator[FramePair]) -> Iterator[FramePair]:
        """Those that are to be fused: all."""
        return pairs

    def write(self, fused: Fused) -> Fused:
        """Add a picture and the sound before it; gives the picture back without its source."""
        frame = fused.extra
        self.writer.copy(frame.packets)
        self.writer.write(fused.picture, frame.time, frame.duration)
        self._until = frame.time + frame.duration
        return replace(fused, extra=None)

    def finish(self, *, complete: bool) -> None:
        """Write the rest; of the sound all if the clip is complete, else up to the last frame."""
        self.writer.copy(self._vis.sound_until(None if complete else self._until))
        self.writer.close()


class PicturesTarget:
    """Single pictures, each whole or not there."""

    def __init__(self, pair: ClipPair, o: VideoOptions, pairs: FramePairs) -> None:
        self.notes: list[str] = []
        self._pair, self._shared = pair, o.shared
        self._left_out = 0

    def wanted(self, pairs: Iterator[FramePair]) -> Iterator[FramePair]:
        """Without those that are there already, if they are to be skipped."""
        for ir, vis, frame in pairs:
            if self._shared.skip_existing and os.path.exists(self._pair.picture(frame.number)):
                self._left_out += 1
                continue
            yield ir, vis, frame

    def write(self, fused: Fused) -> Fused:
        """Write a picture; gives it back without its source."""
        path = self._pair.picture(fused.extra.number)
        if os.path.lexists(path) and not self._shared.overwrite:
            raise LureError(f"{path} has come into being meanwhile", "give --overwrite to replace it")
        write_image(path, fused.picture, bits=self._shared.bits)
        return replace(fused, extra=None)

    def finish(self, *, complete: bool) -> None:
        """Every picture is whole already."""
        if self._left_out:
            self.notes.append(f"{self._left_out} pictures were there already")


WAITING = 25
"""Pictures of a clip that may wait for a live output; of cameras the newest one does."""


class LiveTarget:
    """Live outputs, and the files beside them.

    What is read from files is sent at its own rate, and fusing waits for that; where fusing is slower, time stamps are
    as late as it is. Of cameras, every picture is shown once it is there.
    """

    def __init__(
        self, pair: ClipPair, o: VideoOptions, pairs: FramePairs, files: PicturesTarget | ClipTarget | None, stop: Stop
    ) -> None:
        self.notes: list[str] = files.notes if files is not None else []
        self._pair, self._files, self._stop = pair, files, stop
        self._paced = not any(is_realtime(clip.source) for clip in (pairs.ir, pairs.vis))
        self._started: float | None = None
        self._shown, self._before = 0.0, Fraction(0)  # of the last picture: when it was shown, its own time
        self._closed = False
        info = replace(pairs.vis.info, size=pairs.size)
        self.senders = [Sender(live, info, keep=WAITING if self._paced else 1) for live in pair.live]
        if self.senders[0].full_chroma:
            pairs.notes.append("the size is odd: colour is sent at full resolution (4:4:4), which few players show")

    def wanted(self, pairs: Iterator[FramePair]) -> Iterator[FramePair]:
        """Those that are to be fused."""
        return pairs if self._files is None else self._files.wanted(pairs)

    def write(self, fused: Fused) -> Fused:
        """Send a picture once it is due, then write it; gives it back without its source."""
        shown = self._due(fused.extra.time)
        for sender in self.senders:
            sender.put(fused.picture, shown)
        return replace(fused, extra=None) if self._files is None else self._files.write(fused)

    def _due(self, own: Fraction) -> float:
        """When a picture of this time in its clip is shown, in seconds from the first one on; waits for it."""
        now = time.monotonic()
        if self._started is None:
            self._started, self._before = now, own
        now -= self._started
        if self._paced:
            due = self._shown + float(own - self._before)
            while now < due and not self._stop():
                time.sleep(min(due - now, 0.1))
                now = time.monotonic() - self._started
            now = max(now, due) if not self._stop() else now
            # A little late is no reason to move the time stamps of all that follow.
            now = due if now - due < 0.02 else now
        self._shown, self._before = now, own
        return now

    def events(self) -> Iterator[tuple[str, bool]]:
        """What happened to receivers since the last time: texts, and whether they are warnings."""
        for sender in self.senders:
            while sender.events:
                yield sender.events.popleft()

    def record(self) -> list[dict[str, Any]]:
        """What was sent, ready for JSON."""
        return [{"output": s.output.name, "sent": s.sent, "lost": s.lost} for s in self.senders]

    def finish(self, *, complete: bool) -> None:
        """End the streams, and write the rest of the files."""
        self.close()
        if self._files is not None:
            self._files.finish(complete=complete)

    def check(self) -> None:
        """LureError if nothing came out at all: there is no file, and nothing could be sent."""
        if self._files is None and not any(s.sent for s in self.senders):
            names = " and ".join(self._pair.outputs)
            raise LureError(f"{names}: nothing could be sent", "check that the receiver is there before you start")

    def close(self) -> None:
        """End the streams."""
        if not self._closed:
            self._closed = True
            for sender in self.senders:
                sender.close()


Target = PicturesTarget | ClipTarget | LiveTarget
