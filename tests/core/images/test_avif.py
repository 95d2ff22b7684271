from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from lure_cli.core.images.header import read_header
from lure_cli.core.images.picture import read_picture
from lure_cli.errors import LureError
from tests.helpers.images import GREY16, RGB, RGB16, RGBA, RGBA16, encoded


def test_avif_with_notes(tmp_path: Path) -> None:
    notes = Image.Exif()
    notes[271], notes[274] = "Camera", 6
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "a.avif"
    path.write_bytes(encoded(RGB, "AVIF", quality=100, subsampling="4:4:4", exif=notes.tobytes(), icc_profile=icc))
    picture, header = read_picture(path, channels=3), read_header(path)
    np.testing.assert_allclose(picture.x, np.rot90(RGB, -1) / 255, atol=0.02)
    assert picture.metadata.icc == icc and picture.metadata.exif is not None and b"Camera" in picture.metadata.exif
    assert (header.width, header.height, header.bits) == (12, 17, 8)
    picture = read_picture(encoded(RGBA, "AVIF", quality=100), channels=3)
    assert picture.alpha is not None and abs(picture.alpha[..., 0] - RGBA[..., 3] / 255).max() < 0.02


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("image", [GREY16, RGB16, RGBA16])
def test_deep_avif(tmp_path: Path, image: np.ndarray, bits: int) -> None:
    path, numbers, white = tmp_path / "a.avif", image >> (16 - bits), 2**bits - 1
    path.write_bytes(imagecodecs.avif_encode(numbers, bitspersample=bits, level=100))
    channels = 1 if image.ndim == 2 else 3
    picture = read_picture(path, channels=channels)  # type: ignore[arg-type]
    np.testing.assert_allclose(picture.x, numbers.reshape(12, 17, -1)[..., :channels] / white, atol=1e-5)
    assert picture.bits == 16 and read_header(path).bits == bits
    path.write_bytes(path.read_bytes()[:-9])
    for reader in (read_header, lambda p: read_picture(p, channels=3)):
        with pytest.raises(LureError, match=r"cut short|damaged"):
            reader(path)


@pytest.mark.parametrize("kind", ["AVIF", "GIF"])
def test_frames_are_refused_and_single_gifs_read(kind: str) -> None:
    first, second = Image.fromarray(RGB[..., 0]), Image.fromarray(RGB[..., 1])
    with pytest.raises(LureError, match="2 frames"):
        read_picture(encoded(RGB[..., 0], kind, save_all=True, append_images=[second]), channels=1)
    x = read_picture(encoded(RGB[..., 0], "GIF"), channels=1).x
    assert np.array_equal(x[..., 0], np.asarray(first) / np.float32(255))
