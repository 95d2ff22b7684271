"""Which of the pictures in a TIFF file is the one that is meant; refuses several, and raw files of cameras."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, BinaryIO

from lure_cli.core.images.guards import check_size
from lure_cli.errors import LureError

if TYPE_CHECKING:
    import tifffile

_MOST = 100
"""Pages of which more are not looked at: no still image has as many overviews."""
_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType."""
_WIDTH, _DNG_VERSION, _STK_PLANES = 256, 50706, 33629
_SENSOR = (32803, 34892)
"""Photometric interpretations of a sensor's own numbers: a colour filter array, and linear raw."""
_RAW_COMPRESSIONS = (32767, 32769, 34713, 65535)
"""Sony, packed raw, Nikon, Pentax."""
_MAKERS = {"nikon": "NEF", "sony": "ARW", "pentax": "PEF", "samsung": "SRW", "canon": "CR2", "hasselblad": "3FR"}


def choose_page(tif: tifffile.TiffFile, file: BinaryIO, max_pixels: int) -> Any:
    """The page of the one full picture. Overviews, thumbnails and masks, which say what they are, are passed over, in
    whatever order they stand; where only they are in the row of pages, the picture may be a sub-page.

    Raises:
        LureError: several pictures, a size that is refused, or a raw file.
    """
    count = len(tif.pages)
    first: Any = tif.pages.first
    if count > _MOST:
        check_size(int(first.imagewidth), int(first.imagelength), max_pixels, count)
    row: list[Any] = [tif.pages[index] for index in range(count)]
    below = [page for each in row for page in _sub_pages(each)]
    _refuse_raw(file, first, row + below)
    full = [page for page in row if _is_full(page)] or [page for page in below if _is_full(page)]
    page = full[0] if full else first
    pictures = len(full) or len(row + below)
    # A damaged width may be a tuple, which `*` would repeat; int() refuses it.
    width, height = int(page.imagewidth), int(page.imagelength)
    check_size(width, height, max_pixels, max(pictures, int(page.imagedepth), _planes(page, file)))
    return page


def _sub_pages(page: Any) -> list[Any]:
    below = page.pages
    return [] if below is None else [below[index] for index in range(min(len(below), _MOST))]


def _is_full(page: Any) -> bool:
    return not page.subfiletype & (_REDUCED | _MASK) and _WIDTH in page.tags


def _refuse_raw(file: BinaryIO, first: Any, pages: list[Any]) -> None:
    """Raw files hold a thumbnail as an ordinary picture; it is not what is meant."""
    file.seek(8)
    raw = file.read(2) == b"CR" or any(
        page.photometric in _SENSOR or page.compression in _RAW_COMPRESSIONS for page in pages
    )
    if raw:
        maker = str(first.tags.valueof(271, "")).lower()
        names = [name for start, name in _MAKERS.items() if maker.startswith(start)]
        name = "DNG" if _DNG_VERSION in first.tags else names[0] if names else "a sensor's own numbers"
        raise LureError(
            f"a camera's raw file ({name}), which is not developed yet",
            "develop it into a TIFF, PNG or JPEG, by the camera's program, darktable or RawTherapee",
        )


def _planes(page: Any, file: BinaryIO) -> int:
    """How many images of its size a page holds: ImageJ, tifffile and MetaMorph write stacks with one directory."""
    if _STK_PLANES in page.tags:
        return int(page.tags[_STK_PLANES].count)
    if not page.is_contiguous:
        return 1
    notes = f"{page.description}\n{page.description1}"[:4096]
    named = 1
    if page.is_imagej and (match := re.search(r"^images=(\d{1,9})\s*$", notes, re.MULTILINE)):
        named = int(match[1])
    elif page.is_shaped and (match := re.search(r'"shape": ?\[([\d, ]{1,200})\]', notes)):
        named = 1
        for side in match[1].split(","):
            named *= int(side)
        named //= max(int(page.size), 1)
    room = (file.seek(0, os.SEEK_END) - page.dataoffsets[0]) // max(int(page.nbytes), 1)
    return max(1, min(named, room))  # one that was taken out of a stack may still have its description
