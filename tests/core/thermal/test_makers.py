"""Whose radiometric files are recognised, and whose are not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from lure_cli.core.images.picture import read_picture
from lure_cli.core.thermal import makers
from lure_cli.core.thermal.makers import closed_maker
from tests.helpers.flir import segment, with_segments


@pytest.mark.parametrize(
    ("segments", "make", "maker"),
    [
        (segment(3, bytes(4000)) + segment(3, bytes(300)), "DJI", "DJI"),
        (segment(6, b"DTAT\0\0\0{}"), "", "DJI"),
        (segment(2, b"\1\2\3\4IJPEG\0rest"), "InfiRay", "InfiRay"),
        (segment(1, b"PARROT\0II*\0rest"), "Parrot", "Parrot"),
        (segment(4, b"rest of HDRI and more"), "HIKMICRO", "HIKMICRO"),
        (segment(3, bytes(4000)), "Samsung", None),  # previews
        (b"", "DJI", None),  # the visible camera
        (b"", "HIKMICRO", None),
        (segment(4, b"HDRI"), "Nikon", None),
    ],
)
def test_makers(segments: bytes, make: str, maker: str | None) -> None:
    assert closed_maker(io.BytesIO(with_segments(segments, make=make))) == maker


def test_a_block_is_found_wherever_it_lies_in_a_large_file() -> None:
    class Counted(io.BytesIO):
        most = 0

        def read(self, size: int | None = -1) -> bytes:
            content = super().read(size)
            self.most = max(self.most, len(content))
            return content

    plain = with_segments(b"", make="HIKMICRO")
    for ahead in range(-4, 1):  # over the end of what is read at once
        file = Counted(plain.ljust(makers._CHUNK + ahead, b"\0") + b"HDRI" + bytes(2 * makers._CHUNK))
        assert closed_maker(file) == "HIKMICRO" and file.most <= makers._CHUNK


def test_a_picture_says_that_its_temperatures_are_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(with_segments(segment(3, bytes(4000)), make="DJI"))
    ir = read_picture(tmp_path / "a.jpg", channels=1)
    assert ir.remark is not None and "only DJI's own software reads" in ir.remark and ir.celsius is None
    assert read_picture(tmp_path / "a.jpg", channels=3).remark is None
