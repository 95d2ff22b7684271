from __future__ import annotations

import io
import logging
import os
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from lure_cli.core.images import SUFFIXES, has_image_suffix, read_image, write_image
from lure_cli.errors import LureError

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
def test_numbers_of_unknown_range_are_refused(tmp_path: Path, kind: type[np.generic]) -> None:
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


# --- helpers -------------------------------------------------------------------------------------------------------


def test_has_image_suffix() -> None:
    assert all(has_image_suffix(Path(f"a{suffix.upper()}")) for suffix in SUFFIXES)
    assert not any(has_image_suffix(Path(name)) for name in ("a", ".png", "a.gif", "a.png.bak"))


def test_tifffile_keeps_quiet_about_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0\xff\xff\0\0")
    with caplog.at_level(logging.WARNING):
        refused(tmp_path / "a.tif")
    assert not caplog.records
