"""Radiometric files, guarded as all image files are: `core.thermal` knows what is in them."""

from __future__ import annotations

from pathlib import Path

from lure_cli.core.images.guards import MAX_PIXELS, name_errors, open_image, refuse_damage
from lure_cli.core.thermal.flir import Sizes, Thermogram, sizes, unpack
from lure_cli.core.thermal.makers import closed_maker
from lure_cli.core.thermal.radiometry import Radiometry

DAMAGED = "its FLIR data are damaged"


def read_thermogram(
    path: Path, radiometry: Radiometry | None = None, *, max_pixels: int = MAX_PIXELS
) -> Thermogram | None:
    """Read a radiometric file: temperatures, photo, and where one lies in the other. None: it is an ordinary file.

    Args:
        path: of any type of image.
        radiometry: what is to be used instead of what the file says.
        max_pixels: larger images inside are refused from their headers.

    Raises:
        LureError: missing, damaged, too large, or flyr is not installed.
    """
    with name_errors(path), refuse_damage(DAMAGED), open_image(path) as file:
        return unpack(file, radiometry, max_pixels)


def radiometric_sizes(path: Path) -> Sizes | None:
    """The sizes of what a radiometric file holds, by its headers; None: it is an ordinary file.

    Raises:
        LureError: missing or damaged.
    """
    with name_errors(path), refuse_damage(DAMAGED), open_image(path) as file:
        return sizes(file)


def closed_maker_of(path: Path) -> str | None:
    """The maker whose software alone reads the temperatures of a file, see `closed_maker`; None of all else, such as
    standard input.

    Raises:
        LureError: it cannot be opened.
    """
    if not path.is_file():
        return None
    with name_errors(path), open_image(path) as file:
        return closed_maker(file)
