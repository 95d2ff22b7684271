"""`lure fuse --provenance` and `Fuser.provenance_map`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from lure_cli import Fuser
from lure_cli.core.registration.alignment import Alignment
from lure_cli.tasks.inference.provenance import COLOURS
from tests.helpers.files import EXAMPLES, SHARED, Outcome
from tests.helpers.flir import write_flir
from tests.helpers.folders import FOLDERS, make_folder

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def fuser() -> Fuser:
    return Fuser.from_pretrained(dtype="fp32")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def night() -> tuple[np.ndarray, np.ndarray]:
    """A warm blob that only the infrared shows, a lit sign that only the visible image shows."""
    rng = np.random.default_rng(0)
    ir = rng.normal(0.15, 0.01, (96, 128)).astype(np.float32)
    vis = rng.normal(0.05, 0.01, (96, 128, 3)).astype(np.float32)
    ir[40:70, 20:40] = 0.95
    vis[10:30, 80:110] = (0.9, 0.2, 0.2)
    return ir.clip(0, 1), vis.clip(0, 1)


def test_what_is_warm_came_from_the_infrared_and_the_sign_from_the_visible(fuser: Fuser) -> None:
    ir, vis = night()
    shares = fuser.provenance_map(ir, vis, ir_range="full")
    assert shares.shape == (96, 128, 3) and shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
    assert (shares[45:65, 25:35, 0] > 0.8).all()
    assert (shares[15:25, 85:105, 1] > 0.8).all()
    assert shares[..., 2].max() == 0


def test_the_share_of_restoration_is_where_the_prompt_changed_the_picture(fuser: Fuser) -> None:
    ir, vis = night()
    vis = np.concatenate([vis[:, :64], 0.4 * vis[:, 64:] + 0.6], axis=1)  # the right half in fog
    shares = fuser.provenance_map(ir, vis, prompt="haze", ir_range="full")
    change = np.abs(fuser(ir, vis, prompt="haze", ir_range="full") - fuser(ir, vis, ir_range="full")).mean(-1)
    fog = shares[:, 72:, 2]
    assert fog.mean() > 2 * shares[45:65, 25:35, 2].mean()
    assert np.corrcoef(change[:, 72:].ravel(), fog.ravel())[0, 1] > 0.3
    assert fuser.provenance_map(ir, vis, prompt="haze", strength=0, ir_range="full")[..., 2].max() == 0


def test_two_images_that_say_the_same_share_the_picture(fuser: Fuser) -> None:
    with Image.open(EXAMPLES / "street" / "vis.png") as image:
        grey = np.asarray(image.convert("L").resize((160, 120)))
    shares = fuser.provenance_map(grey, np.repeat(grey[..., None], 3, 2), ir_range="full")
    assert 0.35 < shares[..., 0].mean() < 0.65


@pytest.mark.shared
def test_a_person_at_night_came_from_the_infrared(fuser: Fuser) -> None:
    folder = SHARED / "data" / "fusion" / "MSRS" / "test"
    ir, vis = (np.asarray(Image.open(folder / side / "01094N.png").convert("RGB")) for side in ("ir", "vi"))
    warm = (ir[..., 0] > 130) & (vis.max(-1) < 60)
    lit = (vis.min(-1) > 200) & (ir[..., 0] < 60)
    shares = fuser.provenance_map(ir, vis)
    assert shares[warm, 0].mean() > 0.7
    assert shares[lit, 1].mean() > 0.8


def test_beyond_the_edge_of_a_rigs_infrared_all_is_visible(fuser: Fuser) -> None:
    ir, vis = night()
    rig = Alignment((1, 0, 0, 0, 1, 0), (128, 96), source=(64, 96))
    by_rig = Fuser(fuser.engine, fuser.provenance, rig=rig)  # type: ignore[arg-type]
    shares = by_rig.provenance_map(ir[:, :64], vis, prompt="haze", ir_range="full")
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
    assert shares[:, 64:, 0].max() == 0
    assert (shares[45:65, 25:35, 0] > 0.6).all()
    seam = shares[80:, 50:70, 0].mean(0)
    assert (np.diff(seam) <= 0.02).all() and seam[0] > 0.2  # it fades


@pytest.mark.parametrize("prompt", [None, "haze"])
def test_beyond_the_infrared_of_one_file_all_is_visible(prompt: str | None, lure: Run, fuser: Fuser) -> None:
    """Also for a fuser with a rig: a file that brings its own alignment is laid by that."""
    write_flir(Path("a.jpg"))
    args = ["fuse", "--ir", "a.jpg", "-o", "out.png", "--provenance", "map.tif", "--temperature", "heat.tif"]
    assert lure(*args, "--dtype", "fp32", *([] if prompt is None else ["--prompt", prompt])).code == 0
    stored, beyond = tifffile.imread("map.tif").astype(float), np.isnan(tifffile.imread("heat.tif"))
    assert 0.3 < beyond.mean() < 0.7
    back = stored @ np.linalg.inv(np.array(COLOURS))
    assert back[beyond, 0].max() < 0.02 and back[~beyond, 0].max() > 0.2
    rig = Alignment((1, 0, 0, 0, 1, 0), (80, 60))
    for one in (fuser, Fuser(fuser.engine, fuser.provenance, rig=rig)):  # type: ignore[arg-type]
        shares = one.provenance_map("a.jpg", prompt=prompt)
        np.testing.assert_allclose(stored, shares @ np.array(COLOURS), atol=1.01)
        assert shares[beyond, 0].max() == 0


def test_temperatures_and_maps_come_together_or_not_at_all(lure: Run) -> None:
    write_flir(Path("in/a.jpg"))
    write_flir(Path("in/b.jpg"))
    extras = ["--provenance", "in/maps/", "--temperature", "in/heat/"]
    args = ["fuse", "--ir", "in", "-r", "-o", "in/out/", *extras]
    dry = lure(*args, "--dry-run").out.splitlines()
    assert dry[0] == "planned: in/a.jpg + in/a.jpg -> in/out/a.png + in/heat/a.tif + in/maps/a.png"
    planned = json.loads(lure(*args, "--dry-run", "--json").out.splitlines()[1])
    done = json.loads(lure(*args, "--json").out.splitlines()[1])
    assert planned["provenance"] == done["provenance"] == "in/maps/b.png"
    assert planned["temperature"]["file"] == done["temperature"]["file"] == "in/heat/b.tif"
    Path("in/maps/a.png").unlink()
    again = lure(*args, "--skip-existing")  # what was written is no input
    assert again.out == "in/out/a.png\n" and "1 done, 1 skipped" in again.err
    Path("in/maps/a.png").unlink()
    Path("in/maps/a.png").mkdir()
    before = {p.name: p.stat().st_mtime_ns for p in Path("in").rglob("a.*")}
    failed = lure(*args, "--overwrite")
    assert failed.code == 1 and "1 done, 0 skipped, 1 failed" in failed.err
    assert {p.name: p.stat().st_mtime_ns for p in Path("in").rglob("a.*")} == before


def test_the_map_of_a_file_is_the_mixture_of_its_colours(lure: Run, fuser: Fuser) -> None:
    make_folder(2)
    done = lure(*FOLDERS, "--provenance", "maps/{stem}_from.png", "--json", "--dtype", "fp32", "--prompt", "haze")
    assert done.code == 0
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["provenance"] for record in records] == ["maps/p0000_from.png", "maps/p0001_from.png"]
    shares = fuser.provenance_map("i/p0001.png", "v/p0001.png", prompt="haze")
    with Image.open("maps/p0001_from.png") as image:
        stored = np.asarray(image).astype(float)
    np.testing.assert_allclose(stored, shares @ np.array(COLOURS), atol=1.01)
    np.testing.assert_allclose(stored @ np.linalg.inv(np.array(COLOURS)), shares, atol=0.02)


def test_what_is_there_stays_and_what_is_missing_is_added(lure: Run) -> None:
    make_folder(2)
    args = [*FOLDERS, "--provenance", "maps/"]
    assert lure(*FOLDERS).code == 0
    done = lure(*args)
    assert done.code == 2 and "out/p0000.png exists" in done.err
    before = Path("out/p0000.png").stat().st_mtime_ns
    added = lure(*args, "--skip-existing", "--json")
    assert added.code == 0
    assert all("computed_by" not in json.loads(line) for line in added.out.splitlines()), (
        "the pictures are earlier ones"
    )
    assert sorted(os.listdir("maps")) == ["p0000.png", "p0001.png"]
    assert Path("out/p0000.png").stat().st_mtime_ns == before
    done = lure(*args, "--skip-existing")
    assert done.out == "" and "2 skipped" in done.err


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--provenance", "map.png"], "one file for several"),
        (["--provenance", "maps/{stem}.jpg"], "no known map suffix"),
        (["--provenance", "out/"], "'p0000' and the provenance of 'p0000' would both be written to out/p0000.png"),
        (["--provenance", "i/"], "is also an input"),
        (["--provenance", "-"], "standard output"),
    ],
)
def test_refused(args: list[str], text: str, lure: Run) -> None:
    make_folder(2)
    done = lure(*FOLDERS, *args)
    assert done.code == 2
    assert text in done.err
    assert not Path("out").exists()


def test_no_half_of_an_output_is_left(lure: Run) -> None:
    """The picture cannot be written: its map is not there either."""
    make_folder(1)
    Path("out").mkdir()
    Path("out/p0000.png").mkdir()
    done = lure(*FOLDERS, "--provenance", "maps/", "--overwrite")
    assert done.code == 1
    assert os.listdir("maps") == []


def test_clips_have_none(lure: Run) -> None:
    clips = [str(EXAMPLES / "clip" / name) for name in ("ir.mp4", "vis.mp4")]
    done = lure("fuse", "--ir", clips[0], "--vis", clips[1], "-o", "out.mp4", "--provenance", "m.png")
    assert done.code == 2
    assert "--provenance is for images" in done.err


def test_onnx_files_do_not_show_it(lure: Run) -> None:
    make_folder(1)
    Path("m.onnx").write_bytes(b"not looked into")
    done = lure(*FOLDERS, "--provenance", "maps/", "--weights", "m.onnx")
    assert done.code == 2
    assert "m.onnx do not show where a picture comes from" in done.err
