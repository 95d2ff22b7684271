"""Radiometric JPEGs whose temperatures only their maker's own software reads: whose they are.

Recognised by what exiftool (https://exiftool.org/TagNames/JPEG.html) and readers of these files go by; a file that
merely comes from such a maker is not taken for one.
"""

from __future__ import annotations

from contextlib import suppress
from typing import BinaryIO

from lure_cli.core.thermal.segments import app_segments

_HIKMICRO = ("hikmicro", "hikvision")
_CHUNK = 1 << 20
"""Bytes that are looked through at once."""


def closed_maker(file: BinaryIO) -> str | None:
    """The maker of a radiometric JPEG that is not read here: DJI, HIKMICRO, InfiRay or Parrot; None of any other file.

    DJI: temperatures in APP3, of a camera whose EXIF says DJI, or the record of its analysis tool (`DTAT` in APP6);
    InfiRay: `IJPEG` in APP2; Parrot: a TIFF in APP1; HIKMICRO: the block `HDRI`, of a camera whose EXIF says so.
    """
    holds_app3 = False
    for number, content in app_segments(file):
        if number == 1 and content.startswith((b"PARROT\0II*\0", b"PARROT\0MM\0*")):
            return "Parrot"
        if number == 2 and content[4:10] == b"IJPEG\0":
            return "InfiRay"
        if number == 6 and content.startswith(b"DTAT\0"):
            return "DJI"
        holds_app3 |= number == 3
    make = _make(file).lower()
    if holds_app3 and make == "dji":
        return "DJI"
    return "HIKMICRO" if make.startswith(_HIKMICRO) and _contains(file, b"HDRI") else None


def closed_note(maker: str) -> str:
    """What is to be known where such a file is taken for an infrared image."""
    return (
        f"holds temperatures that only {maker}'s own software reads: its rendering is taken, and its grey levels are no"
        f" temperatures; export a TIFF in degrees with {maker}'s software to keep them"
    )


def closed_hint(maker: str) -> str:
    """What can be done where its temperatures are wanted."""
    return f"export a TIFF in degrees Celsius with {maker}'s own software, and give that with --unit c"


def _contains(file: BinaryIO, word: bytes) -> bool:
    """Whether a file, however large, has these bytes anywhere."""
    file.seek(0)
    before = b""
    while chunk := file.read(_CHUNK):
        if word in before + chunk:
            return True
        before = chunk[1 - len(word) :]
    return False


def _make(file: BinaryIO) -> str:
    """The camera's make, by the EXIF; empty if there is none."""
    from PIL import Image

    file.seek(0)
    with suppress(Exception), Image.open(file, formats=("JPEG", "MPO")) as image:  # a damaged note does not matter here
        make = image.getexif().get(271)
        return make.strip("\0 ") if isinstance(make, str) else ""
    return ""
