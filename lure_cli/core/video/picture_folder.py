"""Clips in: numbered pictures in a folder, read like a clip."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.images.formats import has_image_suffix
from lure_cli.core.images.guards import MAX_PIXELS
from lure_cli.core.images.picture import read_raw
from lure_cli.core.images.radiometric import radiometric_sizes
from lure_cli.core.video.clip import ClipInfo, Frame
from lure_cli.core.video.pixels import is_coloured
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.pixels import Modality
    from lure_cli.core.thermal.radiometry import Radiometry

_NUMBER = re.compile(r"(\d+)(?!.*\d)")
_HINT = "name the pictures by their place in the clip, such as frame_000123.png"


def list_numbered(folder: Path) -> list[tuple[int, Path]]:
    """The pictures of a folder by the last number in their names, which has to go up by one from each to the next.

    Raises:
        LureError: it cannot be read, holds no pictures, a picture without a number, a number twice, or a gap.
    """
    try:
        with os.scandir(folder) as entries:
            paths = [folder / e.name for e in entries if has_image_suffix(Path(e.name)) and not e.name.startswith(".")]
    except OSError as error:
        raise LureError(f"{folder}: cannot be read ({error.strerror})", "give a folder that you may read") from error
    if not paths:
        raise LureError(f"{folder}: holds no pictures", _HINT)
    numbered: dict[int, Path] = {}
    for path in sorted(paths):
        match = _NUMBER.search(path.stem)
        if match is None:
            raise LureError(f"{path}: has no number", _HINT)
        number = int(match[1])
        if number in numbered:
            raise LureError(
                f"{numbered[number]} and {path} are both number {number}", "a clip is one folder of its own"
            )
        numbered[number] = path
    numbers = sorted(numbered)
    for number, following in pairwise(numbers):
        if following != number + 1:
            before, behind = numbered[number].name, numbered[following].name
            raise LureError(
                f"{folder}: number {number + 1} is missing, between {before} and {behind}",
                "what follows would be paired with the wrong pictures; fill the gap or number them anew",
            )
    return [(number, numbered[number]) for number in numbers]


class PictureFolder:
    """Numbered pictures as a clip; see `lure_cli.core.video.reader.VideoFile` for what its members mean.

    Args:
        source: the folder.
        grey: whether they are infrared: then of radiometric files the temperatures are taken. Other pictures are handed
            over as they are stored.
        max_pixels: larger pictures are refused from their headers.
        rate: pictures a second.
        radiometry: what is to be used instead of what radiometric files say.

    Attributes:
        celsius: they are infrared and radiometric: the numbers are degrees Celsius.

    Raises:
        LureError: as `list_numbered`; reading a picture that is damaged, transparent, or of another size than the
            first one's, or not radiometric, if that one is.
    """

    def __init__(
        self,
        source: str,
        *,
        grey: bool,
        max_pixels: int = MAX_PIXELS,
        rate: Fraction | None = None,
        radiometry: Radiometry | None = None,
    ) -> None:
        self.source, self.grey, self._max_pixels, self._rate = source, grey, max_pixels, rate
        self._radiometry = radiometry
        self._files = list_numbered(Path(source))
        self.celsius = grey and radiometric_sizes(self._files[0][1]) is not None
        first = self._read(self._files[0][1])
        self.info = ClipInfo(first.shape[1::-1], rate, len(self._files))
        self.sound: list[Any] = []
        self.subtitles = 0
        self.zero = Fraction(0)
        self.damage: str | None = None
        self.mended = 0
        self.coloured = grey and first.shape[2] == 3 and _in_colour(first)

    @property
    def as_recorded(self) -> bool:
        """Whether its numbers are handed over as they were recorded."""
        return True

    @property
    def first_number(self) -> int:
        """The number of the first picture."""
        return self._files[0][0]

    def _read(self, path: Path) -> np.ndarray:
        if self.celsius and radiometric_sizes(path) is None:
            raise LureError(f"{path}: is not radiometric, but the first picture is", "a clip is of one kind of files")
        modality: Modality = "ir" if self.grey else "vis"
        return read_raw(path, modality=modality, max_pixels=self._max_pixels, radiometry=self._radiometry)

    def frames(self) -> Iterator[Frame]:
        """The pictures in the order of their numbers."""
        step = 1 / (self._rate or Fraction(25))
        for i, (number, path) in enumerate(self._files):
            try:
                pixels = self._read(path)
                if pixels.shape[1::-1] != self.info.size:
                    (w, h), (v, g) = pixels.shape[1::-1], self.info.size
                    raise LureError(f"{path}: is {w}x{h}, but the first picture is {v}x{g}", "bring them to one size")
            except LureError as error:
                self.damage = f"{error.message}; {i} pictures come before it"
                return
            yield Frame(pixels, i * step, step, number)

    def sound_until(self, time: Fraction | None) -> Iterator[Any]:
        """Nothing: pictures have no sound."""
        return iter(())

    def sample(self, count: int) -> list[np.ndarray]:
        """The pixels of some pictures, spread evenly from the first to the last."""
        last = len(self._files) - 1
        places = sorted({round(last * i / max(1, count - 1)) for i in range(count)})
        return [self._read(self._files[i][1]) for i in places]

    def close(self) -> None:
        """Nothing is held open."""


def _in_colour(pixels: np.ndarray) -> bool:
    """Whether a picture is in colour, (H, W, 3); of other types than uint8, which coding does not touch, at all."""
    if pixels.dtype == "uint8":
        return is_coloured(pixels)
    return bool((pixels.min(axis=2) != pixels.max(axis=2)).any())
