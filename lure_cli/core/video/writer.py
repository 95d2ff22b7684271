"""Clips out: encoded pictures with exact time stamps, and sound that is copied as it is."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.files import cannot_be_written
from lure_cli.core.video.clip import ClipInfo
from lure_cli.core.video.pixels import PictureFrames
from lure_cli.core.video.pyav import require_av
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Codec:
    """One way to encode clips.

    Attributes:
        encoder: as FFmpeg calls it.
        option: what sets its quality; empty if it is lossless.
        quality: its quality where none is asked for.
        worst: the largest number, which is the worst quality.
        suffixes: of the files that hold it.
    """

    encoder: str
    option: str
    quality: int
    worst: int
    suffixes: tuple[str, ...]


@dataclass(frozen=True)
class Encoding:
    """How a clip is written, as `check_clip` found it possible: a key of `CODECS`, its quality (None: the codec's own)
    and 8 or 16 bits per channel."""

    codec: str
    quality: int | None = None
    bits: int = 8


_USUAL = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".ts")
CODECS: dict[str, Codec] = {
    "h264": Codec("libx264", "crf", 18, 51, _USUAL),
    "h265": Codec("libx265", "crf", 20, 51, (".mp4", ".m4v", ".mov", ".mkv", ".ts")),
    "vp9": Codec("libvpx-vp9", "crf", 24, 63, (".webm", ".mkv", ".mp4")),
    "mpeg4": Codec("mpeg4", "qscale", 3, 31, _USUAL),
    "ffv1": Codec("ffv1", "", 0, 0, (".mkv", ".avi")),
}
"""What clips are written in; ffv1 is lossless, and the only one of 16 bits."""
SUFFIXES: tuple[str, ...] = (*_USUAL, ".webm")
"""Suffixes of clips that are written."""


def check_clip(suffix: str, *, codec: str = "auto", quality: int | None = None, bits: int = 8) -> Encoding:
    """How a clip is written; asked before any work is done for it.

    Args:
        suffix: of the file, as ".mp4"; it sets the container.
        codec: one of `CODECS`, or `auto`: H.264 (MPEG-4 where PyAV has no encoder for it), in .webm VP9, for 16 bits
            FFV1.
        quality: the codec's constant rate factor; lower is better and larger.
        bits: 8 or 16 per channel.

    Raises:
        LureError: the container cannot hold this, PyAV has no such encoder, or the quality is none of that codec.
    """
    av = require_av()
    if suffix.lower() not in SUFFIXES:
        raise LureError(f"'{suffix}' is no type of clip that is written", f"use one of {', '.join(SUFFIXES)}")
    if bits not in (8, 16):
        raise LureError(f"{bits} bits per channel cannot be written", "use 8 or 16")
    if codec == "auto":
        codec = "vp9" if suffix.lower() == ".webm" else "h264" if bits == 8 else "ffv1"
        if codec == "h264" and "libx264" not in av.codecs_available:
            codec = "mpeg4"
    if codec not in CODECS:
        raise LureError(f"codec '{codec}' is not known", f"use one of auto, {', '.join(CODECS)}")
    known = CODECS[codec]
    if bits == 16 and codec != "ffv1":
        raise LureError(f"{codec} is not written with 16 bits", "leave --codec out and write to .mkv, or 8 bits")
    if suffix.lower() not in known.suffixes:
        raise LureError(f"'{suffix}' files do not hold {codec}", f"use one of {', '.join(known.suffixes)}")
    if known.encoder not in av.codecs_available:
        raise LureError(f"this PyAV has no encoder for {codec}", "choose another --codec")
    if quality is not None and not known.option:
        raise LureError(f"{codec} is lossless and has no --crf", "leave it out")
    if quality is not None and not 0 <= quality <= known.worst:
        raise LureError(
            f"--crf {quality} is outside 0 to {known.worst}", "lower is better and larger; 18 is near lossless"
        )
    return Encoding(codec, quality, bits)


class VideoWriter:
    """A clip that is being written.

    Args:
        path: the file; its suffix sets the container.
        info: of the visible clip: size, pixel aspect, colour matrix, rate, unit of time stamps.
        encoding: from `check_clip`.
        sound: streams whose packets will be copied, as far as the container can hold them.
        zero: what was subtracted from the time stamps of the sound's clip, in seconds.
        name: what errors call the file, if not by its path.

    Attributes:
        silent: the codecs of the streams that the container cannot hold.
        unsquare: whether the shape of the pixels is lost, as PyAV cannot write it outside the coded frames.
        full_chroma: whether colour is written at full resolution, since the size is odd.

    Raises:
        LureError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        info: ClipInfo,
        encoding: Encoding,
        *,
        sound: Iterable[Any] = (),
        zero: Fraction = Fraction(0),
        name: str | None = None,
    ) -> None:
        self._av = av = require_av()
        self._name, self._zero = name or str(path), zero
        codec, suffix = encoding.codec, path.suffix.lower()
        even = not (info.size[0] % 2 or info.size[1] % 2)
        self.full_chroma = codec in ("h264", "h265") and not even
        self.unsquare = info.aspect != 1 and codec in ("vp9", "ffv1")
        kind = "yuv444p" if self.full_chroma else "yuv420p"
        if codec == "ffv1":
            kind = "bgr0" if encoding.bits == 8 else "gbrp16le"
        self._frames = PictureFrames(info, kind, bits=encoding.bits)
        # An .avi counts frames and has no time stamps.
        self._steady = suffix == ".avi"
        rate = info.rate or Fraction(25)
        self._unit = 1 / rate if self._steady else info.time_base or 1 / rate
        self._last = -1
        options = {"movflags": "+faststart"} if suffix in (".mp4", ".m4v", ".mov") else {}
        try:
            self._container = av.open(f"file:{path}", "w", options=options)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise cannot_be_written(self._name, error) from error
        try:
            self._stream = self._add_stream(info, rate, encoding)
            self._sound, self.silent = self._copies(sound)
        except (av.FFmpegError, OSError, ValueError) as error:
            self._container.close()
            raise cannot_be_written(self._name, error) from error

    def _add_stream(self, info: ClipInfo, rate: Fraction, encoding: Encoding) -> Any:
        """The stream of pictures, its encoder set up."""
        codec = CODECS[encoding.codec]
        stream = self._container.add_stream(codec.encoder, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *info.size, self._frames.format
        context = stream.codec_context
        context.time_base, context.sample_aspect_ratio = self._unit, info.aspect
        if self._frames.format.startswith("yuv"):
            context.colorspace, context.color_range = self._frames.matrix, 1
            context.color_primaries, context.color_trc = info.primaries, info.transfer
        quality = codec.quality if encoding.quality is None else encoding.quality
        if codec.option == "crf":
            quiet = {"x265-params": "log-level=none"} if encoding.codec == "h265" else {}
            stream.options = {"crf": str(quality)} | quiet
        elif codec.option:
            context.qmin = context.qmax = max(quality, 1)
        return stream

    def _copies(self, sound: Iterable[Any]) -> tuple[dict[int, Any], list[str]]:
        """The streams of sound in the new file, by their place in the old one; and the codecs that do not fit."""
        copies, silent = {}, []
        for stream in sound:
            try:
                copies[stream.index] = self._container.add_stream_from_template(stream)
            except (self._av.FFmpegError, ValueError):
                silent.append(stream.codec_context.name if stream.codec_context else "unknown")
        return copies, silent

    def write(self, x: np.ndarray, time: Fraction, duration: Fraction) -> None:
        """Add a picture.

        Args:
            x: float (H, W, 3) in [0, 1].
            time: when it is shown, in seconds; later than the one before.
            duration: for how long.

        Raises:
            LureError: the disk is full, or the container cannot hold such time stamps.
        """
        frame = self._frames(x)
        stamp = round(time / self._unit)
        if stamp <= self._last:
            if self._steady:
                raise LureError(f"{self._name}: an .avi holds no variable frame rate", "write to .mkv or .mp4")
            stamp = self._last + 1
        self._last = stamp
        frame.pts, frame.time_base = stamp, self._unit
        frame.duration = max(1, round(duration / self._unit))
        try:
            self._container.mux(self._stream.encode(frame))
        except (self._av.FFmpegError, OSError) as error:
            raise cannot_be_written(self._name, error) from error

    def copy(self, packets: Iterable[Any]) -> None:
        """Add packets of sound; those of streams that the container cannot hold are left out."""
        for packet in packets:
            stream = self._sound.get(packet.stream.index)
            if stream is None:
                continue
            shift = round(self._zero / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts -= shift
            packet.stream = stream
            try:
                self._container.mux(packet)
            except (self._av.FFmpegError, OSError) as error:
                raise cannot_be_written(self._name, error) from error

    def close(self) -> None:
        """Write what is still to be written; the file is whole then.

        Raises:
            LureError: it could not be written.
        """
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (self._av.FFmpegError, OSError) as error:
            raise cannot_be_written(self._name, error) from error

    def abandon(self) -> None:
        """Let go of a file that will not be whole."""
        with suppress(self._av.FFmpegError, OSError):
            self._container.close()
