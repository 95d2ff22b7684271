"""PyAV: its import, what its errors say, and colour as it and the standards number it."""

from __future__ import annotations

from typing import Any

from lure_cli.errors import LureError

SPACES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
"""The colour matrices of ITU-T H.273 -> PyAV's names."""


def require_av() -> Any:
    """PyAV; LureError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise LureError(
            f"clips need PyAV, which cannot be imported ({error})", 'pip install "lure-cli[video]"'
        ) from error
    return av  # its log stays off, as it is by default: written by Python, it can lock up with a decoder's threads


def describe_fault(error: BaseException) -> str:
    """What went wrong, in FFmpeg's words."""
    log = getattr(error, "log", None)
    text = (log[2] if log else getattr(error, "strerror", None)) or str(error)
    return " ".join(text.split())


def colour_matrix(stated: int, size: tuple[int, int]) -> int:
    """The number in `SPACES` of a clip's colour matrix: the stated one, or by the size, as players do: BT.709 for HD,
    else BT.601."""
    if stated in SPACES:
        return stated
    return 1 if size[0] >= 1280 or size[1] >= 720 else 6


def smooth_scaling(av: Any) -> Any:
    """How pixel formats are converted: chroma bicubic, at full precision."""
    scale = av.video.reformatter.Interpolation
    return scale.BICUBIC | scale.ACCURATE_RND | scale.FULL_CHR_H_INT
