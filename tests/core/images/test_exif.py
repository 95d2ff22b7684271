from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from lure_cli.core.images.picture import Metadata, read_image, read_picture
from tests.helpers.images import RGB, encoded, notes, opened, profile, save, tiff_file


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["rgb.jpg", "rgb.png", "palette.png", "rgb.webp", "rgb.tif", "palette.tif"])
def test_orientation_is_applied(tmp_path: Path, kind: str, orientation: int) -> None:
    image = Image.fromarray(RGB)
    if kind.startswith("palette"):
        image = image.convert("P", palette=Image.Palette.ADAPTIVE)
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path / kind, image, exif=exif)
    upright = ImageOps.exif_transpose(opened(path)).convert("RGB")
    assert upright.size == ((12, 17) if orientation >= 5 else (17, 12))
    np.testing.assert_array_equal(read_image(path, channels=3), np.asarray(upright) / np.float32(255))


@pytest.mark.parametrize("orientation", [0, 9, 4711])
def test_an_unknown_orientation_is_ignored(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    assert read_image(save(tmp_path / "a.jpg", RGB, exif=exif), channels=3).shape == (12, 17, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_profile_and_exif_are_kept(kind: str) -> None:
    picture = read_picture(encoded(RGB, kind, icc_profile=profile("RGB"), exif=notes()), channels=3)
    assert picture.x.shape == (17, 12, 3) and picture.metadata.icc == profile("RGB")
    kept = Image.Exif()
    assert picture.metadata.exif is not None
    kept.load(picture.metadata.exif)
    assert kept[274] == 1 and kept[33432] == "me" and kept.get_ifd(34853) == {1: "N"} and 282 not in kept
    assert kept.get_ifd(34665) == {33434: pytest.approx(1 / 50)}


def test_the_thumbnail_goes() -> None:
    first = struct.pack(">HHHI4sI", 1, 271, 2, 4, b"Cam\0", 26)  # from 8 on; the second follows at 26
    second = struct.pack(">HHHIIHHIII", 2, 513, 4, 1, 56, 514, 4, 1, 9, 0)  # the thumbnail: where it is, its length
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + first + second + b"\xff\xd8thumb\xff\xd9"
    kept = read_picture(encoded(RGB, "JPEG", exif=exif), channels=3).metadata.exif
    assert kept is not None and b"thumb" not in kept and b"Cam" in kept


def test_text_in_exif_that_is_not_ascii_is_kept() -> None:
    content = encoded(RGB, "JPEG", exif=notes(1).replace(b"K?mera", "K\xe4mera".encode("latin-1")))
    kept = read_picture(content, channels=3).metadata.exif
    assert kept is not None and b"K\xe4mera" in kept


def test_no_notes_no_metadata() -> None:
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "JPEG2000"):
        assert read_picture(encoded(RGB, kind), channels=3).metadata == Metadata()
    assert read_picture(tiff_file(RGB, software=False, metadata=None), channels=3).metadata == Metadata()
