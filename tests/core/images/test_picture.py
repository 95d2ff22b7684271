from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lure_cli.core.images.formats import SUFFIXES
from lure_cli.core.images.picture import read_image, read_picture, write_image
from lure_cli.core.images.value_range import ValueRange
from lure_cli.errors import LureError
from tests.helpers.images import (
    GREY,
    GREY16,
    PNG,
    RGB,
    RGB16,
    X,
    encoded,
    luma,
    opaque,
    opened,
    refused,
    save,
    tiff_file,
)


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


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_opaque_alpha_is_dropped(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", opaque(RGB), **({"lossless": True} if suffix == ".webp" else {}))
    np.testing.assert_array_equal(read_image(path, channels=3), RGB / np.float32(255))


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


def test_colour_infrared_is_mapped_before_its_luma() -> None:
    image = (RGB16 // 100 + 5000).astype(np.uint16)
    picture = read_picture(
        tiff_file(image, photometric="rgb"), channels=1, value_range=ValueRange("values", 5000, 5655)
    )
    np.testing.assert_allclose(picture.x, luma((image - 5000.0) / 655), atol=1e-6)
    assert picture.colour


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


def test_folders_are_made_and_files_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders.zip" / "a.png"
    write_image(path, X)
    write_image(path, 1 - X)
    np.testing.assert_allclose(read_image(path, channels=3), 1 - X, atol=1e-6)
    assert os.listdir(path.parent) == ["a.png"]


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


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".avif"])
def test_the_first_frame_of_an_animation_is_read_on_request_alone(suffix: str, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / f"moves{suffix}"
    first, *others = (Image.new("RGB", (24, 16), (level, level, level)) for level in (40, 120, 200))
    first.save(path, save_all=True, append_images=others, duration=40)
    with pytest.raises(LureError, match="3 frames") as refusal:
        read_picture(path, channels=3)
    assert "--frame first" in refusal.value.hint
    x = read_picture(path, channels=3, first_frame=True).x
    assert x.shape == (16, 24, 3) and np.abs(x * 255 - 40).max() <= 4
