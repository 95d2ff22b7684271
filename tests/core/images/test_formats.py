from __future__ import annotations

import os
from pathlib import Path

import pytest

from lure_cli.core.images.formats import READ_SUFFIXES, SUFFIXES, check_output, has_image_suffix
from lure_cli.core.images.picture import write_image
from lure_cli.errors import LureError
from tests.helpers.images import ALPHA, X


@pytest.mark.parametrize("name", ["a.gif", "a.jfif", "a.xyz", "a", "a.png.txt", "a.npy"])
def test_unknown_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LureError) as caught:
        write_image(tmp_path / name, X)
    assert name in caught.value.message and all(suffix in caught.value.hint for suffix in SUFFIXES)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("suffix", "bits", "alpha", "words", "hint"),
    [
        (".gif", 8, False, "'.gif' files are read, but not written", ".png"),
        (".xyz", 8, False, "'.xyz' is no known image type", ".png"),
        ("", 8, False, "'' is no known image type", ".png"),
        (".jpg", 16, False, "16 bits", ".tif"),
        (".WEBP", 16, False, "16 bits", ".png"),
        (".jp2", 16, False, "16 bits", ".png"),
        (".jpg", 8, True, "transparency", ".png"),
        (".bmp", 8, True, "transparency", ".png"),
        (".png", 12, False, "12 bits", "8 or 16"),
    ],
)
def test_what_a_type_cannot_hold(suffix: str, bits: int, alpha: bool, words: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(LureError, match=words) as caught:
        check_output(suffix, bits, alpha)
    assert hint in caught.value.hint
    path = tmp_path / f"a{suffix}"
    with pytest.raises(LureError, match=words) as caught:
        write_image(path, X, bits=bits, alpha=ALPHA if alpha else None)
    assert caught.value.message.startswith(f"{path}: ") and os.listdir(tmp_path) == []


def test_what_a_type_can_hold() -> None:
    for suffix in SUFFIXES:
        check_output(suffix, 8, suffix not in (".jpg", ".jpeg", ".bmp"))
    for suffix in (".png", ".tif", ".tiff"):
        check_output(suffix.upper(), 16, True)


def test_has_image_suffix() -> None:
    assert all(has_image_suffix(Path(f"a{suffix.upper()}")) for suffix in READ_SUFFIXES)
    assert set(SUFFIXES) < set(READ_SUFFIXES)
    assert not any(has_image_suffix(Path(name)) for name in ("a", ".png", "a.xyz", "a.png.bak"))
