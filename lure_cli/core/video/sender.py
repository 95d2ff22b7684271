"""Live outputs: pictures are encoded with little delay and sent in a thread of its own, whoever is there to receive."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from lure_cli.core.video.clip import ClipInfo
from lure_cli.core.video.live_output import SEGMENT, LiveOutput
from lure_cli.core.video.pixels import PictureFrames
from lure_cli.core.video.pyav import describe_fault, require_av

if TYPE_CHECKING:
    import numpy as np

PATIENCE = 5.0
"""Seconds that a server has to answer, a picture to be sent, and the end to be written."""
RETRY = 2.0
"""Seconds from a receiver's loss to the first attempt to reach it again; then twice as many, and so on, up to 16."""
STEADY = 3
"""Pictures in a row that must be sent for a lost receiver to count as back."""
_UNIT = Fraction(1, 90000)


class Sender:
    """A live output. Pictures that come faster than they are sent push the oldest waiting one out.

    Args:
        output: from `LiveOutput.parse`.
        info: of the visible clip: size, pixel aspect, colour matrix, rate.
        keep: how many pictures may wait.

    Attributes:
        output: as given.
        sent: how many pictures were sent; over udp:// and rtp:// nobody confirms that they arrived.
        lost: how many were not: nobody was there to take them, or they were pushed out.
        events: what happened, the oldest first: (text, whether it is a warning); taken out by the reader.
        full_chroma: whether colour is sent at full resolution, since the size is odd.
    """

    def __init__(self, output: LiveOutput, info: ClipInfo, *, keep: int = 1) -> None:
        self._av, self.output, self._info, self._keep = require_av(), output, info, keep
        h264 = "libx264" in self._av.codecs_available
        self._encoder = "libx264" if h264 else "mpeg4"
        even = not (info.size[0] % 2 or info.size[1] % 2)
        self.full_chroma = h264 and not even
        self._frames = PictureFrames(info, "yuv444p" if self.full_chroma else "yuv420p", bits=8)
        self.sent = self.lost = 0
        self.events: deque[tuple[str, bool]] = deque()
        self._container: Any = None
        self._rtp: _RtpSocket | None = None
        self._stream: Any = None
        self._key = self._last = -1  # stamps of the last key frame, and of the last picture
        self._away, self._row, self._wait, self._retry = False, 0, RETRY, 0.0
        self._waiting: deque[tuple[Any, float]] = deque()  # as frames of the encoder, an eighth of the pictures
        self._news = threading.Condition()
        self._closing = False
        self._busy: float | None = None
        self._thread = threading.Thread(target=self._run, name="lure-send", daemon=True)
        self._thread.start()

    def put(self, x: np.ndarray, time_shown: float) -> None:
        """Hand a picture over, float (H, W, 3) in [0, 1], and when it is shown, in seconds; never waits."""
        frame = self._frames(x)
        with self._news:
            if len(self._waiting) >= self._keep:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append((frame, time_shown))
            if not self._away and self._busy is not None and time.monotonic() - self._busy > PATIENCE:
                self._lose("it takes nothing any more")
            self._news.notify()

    def close(self, patience: float = PATIENCE) -> None:
        """Send what waits and end the stream; a receiver that takes nothing is not waited for."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(patience)
        if self._thread.is_alive():  # it holds on to its connection, and goes with the process
            with self._news:
                self.lost += len(self._waiting) + (self._busy is not None)
                self._waiting.clear()

    def _run(self) -> None:
        while True:
            with self._news:
                self._busy = None
                self._news.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    break
                frame, shown = self._waiting.popleft()
                self._busy = time.monotonic()
            try:
                sent = self._send(frame, shown)
            except (self._av.FFmpegError, OSError, ValueError) as error:
                self._lose(describe_fault(error))
                self._let_go()
                sent = False
            if sent:
                self.sent += 1
                self._found()
            else:
                self.lost += 1
        self._end()

    def _send(self, frame: Any, shown: float) -> bool:
        """Encode and send a picture; whether there was anybody to send to."""
        if self._container is None:
            if time.monotonic() < self._retry or (self._away and self._closing):
                return False
            self._open()
        stamp = max(round(shown / _UNIT), self._last + 1)
        if self._key < 0 or stamp - self._key >= SEGMENT / _UNIT - 1:
            frame.pict_type = self._av.video.frame.PictureType.I
            self._key = stamp
        self._last = stamp
        frame.pts, frame.time_base = stamp, _UNIT
        self._container.mux(self._stream.encode(frame))
        return True

    def _open(self) -> None:
        """Connect; the stream begins with a key frame."""
        if self.output.rtp:
            assert self.output.server is not None
            self._rtp = _RtpSocket(*self.output.server)
        elif self.output.server is not None:
            _ask(*self.output.server, self.output.target)
        options = {"flush_packets": "1", **self.output.options}
        if self.output.playlist is not None:
            options["start_number"] = str(self.output.first_segment())
            self.output.playlist.parent.mkdir(parents=True, exist_ok=True)
            left = self.output.playlist.with_name(f"{self.output.playlist.name}.tmp")
            for path in (left, *self.output.segments()):  # of an earlier run, or links to somewhere else
                path.unlink(missing_ok=True)
        self._container = self._av.open(
            self._rtp or self.output.target, "w", format=self.output.format, container_options=options
        )
        rate = self._info.rate or Fraction(25)
        self._stream = stream = self._container.add_stream(self._encoder, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *self._info.size, self._frames.format
        context = stream.codec_context
        context.time_base, context.sample_aspect_ratio = _UNIT, self._info.aspect
        context.max_b_frames = 0
        context.colorspace, context.color_range = self._frames.matrix, 1
        if self._encoder == "libx264":
            stream.options = {
                "preset": "veryfast",
                "tune": "zerolatency",
                "crf": "23",
                "g": "600",
                "forced-idr": "1",
                "x264-params": "repeat-headers=1:scenecut=0",
            }
        else:
            context.qmin = context.qmax = 5
        self._key = -1

    def _let_go(self) -> None:
        """Give a broken connection up, to be opened anew later."""
        container, self._container, self._stream = self._container, None, None
        if container is not None:
            with suppress(self._av.FFmpegError, OSError):
                container.close()
        if self._rtp is not None:
            self._rtp.close()

    def _end(self) -> None:
        """The last packets, and what ends the stream: a playlist's last line, a server's farewell."""
        if self._container is None:
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (self._av.FFmpegError, OSError) as error:
            self._lose(describe_fault(error))
        if self._rtp is not None:
            self._rtp.close()

    def _lose(self, reason: str) -> None:
        self._retry, self._row = time.monotonic() + self._wait, 0
        self._wait = min(2 * self._wait, 16.0)
        if not self._away:
            self._away = True
            self.events.append((f"{self.output.name}: the receiver is lost ({reason}); fusing goes on", True))

    def _found(self) -> None:
        self._row += 1
        if self._away and self._row >= STEADY:
            self._away, self._wait = False, RETRY
            self.events.append((f"{self.output.name}: the receiver is back; {self.lost} pictures were lost", False))


def _ask(host: str, port: int, address: str) -> None:
    """Whether an RTSP server answers; FFmpeg, which holds up the whole process while it opens, is asked only then.

    Raises:
        OSError: it does not, or not in time.
    """
    bare = address.replace(address.split("://")[1].rpartition("@")[0] + "@", "") if "@" in address else address
    with socket.create_connection((host, port), timeout=PATIENCE) as connection:
        connection.sendall(f"OPTIONS {bare} RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: lure\r\n\r\n".encode())
        if not connection.recv(4).startswith(b"RTSP"):
            raise OSError("it is no RTSP server")


class _RtpSocket:
    """Where a transport stream is written to go out as RTP (RFC 2250).

    FFmpeg's muxer for it holds the end of each picture back until the next one fills the packet.
    """

    _PAYLOAD = 7 * 188

    def __init__(self, host: str, port: int) -> None:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(kind, socket.SOCK_DGRAM)
        self._socket.connect(address)
        self._number, self._source = 0, os.urandom(4)

    def write(self, data: bytes) -> int:
        """Send whole packets of a transport stream."""
        for i in range(0, len(data), self._PAYLOAD):
            stamp = int(time.monotonic() * 90000) & 0xFFFFFFFF
            header = struct.pack(">BBHI", 0x80, 33, self._number, stamp) + self._source
            self._socket.send(header + data[i : i + self._PAYLOAD])
            self._number = self._number + 1 & 0xFFFF
        return len(data)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
