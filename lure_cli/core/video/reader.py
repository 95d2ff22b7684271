"""Clips in: video files, cameras and network streams, frame by frame with exact time stamps.

PyAV alone: imageio's reader knows neither time stamps nor sound. It is imported where it is used, and memory does not
grow with the clip: a frame is decoded when it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.images.guards import MAX_PIXELS
from lure_cli.core.video.clip import DEVICE, SPACES, About, Frame, is_coloured, is_live, matrix_of, require_av
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

PATIENCE = 10.0
"""Seconds after which a camera or network stream that sends nothing counts as ended."""


class VideoFile:
    """A clip that is being read, from its beginning to its end.

    Args:
        source: a video file, a URL (rtsp://, http://, udp://, tcp://, ...) or a camera (/dev/video0,
            `avfoundation:0`, `dshow:video=NAME`).
        grey: give the luma alone, in full precision; clips whose pixels are RGB come as RGB all the same.
        sound: hand the packets of all sound streams over with the frames.
        max_pixels: larger frames are refused before they are decoded.

    Attributes:
        about: see there.
        sound: its sound streams.
        ended: of a live source that broke off: why.
        damage: set once the frames end before their time: what happened, and where.
        mended: how many time stamps ran backwards and were set to follow the one before.
        coloured: of a grey reading, whether the first frame was in colour.

    Raises:
        LureError: there is no such thing, it cannot be read, holds no moving picture or is too large; PyAV is missing.
    """

    def __init__(self, source: str, *, grey: bool, sound: bool = False, max_pixels: int = MAX_PIXELS) -> None:
        self.source, self.grey, self.max_pixels = source, grey, max_pixels
        self._av = av = require_av()
        self._live = is_live(source) or not Path(source).is_file()
        self._container = self._open()
        try:
            if not self._container.streams.video:
                raise LureError(f"{source}: holds no moving picture", "name a video file")
            self._video = self._container.streams.best("video")
            self.about = self._look()
            self.sound = list(self._container.streams.audio) if sound else []
            self.others = len(self._container.streams.subtitles)
        except BaseException:
            self._container.close()
            raise
        self.damage: str | None = None
        self.ended: str | None = None
        self.mended, self.coloured = 0, False
        self._packets = self._container.demux(self._video, *self.sound)
        self._pending: list[Any] = []
        self._reformat = av.video.reformatter.VideoReformatter()
        self._last: Frame | None = None
        self._shift = Fraction(0)
        self._stored = (0, 0)
        self._turn = 0
        self._counted = self._container.format.name == "avi"  # which has no time stamps: frames follow their rate

    def _open(self) -> Any:
        options = {} if self._live else {"protocol_whitelist": "file,crypto,data"}
        kind, name = None, self.source
        if match := DEVICE.match(name):
            kind, name = match[1], name[match.end() :]
        elif name.startswith("/dev/video"):
            kind = "v4l2"
        elif name.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # whole frames before speed
        elif not is_live(name):
            if not Path(name).exists() or Path(name).is_dir():
                raise LureError(f"{name}: no such file", "check the spelling of the path")
            name = f"file:{name}"  # a colon in a file's name is no protocol
        timeout = PATIENCE if self._live else None
        try:
            return self._av.open(name, format=kind, options=options, timeout=timeout)
        except (self._av.FFmpegError, OSError, ValueError) as error:
            hint = "check the address" if self._live else "a clip that was cut off without an index cannot be read"
            raise LureError(f"{self.source}: cannot be read as a clip ({_fault(error)})", hint) from error

    def _look(self) -> About:
        s, c = self._video, self._container
        context = s.codec_context
        if context is None or context.width < 1 or context.height < 1:
            raise LureError(f"{self.source}: its frames have no size or an unknown coding", "convert it with ffmpeg")
        width, height = context.width, context.height
        if width * height > self.max_pixels:
            raise LureError(
                f"{self.source}: {width}x{height} has more than {self.max_pixels:,} pixels",
                "shrink it, or raise --max-pixels if you trust the file",
            )
        s.thread_type = "AUTO"
        context.options = {"max_pixels": str(self.max_pixels)}  # the stream may say another size than the header
        starts = [t.start_time * t.time_base for t in (s, *c.streams.audio) if t.start_time is not None]
        self.zero = Fraction(min(starts, default=0))
        rate = s.average_rate or s.guessed_rate
        length = self._length()
        endless = c.duration is None and self._live
        count = s.frames or (round(length * rate) if length and rate else None)
        return About(
            (width, height),
            Fraction(rate) if rate else None,
            None if endless else count,
            Fraction(s.sample_aspect_ratio or 1) or Fraction(1),
            self._live,
            Fraction(0) if self._live else self._start(),
            int(context.colorspace),
            int(context.color_primaries),
            int(context.color_trc),
            Fraction(s.time_base),
        )

    def _length(self) -> Fraction | None:
        """Seconds from the first frame to the end of the last, as the header has it."""
        s = self._video
        if s.duration:
            return Fraction(s.duration * s.time_base)
        match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d{1,9})?)", s.metadata.get("DURATION", ""))  # Matroska
        if match is None:
            return None
        return int(match[1]) * 3600 + int(match[2]) * 60 + Fraction(match[3]) - self._start()

    def _start(self) -> Fraction:
        """The first frame's time in seconds, as the header has it."""
        s = self._video
        return max(Fraction(0), Fraction((s.start_time or 0) * s.time_base) - self.zero)

    def frames(self) -> Iterator[Frame]:
        """The frames in the order of showing, up to the end or the last whole one before damage."""
        index = 0
        for item in self._decoded():
            if isinstance(item, str):
                self.damage = item
                break
            if self._stored == (0, 0):
                self._first(item)
                if self._live:  # its clock started long ago; what was heard before the first picture is left out
                    self.zero, self._pending = self.zero + (self._time(item) or 0), []
            size = (item.width, item.height)
            if size != self._stored:
                (w, h), (v, g) = size, self._stored
                self.damage = f"its frames change from {v}x{g} to {w}x{h}"
                break
            frame = self._frame(item, index)
            self._last = frame
            index += 1
            yield frame
        self._finish(index)

    def _decoded(self) -> Iterator[Any]:
        """Decoded frames; a text, at last, says what is wrong with what follows."""
        begun = False
        try:
            for packet in self._packets:
                if packet.stream is not self._video:
                    if packet.dts is not None:
                        self._pending.append(packet)
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
                    yield from self._flush(f"it is damaged ({_fault(error)})")
                    return
                last_ones = not packet.size and not self._live and self._missing(decoded) > 0
                for item in self._gapless(decoded) if last_ones else decoded:
                    if item.is_corrupt and not self._live:  # the decoder made up what was missing
                        yield "it is damaged"
                        return
                    yield item
        except (self._av.FFmpegError, OSError) as error:
            if self._live:
                self.ended = _fault(error)
                with suppress(self._av.FFmpegError):
                    yield from self._video.codec_context.decode(None) or ()
            else:
                yield from self._flush(f"it cannot be read further ({_fault(error)})")

    def _flush(self, fault: str) -> Iterator[Any]:
        """Frames that were whole but not shown yet, up to the first gap; then the fault."""
        with suppress(self._av.FFmpegError):
            yield from self._gapless(self._video.codec_context.decode(None) or ())
        yield fault

    def _gapless(self, items: Iterable[Any]) -> Iterator[Any]:
        """Frames up to the first that does not follow closely: the one between was in the part that is lost."""
        for item in items:
            time, last, rate = self._time(item), self._last, self.about.rate
            if last is None or rate is None or time is None or time - last.time > Fraction(3, 2) / rate:
                return
            yield item

    def _first(self, item: Any) -> None:
        """What only a decoded frame tells."""
        self._stored = (item.width, item.height)
        self._turn = round(item.rotation / 90) % 4
        if self._turn % 2:
            about = self.about
            self.about = replace(about, size=about.size[::-1], aspect=1 / about.aspect)
        if self.grey:
            self.coloured = is_coloured(self._rgb(item, 8))

    def _time(self, item: Any) -> Fraction | None:
        if item.pts is None or self._counted:
            return None
        return Fraction(item.pts * self._video.time_base) - self.zero + self._shift

    def _frame(self, item: Any, index: int) -> Frame:
        import numpy as np

        step = 1 / (self.about.rate or Fraction(25))
        time, last = self._time(item), self._last
        if last is not None and (time is None or time <= last.time):
            self.mended += time is not None
            # The clock jumped back (a restarted camera, a wrapped counter): what follows goes on from here.
            follows = last.time + last.duration
            self._shift += follows - time if time is not None else 0
            time = follows
        duration = Fraction(item.duration * self._video.time_base) if item.duration and not self._counted else step
        pixels = self._pixels(item)
        if self._turn:
            pixels = np.ascontiguousarray(np.rot90(pixels, self._turn))
        packets, self._pending = tuple(self._pending), []
        return Frame(pixels, time if time is not None else Fraction(0), duration, index, packets)

    def _pixels(self, item: Any) -> np.ndarray:
        import numpy as np

        kind = item.format
        bits = max(part.bits for part in kind.components)
        grey_only = len(kind.components) == 1 and not kind.is_rgb and not kind.has_palette
        if not (self.grey or grey_only) or kind.is_rgb or kind.has_palette:
            return self._rgb(item, bits)
        target = "gray" if bits <= 8 else "gray16le"
        y: np.ndarray = self._reformat.reformat(item, format=target, src_color_range=self._range(item)).to_ndarray()
        if grey_only and int(item.color_range) == 1:  # which swscale takes for full range whatever it says
            top = 255 if bits <= 8 else 65535
            low, high = 16 * (top + 1) // 256, 235 * (top + 1) // 256
            y = np.clip((y.astype(np.float32) - low) * (top / (high - low)), 0, top).round().astype(y.dtype)
        return y[:, :, None]

    def _rgb(self, item: Any, bits: int) -> np.ndarray:
        av = self._av.video.reformatter
        smooth = av.Interpolation.BICUBIC | av.Interpolation.ACCURATE_RND | av.Interpolation.FULL_CHR_H_INT
        rgb: np.ndarray = self._reformat.reformat(
            item,
            format="rgb24" if bits <= 8 else "rgb48le",
            src_colorspace=SPACES[matrix_of(int(item.colorspace), (item.width, item.height))],
            src_color_range=self._range(item),
            interpolation=smooth,
        ).to_ndarray()
        return rgb

    def _range(self, item: Any) -> int:
        full = int(item.color_range) == 2 or item.format.name.startswith("yuvj")
        return 2 if full else int(item.color_range)

    def _missing(self, items: Sequence[Any] = ()) -> Fraction:
        """How many seconds of what the header promises are missing behind these frames, or the last one; 0 for few."""
        length, rate, last = self._length(), self.about.rate, self._last
        if not length or not rate or last is None:
            return Fraction(0)
        times = [time for item in items if (time := self._time(item)) is not None]
        end = max(times, default=last.time + len(items) / rate) + 1 / rate
        missing = self.about.start + length - end
        return missing if missing > Fraction(5, 2) / rate else Fraction(0)

    def _finish(self, index: int) -> None:
        """At the end of the frames: did they come to the end that the header promised?"""
        if self.damage is None and not self._live:
            if missing := self._missing():
                self.damage = f"it ends {float(missing):.2f} s before its time"
            elif self._counted and index < self._video.frames - 2:
                self.damage = f"it ends after {index} of {self._video.frames} frames"
        if self.damage is not None:
            self.damage = f"{self.damage} after frame {index - 1}" if index else f"{self.damage}; no frame is whole"

    def sound_until(self, time: Fraction | None) -> Iterator[Any]:
        """The packets of sound after those that the frames carried; up to a time in seconds, or all that there are."""
        try:
            for packet in (*self._pending, *(self._packets if not self._live else ())):
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
            self._pending = []

    def sample(self, count: int) -> list[np.ndarray]:
        """The pixels of some frames, spread evenly from the first to the last; by seeking in a reader of its own."""
        length = self._length()
        with VideoFile(self.source, grey=self.grey, max_pixels=self.max_pixels) as other:
            if other.about.count:
                count = min(count, other.about.count)
            if not length or not other.about.rate:
                return [f.pixels for f, _ in zip(other.frames(), range(count), strict=False)]
            start = other.about.start
            times = [start + (length - 1 / other.about.rate) * i / max(1, count - 1) for i in range(count)]
            return [pixels for time in times if (pixels := other.near(time)) is not None]

    def near(self, time: Fraction) -> np.ndarray | None:
        """The pixels of the frame shown at a time; None where there is none. Moves the reader there."""
        import numpy as np

        stamp = int((time + self.zero) / self._video.time_base)
        try:
            self._container.seek(max(stamp, 0), stream=self._video, backward=True)
            half = Fraction(1, 2) / (self.about.rate or Fraction(25))
            for item in self._container.decode(self._video):
                at = self._time(item)
                if at is None or at >= time - half:
                    if self._stored == (0, 0):
                        self._first(item)
                    return np.ascontiguousarray(np.rot90(self._pixels(item), self._turn))
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


def _fault(error: BaseException) -> str:
    """What went wrong, in FFmpeg's words."""
    log = getattr(error, "log", None)
    text = (log[2] if log else getattr(error, "strerror", None)) or str(error)
    return " ".join(text.split())
