"""The types of image files: how each is recognised and what it can hold. Nothing heavy is imported here.

To add a type: a `Format` in `FORMATS`; in `ends.is_whole` how a file that was cut short shows it; and an example in
`whole_images` of `tests/core/images/test_fuzz.py`. That is all where Pillow reads and writes it in full. Else a module
beside `tiff.py` decodes it, reads its header and writes it, for `decode`, `read_header` and `encode` to call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from lure_cli.core.images.guards import EXPORT_AGAIN
from lure_cli.errors import LureError


@dataclass(frozen=True)
class Format:
    """One type of file.

    Attributes:
        name: as people call it.
        suffixes: in lower case; the first is the usual one.
        signatures: the bytes of which one stands at `offset`.
        pillow: what Pillow calls it.
        saves: how Pillow is to write it, if it does.
        deep: whether it is written with 16 bits.
        alpha: whether it is written with transparency.
        notes: whether colour profile and EXIF are written into it.
    """

    name: str
    suffixes: tuple[str, ...]
    signatures: tuple[bytes, ...]
    offset: int = 0
    pillow: str = ""
    saves: Mapping[str, Any] = field(default_factory=dict)
    deep: bool = False
    alpha: bool = True
    notes: bool = True


PNG = Format("PNG", (".png",), (b"\x89PNG\r\n\x1a\n",), pillow="PNG", deep=True)
JPEG = Format(
    "JPEG", (".jpg", ".jpeg"), (b"\xff\xd8",), pillow="JPEG", saves={"quality": 95, "subsampling": 0}, alpha=False
)
TIFF = Format("TIFF", (".tif", ".tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), pillow="TIFF", deep=True)
BMP = Format("BMP", (".bmp",), (b"BM",), pillow="BMP", alpha=False, notes=False)
WEBP = Format(  # exact: colour under transparent pixels stays
    "WebP", (".webp",), (b"WEBP",), offset=8, pillow="WEBP", saves={"lossless": True, "exact": True}
)
JPEG2000 = Format(  # a bare codestream, or one in a file of its own
    "JPEG 2000",
    (".jp2", ".j2k"),
    (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"),
    pillow="JPEG2000",
    notes=False,
)
FORMATS: tuple[Format, ...] = (PNG, JPEG, TIFF, BMP, WEBP, JPEG2000)
"""Types that are read and written."""
SUFFIXES: tuple[str, ...] = tuple(suffix for each in FORMATS for suffix in each.suffixes)
"""Suffixes of the files that are read and written."""


def has_image_suffix(path: Path) -> bool:
    """Whether the path ends in one of `SUFFIXES`, in upper or lower case."""
    return path.suffix.lower() in SUFFIXES


def identify(file: BinaryIO) -> Format:
    """The type of a file by its first bytes.

    Raises:
        LureError: it is empty or of no known type; without its name.
    """
    file.seek(0)
    head = file.read(32)
    if not head:
        raise LureError("the file is empty", EXPORT_AGAIN)
    for each in FORMATS:
        if head.startswith(each.signatures, each.offset):
            return each
    raise unknown_format()


def unknown_format() -> LureError:
    """The refusal of a file that is of no known type, or only seems to be."""
    return LureError("no image, or its header is damaged", f"known types: {', '.join(f.name for f in FORMATS)}")


def format_of_suffix(suffix: str) -> Format:
    """The type that a suffix, in upper or lower case, stands for; LureError if it is none of `SUFFIXES`."""
    for each in FORMATS:
        if suffix.lower() in each.suffixes:
            return each
    raise LureError(f"'{suffix}' is no known image type", f"use one of {', '.join(SUFFIXES)}")


def check_output(suffix: str, bits: int, alpha: bool) -> None:
    """Whether a type of file can hold such an image; asked before any work is done for it.

    Args:
        suffix: as ".png", in upper or lower case.
        bits: per channel; 16 goes into PNG and TIFF.
        alpha: whether some of it is transparent, which goes into all but JPEG and BMP.

    Raises:
        LureError: it cannot; the message says what, without a file's name.
    """
    wanted = format_of_suffix(suffix)
    if bits not in (8, 16):
        raise LureError(f"{bits} bits per channel cannot be written", "use 8 or 16")
    if bits == 16 and not wanted.deep:
        raise LureError(f"'{suffix}' files are not written with 16 bits", "choose .png or .tif, or 8 bits")
    if alpha and not wanted.alpha:
        raise LureError(f"'{suffix}' files cannot hold transparency", "choose .png")
