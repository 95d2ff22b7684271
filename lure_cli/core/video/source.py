"""What names a clip: video files, cameras and network streams, told apart by name or first bytes."""

from __future__ import annotations

import re
from pathlib import Path

from lure_cli.core.images.formats import has_image_suffix

SUFFIXES: tuple[str, ...] = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts"),
    *(".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".mxf", ".y4m"),
)
"""Suffixes by which a file is taken for a clip; of another one, the first bytes decide."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.]+://")
DEVICE = re.compile(r"(v4l2|avfoundation|dshow):(?!//)")
"""How a camera is named: the system it is read by, and its name there."""


def is_live(source: str) -> bool:
    """Whether a source names a network stream or a camera, not something on disk."""
    return bool(_URL.match(source) or DEVICE.match(source)) or source.startswith("/dev/video")


def is_realtime(source: str) -> bool:
    """Whether a live source sends at its own pace, so that what is not taken in time is lost or piles up."""
    return is_live(source) and not re.match(r"(https?|tcp|file|pipe)://", source)


def is_video(source: str) -> bool:
    """Whether a source is a clip: by its name, or by its content where the name says nothing."""
    path = Path(source)
    if is_live(source) or path.suffix.lower() in SUFFIXES:
        return True
    if has_image_suffix(path) or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(377)
    except OSError:
        return False
    return (
        (head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"))
        or head[:4] in (b"\x1aE\xdf\xa3", b"FLV\x01", b"\x00\x00\x01\xba")
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or (len(head) == 377 and head[0] == head[188] == head[376] == 0x47)
    )
