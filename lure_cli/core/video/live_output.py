"""What names a live output: a network address that a stream is sent to, or the playlist of an HLS folder."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from lure_cli.core.video.pyav import require_av
from lure_cli.errors import LureError

PLAYLIST = ".m3u8"
"""Suffix of an HLS folder's playlist."""
SEGMENT = 1.0
"""Seconds from one key frame to the next, after which a receiver can join, and that a segment of HLS lasts."""
KEPT = 6
"""Segments in a playlist; older ones are deleted."""


@dataclass(frozen=True)
class _Protocol:
    """How a kind of address is sent to.

    format: the muxer, as FFmpeg calls it.
    query: what the address is given besides, for the protocol.
    port: where the address says none; 0: it has to say one.
    """

    format: str
    query: str = ""
    port: int = 0


# 7 packets of a transport stream fit into what a network passes on in one piece; `connect` reports who refuses them.
_PROTOCOLS: dict[str, _Protocol] = {
    "udp": _Protocol("mpegts", "pkt_size=1316&connect=1"),
    "rtp": _Protocol("mpegts"),  # see `sender._RtpSocket`
    "rtsp": _Protocol("rtsp", port=554),
    "srt": _Protocol("mpegts", "pkt_size=1316"),
}
# The end of a picture is known without the next one; TCP for firewalls; microseconds in which a server has to answer.
_OPTIONS = {"mpegts": {"omit_video_pes_length": "0"}, "rtsp": {"rtsp_transport": "tcp", "timeout": "3000000"}}
SCHEMES: tuple[str, ...] = tuple(_PROTOCOLS)
"""The beginnings of addresses that can be sent to."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_live_output(name: str) -> bool:
    """Whether an output is an address or a playlist, whether or not it can be sent to."""
    return bool(_URL.match(name)) or name.lower().endswith(PLAYLIST)


@dataclass(frozen=True)
class LiveOutput:
    """One live output, as `parse` found it possible.

    Attributes:
        name: as it may be shown: without a password.
        target: what FFmpeg opens.
        format: the muxer, as FFmpeg calls it.
        rtp: the transport stream goes in packets of RTP to `server`.
        server: its host and port; of rtsp, it is asked whether it is there before FFmpeg opens it.
        playlist: of an HLS folder.
    """

    name: str
    target: str
    format: str
    rtp: bool = False
    server: tuple[str, int] | None = None
    playlist: Path | None = None
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> LiveOutput:
        """Read an address or the path of a playlist; nothing is opened.

        Raises:
            LureError: the address is malformed, cannot be sent to, or this PyAV has no such protocol.
        """
        return _address(text) if _URL.match(text) else _hls(text)

    def segments(self) -> list[Path]:
        """The files of an HLS folder that hold pictures: of this run or an earlier one."""
        if self.playlist is None or not self.playlist.parent.is_dir():
            return []
        name = re.compile(re.escape(self.playlist.stem) + r"_\d+\.ts(\.tmp)?")
        return sorted(p for p in self.playlist.parent.iterdir() if name.fullmatch(p.name))

    def first_segment(self) -> int:
        """The number of the next file of pictures: one that no player has seen before, after a restart too."""
        names = (path.name.removesuffix(".tmp").removesuffix(".ts") for path in self.segments())
        numbers = (int(name.rpartition("_")[2][-12:]) for name in names)
        return max(int(time.time()), *(number + 1 for number in numbers), 0)


def _address(text: str) -> LiveOutput:
    scheme = text.partition("://")[0].lower()
    if scheme not in _PROTOCOLS:
        known = ", ".join(f"{s}://" for s in SCHEMES)
        raise LureError(
            f"nothing is sent to {scheme}:// addresses", f"use one of {known}, or an HLS playlist such as out/live.m3u8"
        )
    protocol = _PROTOCOLS[scheme]
    url, port, fault = urlsplit(""), None, "it has no host"
    try:
        url = urlsplit(text)
        port = url.port or protocol.port
        fault = _fault(text, url, port)
    except ValueError as error:  # a port that is no number, brackets that do not match
        fault = str(error)
    if fault or port is None:
        raise LureError(f"{hidden(text)}: malformed address ({fault})", f"write it like {scheme}://192.168.1.20:5000")
    host = url.hostname or ""
    netloc = f"[{host}]" if ":" in host else host
    login = url.netloc.rpartition("@")[0]
    query = "&".join(q for q in (url.query, protocol.query) if q)
    path = url.path if scheme == "rtsp" else ""
    target = f"{scheme}://{login}{'@' if login else ''}{netloc}:{port}{path}{'?' if query else ''}{query}"
    _check_library(scheme, protocol.format)
    return LiveOutput(
        hidden(text),
        target,
        protocol.format,
        rtp=scheme == "rtp",
        server=(host, port) if scheme in ("rtp", "rtsp") else None,
        options=dict(_OPTIONS[protocol.format]),
    )


def _fault(text: str, url: SplitResult, port: int) -> str:
    """What is wrong with an address; nothing, if empty."""
    scheme = url.scheme
    if not re.fullmatch(r"[!-~]+", text) or re.search(r"[{}\\|\"<>^`#]", text):
        return "it has characters that no address has"
    if not url.hostname or not re.fullmatch(r"[A-Za-z0-9._:%-]+", url.hostname):
        return "it has no host"
    if not port:
        return "it has no port"
    if scheme != "rtsp" and url.path not in ("", "/"):
        return f"{scheme} has no paths"
    if scheme == "rtp" and url.query:
        return "rtp has no options"
    if scheme != "rtsp" and "@" in url.netloc:
        return f"{scheme} has no login"
    return ""


def hidden(text: str) -> str:
    """An address as it may be shown: without a password."""
    return re.sub(r"(?<=[?&]passphrase=)[^&]*", "***", re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", text))


def _check_library(scheme: str, muxer: str) -> None:
    """LureError if this PyAV cannot send so."""
    av = require_av()
    missing = muxer not in av.formats_available
    if scheme == "srt":  # the wheels have it not; without a port it is refused before anything reaches the network
        try:
            av.open("srt://127.0.0.1", format="mpegts", timeout=1)
        except av.error.ProtocolNotFoundError:
            missing = True
        except (av.FFmpegError, OSError, ValueError):
            pass
    if missing:
        others = ", ".join(f"{s}://" for s in SCHEMES if s != scheme)
        raise LureError(
            f"this PyAV's FFmpeg cannot send to {scheme}://",
            f"use {others}, or build PyAV with an FFmpeg that can (pip install --no-binary av av)",
        )


def _hls(text: str) -> LiveOutput:
    path = Path(text)
    if path.suffix.lower() != PLAYLIST or re.search(r"[%{}\x00-\x1f]", text):
        raise LureError(f"{text}: no name for a playlist", "write it like out/live.m3u8, without % and {}")
    whole = path.absolute()  # never taken for the address of a protocol
    options = {
        "hls_time": f"{SEGMENT}",
        "hls_list_size": f"{KEPT}",
        "hls_delete_threshold": "2",
        "hls_flags": "delete_segments+temp_file+independent_segments",
        "hls_segment_filename": str(whole.parent / f"{whole.stem}_%d.ts"),
    }
    return LiveOutput(text, str(whole), "hls", playlist=path, options=options)
