"""`lure bench restore`: which sets are found, how they are scored, and what is refused."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lure_cli import Fuser
from lure_cli.core.images.picture import quantised
from lure_cli.errors import LureError
from lure_cli.tasks.bench.restoration import RestoreBenchOptions, bench_restore, parse_clean
from tests.helpers.files import EXAMPLES, SHARED, Outcome, save_png

Run = Callable[..., Outcome]

STREET = EXAMPLES / "street"
HAZE, NOISE = Path("data/restoration/visible/haze/A/test"), Path("data/restoration/infrared/noise/B/test")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with two test sets of crops of the street, in the working folder; `clean/visible/C` beside it."""
    monkeypatch.chdir(tmp_path)
    for root, files in ((HAZE, ("vis_hazy.png", "vis.png")), (NOISE, ("ir_noisy.png", "ir.png"))):
        for side, name in zip(("degraded", "clean"), files, strict=True):
            pixels = np.asarray(Image.open(STREET / name))
            for n in range(2):
                save_png(root / side / f"{n}.png", pixels[200:248, 100 * n + 200 : 100 * n + 264])
    shutil.copytree(HAZE / "clean", "clean/visible/C")
    (HAZE.parent / "train").mkdir()
    return tmp_path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def expected(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """By scikit-image alone, from values in [0, 1]."""
    axis = 2 if x.ndim == 3 else None
    a, b = x / 255, y / 255
    return {
        "PSNR": peak_signal_noise_ratio(b, a, data_range=1),
        "SSIM": structural_similarity(a, b, data_range=1, win_size=7, channel_axis=axis),
    }


def test_scores_are_those_of_scikit_image(lure: Run, here: Path) -> None:
    command = ["bench", "restore", "data", "--no-prompt", "--clean", "clean/visible/C", "--json", "--save", "kept"]
    done = lure(*command, "--csv", "b.csv", "--markdown", "b.md")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["methods"] == ["input", "lure-small", "lure-small-no-prompt"]
    assert [s["set"] for s in record["sets"]] == ["visible/haze/A", "infrared/noise/B", "clean/C"]
    fuser = Fuser.from_pretrained("lure-small")
    for root, name, modality, prompt in (
        (HAZE, "visible/haze/A", "vis", "haze"),
        (NOISE, "infrared/noise/B", "ir", "noise"),
    ):
        means = next(s for s in record["sets"] if s["set"] == name)["means"]
        for image in ("0", "1"):
            x, y = (pixels(root / side / f"{image}.png") for side in ("degraded", "clean"))
            images = {"input": x}
            for method, words in (("lure-small", prompt), ("lure-small-no-prompt", None)):
                images[method] = quantised(fuser.restore(x, modality, words), 8).squeeze()  # type: ignore[arg-type]
                assert np.array_equal(pixels(Path("kept", method, name, f"{image}.png")), images[method])
            for method, z in images.items():
                assert record["images"][name][method][image] == pytest.approx(expected(z, y), rel=1e-6)
        values = [record["images"][name]["lure-small"][image]["PSNR"] for image in ("0", "1")]
        assert means["lure-small"]["PSNR"] == pytest.approx(np.mean(values))
        assert means["lure-small"]["PSNR"] > means["input"]["PSNR"] + 1
        assert means["lure-small"]["PSNR"] > means["lure-small-no-prompt"]["PSNR"] + 1
    clean = record["sets"][2]
    assert (clean["prompt"], clean["images"], clean["means"]["input"]["PSNR"]) == (None, 2, None)
    assert clean["means"]["lure-small"]["PSNR"] > 40
    assert clean["means"]["lure-small"] == clean["means"]["lure-small-no-prompt"]
    rows = list(csv.DictReader(Path("b.csv").read_text().splitlines()))
    assert len(rows) == 2 * 2 * 3 + 2 * 2
    assert float(rows[0]["SSIM"]) == record["images"]["visible/haze/A"]["input"]["0"]["SSIM"]
    assert "| visible/haze/A" in Path("b.md").read_text()


def test_sets_limit_and_the_table(lure: Run, here: Path) -> None:
    done = lure("bench", "restore", "data", "--sets", "noise", "--limit", "1", "--wrong", "-q")
    assert (done.code, done.err) == (0, "")
    assert "infrared/noise/B" in done.out and "haze" not in done.out
    assert "wrong prompts: infrared/noise/B: stripe" in done.out
    assert done.out.count("lure-small-wrong-prompt") == 2
    only = bench_restore(RestoreBenchOptions(Path("data"), only=("visible/haze/A",), weights=()))
    assert (len(only.sets), only.methods) == (1, ("input",))


def test_equal_images_are_counted_and_not_in_the_mean(here: Path) -> None:
    shutil.copy(HAZE / "clean" / "0.png", HAZE / "degraded" / "0.png")
    result = bench_restore(RestoreBenchOptions(Path("data"), only=("haze",), weights=()))
    values = result.values["visible/haze/A"]["input"]
    assert math.isinf(values["0"]["PSNR"])
    assert result.mean("visible/haze/A", "input", "PSNR") == values["1"]["PSNR"]
    assert result.identical("visible/haze/A", "input") == 1


def test_fit_takes_out_gain_and_offset_alone(lure: Run, here: Path) -> None:
    y = pixels(HAZE / "clean" / "0.png").astype(float)
    save_png(HAZE / "degraded" / "0.png", np.rint(0.5 * y + 40).astype(np.uint8))
    done = lure("bench", "restore", "data", "--sets", "haze", "--weights", "none", "--fit", "--json", "--csv", "f.csv")
    assert done.code == 0, done.err
    brighter, hazy = (json.loads(done.out)["images"]["visible/haze/A"]["input"][n] for n in ("0", "1"))
    assert brighter["PSNR"] < 30 and brighter["PSNR-fit"] > 50  # only the rounding is left
    x, y = (pixels(HAZE / side / "1.png").astype(float).ravel() for side in ("degraded", "clean"))
    fitted = np.clip(np.polyval(np.polyfit(x, y, 1), x), 0, 255)
    assert hazy["PSNR-fit"] == pytest.approx(peak_signal_noise_ratio(y, fitted, data_range=255))
    assert float(next(csv.DictReader(Path("f.csv").read_text().splitlines()))["PSNR-fit"]) == brighter["PSNR-fit"]
    assert "best gain and offset" in lure("bench", "restore", "data", "--weights", "none", "--fit", "-q").out


def test_a_bad_image_does_not_stop_the_others(lure: Run, here: Path) -> None:
    (HAZE / "degraded" / "0.png").write_bytes(b"no image")
    save_png(NOISE / "clean" / "1.png", np.zeros((20, 30), np.uint8))
    done = lure("bench", "restore", "data", "--weights", "none", "--json")
    assert done.code == 1
    assert done.err.count("error:") == done.err.count("hint:") == 2
    assert "degraded/0.png" in done.err and "64x48" in done.err and "30x20" in done.err
    record = json.loads(done.out)
    assert [(s["set"], s["images"]) for s in record["sets"]] == [("visible/haze/A", 1), ("infrared/noise/B", 1)]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["clean"], "holds no test sets"),
        (["data", "--sets", "fog"], "no test set 'fog'"),
        (["data", "--limit", "0"], "--limit 0"),
        (["data", "--clean", "empty"], "is it visible or infrared?"),
        (["data", "--clean", "vis=empty"], "holds no image files"),
        (["data", "--clean", "clean/visible/C", "--clean", "vis=clean/visible/C"], "same name"),
        (["data", "--weights", "lure-huge"], "lure-huge"),
        (["data", "--weights", "lure-small", "--weights", "lure-small"], "same name"),
    ],
)
def test_usage_errors(args: list[str], text: str, lure: Run, here: Path) -> None:
    Path("empty").mkdir()
    done = lure("bench", "restore", *args)
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert [line.split(":")[0] for line in done.err.splitlines()] == ["error", "hint"]


def test_unpaired_images_and_unknown_degradations_are_named(here: Path) -> None:
    (HAZE / "clean" / "1.png").unlink()
    with pytest.raises(LureError, match="'1' is in only one of"):
        bench_restore(RestoreBenchOptions(Path("data"), weights=()))
    shutil.rmtree(HAZE)
    Path("data/restoration/infrared/fog").mkdir()
    with pytest.raises(LureError, match="fog: unknown degradation"):
        bench_restore(RestoreBenchOptions(Path("data"), weights=()))


def test_clean_folders_say_what_they_show() -> None:
    assert parse_clean(["vis=a", "ir=b=c", "x=y", "d"]) == (
        ("vis", Path("a")),
        ("ir", Path("b=c")),
        (None, Path("x=y")),
        (None, Path("d")),
    )


@pytest.mark.shared
def test_real_inputs_score_as_measured_elsewhere() -> None:
    result = bench_restore(RestoreBenchOptions(SHARED / "data", only=("haze", "rain", "LOL"), weights=()))
    for name, psnr, ssim in (
        ("visible/haze/RESIDE-SOTS-indoor", 14.25, 0.789),
        ("visible/rain/SSIRR-val", 26.09, 0.896),
        ("visible/lowlight/LOL", 7.78, 0.184),
    ):
        assert result.mean(name, "input", "PSNR") == pytest.approx(psnr, abs=0.005)
        assert result.mean(name, "input", "SSIM") == pytest.approx(ssim, abs=0.0005)
