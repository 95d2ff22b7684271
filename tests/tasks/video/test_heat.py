"""Clips that are coloured by heat: one scale for the clip, degrees of 16-bit clips, steady colours, a legend."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from lure_cli import read_temperature
from lure_cli.core.thermal.colouring import HeatColours, paint_heat
from lure_cli.core.thermal.palettes import palette_colours
from lure_cli.core.thermal.radiometry import Radiometry
from lure_cli.tasks.inference.options import ReadOptions
from lure_cli.tasks.video.sync import FramePairs, HotFrame, open_clip
from tests.helpers.clips import SIZE, make_clip, read_clip
from tests.helpers.files import Outcome, save_png
from tests.helpers.flir import RAW, write_flir

Run = Callable[..., Outcome]
W, H = SIZE[0], 80
RAMP = np.linspace(20, 40, W * H).reshape(H, W)
CENTIKELVIN = Radiometry(unit="ck")


def heat(*options: Any) -> HeatColours | None:
    return HeatColours.parse(*(*options, *(None, None, None, False)[len(options) :]))


def thermal(path: Path, offsets: list[float]) -> Path:
    """A clip in hundredths of a kelvin: a ramp from 20 to 40 degrees, warmer by an offset in each frame."""
    frames = [np.rint(100 * (RAMP + 273.15 + offset)).astype(np.uint16) for offset in offsets]
    return make_clip(path, frames, codec="ffv1", fmt="gray16le")


def grey(path: Path, count: int) -> Path:
    return make_clip(path, [np.full((H, W, 3), 100, np.uint8)] * count, codec="ffv1", fmt="bgr0")


def test_degrees_of_a_16_bit_clip(fuse: Run, here: Path) -> None:
    thermal(here / "ir.mkv", [0, 0, 0, 0])
    grey(here / "vis.mkv", 4)
    done = fuse(
        "ir.mkv", "vis.mkv", "out.mkv", codec="ffv1", heat=heat("iron", "30"), radiometry=CENTIKELVIN, as_json=True
    )
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["palette"] == {"name": "iron", "from": 30, "to": pytest.approx(40, abs=0.01), "unit": "celsius"} | {
        "legend": 0
    }
    assert "note: ir.mkv: iron from 30.0 to 40.0 °C, for the whole clip" in done.err
    fuse("ir.mkv", "vis.mkv", "plain.mkv", codec="ffv1", radiometry=CENTIKELVIN)
    for (_, coloured), (_, plain) in zip(read_clip(here / "out.mkv"), read_clip(here / "plain.mkv"), strict=True):
        changed = (coloured != plain).any(axis=2)
        assert not changed[RAMP < 29.99].any()
        assert changed[RAMP > 31].all()


def test_the_scale_is_one_for_the_clip(fuse: Run, here: Path) -> None:
    thermal(here / "ir.mkv", [0, 0, 4, 8, 8, 4, 0, 0, 0])
    grey(here / "vis.mkv", 9)
    done = fuse(
        "ir.mkv",
        "vis.mkv",
        "out.mkv",
        codec="ffv1",
        heat=heat("iron", "30", "46", True),
        radiometry=CENTIKELVIN,
        as_json=True,
    )
    assert done.code == 0, done.err
    record = json.loads(done.out)
    frames = [x for _, x in read_clip(here / "out.mkv")]
    assert record["size"] == [W + record["palette"]["legend"], H] == list(frames[0].shape[1::-1])
    for x in frames[1:]:
        np.testing.assert_array_equal(x[:, W:], frames[0][:, W:])  # the legend
    at = {i: np.unravel_index(np.argmin(np.abs(RAMP - (38 - rise))), RAMP.shape) for i, rise in ((0, 0), (3, 8))}
    here_38, there_38 = frames[0][at[0]].astype(int), frames[3][at[3]].astype(int)
    assert np.abs(here_38 - there_38).max() < 30  # 38 degrees are the same colour
    assert frames[0][at[3]].astype(int)[0] != pytest.approx(there_38[0], abs=20)


def test_percentiles_without_temperatures_are_settled_over_the_clip(fuse: Run, here: Path) -> None:
    frames = [np.full((H, W, 3), 40, np.uint8) for _ in range(14)]
    for frame in frames[7:]:
        frame[:20] = 200
    make_clip(here / "ir.mkv", frames, codec="ffv1", fmt="bgr0")
    grey(here / "vis.mkv", 14)
    done = fuse("ir.mkv", "vis.mkv", "p/{frame:02d}.png", heat=heat("inferno", "60%"), as_json=True)
    assert done.code == 0, done.err
    palette = json.loads(done.out)["palette"]
    assert palette["unit"] == "range" and palette["to"] == pytest.approx(200 / 255, abs=0.01)
    refused = fuse("ir.mkv", "vis.mkv", "out.mkv", heat=heat("inferno", "30"))
    assert refused.code == 1
    assert "error: ir.mkv: --palette-from 30 means degrees, but its temperatures are not known" in refused.err


def test_noise_about_the_threshold_does_not_flicker(here: Path) -> None:
    rng = np.random.default_rng(2)
    scene = np.where(np.arange(W) < W // 2, 30.0, 22.0)[None].repeat(H, 0)
    frames = [np.rint(100 * (scene + rng.normal(0, 0.3, scene.shape) + 273.15)).astype(np.uint16) for _ in range(16)]
    make_clip(here / "ir.mkv", frames, codec="ffv1", fmt="gray16le")
    grey(here / "vis.mkv", 16)
    read = ReadOptions(radiometry=CENTIKELVIN)
    pairs = FramePairs(
        open_clip("ir.mkv", "ir", read, None), open_clip("vis.mkv", "vis", read, None), read, heat=heat("iron", "30")
    )
    pairs.start()
    assert pairs.painter is not None
    picture = np.full((H, W, 3), 0.5, np.float32)
    painted, raw = [], []
    for _, _, frame in pairs:
        assert isinstance(frame, HotFrame) and frame.heat is not None
        painted.append(pairs.painter.paint(picture, frame.heat))
        raw.append(paint_heat(picture, frame.heat, pairs.painter.scale, palette_colours("iron")))
    pairs.close()
    flicker, before = (float((np.abs(np.diff(x[4:], axis=0)) > 0.25).mean()) for x in (painted, raw))
    assert before > 0.005
    assert flicker < before / 20
    np.testing.assert_array_equal(painted[-1][:, W // 2 :], picture[:, W // 2 :])


def test_numbered_thermal_pictures_of_another_size(fuse: Run, here: Path) -> None:
    (here / "ir").mkdir()
    for i in range(3):
        celsius = (RAMP[::2, ::2] + i).astype(np.float32)
        celsius[:3, :3] = np.nan
        tifffile.imwrite(here / "ir" / f"{i}.tif", celsius + np.float32(273.15))
        save_png(here / "vis" / f"{i}.png", np.full((H, W, 3), 100, np.uint8))
    done = fuse(
        "ir",
        "vis",
        "p/{frame}.png",
        fps="25",
        resize_ir=True,
        heat=heat("iron", "30", "42"),
        radiometry=Radiometry(unit="k"),
        as_json=True,
    )
    assert done.code == 0, done.err
    assert json.loads(done.out)["palette"]["to"] == 42


@pytest.mark.parametrize(("codec", "fmt"), [("libx264", "yuv420p"), ("ffv1", "gray10le")])
def test_units_need_numbers_as_they_were_recorded(fuse: Run, here: Path, codec: str, fmt: str) -> None:
    frames = [np.full((H, W, 3), 90, np.uint8)] * 3
    if fmt == "gray10le":
        frames = [np.full((H, W), 20000, np.uint16)] * 3
    make_clip(here / "ir.mkv", frames, codec=codec, fmt=fmt)
    grey(here / "vis.mkv", 3)
    refused = fuse("ir.mkv", "vis.mkv", "out.mkv", heat=heat("iron"), radiometry=CENTIKELVIN)
    assert refused.code == 1
    assert "error: ir.mkv does not hold temperatures: --unit needs 16 bits of grey" in refused.err
    assert "hint:" in refused.err
    assert not (here / "out.mkv").exists()


def test_an_aligned_clip_carries_its_temperatures_along(here: Path) -> None:
    from lure_cli.core.registration.alignment import Alignment

    thermal(here / "ir.mkv", [0, 0])
    grey(here / "vis.mkv", 2)
    read = ReadOptions(radiometry=CENTIKELVIN, rig=Alignment((1, 0, 3, 0, 1, 2), (W, H)))
    clips = open_clip("ir.mkv", "ir", read, Fraction(25)), open_clip("vis.mkv", "vis", read, Fraction(25))
    pairs = FramePairs(*clips, read, heat=heat("iron", "30"))
    pairs.start()
    _, _, frame = next(iter(pairs))
    pairs.close()
    assert isinstance(frame, HotFrame) and frame.heat is not None
    np.testing.assert_allclose(frame.heat[:-2, :-3], RAMP[2:, 3:], atol=0.006)
    assert np.isnan(frame.heat[-2:]).all() and np.isnan(frame.heat[:, -3:]).all()


def radiometric(here: Path) -> None:
    """Folders of three radiometric files, and of grey pictures of their size."""
    for i in range(3):
        write_flir(here / "ir" / f"FLIR{i}.jpg", raw=np.kron(RAW, np.ones((4, 4), np.uint16)))
        save_png(here / "vis" / f"{i}.png", np.full((96, 128, 3), 100, np.uint8))


def test_numbered_radiometric_files_are_in_degrees(fuse: Run, here: Path) -> None:
    radiometric(here)
    celsius = read_temperature(here / "ir" / "FLIR0.jpg")
    how = {"fps": "5", "codec": "ffv1", "heat": heat("iron", "5"), "as_json": True}
    done = fuse("ir", "vis", "out.mkv", **how)
    assert done.code == 0, done.err
    record = json.loads(done.out)["palette"]
    assert (record["unit"], record["from"], record["to"]) == ("celsius", 5, pytest.approx(celsius.max(), abs=0.01))
    assert "°C -> 0..1 (percentiles 0.5 and 99.5), for the whole clip" in done.err
    told = fuse("ir", "vis", "told.mkv", **how, radiometry=Radiometry(emissivity=0.5))
    assert told.code == 0 and json.loads(told.out)["palette"]["to"] != pytest.approx(celsius.max(), abs=0.5)
    write_flir(here / "ir" / "FLIR2.jpg", raw=None)
    assert "FLIR2.jpg: is not radiometric, but the first picture is" in fuse("ir", "vis", "cut.mkv", **how).err
