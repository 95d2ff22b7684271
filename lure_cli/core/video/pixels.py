"""Frames of PyAV -> arrays and back: the right matrix and range, full precision, upright."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from lure_cli.core.images.picture import quantised
from lure_cli.core.video.clip import ClipInfo
from lure_cli.core.video.pyav import SPACES, colour_matrix, require_av, smooth_scaling

if TYPE_CHECKING:
    import numpy as np


class Orientation(NamedTuple):
    """What brings stored pixels upright, in this order: rows become columns, left-right and top-bottom are mirrored."""

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False


def orientation_of(frame: Any) -> Orientation:
    """How a frame is to be shown by its display matrix, to the nearest quarter turn; as it is stored without one."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Orientation()
    # libavutil/display.h: 9 numbers in rows of three; (x, y) is shown at (a x + c y, b x + d y)
    a, b, _, c, d = struct.unpack_from("=5i", bytes(data))
    if a * d == b * c:  # shows nothing: no orientation
        return Orientation()
    if abs(a * d) >= abs(b * c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


class PixelReader:
    """Converts the frames of one clip.

    Args:
        grey: give the luma alone; frames that are RGB come as RGB all the same.

    Attributes:
        orientation: what brings the frames upright.
    """

    def __init__(self, *, grey: bool) -> None:
        self._av = require_av()
        self._reformat = self._av.video.reformatter.VideoReformatter().reformat
        self._grey, self.orientation = grey, Orientation()

    def __call__(self, frame: Any) -> np.ndarray:
        """uint8, or uint16 for more than 8 bits: (H, W, 3) RGB or (H, W, 1) grey."""
        import numpy as np

        kind = frame.format
        bits = max(part.bits for part in kind.components)
        grey_only = len(kind.components) == 1 and not kind.is_rgb and not kind.has_palette
        if not (self._grey or grey_only) or kind.is_rgb or kind.has_palette:
            pixels = self.rgb(frame, bits)
        else:
            pixels = self._luma(frame, bits, grey_only)
        transposed, mirrored, flipped = self.orientation
        pixels = pixels.swapaxes(0, 1) if transposed else pixels
        return np.ascontiguousarray(pixels[:: -1 if flipped else 1, :: -1 if mirrored else 1])

    def rgb(self, frame: Any, bits: int = 8) -> np.ndarray:
        """(H, W, 3), as it is stored, not turned; uint8, or uint16 for more than 8 bits."""
        rgb: np.ndarray = self._reformat(
            frame,
            format="rgb24" if bits <= 8 else "rgb48le",
            src_colorspace=SPACES[colour_matrix(int(frame.colorspace), (frame.width, frame.height))],
            src_color_range=_colour_range(frame),
            interpolation=smooth_scaling(self._av),
        ).to_ndarray()
        return rgb

    def _luma(self, frame: Any, bits: int, grey_only: bool) -> np.ndarray:
        import numpy as np

        target = "gray" if bits <= 8 else "gray16le"
        y: np.ndarray = self._reformat(frame, format=target, src_color_range=_colour_range(frame)).to_ndarray()
        if grey_only and int(frame.color_range) == 1:  # which swscale takes for full range whatever it says
            top = 255 if bits <= 8 else 65535
            low, high = 16 * (top + 1) // 256, 235 * (top + 1) // 256
            y = np.clip((y.astype(np.float32) - low) * (top / (high - low)), 0, top).round().astype(y.dtype)
        return y[:, :, None]


def _colour_range(frame: Any) -> int:
    """1 for limited, 2 for full, 0 for not said."""
    full = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")
    return 2 if full else int(frame.color_range)


def is_coloured(rgb: np.ndarray) -> bool:
    """Whether a frame, uint8 (H, W, 3), is in colour, beyond what coding does to grey: 16 levels in 1 % of it."""
    import numpy as np

    spread = rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2)
    return bool((spread >= 16).mean() > 0.01)


class PictureFrames:
    """Converts pictures to the frames of one clip, as encoders take them.

    Args:
        info: of the clip: its size, and the colour matrix.
        format: the pixel format, as FFmpeg calls it.
        bits: 8 or 16 a channel.

    Attributes:
        format: as given.
        matrix: the colour matrix, a number of ITU-T H.273.
    """

    def __init__(self, info: ClipInfo, format: str, *, bits: int) -> None:
        self._av, self.format, self._bits = require_av(), format, bits
        self.matrix = colour_matrix(info.matrix, info.size)
        self._reformat = self._av.video.reformatter.VideoReformatter().reformat

    def __call__(self, x: np.ndarray) -> Any:
        """A frame of PyAV from float (H, W, 3) in [0, 1]."""
        frame = self._av.VideoFrame.from_ndarray(quantised(x, self._bits), "rgb24" if self._bits == 8 else "rgb48le")
        # From RGB, whose range is full, to the limited range that players expect of video.
        return self._reformat(
            frame,
            format=self.format,
            dst_colorspace=SPACES[self.matrix],
            dst_color_range=1 if self.format.startswith("yuv") else 2,
            interpolation=smooth_scaling(self._av),
        )
