"""Radiometric files that are fused alone: what is laid where, what stands beyond, folders of them, and what is said."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lure_cli import Fuser
from lure_cli.core.images.picture import to_channels
from lure_cli.core.registration.alignment import SEAM
from lure_cli.core.thermal.radiometry import Radiometry
from lure_cli.errors import LureError
from lure_cli.tasks.inference.fuse import fuse
from lure_cli.tasks.inference.inputs import common_alignment, read_pair
from lure_cli.tasks.inference.options import FuseOptions, ReadOptions
from lure_cli.tasks.inference.plan import plan_fuse
from lure_cli.tasks.inference.request import ModelOutput, Request
from lure_cli.tasks.paths.pairing import Pair
from tests.helpers.files import EXAMPLES, Outcome, save_png
from tests.helpers.flir import RAW, flir_jpeg, segment, with_segments, write_flir

Run = Callable[..., Outcome]
AQUA = EXAMPLES / "thermal" / "Aqua_Tower_thermal_image.jpg"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Infrared:
    """Gives the infrared image back, in three channels, as it is asked for."""

    def fuse_request(self, ir: np.ndarray, vis: np.ndarray, request: Request) -> ModelOutput:
        assert request.ir_range is not None and request.ir_range.kind == "full"
        return ModelOutput(to_channels(ir, 3), request.prompt, {})


def one(path: Path, **options: object) -> Pair:
    return Pair("a", path, path, Path("out.png"))


# --- one file --------------------------------------------------------------------------------------------------------


def test_the_hot_spot_lies_where_the_photo_shows_it(here: Path) -> None:
    """A bar over the infrared's columns 8 to 11 and rows 6 to 8, scaled by 50 / 32 about the photo's centre, moved."""
    raw = np.full((24, 32), 13000, np.uint16)
    raw[6:9, 8:12] = 20000
    inputs = read_pair(one(write_flir(here / "a.jpg", raw=raw)), ReadOptions(ir_range="0,40"))
    assert inputs.ir.shape == (60, 80, 1) and inputs.vis.shape == (60, 80, 3) and inputs.celsius is not None
    hot = inputs.celsius > 20
    scale = 50 / 32
    x, y = (10 - 16) * scale + 40 + 3, (7.5 - 12) * scale + 30 - 2
    rows, columns = np.where(hot)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((x, y), abs=0.5)
    assert hot.sum() == pytest.approx(12 * scale**2, rel=0.35)
    assert inputs.ir[hot].mean() > 0.5


def test_beyond_the_infrared_nothing_is_measured_and_the_photo_stands_there(here: Path) -> None:
    inputs = read_pair(one(write_flir(here / "a.jpg")), ReadOptions())
    assert inputs.celsius is not None and inputs.celsius.dtype == np.float32
    measured = np.isfinite(inputs.celsius)
    assert measured.mean() == pytest.approx(1 / 1.6 * (24 * 50 / 32) / 60, rel=0.1)  # the infrared's share of the photo
    luma = to_channels(inputs.vis, 1)
    np.testing.assert_array_equal(inputs.ir[~measured], luma[~measured])
    edge = int(np.ceil(SEAM * 50)) + 1
    inner = np.pad(measured, 1)[1:-1, 1:-1].copy()
    for _ in range(edge):
        inner[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    assert np.abs(inputs.ir - luma)[inner].mean() > 0.1
    assert np.nanmin(inputs.celsius) >= -3.1 and np.nanmax(inputs.celsius) <= 13.1  # none is invented


def test_one_note_says_what_was_done(here: Path) -> None:
    inputs = read_pair(one(write_flir(here / "a.jpg")), ReadOptions())
    assert [note.kind for note in inputs.notes] == ["one file", "range"]
    text = inputs.notes[0].text
    for part in (
        "a.jpg",
        "LURE tests Model 1",
        "32x24",
        "80x60",
        "ratio 1.600, offset 3, -2",
        "beyond the infrared's edge",
    ):
        assert part in text
    assert inputs.alignment is not None and inputs.alignment.source == (32, 24)


def test_a_range_in_degrees_and_settings_of_the_user(here: Path) -> None:
    path = write_flir(here / "a.jpg")
    plain = read_pair(one(path), ReadOptions(ir_range="0,10"))
    told = read_pair(one(path), ReadOptions(ir_range="0,10", radiometry=Radiometry(emissivity=0.5)))
    assert plain.celsius is not None and told.celsius is not None
    inside = np.isfinite(plain.celsius)
    assert np.abs(told.celsius - plain.celsius)[inside].max() > 1
    assert plain.notes[1].text.endswith("0.00..10.00 °C -> 0..1 (as given)")


def test_an_alignment_of_ones_own_is_not_replaced_silently(here: Path) -> None:
    path = write_flir(here / "a.jpg")
    plain, aligned = read_pair(one(path), ReadOptions()), read_pair(one(path), ReadOptions(align="auto"))
    np.testing.assert_array_equal(aligned.ir, plain.ir)
    assert "its own alignment is taken, not --align" in aligned.notes[-1].text
    assert common_alignment((one(path),), ReadOptions(align="auto", align_once=True)) is None


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"photo": None}, "holds no photo"),
        ({"placement": None}, "does not say where in its photo"),
        ({"raw": None}, "not a radiometric one"),
    ],
)
def test_what_is_missing_inside_is_said(lure: Run, here: Path, how: dict[str, None], text: str) -> None:
    write_flir(here / "a.jpg", **how)
    done = lure("fuse", "--ir", "a.jpg", "-o", "out.png")
    assert done.code in (1, 2) and text in done.err and "give" in done.err and "--vis" in done.err
    assert not Path("out.png").exists()


def test_the_given_visible_image_is_used_and_not_the_photo(here: Path) -> None:
    path = write_flir(here / "a.jpg")
    save_png(here / "vis.png", np.full((24, 32, 3), 77, np.uint8))
    inputs = read_pair(Pair("a", path, here / "vis.png", Path("out.png")), ReadOptions())
    assert inputs.ir.shape == (24, 32, 1) and (inputs.vis == np.float32(77 / 255)).all()
    with pytest.raises(LureError, match="is 32x24 but"):
        read_pair(Pair("a", path, AQUA, Path("out.png")), ReadOptions())


def test_the_photo_of_a_file_may_be_the_visible_image_of_another(here: Path) -> None:
    save_png(here / "ir.png", np.zeros((60, 80), np.uint8))
    inputs = read_pair(Pair("a", here / "ir.png", write_flir(here / "a.jpg"), Path("out.png")), ReadOptions())
    assert inputs.vis.shape == (60, 80, 3) and "photo inside it is taken" in inputs.notes[-1].text


def test_other_makers_files_are_named_in_a_note(here: Path) -> None:
    Path("dji.jpg").write_bytes(with_segments(segment(3, bytes(500)), make="DJI"))
    save_png(here / "vis.png", np.full((24, 32, 3), (7, 77, 99), np.uint8))
    inputs = read_pair(Pair("a", Path("dji.jpg"), here / "vis.png", Path("out.png")), ReadOptions())
    assert "dji.jpg: holds temperatures that only DJI's own software reads" in inputs.notes[0].text


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--vis", "vis.png", "--temperature", "t.tif"), "dji.jpg: holds temperatures that only DJI's own software"),
        (("--vis", "vis.png", "--palette", "iron", "--palette-from", "30"), "or export a TIFF in degrees Celsius"),
        ((), "none is read from files of DJI"),
    ],
)
def test_what_other_makers_files_cannot_give_has_a_way_out(
    lure: Run, here: Path, args: tuple[str, ...], text: str
) -> None:
    Path("dji.jpg").write_bytes(with_segments(segment(3, bytes(500)), make="DJI"))
    save_png(here / "vis.png", np.full((24, 32, 3), (7, 77, 99), np.uint8))
    done = lure("fuse", "--ir", "dji.jpg", *args, "-o", "out.png")
    assert done.code in (1, 2) and text in done.err
    assert ("with DJI's own software, and give that with --unit c" in done.err) == bool(args)


def test_one_folder_of_both_asks_for_patterns(lure: Run, here: Path) -> None:
    Path("flight").mkdir()
    done = lure("fuse", "--ir", "flight", "--vis", "flight", "-o", "out")
    assert done.code == 2 and "two patterns, such as 'flight/*_T.JPG'" in done.err


def test_command_python_and_standard_input_agree(lure: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_flir(here / "FLIR0001.jpg")
    done = lure("fuse", "--ir", path, "--json")
    record = json.loads(done.out)
    assert done.code == 0 and record["size"] == [80, 60] and record["output"] == "FLIR0001_fused.png"
    assert "own alignment" in record["notes"][0] and "note: " in done.err
    picture = np.asarray(Image.open("FLIR0001_fused.png"))
    assert np.abs(np.rint(Fuser.from_pretrained()(path) * 255) - picture).max() <= 1
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert lure("fuse", "--ir", "-", "-o", "std.png").code == 0
    np.testing.assert_array_equal(np.asarray(Image.open("std.png")), picture)
    with pytest.raises(LureError, match="no visible image is given"):
        Fuser.from_pretrained()(RAW)


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_of_radiometric_files_and_others(lure: Run, here: Path) -> None:
    for name in ("f/b.jpg", "f/a.jpg", "f/sub/c.jpg"):
        write_flir(Path(name))
    write_flir(Path("f/no_photo.jpg"), photo=None)
    save_png(Path("f/plain.png"), np.zeros((5, 5), np.uint8))
    told: list[str] = []
    plan = plan_fuse(FuseOptions(Path("f"), output="out/"), told.append)
    assert [pair.output.as_posix() for pair in plan.items] == ["out/a.png", "out/b.png"]
    assert told == ["f: 2 without a photo inside left out, such as no_photo.jpg"]
    done = lure("fuse", "--ir", "f", "--recursive", "--dry-run", "--shard", "2/2", "-o", "out/{folder}/{stem}.png")
    assert done.out == "planned: f/b.jpg + f/b.jpg -> out/b.png\n"
    results = list(fuse(plan, fuser=Infrared()))
    assert [result.status for result in results] == ["done", "done"] and results[0].size == (80, 60)
    again = lure("fuse", "--ir", "f", "-o", "out/", "--skip-existing", "--dry-run")
    assert again.out.count("skipped") == 2


def test_files_without_a_partner_that_hold_a_photo_are_fused_alone(lure: Run, here: Path) -> None:
    rng = np.random.default_rng(1)
    save_png(Path("i/street.png"), rng.integers(0, 255, (24, 32), np.uint8))
    save_png(Path("v/street.png"), rng.integers(0, 255, (24, 32, 3), np.uint8))
    save_png(Path("v/left.png"), rng.integers(0, 255, (24, 32, 3), np.uint8))
    write_flir(Path("i/FLIR0001.jpg"))
    write_flir(Path("i/FLIR0002.jpg"), photo=None)
    told: list[str] = []
    plan = plan_fuse(FuseOptions(Path("i"), Path("v"), "out"), told.append)
    assert [(pair.name, pair.ir.name, pair.vis.name) for pair in plan.items] == [
        ("FLIR0001", "FLIR0001.jpg", "FLIR0001.jpg"),
        ("street", "street.png", "street.png"),
    ]
    assert [path.name for path in plan.unmatched] == ["FLIR0002.jpg", "left.png"]
    assert told == ["i: 1 without a partner, but with a photo inside, such as i/FLIR0001.jpg"]
    assert [result.status for result in fuse(plan, fuser=Infrared())] == ["done", "done"]


def test_a_damaged_file_does_not_stop_the_others(here: Path) -> None:
    write_flir(Path("f/a.jpg"))
    Path("f/b.jpg").write_bytes(flir_jpeg().replace(b"FFF\0", b"FFX\0"))
    plan = plan_fuse(FuseOptions(Path("f"), output="out"))
    results = list(fuse(plan, fuser=Infrared()))
    assert [result.status for result in results] == ["done", "failed"]
    assert results[1].error is not None and "b.jpg" in results[1].error.message


def test_the_example_is_fused(lure: Run, here: Path) -> None:
    shutil.copy(AQUA, "FLIR0001.jpg")
    inputs = read_pair(one(Path("FLIR0001.jpg")), ReadOptions())
    assert inputs.vis.shape == (480, 480, 3) and inputs.celsius is not None
    assert np.isfinite(inputs.celsius).mean() == pytest.approx((480 / 1.7187 / 480) ** 2, rel=0.02)
    sky = inputs.vis[20, 20]
    assert sky[2] > sky[1] > sky[0]  # blue
