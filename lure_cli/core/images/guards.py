"""What every reader of an untrusted file does: open it, refuse a size before memory is taken, say what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lure_cli.errors import LureError

MAX_PIXELS = 200_000_000
"""Larger images are refused from their header."""

EXPORT_AGAIN = "copy or export the file again and check that an image viewer opens it"
CONVERT = "convert it to 8-bit or 16-bit unsigned grey or RGB"
FLATTEN = "flatten the image or save it without the extra channel"
"""Hints that several refusals share."""


def open_image(path: Path) -> BinaryIO:
    """Open a regular file for reading; LureError, without its name, if it is none or cannot be read."""
    try:
        if path.is_file():
            return path.open("rb")
        if path.is_dir():
            raise LureError("a folder, not an image file", "name one file here")
        what = "not a regular file" if path.exists() else "no such file"
        raise LureError(what, "check the spelling of the path")
    except OSError as error:
        raise LureError(f"cannot be opened ({error.strerror})", "check that you may read it") from error


def check_size(width: int, height: int, max_pixels: int, frames: int = 1) -> None:
    """Refuse what no still image of a bearable size is.

    Raises:
        LureError: no pixels, more than `max_pixels`, or several frames.
    """
    if width * height == 0:
        raise LureError("has no pixels", EXPORT_AGAIN)
    if width * height > max_pixels:
        raise LureError(f"{width} x {height} is over the limit of {max_pixels} pixels", "crop or shrink the image")
    if frames > 1:
        raise LureError(f"holds {frames} frames or pages", "save the one frame that is meant as its own file")


@contextmanager
def name_errors(name: object) -> Iterator[None]:
    """Put the name of a file before the message of a LureError that is raised inside."""
    try:
        yield
    except LureError as error:
        raise LureError(f"{name}: {error.message}", error.hint) from error


@contextmanager
def refuse_damage(words: str) -> Iterator[None]:
    """Turn whatever a decoder or a parser of headers raises inside, which may be anything at a bad file (struct.error,
    SyntaxError, KeyError, ...), into a LureError of these words and the fault."""
    try:
        yield
    except LureError:
        raise
    except MemoryError as error:
        raise LureError("not enough memory to decode it", "crop or shrink the image") from error
    except Exception as error:
        fault = " ".join(str(error).split()) or type(error).__name__
        raise LureError(f"{words} ({fault})", EXPORT_AGAIN) from error
