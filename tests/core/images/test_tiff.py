from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from lure_cli.core.images.picture import read_image, read_picture
from lure_cli.errors import LureError
from tests.helpers.images import (
    GREY,
    GREY16,
    RGB,
    RGB16,
    RGBA,
    RGBA16,
    RNG,
    encoded,
    opaque,
    refused,
    same,
    save,
    tiff_file,
)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}])
def test_16_bit_grey_uses_the_full_range(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    path = save(tmp_path / name, GREY16, **options)
    np.testing.assert_array_equal(read_image(path, channels=1)[..., 0], GREY16 / np.float32(65535))


@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "rgb"},
        {"photometric": "rgb", "compression": "zlib"},
        {"photometric": "rgb", "byteorder": ">"},
        {"photometric": "rgb", "tile": (16, 16)},
        {"photometric": "rgb", "bigtiff": True},
    ],
)
@pytest.mark.parametrize("image", [RGB, RGB16])
def test_colour_tiffs(tmp_path: Path, image: np.ndarray, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", image, **options)
    top = np.float32(np.iinfo(image.dtype).max)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", channels=3), image / top)


def test_a_tiff_with_separate_planes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB16.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", channels=3), RGB16 / np.float32(65535))


@pytest.mark.parametrize("image", [GREY, GREY16])
def test_a_tiff_whose_white_is_zero_is_inverted(tmp_path: Path, image: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="miniswhite")
    top = np.iinfo(image.dtype).max
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", channels=1)[..., 0], (top - image) / np.float32(top))


@pytest.mark.parametrize("image", [GREY, GREY16, RGB, RGB16])
def test_opaque_alpha_in_a_tiff_is_dropped(tmp_path: Path, image: np.ndarray) -> None:
    photometric = "rgb" if image.ndim == 3 else "minisblack"
    extra: dict[str, Any] = {"photometric": photometric, "planarconfig": "contig", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(tmp_path / "a.tif", opaque(image), **extra)
    x = read_image(tmp_path / "a.tif", channels=3 if image.ndim == 3 else 1)
    np.testing.assert_array_equal(np.squeeze(x), image / np.float32(np.iinfo(image.dtype).max))


@pytest.mark.parametrize("image", [RGB, RGB16])
def test_transparent_tiffs_are_refused(tmp_path: Path, image: np.ndarray) -> None:
    seen = opaque(image)
    seen[3, 4, 3] = 0
    tifffile.imwrite(tmp_path / "a.tif", seen, photometric="rgb", extrasamples=["unassalpha"])
    assert "transparent" in refused(tmp_path / "a.tif").message


def test_other_tiff_layouts_are_refused(tmp_path: Path) -> None:
    five = RNG.integers(0, 255, (9, 9, 5), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "five.tif", five, photometric="minisblack", planarconfig="contig")
    assert "5 channels" in refused(tmp_path / "five.tif").message
    tifffile.imwrite(tmp_path / "cmyk.tif", np.dstack([RGB16, GREY16]), photometric="separated")
    assert "16 bits" in refused(tmp_path / "cmyk.tif").message


@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
@pytest.mark.parametrize(
    "options", [{}, {"rowsperstrip": 8}, {"tile": (16, 16)}, {"compression": "zlib", "rowsperstrip": 8}]
)
def test_tiffs_that_are_cut_short_are_refused(tmp_path: Path, options: dict[str, Any], share: float) -> None:
    whole = io.BytesIO()
    tifffile.imwrite(whole, np.tile(RGB16, (6, 4, 1)), photometric="rgb", **options)
    (tmp_path / "a.tif").write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * share)])
    refused(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "packbits", "lzma"])
@pytest.mark.parametrize("image", [RGB, RGB16, RGBA16])
def test_compressed_tiffs(compression: str, image: np.ndarray) -> None:
    extra: dict[str, Any] = {"extrasamples": ["unassalpha"]} if image.shape[2] == 4 else {}
    for predictor in (False, True) if compression != "packbits" else (False,):
        options = {"photometric": "rgb", "compression": compression, "predictor": predictor, "rowsperstrip": 5}
        same(read_picture(tiff_file(image, **options, **extra), channels=3), image)


@pytest.mark.parametrize("options", [{"rowsperstrip": 16}, {"tile": (16, 32)}])
@pytest.mark.parametrize("photometric", ["rgb", "ycbcr", "minisblack"])
def test_tiffs_of_jpegs(photometric: str, options: dict[str, Any]) -> None:
    ramp = np.linspace(20, 230, 50 * 70).reshape(50, 70).astype(np.uint8)
    image = ramp if photometric == "minisblack" else np.dstack([ramp, ramp[::-1], ramp[:, ::-1]])
    content = tiff_file(image, photometric=photometric, compression="jpeg", compressionargs={"level": 95}, **options)
    x = read_picture(content, channels=3 if image.ndim == 3 else 1).x
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        expected = tif.asarray().reshape(x.shape)  # also: YCbCr becomes RGB
    np.testing.assert_array_equal(x, expected / np.float32(255))
    if photometric != "ycbcr":
        assert np.abs(expected - image.reshape(x.shape).astype(float)).mean() < 2
    with pytest.raises(LureError):
        read_picture(content[: len(content) * 2 // 3], channels=3)


def test_a_tiff_of_jpegs_by_libtiff() -> None:
    content = encoded(RGB, "TIFF", compression="jpeg", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(read_picture(content, channels=3).x, expected / np.float32(255))


def test_a_ycbcr_tiff_without_jpeg() -> None:
    buffer = io.BytesIO()
    Image.fromarray(RGB).convert("YCbCr").save(buffer, "TIFF")
    np.testing.assert_allclose(read_picture(buffer.getvalue(), channels=3).x * 255, RGB, atol=3)


def test_fax_and_other_codecs_inside_a_tiff_are_refused() -> None:
    for content in (encoded(GREY > 99, "TIFF", compression="group4"), tiff_file(RGB, compression="jpegxl")):
        with pytest.raises(LureError, match="unsupported compression") as caught:
            read_picture(content, channels=3)
        assert "uncompressed" in caught.value.hint


def test_associated_alpha_is_taken_out_of_the_colour() -> None:
    colour, alpha = np.full((4, 4, 3), (100, 50, 25), np.uint8), np.full((4, 4, 1), 128, np.uint8)
    alpha[0, 0], colour[0, 0] = 0, 0
    content = tiff_file(np.dstack([colour, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(content, channels=3)
    assert (picture.x[1, 1] * 255).round().tolist() == [199, 100, 50] and not picture.x[0, 0].any()
    assert picture.alpha is not None and picture.alpha[0, 0] == 0 and picture.alpha[1, 1] == np.float32(128 / 255)


def test_a_fourth_channel_of_unknown_meaning_is_refused() -> None:
    with pytest.raises(LureError, match="fourth channel"):
        read_picture(tiff_file(RGBA, photometric="rgb", extrasamples=["unspecified"]), channels=3)


def test_segments_of_a_tiff_that_are_missing_are_not_made_up() -> None:
    content = tiff_file(GREY16, compression="zlib", rowsperstrip=4)
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        tag = tif.pages.first.tags[279]
        where = tag.valueoffset
    for hole in (b"\0\0\0\0", b"\xff\xff\xff\x7f"):
        with pytest.raises(LureError, match="cut short"):
            read_picture(
                content[:where] + hole[: 4 if tag.dtype == 4 else 2] + content[where + len(hole) :], channels=1
            )


def test_a_tiff_of_unknown_planes_is_refused() -> None:
    """Else one plane is read, and the others are whatever the memory held."""
    content = tiff_file(RGB.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate")
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        at = tif.pages.first.tags["PlanarConfiguration"].offset
    content = content[: at + 4] + bytes(4) + content[at + 8 :]  # no values
    with pytest.raises(LureError, match="damaged"):
        read_picture(content, channels=3)


def test_tifffile_keeps_quiet_about_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0\xff\xff\0\0")
    with caplog.at_level(logging.WARNING):
        refused(tmp_path / "a.tif")
    assert not caplog.records
