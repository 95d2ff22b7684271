"""Opening a clip: its container, and what the header says before a frame is decoded."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from lure_cli.core.video.clip import ClipInfo
from lure_cli.core.video.pyav import describe_fault, require_av
from lure_cli.core.video.source import DEVICE, is_live, is_realtime
from lure_cli.errors import LureError


class VideoHeader(NamedTuple):
    """What a container's header says of its moving picture.

    Attributes:
        info: what others want to know.
        zero: the clip's beginning, as its time stamps have it, in seconds.
        length: seconds from the first frame to the end of the last.
        counted: it holds no time stamps; frames follow each other by their rate.
        frames: how many there are, where they are counted.
    """

    info: ClipInfo
    zero: Fraction
    length: Fraction | None
    counted: bool
    frames: int


def open_container(source: str, *, live: bool, patience: float) -> Any:
    """PyAV's container.

    Args:
        source: as `VideoFile` takes it.
        live: its end is not known; only such a one may reach the network.
        patience: seconds after which a live source that sends nothing counts as ended.

    Raises:
        LureError: it cannot be opened.
    """
    av = require_av()
    options = {} if live else {"protocol_whitelist": "file,crypto,data"}
    kind, name = None, source
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
    try:
        return av.open(name, format=kind, options=options, timeout=patience if live else None)
    except (av.FFmpegError, OSError, ValueError) as error:
        hint = "check the address" if live else "a clip that was cut off without an index cannot be read"
        raise LureError(f"{source}: cannot be read as a clip ({describe_fault(error)})", hint) from error


def read_header(container: Any, source: str, *, live: bool, max_pixels: int) -> VideoHeader:
    """Read a header and set the decoder's limits.

    Raises:
        LureError: it holds no moving picture, or frames without a size or with more than `max_pixels`.
    """
    streams = container.streams
    if not streams.video:
        raise LureError(f"{source}: holds no moving picture", "name a video file")
    video = streams.best("video")
    _limit_size(video, source, max_pixels)
    starts = [s.start_time * s.time_base for s in (video, *streams.audio) if s.start_time is not None]
    zero = Fraction(min(starts, default=0))
    start = max(Fraction(0), Fraction((video.start_time or 0) * video.time_base) - zero)
    rate = video.average_rate or video.guessed_rate
    length = _length(video, start)
    count = video.frames or (round(length * rate) if length and rate else None)
    context = video.codec_context
    info = ClipInfo(
        size=(context.width, context.height),
        rate=Fraction(rate) if rate else None,
        count=None if live and container.duration is None else count,
        aspect=Fraction(video.sample_aspect_ratio or 1) or Fraction(1),
        live=live,
        start=Fraction(0) if live else start,
        matrix=int(context.colorspace),
        primaries=int(context.color_primaries),
        transfer=int(context.color_trc),
        time_base=Fraction(video.time_base),
    )
    return VideoHeader(info, zero, length, container.format.name == "avi", video.frames)


def _limit_size(video: Any, source: str, max_pixels: int) -> None:
    """Refuse frames without a size or beyond the limit, and set the decoder to do the same."""
    context = video.codec_context
    if context is None or context.width < 1 or context.height < 1:
        raise LureError(f"{source}: its frames have no size or an unknown coding", "convert it with ffmpeg")
    if context.width * context.height > max_pixels:
        raise LureError(
            f"{source}: {context.width}x{context.height} has more than {max_pixels:,} pixels",
            "shrink it, or raise --max-pixels if you trust the file",
        )
    video.thread_type = "SLICE" if is_realtime(source) else "AUTO"  # threads of frames hold some frames back
    context.options = {"max_pixels": str(max_pixels)}  # the stream may say another size than the header


def _length(video: Any, start: Fraction) -> Fraction | None:
    """Seconds from the first frame, whose time is `start`, to the end of the last, as the header has it."""
    if video.duration:
        return Fraction(video.duration * video.time_base)
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d{1,9})?)", video.metadata.get("DURATION", ""))  # Matroska
    if match is None:
        return None
    return int(match[1]) * 3600 + int(match[2]) * 60 + Fraction(match[3]) - start
