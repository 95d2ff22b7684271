from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from lure_cli.core.images.header import read_header
from lure_cli.core.images.picture import encode_image, read_image, read_picture, read_raw
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
    notes,
    opaque,
    refused,
    same,
    save,
    tiff_file,
)
from tests.helpers.tiffs import GEO, packed_tiff, pages_tiff, palette_tiff, raw_tiff, ycbcr_tiff


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


def test_what_an_uncompressed_tiff_calls_its_length_is_of_no_matter() -> None:
    content = tiff_file(RGB, photometric="rgb")
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        at = tif.pages.first.tags[279].valueoffset
    np.testing.assert_array_equal(levels(content[:at] + b"\xff\xff" + content[at + 2 :]), RGB)
    with pytest.raises(LureError, match="cut short"):
        read_picture(content[:-1], channels=3)


def test_sparse_and_lossless_files_are_refused_in_true_words() -> None:
    tiles = tiff_file(np.tile(GREY, (3, 3)), tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(io.BytesIO(tiles)) as tif:
        places = [tif.pages.first.tags[code] for code in (324, 325)]
        holes = [(tag.valueoffset, {3: 2, 4: 4}[tag.dtype]) for tag in places]
    for at, width in holes:
        tiles = tiles[:at] + bytes(width) + tiles[at + width :]
    with pytest.raises(LureError, match="sparse"):
        read_picture(tiles, channels=1)
    strip = bytes(imagecodecs.ljpeg_encode(GREY))
    head = {256: (4, 17), 257: (4, 12), 258: (3, 8), 259: (3, 7), 262: (3, 1), 277: (3, 1), 278: (4, 12)}
    with pytest.raises(LureError, match="lossless JPEG"):
        read_picture(raw_tiff(head, [strip]), channels=1)


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


def by_libtiff(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def levels(content: bytes) -> np.ndarray:
    return (read_picture(content, channels=3).x * 255).round().astype(int)


RAMP = np.linspace(20, 230, 50 * 70).reshape(50, 70)
YCBCR = np.dstack([RAMP, RAMP[::-1], RAMP[:, ::-1]]).astype(np.uint8)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2), (4, 4)])
@pytest.mark.parametrize(
    "tags", [{}, {"reference": (15, 235, 128, 240, 128, 240)}, {"coefficients": (0.2125, 0.7154, 0.0721)}]
)
def test_ycbcr_is_read_as_libtiff_does(subsampling: tuple[int, int], tags: dict[str, Any]) -> None:
    content = ycbcr_tiff(YCBCR, subsampling, compression=32773, rows=16, **tags)
    difference = np.abs(levels(content) - by_libtiff(content))  # which cuts Y, Cb and Cr to whole numbers on its way
    assert difference.max() <= (3 if "reference" in tags else 1) and difference.mean() < 1
    np.testing.assert_array_equal(levels(ycbcr_tiff(YCBCR, subsampling, rows=24, **tags)), levels(content))


def test_black_and_white_of_a_ycbcr_tiff() -> None:
    grey = np.full((8, 8, 3), 128, np.uint8)
    grey[:4, :, 0], grey[4:, :, 0] = 16, 235
    x = levels(ycbcr_tiff(grey, (2, 2), reference=(16, 235, 128, 240, 128, 240)))
    assert (x[:4] == 0).all() and (x[4:] == 255).all()
    with pytest.raises(LureError, match="make no sense"):
        read_picture(ycbcr_tiff(grey, (1, 1), reference=(16, 16, 128, 240, 128, 240)), channels=3)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
@pytest.mark.parametrize("top", [255, 65535])
def test_palettes_of_any_depth_and_of_8_bit_maps(bits: int, top: int) -> None:
    index = np.arange(24 * 19).reshape(24, 19) % 2**bits
    up = np.rint(np.arange(2**bits) * (top / (2**bits - 1))).astype(int)
    colours = np.stack([up, up[::-1], up * 3 % (top + 1)], axis=1) >> (0 if top == 255 else 8)
    np.testing.assert_array_equal(levels(palette_tiff(bits, top)), colours[index])


def test_a_subsampling_that_is_missing_or_means_nothing() -> None:
    head = {256: (4, 16), 257: (4, 12), 258: (3, [8] * 3), 259: (3, 1), 262: (3, 2), 277: (3, 3), 278: (4, 12)}
    rgb = np.ascontiguousarray(RGB[:, :16])
    np.testing.assert_array_equal(levels(raw_tiff(head | {530: (3, [2, 2])}, [rgb.tobytes()])), rgb)
    flat = bytes([90, 90, 90, 90, 128, 128]) * (8 * 6)
    assert (levels(raw_tiff(head | {262: (3, 6)}, [flat])) == 90).all()


def test_a_palette_with_alpha() -> None:
    index = np.dstack([GREY, GREY.T.reshape(GREY.shape)])
    head = {256: (4, 17), 257: (4, 12), 258: (3, [8, 8]), 259: (3, 1), 262: (3, 3), 277: (3, 2), 278: (4, 12)}
    ramp = np.arange(256) * 257
    content = raw_tiff(head | {284: (3, 1), 338: (3, 2), 320: (3, [*ramp, *ramp[::-1], *ramp])}, [index.tobytes()])
    same(read_picture(content, channels=3), np.dstack([GREY, 255 - GREY, GREY, index[..., 1]]))


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15])
@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"fill": 2}, {"compression": 5}, {"compression": 8}])
@pytest.mark.parametrize("channels", [1, 3])
def test_packed_bits(tmp_path: Path, bits: int, options: dict[str, Any], channels: int) -> None:
    image = RNG.integers(0, 2**bits, (12, 17, channels))
    (tmp_path / "a.tif").write_bytes(packed_tiff(image, bits, **options))
    np.testing.assert_array_equal(read_raw(tmp_path / "a.tif"), image)
    assert read_header(tmp_path / "a.tif").bits == bits


def test_packed_bits_whose_white_is_zero(tmp_path: Path) -> None:
    image = RNG.integers(0, 4096, (12, 17, 1))
    (tmp_path / "a.tif").write_bytes(packed_tiff(image, 12, photometric=0))
    np.testing.assert_array_equal(read_raw(tmp_path / "a.tif"), 4095 - image)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7])
def test_few_bits_fill_eight(bits: int) -> None:
    image = RNG.integers(0, 2**bits, (12, 17, 3))
    np.testing.assert_array_equal(levels(packed_tiff(image, bits)), np.rint(image * 255 / (2**bits - 1)))


@pytest.mark.parametrize("options", [{"rowsperstrip": 16}, {"tile": (16, 32)}])
def test_cmyk_in_jpegs(options: dict[str, Any]) -> None:
    flat = np.full((40, 50, 3), (200, 100, 50), np.uint8)
    cmyk = np.asarray(Image.fromarray(flat).convert("CMYK"))
    content = tiff_file(cmyk, photometric="separated", compression="jpeg", **options)
    np.testing.assert_allclose(read_picture(content, channels=3).x * 255, flat, atol=4)


@pytest.mark.parametrize(
    "pages",
    [
        [(0, RGB), (1, RGB[::2, ::2]), (1, RGB[::4, ::4])],  # overviews
        [(1, RGB[::2, ::2]), (0, RGB)],  # a thumbnail first
        [(0, RGB), (4, GREY)],  # a mask
        [(0, RGB), (1, RGB[::2, ::2]), (4, GREY), (5, GREY[::2, ::2])],
        [(1, RGB)],  # an overview on its own
    ],
)
def test_overviews_thumbnails_and_masks_are_passed_over(pages: list[tuple[int, np.ndarray]]) -> None:
    np.testing.assert_array_equal(levels(pages_tiff(*pages)), RGB)


def test_the_picture_may_be_a_sub_page() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as tif:
        tif.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        tif.write(RGB, photometric="rgb", metadata=None)
    np.testing.assert_array_equal(levels(buffer.getvalue()), RGB)


def test_several_pictures_are_refused() -> None:
    stack = np.stack([GREY16] * 3)
    contents = [
        pages_tiff((0, RGB), (1, RGB[::2, ::2]), (0, RGB)),
        tiff_file(stack, imagej=True),
        tiff_file(stack, photometric="minisblack", truncate=True),
        tiff_file(stack, photometric="minisblack", ome=True),
    ]
    one_directory = bytearray(contents[1])  # as ImageJ writes stacks of over 4 GiB
    with tifffile.TiffFile(io.BytesIO(contents[1])) as tif:
        page = tif.pages.first
        end = page.offset + 2 + 12 * len(page.tags)
    one_directory[end : end + 4] = bytes(4)
    for content in (*contents, bytes(one_directory)):
        with pytest.raises(LureError, match=r"holds [23] frames or pages"):
            read_picture(content, channels=1)


def test_one_picture_with_the_description_of_a_stack_is_read(tmp_path: Path) -> None:
    note = "ImageJ=1.53\nimages=3\nframes=3\n"
    tifffile.imwrite(tmp_path / "a.tif", GREY16, description=note, metadata=None)
    np.testing.assert_array_equal(read_raw(tmp_path / "a.tif")[..., 0], GREY16)


@pytest.mark.parametrize(
    ("make", "tags", "name"), [("NIKON CORPORATION", [], "NEF"), ("Any", [(50706, 1, 4, b"\1\4\0\0", True)], "DNG")]
)
def test_raw_files_of_cameras_are_refused_by_name(tmp_path: Path, make: str, tags: list[Any], name: str) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        extra = [*tags, (271, 2, 0, make, True)]
        tif.write(RGB, photometric="rgb", subfiletype=1, subifds=1, metadata=None, extratags=extra)
        tif.write(GREY16, photometric="cfa", metadata=None)
    error = refused(tmp_path / "a.tif")
    assert f"raw file ({name})" in error.message and "develop" in error.hint
    with pytest.raises(LureError, match="raw file"):
        read_header(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("exif", [None, notes(1)])
def test_a_georeference_goes_into_a_tiff(bits: int, exif: bytes | None) -> None:
    picture = read_picture(tiff_file(RGB, photometric="rgb", extratags=GEO), channels=3)
    metadata = replace(picture.metadata, exif=exif)
    content = encode_image(picture.x, ".tif", metadata=metadata, bits=bits)
    assert read_picture(content, channels=3).metadata.georeference == metadata.georeference
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        tags = tif.pages.first.tags
        for code, kind, _, value, _ in GEO:
            assert tags[code].dtype == kind
            assert tags[code].value == (value.decode().rstrip("\0") if isinstance(value, bytes) else value)
        assert (271 in tags) == (exif is not None)


def test_a_georeference_that_no_longer_holds_is_left_out() -> None:
    turned = tiff_file(RGB, photometric="rgb", extratags=[*GEO, (274, 3, 1, 6, True)])
    damaged = tiff_file(RGB, photometric="rgb", extratags=[(33550, 3, 3, (1, 1, 0), True)])
    for content in (turned, damaged):
        picture = read_picture(content, channels=3)
        assert picture.metadata.georeference == {}
        again = read_picture(encode_image(picture.x, ".tif", metadata=picture.metadata), channels=3)
        assert again.metadata.georeference is None
