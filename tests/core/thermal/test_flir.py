"""Radiometric FLIR JPEGs: temperatures against the physics and against flyr, the photo, its placement, damage."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from lure_cli.core.images.picture import read_image, read_picture, read_pixels
from lure_cli.core.images.radiometric import radiometric_sizes, read_thermogram
from lure_cli.core.images.value_range import ValueRange, parse_range
from lure_cli.core.thermal.flir import Thermogram, sizes
from lure_cli.core.thermal.radiometry import Radiometry
from lure_cli.errors import LureError
from tests.helpers.files import EXAMPLES, SHARED
from tests.helpers.flir import CAMERA, PHOTO, RAW, block, flir_jpeg, segment, segments, with_segments, write_flir

FILES = sorted((SHARED / "thermal").glob("*.jpg"))
AQUA = EXAMPLES / "thermal" / "Aqua_Tower_thermal_image.jpg"


def read(path: Path, radiometry: Radiometry | None = None, **options: int) -> Thermogram:
    thermogram = read_thermogram(path, radiometry, **options)
    assert thermogram is not None
    return thermogram


def refused(path: Path, content: bytes, **options: int) -> LureError:
    path.write_bytes(content)
    with pytest.raises(LureError) as caught:
        read_thermogram(path, **options)
    assert caught.value.message.startswith(f"{path}: ")
    return caught.value


# --- temperatures ----------------------------------------------------------------------------------------------------


def numbers_of(kelvin: np.ndarray, c: dict[str, float]) -> np.ndarray:
    """What the sensor says of an object of such temperatures: its radiation and what it reflects pass two halves of the
    air, which add their own."""

    def signal(t: np.ndarray | float) -> np.ndarray:
        return c["r1"] / (c["r2"] * (np.exp(c["b"] / t) - c["f"])) - c["o"]

    celsius = c["atmosphere"] - 273.15
    water = c["humidity"] * np.exp(1.5587 + 0.06939 * celsius - 2.7816e-4 * celsius**2 + 6.8455e-7 * celsius**3)
    root = np.sqrt(c["distance"] / 2)
    first, second = (np.exp(-root * (c[f"alpha{i}"] + c[f"beta{i}"] * np.sqrt(water))) for i in (1, 2))
    tau = c["x"] * first + (1 - c["x"]) * second
    leaving = c["emissivity"] * signal(kelvin) + (1 - c["emissivity"]) * signal(c["reflected"])
    for _ in range(2):
        leaving = tau * leaving + (1 - tau) * signal(c["atmosphere"])
    return leaving


@pytest.mark.parametrize("png", [False, True])
@pytest.mark.parametrize("camera", [{}, {"emissivity": 0.6, "reflected": 330.0}, {"distance": 40.0, "humidity": 0.9}])
def test_temperatures_are_those_of_the_object(tmp_path: Path, png: bool, camera: dict[str, float]) -> None:
    kelvin = 270 + 80 * np.indices((24, 32))[1] / 31
    raw = np.rint(numbers_of(kelvin, {**CAMERA, **camera})).astype(np.uint16)
    read_back = read(write_flir(tmp_path / "a.jpg", raw=raw, png=png, camera=camera))
    assert read_back.celsius.dtype == np.float32
    np.testing.assert_allclose(read_back.celsius, kelvin - 273.15, atol=0.05)


def test_what_the_user_says_replaces_what_the_file_says(tmp_path: Path) -> None:
    kelvin = np.full((24, 32), 310.0)
    true = {**CAMERA, "emissivity": 0.7, "reflected": 285.15, "distance": 30.0}
    raw = np.rint(numbers_of(kelvin, true)).astype(np.uint16)
    path = write_flir(tmp_path / "a.jpg", raw=raw)
    assert abs(read(path).celsius.mean() - 36.85) > 3
    told = read(path, Radiometry(emissivity=0.7, reflected=12, distance=30))
    np.testing.assert_allclose(told.celsius, 36.85, atol=0.05)
    assert (told.emissivity, told.reflected, told.distance) == pytest.approx((0.7, 12, 30))


def test_settings_that_leave_no_temperature_are_blamed(tmp_path: Path) -> None:
    path = write_flir(tmp_path / "a.jpg", raw=np.full((24, 32), 9000, np.uint16))
    assert np.isfinite(read(path).celsius).all()
    with pytest.raises(LureError, match="no pixel has a temperature with the emissivity") as caught:
        read(path, Radiometry(emissivity=0.01))
    assert "--emissivity" in caught.value.hint


def test_numbers_that_are_no_temperature_are_nan(tmp_path: Path) -> None:
    raw = RAW.copy()
    raw[3, 4] = 0
    celsius = read(write_flir(tmp_path / "a.jpg", raw=raw)).celsius
    assert np.isnan(celsius[3, 4]) and np.isfinite(celsius).sum() == RAW.size - 1


@pytest.mark.shared
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
@pytest.mark.parametrize(
    ("said", "as_flyr"),
    [
        ({}, {}),
        ({"emissivity": 0.7}, {"emissivity": 0.7}),
        ({"reflected": 40.0}, {"reflected_apparent_temperature": 313.15}),
        ({"distance": 25.0}, {"object_distance": 25.0}),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning:flyr")
def test_temperatures_equal_those_of_flyr(path: Path, said: dict[str, float], as_flyr: dict[str, float]) -> None:
    import flyr

    expected = flyr.unpack(str(path)).adjust_metadata(**as_flyr).celsius
    np.testing.assert_allclose(read(path, Radiometry(**said)).celsius, expected, atol=0.05)


def test_temperatures_of_the_example(tmp_path: Path) -> None:
    celsius = read(AQUA).celsius
    assert celsius.shape == (180, 180)
    assert (celsius.min(), celsius.mean(), celsius.max()) == pytest.approx((-68.08, -9.88, -0.23), abs=0.02)


# --- photo and placement ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("png", [False, True])
def test_photo_camera_and_settings(tmp_path: Path, png: bool) -> None:
    t = read(write_flir(tmp_path / "a.jpg", png=png))
    assert t.photo is not None and np.abs(t.photo.astype(int) - PHOTO).max() <= 4  # YCbCr and JPEG are not exact
    assert (t.camera, t.date) == ("LURE tests Model 1", "2024-05-06 07:08:09")
    assert (t.emissivity, t.reflected, t.distance, t.atmosphere, t.humidity) == pytest.approx((0.95, 22, 2, 20, 0.5))
    assert radiometric_sizes(tmp_path / "a.jpg") == ((32, 24), (80, 60))


def test_placement(tmp_path: Path) -> None:
    """The infrared covers 80 / 1.6 pixels of the photo's width; its centre lies 3 right of the photo's, 2 above."""
    alignment = read(write_flir(tmp_path / "a.jpg")).alignment
    assert alignment is not None and alignment.size == (80, 60) and alignment.source_size == (32, 24)
    a, b, c, d, e, f = alignment.matrix
    assert (b, d) == (0, 0)
    assert (a * (40 - 0.5 + 3) + c, e * (30 - 0.5 - 2) + f) == pytest.approx((15.5, 11.5))
    assert (1 / a, 1 / e) == pytest.approx((50 / 32, 50 / 32))


def test_a_photo_without_placement_and_no_photo(tmp_path: Path) -> None:
    alone = read(write_flir(tmp_path / "a.jpg", placement=None))
    assert alone.photo is not None and alone.alignment is None and alone.placement is None
    none = read(write_flir(tmp_path / "b.jpg", photo=None))
    assert none.photo is None and none.alignment is None
    for absurd in ((float("nan"), 0, 0), (1.6, 300, 0), (1.6, 0, -20_000)):
        lost = read(write_flir(tmp_path / "c.jpg", placement=absurd))
        assert lost.photo is not None and lost.alignment is None and lost.placement is None


@pytest.mark.shared
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_placement_as_flyr_pastes_it(path: Path) -> None:
    import flyr
    from PIL import Image

    from lure_cli.core.registration.alignment import warp

    thermogram = flyr.unpack(str(path))
    if thermogram.optical is None:
        pytest.skip("no photo inside")
    alignment = read(path).alignment
    assert alignment is not None
    w, h = alignment.source_size
    x = np.zeros((h, w, 1), np.float32)
    x[h // 4 : h // 2, w // 4 : w // 2] = 1
    render = Image.fromarray((x[..., 0] * 255).astype(np.uint8)).convert("RGB")
    pasted = np.asarray(thermogram.picture_in_picture_pil(render=render, render_crop=False), float)
    ours = warp(x, alignment)[..., 0] > 0.5
    white = pasted.min(2) > 200
    found = [np.flatnonzero(white[:, ours.any(0)].mean(1) > 0.9), np.flatnonzero(white[ours.any(1)].mean(0) > 0.9)]
    for ends, mask in zip(found, (ours.any(1), ours.any(0)), strict=True):
        where = np.flatnonzero(mask)
        assert abs(ends.min() - where.min()) <= 2 and abs(ends.max() - where.max()) <= 2


# --- what is taken where an image is read ----------------------------------------------------------------------------


def test_infrared_is_temperature_and_visible_is_the_photo(tmp_path: Path) -> None:
    path = write_flir(tmp_path / "a.jpg")
    ir = read_picture(path, channels=1, value_range=parse_range("0,10"))
    celsius = read(path).celsius
    assert ir.celsius is not None and not ir.colour and ir.x.shape == (24, 32, 1)
    np.testing.assert_array_equal(ir.celsius, celsius)
    np.testing.assert_allclose(ir.x[..., 0], np.clip(celsius / 10, 0, 1), atol=1e-6)
    assert ir.mapping == "0.00..10.00 °C -> 0..1 (as given)"
    vis = read_picture(path, channels=3, value_range=ValueRange(modality="vis"))
    assert vis.celsius is None and vis.x.shape == (60, 80, 3) and vis.remark is not None and "photo" in vis.remark
    assert vis.metadata.exif is not None and b"LURE tests" in vis.metadata.exif
    with pytest.raises(LureError, match="holds no visible image"):
        read_picture(write_flir(tmp_path / "b.jpg", photo=None), channels=3)


def test_the_hottest_pixel_counts_however_alone_it_is(tmp_path: Path) -> None:
    raw = np.full((24, 32), 14000, np.uint16) + (np.indices((24, 32)).sum(0) % 2).astype(np.uint16)
    raw[5, 6], raw[9, 9] = 40000, 40000
    ir = read_picture(write_flir(tmp_path / "a.jpg", raw=raw), channels=1, value_range=ValueRange())
    assert ir.invalid == 0 and ir.celsius is not None and ir.celsius[5, 6] > 100 and ir.x[5, 6] == 1


def test_temperatures_between_0_and_1_are_no_grey_levels(tmp_path: Path) -> None:
    kelvin = 273.15 + np.linspace(0.2, 0.8, 24 * 32).reshape(24, 32)
    raw = np.rint(numbers_of(kelvin, CAMERA)).astype(np.uint16)
    ir = read_picture(write_flir(tmp_path / "a.jpg", raw=raw), channels=1, value_range=ValueRange())
    assert ir.mapping is not None and (ir.x.min(), ir.x.max()) == (0, 1)


def test_where_grey_levels_are_wanted_it_is_refused(tmp_path: Path) -> None:
    path = write_flir(tmp_path / "a.jpg")
    for read_it in (read_pixels, lambda p: read_image(p, channels=1)):
        with pytest.raises(LureError, match="grey levels are wanted"):
            read_it(path)


def test_a_flir_jpeg_without_raw_numbers_is_an_ordinary_jpeg(tmp_path: Path) -> None:
    path = write_flir(tmp_path / "a.jpg", raw=None)
    assert read_thermogram(path) is None and radiometric_sizes(path) is None
    assert read_picture(path, channels=1).celsius is None


def test_without_flyr_a_hint_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flyr", None)
    error = refused(tmp_path / "a.jpg", flir_jpeg())
    assert "flyr" in error.message and 'pip install "lure-cli[thermal]"' in error.hint


# --- damage ----------------------------------------------------------------------------------------------------------


def test_damage_is_refused(tmp_path: Path) -> None:
    whole, path = flir_jpeg(), tmp_path / "a.jpg"
    first = whole.index(b"FLIR\0")
    second = whole.index(b"FLIR\0", first + 1)
    doubled = bytearray(whole)
    doubled[second + 6] = 0  # two segments of one number
    for content in (bytes(doubled), whole[: second + 900], whole.replace(b"FFF\0", b"FFX\0")):
        assert "damaged or cut short" in refused(path, content).message
        with pytest.raises(LureError):  # not as its rendering
            read_picture(path, channels=1)


def test_sizes_are_checked_before_memory_is_taken(tmp_path: Path) -> None:
    def records(raw: tuple[int, int], photo: tuple[int, int]) -> bytes:
        camera = bytes(1200)
        return with_segments(
            segments(
                block(
                    [
                        (1, struct.pack("<HHH26x", 2, *raw) + bytes(64)),
                        (32, camera),
                        (14, struct.pack("<HHH26x", 2, *photo) + flir_jpeg()[:2000]),
                    ]
                )
            )
        )

    path = tmp_path / "a.jpg"
    assert "damaged or cut short" in refused(path, records((60000, 60000), (32, 24))).message
    assert "damaged or cut short" in refused(path, records((4, 4), (640, 480))).message  # the JPEG there is 32x24
    error = refused(path, records((4, 4), (30000, 30000)))
    assert "30000 x 30000 is over the limit" in error.message and "--max-pixels" in error.hint
    assert "is over the limit of 100 pixels" in refused(path, flir_jpeg(), max_pixels=100).message


def test_what_stands_outside_of_its_segments_is_not_read() -> None:
    hidden = with_segments(segment(5, segments(block([(1, bytes(100))]))))
    assert sizes(io.BytesIO(hidden)) is None
