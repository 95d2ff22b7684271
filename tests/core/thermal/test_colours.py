"""Palettes, the scale, the colours that are laid over a picture, and the legend."""

from __future__ import annotations

import builtins
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from lure_cli import colour_by_heat
from lure_cli.core.thermal.colouring import HeatColours, HeatScale, noise_of, paint_heat, steadied
from lure_cli.core.thermal.legend import LEAST_HEIGHT, draw_legend, round_ticks
from lure_cli.core.thermal.painter import HeatPainter
from lure_cli.core.thermal.palettes import PALETTES, palette_colours
from lure_cli.errors import LureError

RNG = np.random.default_rng(3)
PICTURE = RNG.random((60, 80, 3)).astype(np.float32)
CELSIUS = np.linspace(10, 50, 60 * 80, dtype=np.float32).reshape(60, 80)


def colours(start: str | None = None, end: str | None = None, palette: str = "iron", legend: bool = False) -> Any:
    return HeatColours.parse(palette, start, end, legend)


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L*, 0 to 100, (N,)."""
    from skimage.color import rgb2lab

    return np.asarray(rgb2lab(rgb[None]))[0, :, 0]


# --- palettes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in PALETTES if n not in ("rainbow", "blackhot")])
def test_hotter_is_lighter(name: str) -> None:
    light = lightness(palette_colours(name))
    assert light[-1] > 85 and light[0] < 45
    assert np.diff(light).min() > -0.05


def test_palettes_that_are_no_ramp_of_lightness() -> None:
    assert np.diff(lightness(palette_colours("blackhot"))).max() < 0.05
    steps = np.abs(np.diff(palette_colours("rainbow"), axis=0)).max(axis=1)
    assert steps.max() < 0.02  # no jump from colour to colour


@pytest.mark.parametrize("name", PALETTES)
def test_what_is_hot_is_not_black_where_colour_begins(name: str) -> None:
    table = palette_colours(name)
    assert table.dtype == np.float32 and table.shape[1] == 3
    assert table.min() >= 0 and table.max() <= 1
    assert table[0].max() > 0.2


def test_names_are_read_as_cameras_write_them() -> None:
    for name, same in (("ironbow", "iron"), ("White-Hot", "whitehot"), ("hot_metal", "hotmetal")):
        np.testing.assert_array_equal(palette_colours(name), palette_colours(same))


@pytest.mark.parametrize("name", ["inferno", "magma", "plasma", "viridis"])
def test_matplotlib_draws_the_same_colours(name: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    theirs = np.asarray(matplotlib.colormaps[name](np.linspace(0, 1, 1024)))[:, :3]
    for colour in palette_colours(name)[::64]:
        assert np.abs(theirs - colour).max(axis=1).min() < 0.04


def test_any_colormap_of_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    np.testing.assert_allclose(palette_colours("turbo")[-1], matplotlib.colormaps["turbo"](1.0)[:3], atol=1e-3)
    with pytest.raises(LureError, match="palette 'irn' is not known"):
        palette_colours("irn")
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(LureError, match="without matplotlib") as caught:
        palette_colours("turbo")
    assert caught.value.hint is not None and 'pip install "lure-cli[plot]"' in caught.value.hint
    assert palette_colours("inferno").shape[1] == 3


# --- the scale -------------------------------------------------------------------------------------------------------


def test_degrees_and_percentiles() -> None:
    scale = colours("30").settle([CELSIUS], "celsius")
    assert (scale.low, scale.high, scale.open) == (30, 50, False)
    scale = colours("75%", "99%").settle([CELSIUS], "celsius")
    assert scale.low == pytest.approx(40, abs=0.02) and scale.high == pytest.approx(49.6, abs=0.02)
    assert scale.open
    assert colours().settle([CELSIUS], "celsius").low == pytest.approx(46, abs=0.02)
    assert colours("-5", "20").settle([CELSIUS], "celsius").low == -5


def test_frames_that_were_not_looked_at_may_be_hotter() -> None:
    assert colours("30").settle([CELSIUS], "celsius", sampled=True).open
    assert not colours("30%").settle([CELSIUS / 50], "range", sampled=True).open  # white is the end of the range
    assert colours("30%").settle([CELSIUS / 60], "range", sampled=True).open


def test_nothing_measured_has_no_part_in_the_scale() -> None:
    holes = CELSIUS.copy()
    holes[:, 40:] = np.nan
    assert colours("50%").settle([holes], "celsius").low == pytest.approx(float(np.nanmedian(holes)))
    with pytest.raises(LureError, match="no pixel has a temperature"):
        colours().settle([np.full((4, 4), np.nan, np.float32)], "celsius")


def test_a_scale_is_never_so_short_that_noise_runs_through_it() -> None:
    scale = colours("30").settle([np.full((9, 9), 30.1, np.float32)], "celsius")
    assert scale.high - scale.low == 1


def test_it_is_said_if_nothing_is_hot() -> None:
    assert str(colours("60").settle([CELSIUS], "celsius")) == "from 60.0 to 61.0 °C; nothing is that hot (at most 50.0)"
    assert str(colours("30").settle([CELSIUS], "celsius")) == "from 30.0 to 50.0 °C"


def test_many_pixels_at_the_hottest_are_hot() -> None:
    saturated = np.where(CELSIUS > 30, np.float32(31), CELSIUS)
    scale = colours("90%").settle([saturated], "celsius")
    painted = paint_heat(PICTURE, saturated, scale, palette_colours("iron"))
    assert (painted != PICTURE).any(axis=2)[saturated == 31].all()


def test_an_image_of_one_number_has_nothing_hot() -> None:
    flat = np.full((60, 80), 0.5, np.float32)
    painted = HeatPainter(colours(), [flat], "range").paint(PICTURE, flat)
    np.testing.assert_array_equal(painted, PICTURE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((None, "30", None, False), "--palette-from, --palette-to and --legend need --palette"),
        ((None, None, None, True), "need --palette"),
        (("iron", "warm", None, False), "--palette-from warm is not understood"),
        (("iron", "101%", None, False), "--palette-from 101% is not understood"),
        (("iron", "nan", None, False), "--palette-from nan is not understood"),
        (("iron", "30", "20", False), "--palette-to 20 is not above --palette-from 30"),
        (("iron", None, "90%", False), "--palette-to 90% is not above --palette-from 90%"),
        (("no such", None, None, False), "palette 'no such' is not known"),
    ],
)
def test_options_that_cannot_be_meant(options: Any, message: str) -> None:
    with pytest.raises(LureError, match=message) as caught:
        HeatColours.parse(*options)
    assert caught.value.hint


def test_degrees_need_temperatures() -> None:
    for start, end, named in (("30", None, "--palette-from 30"), ("90%", "40", "--palette-to 40")):
        with pytest.raises(LureError, match=f"{named} means degrees") as caught:
            colours(start, end).settle([CELSIUS / 50], "range")
        assert caught.value.hint is not None and "90%" in caught.value.hint and "--unit" in caught.value.hint
    with pytest.raises(LureError, match=r"--palette-to 20% \(18\) is not above --palette-from 30 \(30\)"):
        colours("30", "20%").settle([CELSIUS], "celsius")


def test_no_palette_is_no_change() -> None:
    assert HeatColours.parse(None, None, None, False) is None


def test_noise_is_measured() -> None:
    slope = np.linspace(20, 60, 200 * 300).reshape(200, 300)
    assert noise_of(slope + RNG.normal(0, 0.3, slope.shape)) == pytest.approx(0.3, rel=0.05)
    assert noise_of(slope) < 1e-6
    assert noise_of(np.zeros((2, 9))) == 0


# --- colours ---------------------------------------------------------------------------------------------------------


def test_below_the_threshold_nothing_changes() -> None:
    celsius = CELSIUS.copy()
    celsius[:, :5] = np.nan
    painted = HeatPainter(colours("30"), [celsius], "celsius").paint(PICTURE, celsius)
    hot = celsius > 30
    assert 0.3 < hot.mean() < 0.6
    np.testing.assert_array_equal(painted[~hot], PICTURE[~hot])
    assert (painted != PICTURE).any(axis=2)[hot & (celsius > 30.5)].all()
    assert painted.dtype == PICTURE.dtype and painted.min() >= 0 and painted.max() <= 1


def test_colours_run_along_the_palette() -> None:
    grey = np.full((60, 80, 3), 0.5, np.float32)
    table = palette_colours("iron")
    painter = HeatPainter(colours("30"), [CELSIUS], "celsius")
    painted = painter.paint(grey, CELSIUS)
    full = painter.scale.low + painter.scale.onset < CELSIUS
    expected = table[np.rint((CELSIUS[full] - 30) / 20 * (len(table) - 1)).astype(int)]
    np.testing.assert_allclose(painted[full], expected, atol=1e-5)  # a flat picture has no detail to add
    light = lightness(painted[full][np.argsort(CELSIUS[full])])
    assert np.diff(light).min() > -0.05


def test_colour_comes_in_smoothly() -> None:
    grey = np.full((1, 2000, 3), 0.5, np.float32)
    celsius = np.linspace(20, 50, 2000, dtype=np.float32)[None]
    painted = HeatPainter(colours("30"), [celsius], "celsius").paint(grey, celsius)
    assert np.abs(np.diff(painted, axis=1)).max() < 0.01


def test_the_picture_is_seen_through_the_colours() -> None:
    hot = np.full((60, 80), 40, np.float32)
    stripes = np.where(np.arange(80) % 4 < 2, 0.4, 0.6)[None, :, None] * np.ones((60, 1, 3))
    scale = HeatScale(20, 60, "celsius", 2)
    painted = paint_heat(stripes, hot, scale, palette_colours("iron"))[20:40, 20:60]
    middle = palette_colours("iron")[511]
    np.testing.assert_allclose(painted.mean(axis=(0, 1)), middle, atol=0.01)  # as in the legend
    assert painted[:, :, 1].std() > 0.03


def test_noise_of_a_clip_does_not_flicker_and_movement_is_followed() -> None:
    scene = np.linspace(25, 35, 80, dtype=np.float32)[None].repeat(60, 0)
    frames = [scene + RNG.normal(0, 0.3, scene.shape).astype(np.float32) for _ in range(12)]
    frames[6:] = [f + np.where(np.arange(80) < 20, np.float32(15), np.float32(0)) for f in frames[6:]]
    kept = [frames[0]]
    for frame in frames[1:]:
        kept.append(steadied(frame, kept[-1], 0.3))
    change = [float(np.abs(b - a)[:, 20:].mean()) for a, b in pairwise(kept[4:])]
    raw = [float(np.abs(b - a)[:, 20:].mean()) for a, b in pairwise(frames[4:])]
    assert max(change) < 0.35 * min(raw)
    np.testing.assert_array_equal(kept[6][:, :20], frames[6][:, :20])
    gap = np.full_like(scene, np.nan)
    np.testing.assert_array_equal(steadied(frames[1], gap, 0.3), frames[1])
    assert np.isnan(steadied(gap, frames[1], 0.3)).all()


def test_from_python() -> None:
    painted = colour_by_heat(PICTURE, CELSIUS, "rainbow", 30)
    np.testing.assert_array_equal(painted[CELSIUS <= 30], PICTURE[CELSIUS <= 30])
    assert colour_by_heat(PICTURE, CELSIUS / 50, unit="range", legend=True).shape[1] > 100
    with pytest.raises(LureError, match="do not fit"):
        colour_by_heat(PICTURE, CELSIUS[1:])


# --- the legend ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (30, 61.2, 7, [30, 35, 40, 45, 50, 55, 60]),
        (-12.3, 120, 8, [0, 20, 40, 60, 80, 100, 120]),
        (20.1, 21.1, 5, [20.2, 20.4, 20.6, 20.8, 21]),
        (0.001, 0.002, 6, [0.001, 0.0012, 0.0014, 0.0016, 0.0018, 0.002]),
        (31.2, 31.9, 1, [31.5]),
        (300, 1200, 4, [500, 1000]),
        (0, 1, 0, []),
    ],
)
def test_ticks_are_round(low: float, high: float, most: int, ticks: list[float]) -> None:
    assert round_ticks(low, high, most) == ticks


@pytest.mark.parametrize(("height", "scale"), [(480, (30, 61.2)), (120, (30, 61.2)), (1080, (-12.3, 120))])
def test_ticks_stand_at_the_colours_of_their_degrees(height: int, scale: tuple[float, float]) -> None:
    low, high = scale
    table = palette_colours("iron")
    legend = draw_legend(height, HeatScale(low, high, "celsius", 0.05 * (high - low)), table)
    assert legend.shape[0] == height and legend.shape[1] % 2 == 0
    chroma = np.ptp(legend, axis=2) > 0.2
    columns = np.flatnonzero(chroma.any(axis=0))
    assert (np.diff(columns) == 1).all()  # the bar alone is in colour
    beside = legend[:, columns[-1] + 3, 0] > 0.9
    bar = legend[:, columns[2]]
    ground = np.flatnonzero(np.abs(bar - legend[-1, -1]).max(axis=1) < 0.01)
    beside[: ground[:-1][np.diff(ground) > height // 2][0]] = False  # what is written above the bar
    starts = np.flatnonzero(np.diff(beside.astype(int), prepend=0) == 1)
    ends = np.flatnonzero(np.diff(beside.astype(int), append=0) == -1)
    rows = (starts + ends) // 2
    found = []
    for row in rows[:-1]:  # the last one is the mark where colour begins
        near = np.argmin(np.abs(table - legend[min(row, height - 1), columns[2]]).sum(axis=1))
        found.append(low + near / (len(table) - 1) * (high - low))
    assert len(found) >= 3
    tolerance = 1.5 * (high - low) / (0.8 * height)
    assert found[0] == pytest.approx(high, abs=tolerance)
    for value in found[1:]:
        assert value == pytest.approx(round(value / 5) * 5, abs=tolerance)
    assert np.ptp(bar[rows[-1] + 2], axis=0) < 0.01 and bar[rows[-1] + 2, 0] == pytest.approx(0.5)  # grey below


@pytest.mark.parametrize("height", [LEAST_HEIGHT, 120, 301, 480, 3000])
@pytest.mark.parametrize("scale", [HeatScale(0.5, 1, "range", 0.1, True), HeatScale(-40, 1200, "celsius", 10)])
def test_a_legend_fits_every_height(height: int, scale: HeatScale) -> None:
    legend = draw_legend(height, scale, palette_colours("whitehot"))
    assert legend.shape[0] == height
    assert 40 <= legend.shape[1] < max(80, height / 2)
    for edge in (legend[:, -2:], legend[:1], legend[-2:], legend[:, :2]):
        assert np.ptp(edge) == 0  # no text is cut off


def test_no_legend_fits_into_a_tiny_picture() -> None:
    with pytest.raises(LureError, match="no legend fits into 40 pixels of height"):
        draw_legend(40, HeatScale(0, 1, "celsius", 0.1), palette_colours("iron"))
