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
        pillow: what Pillow calls it, where Pillow opens it.
        saves: how Pillow is to write it, if it does.
        deep: whether it is written with 16 bits.
        alpha: whether it is written with transparency.
        notes: whether colour profile and EXIF are written into it.
        written: whether it is written at all.
        rare_suffixes: others by which it is read, but not written.
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
    written: bool = True
    rare_suffixes: tuple[str, ...] = ()


PNG = Format("PNG", (".png",), (b"\x89PNG\r\n\x1a\n",), pillow="PNG", deep=True, rare_suffixes=(".apng",))
JPEG = Format(
    "JPEG",
    (".jpg", ".jpeg"),
    (b"\xff\xd8",),
    pillow="JPEG",
    saves={"quality": 95, "subsampling": 0},
    alpha=False,
    rare_suffixes=(".jpe", ".jfif", ".jif"),
)
TIFF = Format("TIFF", (".tif", ".tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), pillow="TIFF", deep=True)
BMP = Format("BMP", (".bmp",), (b"BM",), pillow="BMP", alpha=False, notes=False, rare_suffixes=(".dib",))
WEBP = Format(  # exact: colour under transparent pixels stays
    "WebP", (".webp",), (b"WEBP",), offset=8, pillow="WEBP", saves={"lossless": True, "exact": True}
)
JPEG2000 = Format(  # a bare codestream, or one in a file of its own
    "JPEG 2000",
    (".jp2", ".j2k"),
    (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"),
    pillow="JPEG2000",
    notes=False,
    rare_suffixes=(".j2c", ".jpc", ".jpf", ".jpx"),
)
PNM = Format(
    "PNM",
    (".pgm", ".ppm", ".pnm", ".pbm"),
    tuple(bytes((0x50, kind, end)) for kind in b"123456" for end in b" \t\r\n#"),
    written=False,
)
GIF = Format("GIF", (".gif",), (b"GIF87a", b"GIF89a"), pillow="GIF", written=False)
AVIF = Format("AVIF", (".avif",), (b"ftypavif", b"ftypavis"), offset=4, pillow="AVIF", written=False)
HEIF = Format(
    "HEIF",
    (".heic", ".heif", ".hif"),
    tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")),
    offset=4,
    written=False,
)
JPEGXL = Format("JPEG XL", (".jxl",), (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), written=False)
FORMATS: tuple[Format, ...] = (PNG, JPEG, TIFF, BMP, WEBP, JPEG2000, PNM, GIF, AVIF, HEIF, JPEGXL)
"""Types that are read; most are written too."""
READ_SUFFIXES: tuple[str, ...] = tuple(suffix for each in FORMATS for suffix in (*each.suffixes, *each.rare_suffixes))
"""Suffixes of the files that are read."""
SUFFIXES: tuple[str, ...] = tuple(suffix for each in FORMATS if each.written for suffix in each.suffixes)
"""Suffixes of the files that are read and written."""


def has_image_suffix(path: Path) -> bool:
    """Whether the path ends in one of `READ_SUFFIXES`, in upper or lower case."""
    return path.suffix.lower() in READ_SUFFIXES


def identify(file: BinaryIO) -> Format:
    """The type of a file by its first bytes.

    Raises:
        LureError: it is empty or of no known type; without its name.
    """
    file.seek(0)
    head = file.read(64)
    if not head:
        raise LureError("the file is empty", EXPORT_AGAIN)
    for each in FORMATS:
        if head.startswith(each.signatures, each.offset):
            # A file of several brands: the first may be a general one.
            return AVIF if each is HEIF and b"avif" in head[16:] else each
    raise unknown_format()


def is_surely_image(path: Path) -> bool:
    """Whether the content of a file whose name does not say so is that of an image. Two bytes that text may start with
    are not enough; nor is TIFF, which the raw files of cameras and many others are."""
    try:
        with path.open("rb") as file:
            file_format = identify(file)
            file.seek(0)
            head = file.read(18)
    except (OSError, LureError):
        return False
    if file_format is BMP:
        return head[6:10] == bytes(4) and head[15:18] == bytes(3)
    if file_format is JPEG:
        return head[2:3] == b"\xff"
    return file_format is not TIFF and not head.startswith(b"\xff\x0a")


def unknown_format() -> LureError:
    """The refusal of a file that is of no known type, or only seems to be."""
    return LureError("no image, or its header is damaged", f"known types: {', '.join(f.name for f in FORMATS)}")


def format_of_suffix(suffix: str) -> Format:
    """The type to write that a suffix, in upper or lower case, stands for; LureError if it is none of `SUFFIXES`."""
    hint = f"use one of {', '.join(SUFFIXES)}"
    for each in FORMATS:
        if each.written and suffix.lower() in each.suffixes:
            return each
    if suffix.lower() in READ_SUFFIXES:
        raise LureError(f"'{suffix}' files are read, but not written", hint)
    raise LureError(f"'{suffix}' is no known image type", hint)


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
