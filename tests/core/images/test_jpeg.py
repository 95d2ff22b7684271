"""JPEG files that lack the mark at their end."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lure_cli.core.images.header import read_header
from lure_cli.core.images.picture import read_picture
from lure_cli.errors import LureError
from tests.helpers.images import RGB, encoded

KINDS: list[dict[str, Any]] = [
    {},
    {"progressive": True},
    {"subsampling": 2},
    {"quality": 30},
    {"restart_marker_blocks": 1},
]


@pytest.mark.parametrize("options", KINDS)
def test_a_jpeg_that_lacks_only_its_end_mark_is_read(options: dict[str, Any], tmp_path: Path) -> None:
    whole, path = encoded(RGB, "JPEG", **options), tmp_path / "a.jpg"
    for cut in (1, 2):
        path.write_bytes(whole[:-cut])
        assert np.array_equal(read_picture(path, channels=3).x, read_picture(whole, channels=3).x)
        assert read_header(path).width == 17


@pytest.mark.parametrize("options", KINDS)
def test_a_jpeg_that_lacks_pixels_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    whole, path = encoded(RGB, "JPEG", **options), tmp_path / "a.jpg"
    right = np.asarray(Image.open(io.BytesIO(whole))) / np.float32(255)
    refused = 0
    for cut in range(3, 60):
        path.write_bytes(whole[:-cut])
        try:
            assert np.array_equal(read_picture(path, channels=3).x, right)  # the last bits are padding
        except LureError:
            refused += 1
            with pytest.raises(LureError, match=r"cut short"):
                read_header(path)
    assert refused >= 56


def test_a_progressive_jpeg_that_lacks_its_last_scan_is_refused() -> None:
    whole = encoded(RGB, "JPEG", progressive=True)
    with pytest.raises(LureError, match="cut short"):
        read_picture(whole[: whole.rfind(b"\xff\xda")], channels=3)
    before_tables = whole[: whole.rfind(b"\xff\xc4")]
    with pytest.raises(LureError, match="cut short"):
        read_picture(before_tables, channels=3)
