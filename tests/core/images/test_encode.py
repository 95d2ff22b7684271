from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lure_cli.core.images.formats import SUFFIXES
from lure_cli.core.images.picture import Metadata, encode_image, read_picture, read_pixels, write_image
from lure_cli.errors import LureError
from tests.helpers.files import EXAMPLES
from tests.helpers.images import ALPHA, ALPHA16, RGB, RGB16, X, encoded, notes, opened, profile


def test_types_follow_the_suffix(tmp_path: Path) -> None:
    kinds = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF", "tiff": "TIFF", "bmp": "BMP", "webp": "WEBP"}
    kinds |= {"jp2": "JPEG2000", "j2k": "JPEG2000"}
    for suffix, kind in kinds.items():
        write_image(tmp_path / f"a.{suffix}", X)
        assert opened(tmp_path / f"a.{suffix}").format == kind


def test_jpegs_keep_full_colour_resolution(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", X)
    image = opened(tmp_path / "a.jpg")
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
    reference = Image.open(io.BytesIO(encoded(RGB, "JPEG", quality=95)))
    assert image.quantization == reference.quantization  # type: ignore[attr-defined]


def test_three_equal_channels_stay_rgb(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.full((4, 5, 3), 0.5, np.float32))
    assert opened(tmp_path / "a.png").mode == "RGB"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_values_are_clipped_and_rounded_half_up(tmp_path: Path, dtype: type[np.floating[Any]]) -> None:
    values = np.array([[-3.0, 0.0, 0.4 / 255, 0.5, 0.6 / 255, 254.4 / 255, 1.0, 7.0]], dtype)
    write_image(tmp_path / "a.png", values)
    assert np.asarray(opened(tmp_path / "a.png")).tolist() == [[0, 0, 0, 128, 1, 254, 255, 255]]


@pytest.mark.parametrize("shape", [(9, 3), (9, 4), (3, 9), (1, 1), (1, 1, 3), (9, 3, 1)])
def test_narrow_images_are_not_taken_for_stacks(tmp_path: Path, shape: tuple[int, ...]) -> None:
    write_image(tmp_path / "a.png", np.full(shape, 0.2))
    assert opened(tmp_path / "a.png").size == (shape[1], shape[0])


@pytest.mark.parametrize("x", [np.zeros((2, 2, 4)), np.zeros(3), np.zeros((1, 2, 2, 3)), np.full((2, 2), np.nan)])
def test_arrays_that_are_no_image_are_bugs(tmp_path: Path, x: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected|NaN"):
        write_image(tmp_path / "a.png", x)
    assert os.listdir(tmp_path) == []


def test_a_size_that_the_format_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(LureError, match=r"a\.webp: cannot be written"):
        write_image(tmp_path / "a.webp", np.zeros((1, 16400), np.float32))
    assert os.listdir(tmp_path) == []


DEEP = RGB16 / np.float32(65535)

NOTES = Metadata(profile("RGB"), notes(1))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [None, ALPHA16])
def test_16_bits_are_written_in_full(suffix: str, channels: Any, alpha: np.ndarray | None) -> None:
    x = DEEP[..., :channels]
    picture = read_picture(encode_image(x, suffix, alpha=alpha, bits=16), channels=channels)
    np.testing.assert_array_equal(picture.x, x)
    assert picture.bits == 16 and (picture.alpha is None if alpha is None else np.array_equal(picture.alpha, alpha))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jp2", ".j2k"])
@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_is_written(suffix: str, channels: Any) -> None:
    x = X[..., :channels]
    for alpha in (ALPHA, ALPHA[..., 0], ALPHA.astype(np.float64)):
        picture = read_picture(encode_image(x, suffix, alpha=alpha), channels=channels)
        np.testing.assert_array_equal(picture.x, x)
        assert picture.alpha is not None and np.array_equal(picture.alpha, ALPHA)


def test_16_bits_are_rounded_half_up_too() -> None:
    values = np.array([[-1.0, 0.4 / 65535, 0.6 / 65535, 0.5, 1.0, 2.0]])
    x = read_picture(encode_image(values, ".png", bits=16), channels=1).x
    assert (x[0, :, 0] * 65535).round().tolist() == [0, 0, 1, 32768, 65535, 65535]


@pytest.mark.parametrize("alpha", [np.zeros((12, 16)), np.zeros((12, 17, 3)), np.full((12, 17), np.inf)])
def test_alphas_that_are_none_are_bugs(alpha: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"alpha|infinite"):
        encode_image(X, ".png", alpha=alpha)


@pytest.mark.parametrize(("suffix", "bits"), [(".png", 8), (".png", 16), (".jpg", 8), (".tif", 8), (".webp", 8)])
@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_metadata_is_written(suffix: str, bits: int, alpha: np.ndarray | None) -> None:
    if suffix == ".jpg" and alpha is not None:
        return
    content = encode_image(X, suffix, metadata=NOTES, bits=bits, alpha=alpha)
    image = Image.open(io.BytesIO(content))
    image.load()
    exif = image.getexif()
    assert image.info["icc_profile"] == NOTES.icc and exif[271] == "K?mera" and exif[33432] == "me" and exif[274] == 1
    back = read_picture(content, channels=3)
    assert back.metadata.icc == NOTES.icc and back.metadata.exif is not None
    kept = Image.Exif()
    kept.load(back.metadata.exif)
    assert kept.get_ifd(34853) == {1: "N"} and kept.get_ifd(34665)[33434] == pytest.approx(1 / 50)


def test_a_16_bit_tiff_keeps_profile_and_texts() -> None:
    metadata = read_picture(encode_image(X, ".tif", metadata=NOTES, bits=16), channels=3).metadata
    kept = Image.Exif()
    assert metadata.icc == NOTES.icc and metadata.exif is not None
    kept.load(metadata.exif)
    assert kept[271] == "K?mera" and kept[33432] == "me"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_metadata_that_a_type_does_not_hold_is_left_out(suffix: str) -> None:
    metadata = Metadata(profile("GRAY"), b"Exif\0\0" + bytes(70_000))
    for space, x in (("RGB", X), ("GRAY", X[..., :1])):
        for profile_ in (profile("RGB"), profile("GRAY"), profile("CMYK")):
            content = encode_image(x, suffix, metadata=Metadata(profile_, None))
            icc = read_picture(content, channels=3).metadata.icc
            assert icc in (None, profile_) and (icc is None or icc[16:20].strip().decode() == space)
    if suffix in (".jpg", ".jpeg", ".png"):
        assert read_picture(encode_image(X, suffix, metadata=metadata), channels=3).x.shape == X.shape


def test_pngs_are_small_enough() -> None:
    usual = fast = 0
    for path in EXAMPLES.rglob("*.png"):
        pixels = read_pixels(path)
        usual += len(encoded(pixels.squeeze(), "PNG"))
        fast += len(encode_image(pixels / 255, ".png"))
    assert 0 < fast < 1.15 * usual
