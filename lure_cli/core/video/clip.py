"""What clips have in common: how sources are recognised, frames, and what is known of a clip beforehand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.images.formats import has_image_suffix
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

SUFFIXES: tuple[str, ...] = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts"),
    *(".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".mxf", ".y4m"),
)
"""Suffixes by which a file is taken for a clip; of another one, the first bytes decide."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.]+://")
DEVICE = re.compile(r"(v4l2|avfoundation|dshow):(?!//)")
SPACES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
"""The matrices of H.273 -> PyAV's names."""


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
        (head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"heic", b"mif1"))
        or head[:4] in (b"\x1aE\xdf\xa3", b"FLV\x01", b"\x00\x00\x01\xba")
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or (len(head) == 377 and head[0] == head[188] == head[376] == 0x47)
    )


def require_av() -> Any:
    """PyAV; LureError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise LureError(
            f"clips need PyAV, which cannot be imported ({error})", 'pip install "lure-cli[video]"'
        ) from error
    return av  # its log stays off, as it is by default: written by Python, it can lock up with a decoder's threads


@dataclass(frozen=True)
class Frame:
    """One picture of a clip.

    Attributes:
        pixels: upright, (H, W, 3) RGB or (H, W, 1) grey: uint8, or uint16 where the clip has more than 8 bits (10 bits
            and such are scaled to 16). Of a folder of pictures whatever they hold.
        time: seconds since the clip's beginning.
        duration: seconds that it is shown.
        number: 0, 1, ...; in a folder the number in its name.
        packets: the sound that came before it, still encoded.
    """

    pixels: np.ndarray
    time: Fraction
    duration: Fraction
    number: int
    packets: tuple[Any, ...] = ()


@dataclass(frozen=True)
class About:
    """What is known of a clip before its first frame.

    Attributes:
        size: (width, height) in pixels, upright.
        rate: frames a second; None if it has none of its own (a folder of pictures).
        count: how many frames there are, as far as the header tells.
        aspect: width of a pixel over its height, upright.
        live: its end is not known, and it cannot be read twice.
        start: the first frame's time, in seconds, as far as the header tells.
        matrix, primaries, transfer: of its colours, numbers of ITU-T H.273 (2: not said).
        time_base: the unit of its time stamps in seconds.
    """

    size: tuple[int, int]
    rate: Fraction | None
    count: int | None
    aspect: Fraction = Fraction(1)
    live: bool = False
    start: Fraction = Fraction(0)
    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    time_base: Fraction | None = None


def matrix_of(said: int, size: tuple[int, int]) -> int:
    """The colour matrix of H.273: the one that was said, or by the size, as players do: BT.709 for HD, else BT.601."""
    if said in SPACES:
        return said
    return 1 if size[0] >= 1280 or size[1] >= 720 else 6


def is_coloured(rgb: np.ndarray) -> bool:
    """Whether a frame, uint8 (H, W, 3), is in colour, beyond what coding does to grey: 16 levels in 1 % of it."""
    import numpy as np

    spread = rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2)
    return bool((spread >= 16).mean() > 0.01)
