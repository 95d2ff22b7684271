"""Where fused frames go: a clip, or single pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from lure_cli.core.files import whole_file
from lure_cli.core.images.picture import write_image
from lure_cli.core.video.writer import VideoWriter, check_clip
from lure_cli.errors import LureError
from lure_cli.tasks.inference.stream import Fused
from lure_cli.tasks.video.plan import ClipPair, VideoOptions
from lure_cli.tasks.video.sync import FramePairs

if TYPE_CHECKING:
    from lure_cli.tasks.video.sync import FramePair


@contextmanager
def open_target(pair: ClipPair, o: VideoOptions, pairs: FramePairs) -> Iterator[PicturesTarget | ClipTarget]:
    """Where the frames go; a clip that is not finished leaves nothing behind."""
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
