"""Receivers of live outputs: a socket of UDP, and the RTSP server of rtsp_server.py in a process of its own."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")


def free_port() -> int:
    """A port of UDP that nobody listens to, nor to the one after it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Datagrams:
    """What arrives at a port of UDP, in a thread of its own: a transport stream; `header`: bytes before it."""

    def __init__(self, port: int = 0, header: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", port))
        self.socket.settimeout(0.2)
        self.port = self.socket.getsockname()[1]
        self.data, self._header, self._closed = bytearray(), header, False
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        while not self._closed:
            try:
                self.data += self.socket.recv(65536)[self._header :]
            except TimeoutError:
                continue

    def close(self) -> None:
        """Stop listening."""
        self._closed = True
        self._thread.join()
        self.socket.close()

    def __enter__(self) -> Datagrams:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def decoded(data: bytes | bytearray, kind: str = "mpegts") -> list[tuple[float, np.ndarray]]:
    """Time in seconds and pixels of the frames of a stream, as far as it has come."""
    frames = []
    with suppress(av.FFmpegError, IndexError), av.open(io.BytesIO(bytes(data)), format=kind) as file:
        for frame in file.decode(video=0):
            frames.append((float(frame.time or 0), frame.to_ndarray(format="rgb24")))
    return frames


@dataclass
class Recorded:
    """An RTSP server, and the files in which it keeps what it is sent."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/fused"

    @property
    def requests(self) -> list[str]:
        """The methods, in turn."""
        return (self.folder / "requests").read_text().split()

    @property
    def data(self) -> bytes:
        """The stream of H.264, with start codes."""
        path = self.folder / "stream.h264"
        return path.read_bytes() if path.exists() else b""


@contextmanager
def rtsp_server(folder: Path, port: int = 0, *, silent: bool = False) -> Iterator[Recorded]:
    """A server for as long as the context lasts; a silent one answers OPTIONS alone."""
    folder.mkdir(exist_ok=True)
    script = str(Path(__file__).with_name("rtsp_server.py"))
    command = [sys.executable, "-IS", script, str(folder), str(port), *(["silent"] if silent else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield Recorded(int(process.stdout.readline()), folder)
        finally:
            process.kill()
