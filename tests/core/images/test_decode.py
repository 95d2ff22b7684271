from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from lure_cli.core.images.picture import read_image, read_picture
from lure_cli.errors import LureError
from tests.helpers.images import (
    BMP,
    GREY,
    HUGE_TIFF,
    JPEG,
    PAIR_OF_WIDTHS,
    PNG,
    RGB,
    RGB16,
    RGBA,
    TIFF,
    WEBP,
    encoded,
    opened,
    png,
    refused,
    same,
    save,
    tiff,
)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_palettes_and_bilevel_images(tmp_path: Path, suffix: str) -> None:
    palette = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
    expected = np.asarray(palette.convert("RGB")) / np.float32(255)
    np.testing.assert_array_equal(read_image(save(tmp_path / f"p{suffix}", palette), channels=3), expected)
    bits = Image.fromarray(GREY > 127)
    x = read_image(save(tmp_path / f"b{suffix}", bits), channels=1)
    np.testing.assert_array_equal(x[..., 0], (GREY > 127).astype(np.float32))


def test_the_main_image_of_a_jpeg_with_previews_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path, "MPO", save_all=True, append_images=[Image.fromarray(RGB[:4, :4])])
    assert opened(path).format == "MPO"
    assert read_image(path, channels=3).shape == (12, 17, 3)


def test_a_palette_with_an_opaque_transparency_table_is_read(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
    assert read_image(save(tmp_path / "a.png", palette, transparency=b"\xff" * 256), channels=3).shape == (12, 17, 3)


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
        ("other.png", b"8BPS" + bytes(60), "no image"),
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


@pytest.mark.parametrize("image", [GREY, RGB, np.dstack([GREY, GREY[::-1]]), RGBA])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000", "WEBP"])
def test_8_bits_with_and_without_alpha(kind: str, image: np.ndarray) -> None:
    if kind == "WEBP" and image.shape[-1] not in (3, 4):
        return  # it has no grey
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    same(read_picture(encoded(image, kind, **options), channels=3 if image.shape[-1] in (3, 4) else 1), image)
