"""Decoded frames of PyAV -> arrays: the right matrix and range, full precision, upright."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lure_cli.core.video.pyav import SPACES, colour_matrix, require_av, smooth_scaling

if TYPE_CHECKING:
    import numpy as np


class PixelReader:
    """Converts the frames of one clip.

    Args:
        grey: give the luma alone; frames that are RGB come as RGB all the same.

    Attributes:
        turn: quarter turns, against the clock, that bring the frames upright.
    """

    def __init__(self, *, grey: bool) -> None:
        self._av = require_av()
        self._reformat = self._av.video.reformatter.VideoReformatter().reformat
        self._grey, self.turn = grey, 0

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
        return np.ascontiguousarray(np.rot90(pixels, self.turn))

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
