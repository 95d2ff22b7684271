"""Temperatures through whole commands: where they go, what is told of them, what is refused, what is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lure_cli import read_temperature
from lure_cli.core.registration.alignment import Alignment
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.core.thermal.radiometry import Radiometry
from lure_cli.core.thermal.temperature import Temperatures
from lure_cli.errors import LureError
from lure_cli.tasks.inference.fuse import FuseWorker
from lure_cli.tasks.inference.inputs import read_pair
from lure_cli.tasks.inference.job import Result
from lure_cli.tasks.inference.options import FuseOptions, ReadOptions
from lure_cli.tasks.inference.plan import plan_fuse
from lure_cli.tasks.inference.ray_engine import from_json, to_json
from lure_cli.tasks.inference.request import Request
from lure_cli.tasks.paths.pairing import Pair
from tests.helpers.files import ROOT, Outcome, save_png
from tests.helpers.tiffs import GEO

Run = Callable[..., Outcome]
RNG = np.random.default_rng(5)
H, W = 48, 64
SCENE = np.add.outer(np.linspace(12, 20, H), np.linspace(0, 8, W)) + RNG.normal(0, 0.3, (H, W))
SCENE[30, 21], SCENE[7, 50] = 61.5, 2.25
CK = np.rint(100 * SCENE + 27315).astype(np.uint16)
SCENE = CK / 100 - 273.15
"""Degrees Celsius; the hottest pixel lies at x 21, y 30, the coldest at 50, 7."""
VIS = (np.indices((H, W, 3)).sum(0) * 2 % 251).astype(np.uint8)
PAIR = ["fuse", "--ir", "ir.tif", "--vis", "vis.png", "-o", "out.png"]
HEAT = ["--unit", "ck", "--temperature", "heat.tif"]
CK_READ = ReadOptions(radiometry=Radiometry(unit="ck"))


def pair(**extras: Path) -> Pair:
    return Pair("a", Path("ir.tif"), Path("vis.png"), Path("out.png"), extras)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one pair, and folders of three, of which the infrared of `b` has 8 bits."""
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("ir.tif", CK)
    save_png(Path("vis.png"), VIS)
    for name in ("a", "b", "c"):
        save_png(Path(f"v/{name}.png"), VIS)
        if name == "b":
            save_png(Path("i/b.png"), VIS[..., 0])
        else:
            Path("i").mkdir(exist_ok=True)
            tifffile.imwrite(f"i/{name}.tif", CK)
    return tmp_path


def left(folder: Path) -> list[str]:
    """All files that are no inputs; also hidden ones."""
    files = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(f for f in files if not f.startswith(("i/", "v/")) and f not in ("ir.tif", "vis.png"))


def test_the_file_holds_each_pixels_temperature(lure: Run, here: Path) -> None:
    done = lure(*PAIR, *HEAT)
    assert (done.code, done.out) == (0, "out.png\n")
    assert done.err.splitlines()[-1] == "heat.tif: 2.2 to 61.5 °C, hottest at 21,30"
    celsius = tifffile.imread("heat.tif")
    assert celsius.dtype == np.float32 and celsius.shape == (H, W)
    assert np.abs(celsius - SCENE).max() < 0.005


def test_the_record_tells_extremes_and_their_places(lure: Run, here: Path) -> None:
    expected = {
        "min": 2.25,
        "mean": round(float(SCENE.mean()), 2),
        "max": 61.5,
        "hottest": [21, 30],
        "coldest": [50, 7],
    }
    record = json.loads(lure(*PAIR, *HEAT, "--json").out)
    assert record["temperature"] == expected | {"file": "heat.tif"}
    without = lure(*PAIR, "--unit", "ck", "--json", "--overwrite")
    assert json.loads(without.out)["temperature"] == expected | {"file": None}
    plain = lure(*PAIR, "--json", "--overwrite")
    assert "temperature" not in json.loads(plain.out)
    assert "hottest" not in lure(*PAIR, "--unit", "ck", "--overwrite").err


def test_a_range_in_degrees_gives_the_picture_of_the_same_range_in_numbers(lure: Run, here: Path) -> None:
    assert lure(*PAIR, "--unit", "ck", "--ir-range", "10,32.5").code == 0
    in_degrees = Path("out.png").read_bytes()
    assert lure(*PAIR, "--ir-range", "28315,30565", "--overwrite").code == 0
    assert Path("out.png").read_bytes() == in_degrees


def test_the_model_sees_the_infrared_as_it_was_mapped(lure: Run, here: Path) -> None:
    """What is black by the range is no "no data": it is not looked for a second time."""
    wall = np.rint(29415 + 10 * RNG.normal(0, 1, (H, W))).astype(np.uint16)
    wall[:, :20], wall[:, 20:22] = 27000, 27415
    tifffile.imwrite("ir.tif", wall)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert lure(*PAIR, "--ir-range", "27315,30315").code == 0


def test_what_was_not_measured_is_nan(lure: Run, here: Path) -> None:
    numbers = CK.copy()
    numbers[:4], numbers[30, 21] = 0, 65535
    tifffile.imwrite("ir.tif", numbers)
    record = json.loads(lure(*PAIR, *HEAT, "--json", "--ir-range", "10,30").out)
    celsius = tifffile.imread("heat.tif")
    np.testing.assert_array_equal(np.isnan(celsius), (numbers == 0) | (numbers == 65535))
    assert record["invalid"] == {"ir": 4 * W + 1} and record["temperature"]["max"] < 35


def test_an_infrared_of_another_size_lies_where_the_picture_shows_it(lure: Run, here: Path) -> None:
    small = SCENE.reshape(H // 2, 2, W // 2, 2).mean((1, 3))
    tifffile.imwrite("ir.tif", (small + 273.15).astype(np.float32))
    refused = lure(*PAIR, "--unit", "k")
    assert refused.code == 1 and "--resize-ir" in refused.err
    done = lure(*PAIR, "--unit", "k", "--temperature", "heat.tif", "--resize-ir", "--json")
    celsius = tifffile.imread("heat.tif")
    assert celsius.shape == (H, W) and not np.isnan(celsius).any()
    y, x = (np.clip((np.arange(n) + 0.5) / 2 - 0.5, 0, n // 2 - 1) for n in (H, W))
    at = np.array(np.meshgrid(y, x, indexing="ij"))
    low = np.minimum(np.floor(at).astype(int), [[[H // 2 - 2]], [[W // 2 - 2]]])
    part = at - low
    expected = sum(
        np.abs(1 - i - part[0]) * np.abs(1 - j - part[1]) * small[low[0] + i, low[1] + j]
        for i in (0, 1)
        for j in (0, 1)
    )
    assert np.abs(celsius - expected).max() < 0.005
    told = json.loads(done.out)["temperature"]
    assert (
        told["max"] == round(small.max(), 2) and small[told["hottest"][1] // 2, told["hottest"][0] // 2] == small.max()
    )


def test_a_hot_spot_of_one_pixel_is_told_as_it_was_measured(lure: Run, here: Path) -> None:
    """In the larger picture it is interpolated with the cold around it, and would be less than the warm area."""
    small = np.tile(np.linspace(290, 318, W // 2, dtype=np.float32), (H // 2, 1))
    small[10, 3] = 320
    tifffile.imwrite("ir.tif", small)
    done = lure(*PAIR, "--unit", "k", "--temperature", "heat.tif", "--resize-ir", "--json")
    told, celsius = json.loads(done.out)["temperature"], tifffile.imread("heat.tif")
    assert told["max"] == pytest.approx(320 - 273.15, abs=0.01) and celsius.max() == pytest.approx(318 - 273.15)
    assert told["hottest"][0] in (6, 7) and told["hottest"][1] in (20, 21)
    assert told["min"] == pytest.approx(290 - 273.15, abs=0.01)
    assert told["mean"] == pytest.approx(celsius.mean(), abs=0.01)


def test_a_common_transform_moves_them_with_the_infrared(here: Path) -> None:
    alignment = Alignment((1, 0, 3, 0, 1, -2), (W, H))
    options = ReadOptions(align="auto", align_once=True, ir_range="10,30", radiometry=CK_READ.radiometry)
    inputs = read_pair(pair(), options, alignment, surrounded=False)
    assert inputs.celsius is not None
    np.testing.assert_allclose(inputs.celsius[2:, :-3], SCENE[:-2, 3:], atol=0.005)
    assert np.isnan(inputs.celsius[:2]).all() and np.isnan(inputs.celsius[:, -3:]).all()
    np.testing.assert_allclose(inputs.ir[2:, :-3, 0], np.clip((SCENE[:-2, 3:] - 10) / 20, 0, 1), atol=1e-4)
    told = Temperatures.of(inputs.celsius)
    assert told is not None and told.hottest == (18, 32)


def test_the_place_on_earth_goes_with_them(lure: Run, here: Path) -> None:
    tifffile.imwrite("vis.tif", VIS, photometric="rgb", extratags=GEO)
    done = lure("fuse", "--ir", "ir.tif", "--vis", "vis.tif", "-o", "out.png", *HEAT)
    assert done.code == 0 and "only .tif outputs hold it" in done.err
    with tifffile.TiffFile("heat.tif") as tif:
        assert tif.pages[0].tags[33550].value == GEO[0][3]


def test_folders_and_templates(lure: Run, here: Path) -> None:
    args = ["fuse", "--ir", "i", "--vis", "v", "-o", "out", "--unit", "ck"]
    done = lure(*args, "--temperature", "heat", "--json")
    assert done.code == 1
    assert done.err.count("error: ") == 1 and "error: i/b.png: 8 bits a pixel cannot be temperatures" in done.err
    assert left(here) == ["heat/a.tif", "heat/c.tif", "out/a.png", "out/c.png"]
    records = {r["name"]: r for r in map(json.loads, done.out.splitlines())}
    assert records["c"]["temperature"]["file"] == "heat/c.tif" and "temperature" not in records["b"]
    assert lure(*args, "--temperature", "t/{folder}/{stem}_c.tiff", "--overwrite").code == 1
    assert sorted(os.listdir("t")) == ["a_c.tiff", "c_c.tiff"]


def test_infrared_without_temperatures_fails_alone(lure: Run, here: Path) -> None:
    done = lure("fuse", "--ir", "i", "--vis", "v", "-o", "out", "--temperature", "heat", "--json")
    assert done.code == 1
    assert done.err.count(": holds no temperatures") == 3 and "--unit ck" in done.err
    assert left(here) == []


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--unit", "f"], "--unit f is not known"),
        (["--unit", "ck", "--ir-range", "full"], "no full range"),
        (["--unit", "ck", "--emissivity", "1.5"], "--emissivity 1.5"),
        (["--temperature", "heat.png"], "no known temperature suffix"),
        (["--temperature", "-"], "standard output takes no temperature"),
        (["--temperature", "ir.tif", "--overwrite"], "ir.tif is also an input"),
        (["--temperature", "out.tif", "-o", "out.tif"], "both be written to out.tif"),
        (["--temperature", "vis.png/heat.tif"], "vis.png is not a folder"),
        (["--temperature", "there.tif"], "there.tif exists already"),
        (["--alpha", "ir", "--unit", "ck"], "an alpha channel holds no temperatures"),
    ],
)
def test_refused_before_the_model_loads(args: list[str], text: str, lure: Run, here: Path) -> None:
    Path("there.tif").touch()
    done = lure(*(PAIR[: PAIR.index("-o")] if "-o" in args else PAIR), *args)
    assert done.code == 2 and text in done.err
    assert [line.split(":")[0] for line in done.err.splitlines()] == ["error", "hint"]
    assert left(here) == ["there.tif"]


def test_folders_that_collide_are_refused(lure: Run, here: Path) -> None:
    args = ["fuse", "--ir", "i", "--vis", "v", "--unit", "ck"]
    one = lure(*args, "-o", "out/{stem}.tif", "--temperature", "out")
    assert one.code == 2 and "the temperature of 'a' would both be written to out/a.tif" in one.err
    single = lure(*args, "-o", "out", "--temperature", "heat.tif")
    assert single.code == 2 and "one file for several pairs" in single.err
    assert lure(*args, "-o", "out", "--temperature", "i").code == 2  # i/a.tif is an input


@pytest.mark.parametrize("option", ["--emissivity", "--reflected", "--distance"])
def test_plain_numbers_and_options_of_radiometric_files(option: str, lure: Run, here: Path) -> None:
    done = lure(*PAIR, "--unit", "ck", option, "0.9")
    assert done.code == 1
    assert f"ir.tif: it is not radiometric: it holds no raw thermal data that {option} could apply to" in done.err


def test_existing_files_are_kept_skipped_or_replaced(lure: Run, here: Path) -> None:
    assert lure(*PAIR).code == 0
    before = Path("out.png").stat().st_ino
    assert lure(*PAIR, *HEAT).code == 2
    assert lure(*PAIR, *HEAT, "--skip-existing").code == 0  # the temperatures are missing: they are added
    assert left(here) == ["heat.tif", "out.png"] and Path("out.png").stat().st_ino == before
    assert "skipped" in lure(*PAIR, *HEAT, "--skip-existing").err
    Path("out.png").unlink()
    heat = Path("heat.tif").stat().st_ino
    assert lure(*PAIR, *HEAT, "--skip-existing").code == 0
    assert Path("out.png").exists() and Path("heat.tif").stat().st_ino == heat
    assert lure(*PAIR, *HEAT, "--overwrite").code == 0
    assert Path("heat.tif").stat().st_ino != heat


def test_where_one_file_cannot_be_written_there_is_none(here: Path) -> None:
    """The folder of the picture, or that of the temperatures, turns into a file once the job has begun."""
    for number, blocked in enumerate(("p", "h")):
        output, heat = f"p{number}/out.png", f"h{number}/heat.tif"
        plan = plan_fuse(FuseOptions(Path("ir.tif"), Path("vis.png"), output, read=CK_READ, temperature=heat))
        worker, job = FuseWorker(plan.options, plan.weights), next(plan.jobs)
        computed = worker.compute(job, worker.read(job))
        Path(f"{blocked}{number}").touch()
        result = worker.write(job, computed)
        assert result.status == "failed" and result.error is not None and f"{blocked}{number}/" in result.error.message
        assert [f for f in left(here) if f not in ("p0", "h1")] == []


def test_dry_run_names_both_files_and_loads_nothing(here: Path) -> None:
    code = (
        "import sys\nfrom lure_cli.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as e: code = e.code\n"
        "print(code, sorted({'torch', 'numpy', 'tifffile'} & set(sys.modules)))"
    )
    for more, expected in (
        ([], "planned: ir.tif + vis.png -> out.png + heat.tif"),
        (["--json"], '"output": "out.png", "temperature": {"file": "heat.tif"}}'),
    ):
        command = [sys.executable, "-c", code, *PAIR, *HEAT, "--dry-run", *more]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        planned, end = done.stdout.splitlines()
        assert planned.endswith(expected) and end == "0 []"
    assert left(here) == []


def test_one_infrared_image_is_restored_with_its_temperatures(lure: Run, here: Path) -> None:
    done = lure("restore", "--ir", "ir.tif", "-o", "out.png", *HEAT, "--ir-range", "10,30")
    assert done.code == 0 and "heat.tif: 2.2 to 61.5 °C, hottest at 21,30" in done.err
    assert np.abs(tifffile.imread("heat.tif") - SCENE).max() < 0.005
    for args in (HEAT[:2], HEAT[2:], ["--emissivity", "0.9"]):
        refused = lure("restore", "--vis", "vis.png", "-o", "x.png", *args)
        assert refused.code == 2 and "temperatures are those of infrared images" in refused.err


def test_standard_output_takes_the_picture_alone(here: Path) -> None:
    command = [sys.executable, "-m", "lure_cli", *PAIR[:-1], "-", *HEAT]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
    assert done.stdout.startswith(b"\x89PNG") and left(here) == ["heat.tif"]


def test_temperature_folders_inside_the_input_are_no_input(lure: Run, here: Path) -> None:
    args = ["restore", "--ir", "i", "-r", "-o", "i/out", "--temperature", "i/heat", "--unit", "ck"]
    assert lure(*args).code == 1  # b
    again = lure(*args, "--dry-run", "--skip-existing")
    assert [line.split(":")[0] for line in again.out.splitlines()] == ["skipped", "planned", "skipped"]


def test_ray_carries_them(here: Path) -> None:
    told = Temperatures.of(SCENE.astype(np.float32))
    job = (pair(temperature=Path("heat.tif")), Request())
    result = Result(*job, Prompt(), "done", size=(W, H), invalid={"ir": 2}, temperatures=told)
    back = from_json(json.loads(json.dumps(to_json(result))), job)
    assert back == result and back.record() == result.record()


def test_in_python(here: Path) -> None:
    assert np.abs(read_temperature("ir.tif", "ck") - SCENE).max() < 0.005
    with pytest.raises(LureError, match=r"ir\.tif: holds no temperatures"):
        read_temperature("ir.tif")
    with pytest.raises(LureError, match="--unit f"):
        read_temperature("ir.tif", "f")
