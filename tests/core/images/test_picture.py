from __future__ import annotations

import io
import logging
import os
import re
import struct
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps
from PIL.TiffImagePlugin import IFDRational

from lure_cli.core.images.formats import SUFFIXES, check_output, has_image_suffix
from lure_cli.core.images.picture import (
    Metadata,
    Picture,
    encode_image,
    read_image,
    read_picture,
    read_pixels,
    write_image,
)
from lure_cli.core.images.value_range import ValueRange, parse_range
from lure_cli.errors import LureError
from tests.helpers.files import EXAMPLES

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (12, 17, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (12, 17), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (12, 17, 3), dtype=np.uint16)
GREY16 = RNG.integers(0, 65536, (12, 17), dtype=np.uint16)


def save(path: Path, image: np.ndarray | Image.Image, **options: Any) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def png(width: int, height: int, depth: int, colour: int, rows: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(tags: dict[int, int]) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)


def encoded(image: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def opened(path: Path) -> Image.Image:
    """As Pillow sees it, from memory: by name it leaves some TIFFs (uncompressed palette and grey) unrotated."""
    return Image.open(io.BytesIO(path.read_bytes()))


def luma(rgb: np.ndarray) -> np.ndarray:
    return (rgb.astype(float) @ [0.299, 0.587, 0.114])[..., None]


# --- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp", ".webp", ".PNG"])
def test_reads_8_bit_colour_exactly(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", RGB, **({"lossless": True} if suffix == ".webp" else {}))
    x = read_image(path, channels=3)
    assert x.dtype == np.float32 and x.shape == (12, 17, 3) and x.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(x, RGB / np.float32(255))
    np.testing.assert_allclose(read_image(path, channels=1), luma(RGB) / 255, atol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg"])
def test_reads_8_bit_grey(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", GREY)
    expected = np.asarray(opened(path))[..., None] / np.float32(255)
    np.testing.assert_array_equal(read_image(path, channels=1), expected)
    np.testing.assert_array_equal(read_image(path, channels=3), np.repeat(expected, 3, axis=2))


def test_every_equal_triple_keeps_its_exact_value_as_luma(tmp_path: Path) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([ramp] * 3, axis=2), photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", channels=1)[..., 0], ramp / np.float32(65535))


def test_a_grey_jpeg_stored_in_three_channels_stays_grey(tmp_path: Path) -> None:
    path = save(tmp_path / "thermal.jpg", np.stack([GREY] * 3, axis=2))
    colour = read_image(path, channels=3)
    np.testing.assert_array_equal(colour, np.repeat(colour[..., :1], 3, axis=2))
    np.testing.assert_array_equal(read_image(path, channels=1), colour[..., :1])


def test_the_content_rules_over_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(RGB, "PNG"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg", channels=3), RGB / np.float32(255))


@pytest.mark.parametrize("name", ["größe 图像.png", "a b.zip", "~", "café\u0301.jpg"])
def test_unusual_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded(RGB, "PNG"))
    assert read_image(tmp_path / name, channels=3).shape == (12, 17, 3)


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


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_palettes_and_bilevel_images(tmp_path: Path, suffix: str) -> None:
    palette = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
    expected = np.asarray(palette.convert("RGB")) / np.float32(255)
    np.testing.assert_array_equal(read_image(save(tmp_path / f"p{suffix}", palette), channels=3), expected)
    bits = Image.fromarray(GREY > 127)
    x = read_image(save(tmp_path / f"b{suffix}", bits), channels=1)
    np.testing.assert_array_equal(x[..., 0], (GREY > 127).astype(np.float32))


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_becomes_rgb(tmp_path: Path, suffix: str) -> None:
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    path = save(tmp_path / f"a{suffix}", Image.fromarray(flat).convert("CMYK"))
    np.testing.assert_allclose(read_image(path, channels=3) * 255, flat, atol=3)


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


def test_the_main_image_of_a_jpeg_with_previews_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path, "MPO", save_all=True, append_images=[Image.fromarray(RGB[:4, :4])])
    assert opened(path).format == "MPO"
    assert read_image(path, channels=3).shape == (12, 17, 3)


def opaque(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, np.full(image.shape[:2], np.iinfo(image.dtype).max, image.dtype)])


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_opaque_alpha_is_dropped(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", opaque(RGB), **({"lossless": True} if suffix == ".webp" else {}))
    np.testing.assert_array_equal(read_image(path, channels=3), RGB / np.float32(255))


@pytest.mark.parametrize("image", [GREY, GREY16, RGB, RGB16])
def test_opaque_alpha_in_a_tiff_is_dropped(tmp_path: Path, image: np.ndarray) -> None:
    photometric = "rgb" if image.ndim == 3 else "minisblack"
    extra: dict[str, Any] = {"photometric": photometric, "planarconfig": "contig", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(tmp_path / "a.tif", opaque(image), **extra)
    x = read_image(tmp_path / "a.tif", channels=3 if image.ndim == 3 else 1)
    np.testing.assert_array_equal(np.squeeze(x), image / np.float32(np.iinfo(image.dtype).max))


def test_a_palette_with_an_opaque_transparency_table_is_read(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
    assert read_image(save(tmp_path / "a.png", palette, transparency=b"\xff" * 256), channels=3).shape == (12, 17, 3)


# --- refusals ------------------------------------------------------------------------------------------------------


def refused(path: Path, **options: Any) -> LureError:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LureError) as caught:
            read_image(path, channels=3, **options)
    assert str(path) in caught.value.message
    assert caught.value.message.count(str(path)) == 1
    assert caught.value.hint
    return caught.value


BIG = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
PNG, JPEG, WEBP, BMP = (encoded(BIG, kind) for kind in ("PNG", "JPEG", "WEBP", "BMP"))
TIFF = encoded(BIG, "TIFF")
# The width holds two numbers; times the height they would be a sequence of that many.
PAIR_OF_WIDTHS = tiff({256: 8, 257: 2**31 - 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 1}).replace(
    struct.pack("<HHII", 256, 4, 1, 8), struct.pack("<HHIHH", 256, 3, 2, 8, 8)
)
HUGE_TIFF = tiff({256: 100_000, 257: 100_000, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 100_000, 279: 1})


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.png", b"", "empty"),
        ("text.png", b"this is no image\n" * 20, "no image"),
        ("text.tif", b"this is no image\n" * 20, "no image"),
        ("one.jpg", b"\xff", "no image"),
        ("half.png", PNG[: len(PNG) // 2], "cut short"),
        ("half.jpg", JPEG[: len(JPEG) // 2], "cut short"),
        ("half.webp", WEBP[: len(WEBP) // 2], ""),
        ("half.bmp", BMP[: len(BMP) // 2], "cut short"),
        ("half.tif", TIFF[: len(TIFF) // 2], ""),
        ("header.png", PNG[:30], ""),
        ("header.jpg", JPEG[:30], ""),
        ("magic.png", PNG[:8], ""),
        ("magic.tif", b"II*\0", "damaged"),
        ("magic_be.tif", b"MM\0*", "damaged"),
        ("pages.tif", b"II*\0\xff\xff\0\0", "damaged"),
        ("bits.png", PNG[:300] + bytes(b ^ 255 for b in PNG[300:400]) + PNG[400:], "damaged"),
        ("flat.png", png(0, 4, 8, 2), "no image"),
        ("flat.tif", tiff({256: 8, 257: 0, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 1}), "no pixels"),
        ("gif.png", encoded(GREY, "GIF"), "no image"),
        ("pair_of_widths.tif", PAIR_OF_WIDTHS, "damaged"),
        ("huge.png", png(100_000, 100_000, 8, 2), "100000 x 100000"),
        ("huge.tif", HUGE_TIFF, "100000 x 100000"),
        ("deep_rgb.png", png(2, 2, 16, 2, b"\0" * 25), "cut short"),
        ("deep_la.png", png(2, 2, 16, 4, b"\0" * 17), "cut short"),
        ("deep_rgba.png", png(2, 2, 16, 6, b"\0" * 33), "cut short"),
        ("deep_filter.png", png(2, 2, 16, 2, b"\x09" * 26), "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in refused(tmp_path / name).message


@pytest.mark.parametrize("content", [png(60_000, 60_000, 8, 2), HUGE_TIFF, PAIR_OF_WIDTHS], ids=["png", "tiff", "pair"])
def test_huge_dimensions_are_refused_before_memory_is_taken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    refused(tmp_path / "a")  # imports what the measured call needs
    tracemalloc.start()
    refused(tmp_path / "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_the_limit_counts_pixels(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, RGB)
    assert read_image(path, channels=3, max_pixels=12 * 17).shape == (12, 17, 3)
    assert "17 x 12" in refused(path, max_pixels=12 * 17 - 1).message


@pytest.mark.parametrize("limit", [150, 10])  # Pillow warns above its limit and fails above twice that
def test_pillows_own_limit_does_not_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    path = save(tmp_path / "a.png", RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path, channels=3).shape == (12, 17, 3)
    assert limit == Image.MAX_IMAGE_PIXELS


def animation(path: Path) -> Path:
    frames = [Image.fromarray(np.full((8, 8, 3), v, np.uint8)) for v in (0, 90, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_several_frames_are_refused(tmp_path: Path, suffix: str) -> None:
    error = refused(animation(tmp_path / f"a{suffix}"))
    assert "3 frames" in error.message and "one frame" in error.hint


@pytest.mark.parametrize("image", [RGB, RGB16])
def test_transparent_tiffs_are_refused(tmp_path: Path, image: np.ndarray) -> None:
    seen = opaque(image)
    seen[3, 4, 3] = 0
    tifffile.imwrite(tmp_path / "a.tif", seen, photometric="rgb", extrasamples=["unassalpha"])
    assert "transparent" in refused(tmp_path / "a.tif").message


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_transparent_images_are_refused(tmp_path: Path, suffix: str) -> None:
    seen = opaque(RGB)
    seen[3, 4, 3] = 254
    assert "transparent" in refused(save(tmp_path / f"a{suffix}", seen)).message


@pytest.mark.parametrize(("image", "key"), [(GREY, int(GREY[0, 0])), (GREY16, int(GREY16[0, 0]))])
def test_transparent_colour_keys_are_refused(tmp_path: Path, image: np.ndarray, key: int) -> None:
    assert "transparent" in refused(save(tmp_path / "a.png", image, transparency=key)).message


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.uint32, np.int32, np.int16, np.int8])
def test_numbers_of_unknown_range_are_not_measured(tmp_path: Path, kind: type[np.generic]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(kind))
    error = refused(tmp_path / "a.tif")
    assert "range" in error.message and "16-bit" in error.hint


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


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.png").message
    assert "folder" in refused(tmp_path).message
    (tmp_path / "file").touch()
    assert "no such file" in refused(tmp_path / "file" / "a.png").message
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    refused(tmp_path / "loop.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a regular file" in refused(tmp_path / "pipe.png").message


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = save(tmp_path / "a.png", RGB)
    monkeypatch.setattr(Path, "open", deny)
    assert "Permission denied" in refused(path).message


def test_damaged_files_raise_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    deep = io.BytesIO()
    tifffile.imwrite(deep, RGB16, photometric="rgb", compression="zlib")
    path = tmp_path / "a"
    for whole in (PNG, JPEG, WEBP, BMP, TIFF, deep.getvalue()):
        for _ in range(40):
            broken = bytearray(whole)
            for at in rng.integers(0, min(len(whole), 400), 4):
                broken[at] = rng.integers(256)
            path.write_bytes(broken)
            with warnings.catch_warnings(action="ignore"):
                try:
                    x = read_image(path, channels=1, max_pixels=100_000)
                except LureError:
                    continue
            assert x.dtype == np.float32 and x.shape[2] == 1 and x.min() >= 0 and x.max() <= 1


# --- pictures for fusing -------------------------------------------------------------------------------------------

RGBA = np.dstack([RGB, GREY])
RGBA16 = np.dstack([RGB16, GREY16])
FULL, AUTO = ValueRange("full"), ValueRange("auto")


def tiff_file(image: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, **options)
    return buffer.getvalue()


def same(picture: Picture, stored: np.ndarray) -> None:
    """Colour and alpha are these stored numbers, over their full range, to the last bit."""
    x = (stored if stored.ndim == 3 else stored[..., None]) / np.float32(np.iinfo(stored.dtype).max)
    transparent = x.shape[2] in (2, 4)
    np.testing.assert_array_equal(picture.x, x[..., :-1] if transparent else x)
    assert picture.x.dtype == np.float32 and picture.bits == 8 * stored.dtype.itemsize
    if transparent:
        assert picture.alpha is not None and picture.alpha.dtype == np.float32
        np.testing.assert_array_equal(picture.alpha, x[..., -1:])
    else:
        assert picture.alpha is None


@pytest.mark.parametrize("image", [GREY16, np.dstack([GREY16, GREY16[::-1]]), RGB16, RGBA16])
def test_16_bit_pngs_are_read_in_full(image: np.ndarray) -> None:
    same(read_picture(imagecodecs.png_encode(image), channels=3 if image.shape[-1] in (3, 4) else 1), image)


def test_an_interlaced_16_bit_png_is_read_in_full() -> None:
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = b"".join(b"\0" + r.astype(">u2").tobytes() for x, y, dx, dy in steps for r in RGB16[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", 17, 12, 16, 2, 0, 0, 1)
    plain = png(17, 12, 16, 2, rows)
    content = plain.replace(plain[16:29], header).replace(plain[29:33], struct.pack(">I", zlib.crc32(b"IHDR" + header)))
    same(read_picture(content, channels=3), RGB16)


@pytest.mark.parametrize("image", [GREY16, RGB16])
def test_the_transparent_colour_of_a_16_bit_png(image: np.ndarray) -> None:
    whole = imagecodecs.png_encode(image)
    key = struct.pack(f">{image[0, 0].size}H", *image[0, 0].reshape(-1).tolist())
    chunk = struct.pack(">I", len(key)) + b"tRNS" + key + struct.pack(">I", zlib.crc32(b"tRNS" + key))
    picture = read_picture(whole[:33] + chunk + whole[33:], channels=3)
    assert picture.alpha is not None and picture.alpha.sum() == picture.alpha.size - 1 and picture.alpha[0, 0] == 0


@pytest.mark.parametrize("image", [GREY, RGB, np.dstack([GREY, GREY[::-1]]), RGBA])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000", "WEBP"])
def test_8_bits_with_and_without_alpha(kind: str, image: np.ndarray) -> None:
    if kind == "WEBP" and image.shape[-1] not in (3, 4):
        return  # it has no grey
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    same(read_picture(encoded(image, kind, **options), channels=3 if image.shape[-1] in (3, 4) else 1), image)


@pytest.mark.parametrize("image", [RGB16, RGBA16])
def test_16_bit_jpeg2000(image: np.ndarray) -> None:
    for codec in ("jp2", "j2k"):
        same(
            read_picture(imagecodecs.jpeg2k_encode(image, level=0, reversible=True, codecformat=codec), channels=3),
            image,
        )
    same(read_picture(encoded(GREY16, "JPEG2000"), channels=1), GREY16)


def test_jpeg2000_of_other_numbers_is_refused() -> None:
    twelve = imagecodecs.jpeg2k_encode(GREY16 >> 4, level=0, reversible=True, bitspersample=12)
    with pytest.raises(LureError, match="8 or 16 bits"):
        read_picture(twelve, channels=1)


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


def profile(space: str) -> bytes:
    if space == "RGB":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made = bytearray(profile("RGB"))
    made[16:20] = f"{space:<4}".encode()
    return bytes(made)


def notes(orientation: int = 6) -> bytes:
    exif = Image.Exif()
    exif[271], exif[33432], exif[274], exif[282] = "K\xe4mera", "me", orientation, 72.0
    exif[34665] = {33434: IFDRational(1, 50), 40962: 17, 40963: 12, 37500: b"maker"}
    exif[34853] = {1: "N"}
    return exif.tobytes()


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


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    def convert(image: Image.Image, source: ImageCms.ImageCmsProfile, *_: Any, **__: Any) -> Image.Image:
        used.append(source.tobytes())
        return Image.new("RGB", image.size, (1, 2, 3))

    flat = Image.fromarray(np.full((16, 16, 3), (200, 100, 50), np.uint8)).convert("CMYK")
    buffer = io.BytesIO()
    flat.save(buffer, kind, icc_profile=profile("CMYK"))
    damaged = read_picture(buffer.getvalue(), channels=3)  # it is none, but calls itself one: as without
    np.testing.assert_allclose(damaged.x[0, 0] * 255, (200, 100, 50), atol=3)
    assert damaged.metadata.icc is None
    monkeypatch.setattr(ImageCms, "profileToProfile", convert)
    picture = read_picture(buffer.getvalue(), channels=3)
    assert (picture.x[3, 3] * 255).round().tolist() == [1, 2, 3] and picture.metadata.icc is None
    assert used == [profile("CMYK")]


def test_colour_is_what_the_pixels_show() -> None:
    assert read_picture(encoded(RGB, "PNG"), channels=1).colour
    for grey in (GREY, np.stack([GREY] * 3, axis=2)):
        assert not read_picture(encoded(grey, "PNG"), channels=3).colour


def test_what_errors_call_the_source(tmp_path: Path) -> None:
    for name, start in ((None, "standard input: "), ("-", "-: ")):
        with pytest.raises(LureError) as caught:
            read_picture(b"no image", channels=3, name=name)
        assert caught.value.message.startswith(start)
    with pytest.raises(LureError, match=r"none\.png: no such file"):
        read_picture(tmp_path / "none.png", channels=3)


# --- value ranges --------------------------------------------------------------------------------------------------


def thermal(low: float, high: float, kind: type[np.generic]) -> np.ndarray:
    """A ramp between two numbers, of 400 pixels."""
    return np.linspace(low, high, 400).astype(kind).reshape(20, 20)


def mapped(image: np.ndarray, value_range: ValueRange | None) -> Picture:
    picture = read_picture(tiff_file(image), channels=1, value_range=value_range)
    assert picture.x.dtype == np.float32 and picture.x.shape == (*image.shape, 1)
    return picture


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", ValueRange("auto")),
        (" Full ", ValueRange("full")),
        ("percentile", ValueRange("percentile", 0.5, 99.5)),
        ("percentile:1,99", ValueRange("percentile", 1, 99)),
        ("percentile:0,100", ValueRange("percentile", 0, 100)),
        ("7000,9000", ValueRange("values", 7000, 9000)),
        ("-20.5, 4e1", ValueRange("values", -20.5, 40)),
    ],
)
def test_ranges_are_parsed(text: str, expected: ValueRange) -> None:
    assert parse_range(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "1", "1,2,3", "2,1", "1,1", "nan,1", "0,inf", "percentile:", "percentile:-1,5", "percentile:1,101"],
)
def test_other_ranges_are_refused(text: str) -> None:
    with pytest.raises(LureError, match="value range") as caught:
        parse_range(text)
    assert f"'{text}'" in caught.value.message and "MIN,MAX" in caught.value.hint


def test_auto_leaves_what_fills_its_range() -> None:
    for image in (thermal(100, 110, np.uint8), thermal(9000, 40000, np.uint16), thermal(0.25, 0.5, np.float32)):
        picture = mapped(image, AUTO)
        top = 1 if image.dtype.kind == "f" else np.iinfo(image.dtype).max
        np.testing.assert_array_equal(picture.x[..., 0], image / np.float32(top))
        assert picture.mapping is None


@pytest.mark.parametrize(
    ("kind", "low", "high", "name", "bits"),
    [
        (np.uint16, 7100, 9230, "16 bits", 16),
        (np.int16, -300, 1200, "16 signed bits", 16),
        (np.uint32, 70_000, 90_000, "32 bits", 32),
        (np.int32, -70_000, 90_000, "32 signed bits", 32),
        (np.float32, -12.5, 41.25, "floats", 32),
        (np.float64, 1e9, 1e9 + 1, "floats", 32),
    ],
)
def test_auto_spreads_percentiles(kind: type[np.generic], low: float, high: float, name: str, bits: int) -> None:
    image = thermal(low, high, kind)
    picture = mapped(image, AUTO)
    a, b = np.percentile(image.astype(np.float64), (0.5, 99.5))
    np.testing.assert_allclose(picture.x[..., 0], np.clip((image - a) / (b - a), 0, 1), atol=2e-6)
    assert picture.mapping == f"{a:.7g}..{b:.7g} of {name} -> 0..1 (percentiles 0.5 and 99.5)"
    assert picture.bits == bits and picture.x.min() == 0 and picture.x.max() == 1
    again = mapped(image, ValueRange("percentile"))
    np.testing.assert_array_equal(again.x, picture.x)


def test_percentiles_of_ones_own() -> None:
    image = thermal(0, 255, np.uint8)
    picture = mapped(image, ValueRange("percentile", 10, 90))
    a, b = np.percentile(image, (10, 90))
    np.testing.assert_allclose(picture.x[..., 0], np.clip((image - a) / (b - a), 0, 1), atol=1e-6)
    assert picture.mapping == f"{a:g}..{b:g} of 8 bits -> 0..1 (percentiles 10 and 90)"


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
def test_numbers_given(kind: type[np.generic]) -> None:
    image = np.array([[0, 20, 45, 70, 90]] * 2).astype(kind)
    picture = mapped(image, ValueRange("values", 20, 70))
    assert picture.x[0, :, 0].tolist() == [0, 0, 0.5, 1, 1]
    assert picture.mapping is not None and picture.mapping.startswith("20..70 of ") and "(as given)" in picture.mapping


def test_the_full_range_of_signed_integers() -> None:
    image = np.array([[-32768, 0, 32767]] * 2, np.int16)
    for value_range in (None, FULL):
        picture = mapped(image, value_range)
        assert picture.x[0, :, 0].tolist() == [0, np.float32(32768 / 65535), 1] and picture.mapping is None


def test_an_image_of_one_number() -> None:
    for image, value in ((np.full((9, 9), 7000, np.uint16), np.float32(7000) / 65535), (np.full((9, 9), 0.25), 0.25)):
        picture = mapped(image, AUTO)
        assert picture.mapping is None
        np.testing.assert_allclose(picture.x, value, rtol=1e-6)
    picture = mapped(np.full((9, 9), -40, np.float32), AUTO)
    assert (picture.x == 0.5).all() and picture.mapping == "-40 of floats -> 0.5 (all pixels are equal)"


def test_an_almost_empty_image() -> None:
    image = np.full((40, 40), 300, np.uint16)
    image[3, 4] = 400
    picture = mapped(image, AUTO)
    assert picture.x[3, 4] == 1 and picture.x.sum() == 1
    assert picture.mapping == "300..400 of 16 bits -> 0..1 (minimum and maximum)"


@pytest.mark.parametrize("value_range", [None, FULL])
def test_floats_need_a_range_or_to_be_in_0_to_1(value_range: ValueRange | None) -> None:
    np.testing.assert_array_equal(mapped(thermal(0, 1, np.float32), value_range).x[..., 0], thermal(0, 1, np.float32))
    for low, high in ((0, 1.01), (-0.01, 1), (20, 30)):
        with pytest.raises(LureError, match="floats of unknown range") as caught:
            mapped(thermal(low, high, np.float32), value_range)
        assert "--ir-range" in caught.value.hint


@pytest.mark.parametrize("value_range", [None, AUTO, ValueRange("values", 0, 1), ValueRange("percentile")])
def test_numbers_that_are_none_are_counted(value_range: ValueRange | None) -> None:
    image = thermal(0, 1, np.float32)
    image[2, 3], image[4, 5], image[6, 7] = np.nan, np.inf, -np.inf
    with pytest.raises(LureError, match="3 of its 400 numbers are NaN or infinite"):
        mapped(image, value_range)


def test_numbers_too_far_apart() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LureError, match="too far apart"):
            mapped(np.where(thermal(0, 1, np.float64) > 0.5, 1.7e308, -1.7e308), AUTO)


def test_colour_infrared_is_mapped_before_its_luma() -> None:
    image = (RGB16 // 100 + 5000).astype(np.uint16)
    picture = read_picture(
        tiff_file(image, photometric="rgb"), channels=1, value_range=ValueRange("values", 5000, 5655)
    )
    np.testing.assert_allclose(picture.x, luma((image - 5000.0) / 655), atol=1e-6)
    assert picture.colour


# --- headers that lie ----------------------------------------------------------------------------------------------


def huge_webp(kind: bytes) -> bytes:
    if kind == b"VP8X":
        body = b"\0\0\0\0" + (2**24 - 1).to_bytes(3, "little") * 2
    elif kind == b"VP8L":
        body = b"\x2f" + (0x0FFFFFFF).to_bytes(4, "little")
    else:
        body = b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383)
    chunk = kind + struct.pack("<I", len(body)) + body.ljust(len(body) + len(body) % 2, b"\0")
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def huge_jpeg2000() -> bytes:
    content = bytearray(encoded(RGB, "JPEG2000", no_jp2=True))
    content[8:16] = struct.pack(">II", 60_000, 60_000)
    return bytes(content)


def huge_jpeg() -> bytes:
    content = bytearray(encoded(RGB, "JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
    return bytes(content)


def huge_bmp() -> bytes:
    content = bytearray(encoded(RGB, "BMP"))
    content[18:26] = struct.pack("<II", 60_000, 60_000)
    return bytes(content)


HUGE_TILE = tiff({256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1, 322: 65_536, 323: 65_536, 324: 8, 325: 1})
HUGE = {
    "png": png(60_000, 60_000, 8, 2),
    "png 16": png(60_000, 60_000, 16, 2),
    "tiff": HUGE_TIFF,
    "tile": HUGE_TILE,
    "jpeg": huge_jpeg(),
    "bmp": huge_bmp(),
    "j2k": huge_jpeg2000(),
    "jp2": encoded(RGB, "JPEG2000").replace(struct.pack(">II", 17, 12), struct.pack(">II", 60_000, 60_000)),
    "webp": huge_webp(b"VP8X"),
    "webp lossless": huge_webp(b"VP8L"),
    "webp lossy": huge_webp(b"VP8 "),
}


def test_huge_sizes_are_refused_from_the_header_within_a_second_and_100_mb() -> None:
    resource = pytest.importorskip("resource")
    for content in HUGE.values():  # imports what is needed
        with pytest.raises(LureError):
            read_picture(content, channels=3)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for content in HUGE.values():
        with pytest.raises(LureError, match="over the limit"):
            read_picture(content, channels=3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB, whatever a peak before was
    assert time.process_time() - started < len(HUGE)


def test_a_png_that_swells_is_not_followed() -> None:
    for size, words in ((8 * (1 + 8 * 6) - 1, "cut short"), (50_000_000, "cut short")):
        tracemalloc.start()
        with pytest.raises(LureError, match=words):
            read_picture(png(8, 8, 16, 2, bytes(size)), channels=3)
        assert tracemalloc.get_traced_memory()[1] < 52_000_000  # making the file takes as much
        tracemalloc.stop()


# --- writing -------------------------------------------------------------------------------------------------------

X = RGB / np.float32(255)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".PNG", ".JPG"])
@pytest.mark.parametrize("shape", ["colour", "grey", "flat"])
def test_round_trip(tmp_path: Path, suffix: str, shape: str) -> None:
    smooth = np.linspace(0, 1, 12 * 17, dtype=np.float32).reshape(12, 17)
    x = {"colour": np.dstack([smooth, smooth[::-1], smooth * 0.5]), "grey": smooth[..., None], "flat": smooth}[shape]
    path = tmp_path / f"größe{suffix}"
    write_image(path, x)
    back = read_image(path, channels=3 if shape == "colour" else 1)
    tolerance = 6 / 255 if suffix.lower() in (".jpg", ".jpeg") else 0.5001 / 255
    np.testing.assert_allclose(back, x if x.ndim == 3 else x[..., None], atol=tolerance)
    if suffix != ".webp":  # which has no grey
        assert opened(path).mode == ("RGB" if shape == "colour" else "L")
    assert os.listdir(tmp_path) == [path.name]


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


def test_folders_are_made_and_files_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders.zip" / "a.png"
    write_image(path, X)
    write_image(path, 1 - X)
    np.testing.assert_allclose(read_image(path, channels=3), 1 - X, atol=1e-6)
    assert os.listdir(path.parent) == ["a.png"]


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt", "a.npy"])
def test_unknown_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LureError) as caught:
        write_image(tmp_path / name, X)
    assert name in caught.value.message and all(suffix in caught.value.hint for suffix in SUFFIXES)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("x", [np.zeros((2, 2, 4)), np.zeros(3), np.zeros((1, 2, 2, 3)), np.full((2, 2), np.nan)])
def test_arrays_that_are_no_image_are_bugs(tmp_path: Path, x: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected|NaN"):
        write_image(tmp_path / "a.png", x)
    assert os.listdir(tmp_path) == []


def full_disk(*args: object, **kwargs: object) -> None:
    raise OSError(28, "No space left on device")


def interrupted(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["os.replace", "pathlib.Path.write_bytes"])
@pytest.mark.parametrize(("fault", "kind"), [(full_disk, LureError), (interrupted, KeyboardInterrupt)])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    fault: Callable[..., None],
    kind: type[BaseException],
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(where, fault)
    with pytest.raises(kind) as caught:
        write_image(path, X)
    if kind is LureError:
        assert "a.png" in str(caught.value) and "No space left" in str(caught.value)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.png"]


def test_targets_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "file" / "a.png", tmp_path / "folder.png", tmp_path / ("n" * 300 + ".png")):
        with pytest.raises(LureError, match="cannot be written") as caught:
            write_image(path, X)
        assert str(path) in caught.value.message
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]


def test_a_name_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    write_image(tmp_path / ("n" * 251 + ".png"), X)


def test_a_size_that_the_format_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(LureError, match=r"a\.webp: cannot be written"):
        write_image(tmp_path / "a.webp", np.zeros((1, 16400), np.float32))
    assert os.listdir(tmp_path) == []


# --- writing: 16 bits, alpha, metadata -----------------------------------------------------------------------------

DEEP = RGB16 / np.float32(65535)
ALPHA, ALPHA16 = GREY[..., None] / np.float32(255), GREY16[..., None] / np.float32(65535)
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


@pytest.mark.parametrize(
    ("suffix", "bits", "alpha", "words", "hint"),
    [
        (".gif", 8, False, "'.gif' is no known image type", ".png"),
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


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    source, link = tmp_path / "input.png", tmp_path / "out.png"
    source.write_bytes(PNG)
    link.symlink_to(source)
    write_image(link, X)
    assert not link.is_symlink() and source.read_bytes() == PNG
    np.testing.assert_array_equal(read_image(link, channels=3), X)


def test_temporaries_are_recognised_and_go_when_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def stop(source: Path, target: Path) -> None:
        seen.append(source)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_image(tmp_path / "a.png", X)
    assert re.fullmatch(r"\.lure-[0-9a-f]{32}\.png", seen[0].name) and seen[0].parent == tmp_path
    assert os.listdir(tmp_path) == []


# --- helpers -------------------------------------------------------------------------------------------------------


def test_has_image_suffix() -> None:
    assert all(has_image_suffix(Path(f"a{suffix.upper()}")) for suffix in SUFFIXES)
    assert not any(has_image_suffix(Path(name)) for name in ("a", ".png", "a.gif", "a.png.bak"))


def test_tifffile_keeps_quiet_about_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0\xff\xff\0\0")
    with caplog.at_level(logging.WARNING):
        refused(tmp_path / "a.tif")
    assert not caplog.records
