"""`examples/reproduce.sh` on a tiny data folder: what it makes and leaves out, and that it goes on where it stopped."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lure_cli.core.metrics.baselines import BASELINES
from tests.helpers.documents import GUIDES
from tests.helpers.files import EXAMPLES
from tests.helpers.objects import make_labelled
from tests.helpers.shell import shims

SCRIPT = EXAMPLES / "reproduce.sh"
PARTS = "clean degraded adherence weather restoration stripes objects steadiness noise latent texts speed".split()


@pytest.fixture
def data(tmp_path: Path, warm: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pairs of 64x48 in the places of MSRS, AWMM's haze and M3SVD's stripes; the working folder is beside it."""
    root = tmp_path / "data"

    def put(side: str, name: str, *places: str) -> None:
        for place in places:
            file = root / place / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(EXAMPLES / "pairs" / side / f"{name}.png") as image:
                image.resize((64, 48)).save(file)

    haze, stripes = "degraded_ivif/AWMM/haze/test", "restoration/infrared/stripe/M3SVD/test"
    for name in ("drone", "gate"):
        put("ir", name, "fusion/MSRS/test/ir", f"{haze}/ir", f"{haze}/ir_clean", f"{stripes}/clean")
        put("vis", name, "fusion/MSRS/test/vi", f"{haze}/vi", f"{haze}/vi_clean")
        put("ir", "street", f"{stripes}/degraded")
        (root / stripes / "degraded" / "street.png").rename(root / stripes / "degraded" / f"{name}.png")
    for key, value in shims(tmp_path / "bin", warm).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("LURE_MODELS", "lure-small")
    monkeypatch.chdir(tmp_path)
    return root


def reproduce(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rows_of(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path("out", table).read_text().splitlines()))


def test_tables_are_made_once_and_what_is_missing_is_named(data: Path) -> None:
    first = reproduce("data", "out", "clean", "weather", "stripes")
    assert first.returncode == 1, first.stderr
    missing = "clean/RoadScene clean/VIFB clean/LLVIP weather/AWMM-rain weather/AWMM-snow weather/AWMM-snow-called-rain"
    assert f"left out, as their data are not there: {missing} weather/DRMF" in first.stderr
    rows = rows_of("clean/MSRS.csv")
    assert {row["method"] for row in rows} == {"lure-small", *BASELINES}
    assert {row["image"] for row in rows} == {"drone", "gate"}
    assert "lure-small" in Path("out/clean/MSRS.md").read_text()
    assert "degraded" in Path("out/weather/AWMM-haze.md").read_text()
    stripes = Path("out/stripes/M3SVD.md").read_text()
    assert [line.split(" | ")[1] for line in stripes.splitlines()[3:]] == [
        "stripes",
        "stripes+noise",
        "stripes+noise+low contrast",
    ]
    assert not Path("out/unfinished").exists()
    times = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*") if path.is_file()}
    again = reproduce("data", "out", "clean", "weather", "stripes")
    assert again.returncode == 1
    assert again.stderr.count("done before") == 3
    for path, time in times.items():
        if path.name != "cases.json":
            assert path.stat().st_mtime_ns == time, path


def test_it_goes_on_where_a_command_failed(data: Path) -> None:
    picture = data / "fusion" / "MSRS" / "test" / "vi" / "gate.png"
    whole = picture.read_bytes()
    picture.write_bytes(whole[:300])
    stopped = reproduce("data", "out", "clean")
    assert stopped.returncode > 0
    assert "stopped; the same command goes on from here" in stopped.stderr
    assert not Path("out/clean/MSRS.md").exists()
    fused = Path("out/images/clean/MSRS/lure-small/drone.png").stat().st_mtime_ns
    picture.write_bytes(whole)
    assert "MSRS: lure eval" in reproduce("data", "out", "clean").stderr
    assert Path("out/clean/MSRS.md").is_file()
    assert Path("out/images/clean/MSRS/lure-small/drone.png").stat().st_mtime_ns == fused


def test_cases_that_are_not_there_are_made_and_named_so(data: Path) -> None:
    (data / "cases").mkdir()
    command = [sys.executable, str(EXAMPLES / "make_cases.py"), "--cases", "clean,vis_blur", "--out", "data/cases/MSRS"]
    pairs = data / "fusion" / "MSRS" / "test"
    subprocess.run([*command, "--ir", str(pairs / "ir"), "--vis", str(pairs / "vi")], check=True, capture_output=True)
    done = reproduce("data", "out", "degraded")
    assert done.returncode == 1
    assert "left out, as their data are not there: degraded/RoadScene" in done.stderr
    assert "vis_blur" in Path("out/degraded/MSRS.md").read_text()
    (data / "cases" / "MSRS" / "cases.json").unlink()
    assert "not the figures of the card" in reproduce("data", "out", "degraded").stderr
    assert "haze+ir_stripe" in Path("out/degraded/MSRS-own-cases.md").read_text()


def test_detectors_are_given_the_labelled_pairs(data: Path) -> None:
    """What they make of them takes hours; a label that does not fit shows that all options are understood."""
    assert "left out, as their data are not there: objects/MSRS" in reproduce("data", "out", "objects").stderr
    make_labelled(Path("labelled"))
    for split, folder in (("train", "MSRS_resplit/train"), ("test", "MSRS/test")):
        (data / "labels" / "MSRS").mkdir(parents=True, exist_ok=True)
        shutil.move(Path("labelled") / split / "labels", data / "labels" / "MSRS" / split)
        shutil.copytree(Path("labelled") / split, data / "fusion" / folder, dirs_exist_ok=True)
    for file in (data / "labels" / "MSRS" / "test").glob("*.txt"):
        file.write_text("7 0.5 0.5 0.1 0.1")
    refused = reproduce("data", "out", "objects")
    assert refused.returncode == 2
    assert "line 1: class 7, but there are 3" in refused.stderr
    assert not Path("out/objects/MSRS.md").exists()


@pytest.mark.slow  # the motion of ten clips, and eight commands
def test_clips_and_noise(data: Path) -> None:
    """Of a small clip; of the rendered one the tables are there."""
    pytest.importorskip("av")
    clip = data / "clips" / "M3SVD"
    command = [sys.executable, str(EXAMPLES / "make_clip.py"), "--size", "48x36", "--frames", "31", "--out", str(clip)]
    subprocess.run(command, check=True, capture_output=True)
    for side, name in (("ir", "infrared"), ("vis", "visible")):
        (clip / f"{side}.mp4").rename(clip / f"smoke_{name}.mp4")
    for place in ("images/steadiness/clip/vis.mp4", "steadiness/rendered.md", "steadiness/rendered-flowD.md"):
        (Path("out") / place).parent.mkdir(parents=True, exist_ok=True)
        (Path("out") / place).write_text("there")
    done = reproduce("data", "out", "steadiness", "noise")
    assert done.returncode == 0, done.stderr
    for table, frames in (("smoke-flowD", 29), ("smoke", 10)):
        rows = rows_of(f"steadiness/{table}.csv")
        assert {"visible-source", "infrared-source", "lure-small", "lure-small-haze"} < {row["method"] for row in rows}
        assert len({row["image"] for row in rows}) == frames
    rows = rows_of("noise/ir_noise.csv")
    assert {"drone"} == {row["image"] for row in rows} and {"SF", "NIQE", "BRISQUE"} < set(rows[0])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), f"usage: bash examples/reproduce.sh DATA [OUT [PART...]]; parts: {' '.join(PARTS)}"),
        (("nowhere",), "nowhere: no such folder"),
        (("data", "out", "clean", "cleen"), f"there is no part 'cleen'; parts: {' '.join(PARTS)}"),
    ],
)
def test_wrong_arguments(data: Path, args: tuple[str, ...], message: str) -> None:
    done = reproduce(*args)
    assert done.returncode == 2
    assert done.stderr == f"error: {message}\n"


def test_the_guide_names_every_part() -> None:
    guide = next(page for page in GUIDES if page.stem == "reproducing").read_text()
    assert all(f"| `{part}` |" in guide for part in PARTS)
