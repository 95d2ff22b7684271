"""Clips in: video files, cameras and network streams, frame by frame with exact time stamps.

PyAV alone: imageio's reader knows neither time stamps nor sound. It is imported where it is used, and memory does not
grow with the clip: a frame is decoded when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.images.guards import MAX_PIXELS
from lure_cli.core.video.clip import Frame
from lure_cli.core.video.clock import Clock
from lure_cli.core.video.container import open_container, read_header
from lure_cli.core.video.pixels import PixelReader, is_coloured, orientation_of
from lure_cli.core.video.pyav import describe_fault, require_av
from lure_cli.core.video.source import is_live

if TYPE_CHECKING:
    import numpy as np

PATIENCE = 10.0
"""Seconds after which a camera or network stream that sends nothing counts as ended."""
USUAL_RATE = Fraction(25)
"""Frames a second of a clip that does not say them."""


class VideoFile:
    """A clip that is being read, from its beginning to its end.

    Args:
        source: a video file, a URL (rtsp://, http://, udp://, tcp://, ...) or a camera (/dev/video0,
            `avfoundation:0`, `dshow:video=NAME`).
        grey: give the luma alone, in full precision; clips whose pixels are RGB come as RGB all the same.
        sound: hand the packets of all sound streams over with the frames.
        max_pixels: larger frames are refused before they are decoded.

    Attributes:
        info: see there.
        sound: its sound streams.
        subtitles: how many streams of them there are; they are not read.
        ended: of a live source that broke off: why.
        damage: set once the frames end before their time: what happened, and where.
        coloured: of a grey reading, whether the first frame was in colour.

    Raises:
        LureError: there is no such thing, it cannot be read, holds no moving picture or is too large; PyAV is missing.
    """

    def __init__(self, source: str, *, grey: bool, sound: bool = False, max_pixels: int = MAX_PIXELS) -> None:
        self.source, self.grey, self.max_pixels = source, grey, max_pixels
        self._av = require_av()
        self._live = is_live(source) or not Path(source).is_file()
        self._container = open_container(source, live=self._live, patience=PATIENCE)
        try:
            self._header = header = read_header(self._container, source, live=self._live, max_pixels=max_pixels)
        except BaseException:
            self._container.close()
            raise
        streams = self._container.streams
        self._video = streams.best("video")
        self.sound: list[Any] = list(streams.audio) if sound else []
        self.subtitles = len(streams.subtitles)
        self.info = header.info
        rate, unit = self.info.rate or USUAL_RATE, Fraction(self._video.time_base)
        self._clock = Clock(unit, header.zero, rate, counted=header.counted)
        self.damage: str | None = None
        self.ended: str | None = None
        self.coloured = False
        self._packets = self._container.demux(self._video, *self.sound)
        self._waiting: list[Any] = []  # packets of sound, for the next frame
        self._pixels = PixelReader(grey=grey)
        self._stored: tuple[int, int] | None = None

    @property
    def zero(self) -> Fraction:
        """The clip's beginning, in seconds, as the time stamps of its packets have it."""
        return self._clock.zero

    @property
    def as_recorded(self) -> bool:
        """Whether its numbers are handed over as they were recorded: grey of 16 bits over the full range."""
        context = self._video.codec_context
        return context.pix_fmt in ("gray16le", "gray16be") and int(context.color_range) != 1

    @property
    def mended(self) -> int:
        """How many time stamps ran backwards and were set to follow the one before."""
        return self._clock.mended

    def frames(self) -> Iterator[Frame]:
        """The frames in the order of showing, up to the end or the last whole one before damage."""
        index = 0
        for decoded in self._decoded():
            if isinstance(decoded, str):
                self.damage = decoded
                break
            if self._stored is None:
                self._stored = self._first(decoded)
                if self._live:  # its clock started long ago; what was heard before the first picture is left out
                    self._clock.zero += self._clock.time_of(decoded) or 0
                    self._waiting = []
            size = (decoded.width, decoded.height)
            if size != self._stored:
                (w, h), (v, g) = size, self._stored
                self.damage = f"its frames change from {v}x{g} to {w}x{h}"
                break
            frame = self._frame(decoded, index)
            index += 1
            yield frame
        self._finish(index)

    def _first(self, decoded: Any) -> tuple[int, int]:
        """Note what only a decoded frame tells; its size, as it is stored."""
        self._pixels.orientation = orientation_of(decoded)
        if self._pixels.orientation.transposed:
            self.info = replace(self.info, size=self.info.size[::-1], aspect=1 / self.info.aspect)
        if self.grey:
            self.coloured = is_coloured(self._pixels.rgb(decoded))
        return decoded.width, decoded.height

    def _frame(self, decoded: Any, index: int) -> Frame:
        time, duration = self._clock.advance(decoded)
        packets, self._waiting = tuple(self._waiting), []
        return Frame(self._pixels(decoded), time, duration, index, packets)

    def _decoded(self) -> Iterator[Any]:
        """Decoded frames; a text, at last, says what is wrong with what follows."""
        begun = False
        try:
            for packet in self._packets:
                if packet.stream is not self._video:
                    if packet.dts is not None:
                        self._waiting.append(packet)
                    continue
                if not begun and packet.size and not packet.is_keyframe:
                    continue  # joined in the middle: nothing can be decoded before the first whole picture
                begun = begun or bool(packet.size)
                if packet.is_corrupt and packet.size and not self._live:
                    yield from self._flush("it is cut off in the middle of a frame")
                    return
                try:
                    decoded = packet.decode()
                except self._av.InvalidDataError as error:
                    if self._live:
                        continue  # a lost packet; the next whole picture mends it
                    yield from self._flush(f"it is damaged ({describe_fault(error)})")
                    return
                last_ones = not packet.size and not self._live and self._missing(decoded) > 0
                for frame in self._gapless(decoded) if last_ones else decoded:
                    if frame.is_corrupt and not self._live:  # the decoder made up what was missing
                        yield "it is damaged"
                        return
                    yield frame
        except (self._av.FFmpegError, OSError) as error:
            if self._live:
                self.ended = describe_fault(error)
                with suppress(self._av.FFmpegError):
                    yield from self._video.codec_context.decode(None) or ()
            else:
                yield from self._flush(f"it cannot be read further ({describe_fault(error)})")

    def _flush(self, fault: str) -> Iterator[Any]:
        """Frames that were whole but not shown yet, up to the first gap; then the fault."""
        with suppress(self._av.FFmpegError):
            yield from self._gapless(self._video.codec_context.decode(None) or ())
        yield fault

    def _gapless(self, decoded: Iterable[Any]) -> Iterator[Any]:
        """Frames up to the first that does not follow closely: the one between was in the part that is lost."""
        for frame in decoded:
            time, last, rate = self._clock.time_of(frame), self._clock.last, self.info.rate
            if last is None or rate is None or time is None or time - last > Fraction(3, 2) / rate:
                return
            yield frame

    def _missing(self, decoded: Sequence[Any] = ()) -> Fraction:
        """How many seconds of what the header promises are missing behind these frames, or the last one; 0 for few."""
        rate, last = self.info.rate, self._clock.last
        if not self._header.length or not rate or last is None:
            return Fraction(0)
        times = [time for frame in decoded if (time := self._clock.time_of(frame)) is not None]
        end = max(times, default=last + len(decoded) / rate) + 1 / rate
        missing = self.info.start + self._header.length - end
        return missing if missing > Fraction(5, 2) / rate else Fraction(0)

    def _finish(self, index: int) -> None:
        """At the end of the frames: did they come to the end that the header promised?"""
        if self.damage is None and not self._live:
            if missing := self._missing():
                self.damage = f"it ends {float(missing):.2f} s before its time"
            elif self._header.counted and index < self._header.frames - 2:
                self.damage = f"it ends after {index} of {self._header.frames} frames"
        if self.damage is not None:
            self.damage = f"{self.damage} after frame {index - 1}" if index else f"{self.damage}; no frame is whole"

    def sound_until(self, time: Fraction | None) -> Iterator[Any]:
        """The packets of sound after those that the frames carried; up to a time in seconds, or all that there are."""
        try:
            for packet in (*self._waiting, *(self._packets if not self._live else ())):
                if packet.stream is self._video or packet.dts is None:
                    continue
                beyond = -1 if time is None else packet.dts * packet.time_base - self.zero - time
                if beyond >= 2:  # seconds; streams are interleaved, so no other one has anything before the time
                    return
                if beyond >= 0:
                    continue
                yield packet
        except (self._av.FFmpegError, OSError):
            return
        finally:
            self._waiting = []

    def sample(self, count: int) -> list[np.ndarray]:
        """The pixels of some frames, spread evenly from the first to the last; by seeking in a reader of its own."""
        with VideoFile(self.source, grey=self.grey, max_pixels=self.max_pixels) as other:
            info = other.info
            count = min(count, info.count or count)
            if not other._header.length or not info.rate:
                return [f.pixels for f, _ in zip(other.frames(), range(count), strict=False)]
            span = other._header.length - 1 / info.rate
            times = [info.start + span * i / max(1, count - 1) for i in range(count)]
            return [pixels for time in times if (pixels := other.near(time)) is not None]

    def near(self, time: Fraction) -> np.ndarray | None:
        """The pixels of the frame shown at a time; None where there is none. Moves the reader there."""
        stamp = int((time + self.zero) / self._video.time_base)
        half = Fraction(1, 2) / (self.info.rate or USUAL_RATE)
        try:
            self._container.seek(max(stamp, 0), stream=self._video, backward=True)
            for decoded in self._container.decode(self._video):
                at = self._clock.time_of(decoded)
                if at is None or at >= time - half:
                    self._stored = self._stored or self._first(decoded)
                    return self._pixels(decoded)
        except (self._av.FFmpegError, OSError):
            return None
        return None

    def close(self) -> None:
        """Give the file back."""
        self._container.close()

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
