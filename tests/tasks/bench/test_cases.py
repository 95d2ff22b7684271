"""`lure bench fusion`: cases, what is fused and how it is scored, day and night, errors."""

from __future__ import annotations

import csv
import json
import math
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lure_cli.core import metrics
from lure_cli.core.images.picture import read_pixels
from lure_cli.core.metrics.baselines import BASELINES
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.bench.adherence import adherence, wrong_prompt
from lure_cli.tasks.bench.cases import bench_fusion, find_cases
from lure_cli.tasks.bench.result import MEAN, FusionBench, FusionBenchOptions
from tests.helpers.files import SHARED


def make_cases(examples: Path, out: Path, cases: str) -> None:
    """Run the example script on the example pairs, in this process, which has loaded torch."""
    pairs = examples / "pairs"
    script, args = examples / "make_cases.py", ["--ir", pairs / "ir", "--vis", pairs / "vis", "--out", out]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(x) for x in (script, *args, "--cases", cases)])
        runpy.run_path(str(script), run_name="__main__")


@pytest.fixture(scope="module")
def case_folder(small_examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases of the three example pairs, 160x120."""
    out = tmp_path_factory.mktemp("cases") / "cases"
    make_cases(small_examples, out, "clean,vis_haze,ir_noise")
    return out


@pytest.fixture
def cases(case_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the cases, in the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(case_folder, "cases")
    return Path("cases")


def test_baselines_are_scored_against_the_clean_pair(cases: Path) -> None:
    result = bench_fusion(FusionBenchOptions(cases, weights=(), baselines=True, jobs=1))
    assert result.methods == tuple(BASELINES)
    ir, vis, noisy = (
        metrics.to_grey(read_pixels(cases / case / side / "gate.png"))
        for case, side in (("clean", "ir"), ("clean", "vi"), ("ir_noise", "ir"))
    )
    fused, of_clean = BASELINES["maximum"](noisy, vis), BASELINES["maximum"](ir, vis)
    values = result.values["ir_noise"]["maximum"]["gate"]
    expected = metrics.visual_information_fidelity(fused, ir, vis)
    assert values["VIF"] == expected.both
    assert values["VIF_min"] == min(expected.ir, expected.vis)
    assert values["self-PSNR"] == pytest.approx(10 * math.log10(255**2 / np.mean((fused - of_clean) ** 2)))
    assert math.isnan(result.values["clean"]["maximum"]["gate"]["self-PSNR"])


def test_prompt_and_no_prompt(lure: Callable, cases: Path) -> None:
    done = lure("bench", "fusion", cases, "--save", "kept", "--json", "--csv", "b.csv", "--markdown", "b.md")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["methods"] == ["lure-small", "lure-small-no-prompt"]
    assert record["prompts"]["vis_haze"] == "haze"
    prompted, plain = (Path("kept", m) for m in record["methods"])
    for name in ("drone", "gate", "street"):
        assert (prompted / "clean" / f"{name}.png").read_bytes() == (plain / "clean" / f"{name}.png").read_bytes()
        assert (prompted / "vis_haze" / f"{name}.png").read_bytes() != (plain / "vis_haze" / f"{name}.png").read_bytes()
    pair = ["--ir", "cases/vis_haze/ir/gate.png", "--vis", "cases/vis_haze/vi/gate.png"]
    assert lure("fuse", *pair, "--prompt", "haze", "-o", "one.png").code == 0
    assert (prompted / "vis_haze" / "gate.png").read_bytes() == Path("one.png").read_bytes()
    means = record["means"]["all"]["SSIM"]
    for method in record["methods"]:
        assert means[MEAN][method] == pytest.approx((means["vis_haze"][method] + means["ir_noise"][method]) / 2)
    rows = list(csv.DictReader(Path("b.csv").read_text().splitlines()))
    assert len(rows) == 3 * 2 * 3
    row = next(r for r in rows if (r["case"], r["method"], r["image"]) == ("ir_noise", "lure-small", "drone"))
    assert float(row["Qabf"]) == record["images"]["ir_noise"]["lure-small"]["drone"]["Qabf"]
    text = Path("b.md").read_text()
    assert "| vis_haze" in text
    assert "cddfuse" in text


def test_kept_results_score_the_same_as_another_methods(lure: Callable, cases: Path) -> None:
    own = lure("bench", "fusion", cases, "--cases", "vis_haze", "--save", "kept", "--json")
    again = lure(
        "bench", "fusion", cases, "--cases", "vis_haze", "--weights", "none", "--fused", "x=kept/lure-small", "--json"
    )
    a, b = json.loads(own.out), json.loads(again.out)
    assert b["images"]["vis_haze"]["x"] == a["images"]["vis_haze"]["lure-small"]


def test_the_table_on_the_terminal(lure: Callable, cases: Path) -> None:
    done = lure("bench", "fusion", cases, "--weights", "none", "--floors", "-q")
    assert (done.code, done.err) == (0, "")
    for text in ("VIF_min", "self-PSNR", "vis_haze", "guided-filter", MEAN, "cddfuse"):
        assert text in done.out


def test_clean_sources_from_elsewhere(cases: Path) -> None:
    inside = bench_fusion(FusionBenchOptions(cases, weights=(), baselines=True, only=("vis_haze",), jobs=1))
    shutil.move("cases/clean", "clean")
    prompts = json.loads(Path("cases/cases.json").read_text())
    del prompts["clean"]
    Path("cases/cases.json").write_text(json.dumps(prompts))
    options = FusionBenchOptions(
        cases,
        weights=(),
        baselines=True,
        only=("vis_haze",),
        jobs=1,
        clean_ir=Path("clean/ir"),
        clean_vis=Path("clean/vi"),
    )
    assert bench_fusion(options).values["vis_haze"] == inside.values["vis_haze"]
    with pytest.raises(LureError, match="has no clean sources"):
        bench_fusion(FusionBenchOptions(cases, weights=(), baselines=True, only=("vis_haze",), jobs=1))


def test_a_broken_image_is_left_out_everywhere_and_reported(lure: Callable, cases: Path) -> None:
    Path("cases/vis_haze/vi/gate.png").write_bytes(b"no image")
    done = lure("bench", "fusion", cases, "--weights", "none", "--floors", "--json", "-q")
    assert done.code == 1
    assert "cases/vis_haze/vi/gate.png" in done.err.replace("\\", "/")
    by_method = json.loads(done.out)["images"]["vis_haze"]
    assert all(set(images) == {"drone", "street"} for images in by_method.values())


def test_day_and_night() -> None:
    def values(day: float, night: float) -> dict[str, dict[str, dict[str, float]]]:
        return {"m": {"01D": {"VIF": day}, "02N": {"VIF": night}, "03N": {"VIF": night}}}

    result = FusionBench("cddfuse", {}, ("m",), {"clean": values(9, 9), "a": values(1, 2), "b": values(3, math.nan)})
    assert result.splits == ("all", "day", "night")
    assert result.mean("a", "m", "VIF") == (pytest.approx(5 / 3), 3)
    assert result.mean("a", "m", "VIF", "day") == (1, 1)
    assert result.mean("a", "m", "VIF", "night") == (2, 2)
    assert result.mean("b", "m", "VIF") == (3, 1)
    assert result.mean_of_degraded("m", "VIF", "day") == 2
    assert math.isnan(result.mean_of_degraded("m", "VIF", "night"))
    named = FusionBench("cddfuse", {}, ("m",), {"clean": {"m": {"FLIR_1": {}}}})
    assert named.splits == ("all",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("{", "is no JSON"),
        ("[]", "does not map"),
        ('{"clean": 1}', "does not map"),
        ('{"../x": "haze"}', "cannot be the name of a folder"),
        ('{"none": "haze"}', "no such folder"),
    ],
)
def test_damaged_cases(text: str | None, message: str, cases: Path) -> None:
    index = cases / "cases.json"
    index.unlink() if text is None else index.write_text(text)
    with pytest.raises(LureError, match=message):
        find_cases(cases)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["bench", "fusion", "nowhere"], "cases.json: cannot be read"),
        (["bench", "fusion", "cases", "--cases", "fog"], "has no case 'fog'"),
        (["bench", "fusion", "cases", "--weights", "none"], "nothing to score"),
        (["bench", "fusion", "cases", "--weights", "none", "--fused", "a=nowhere"], "nowhere: no such folder"),
        (["bench", "fusion", "cases", "--clean-ir", "cases/clean/ir", "--floors"], "belong together"),
        (["bench", "fusion", "cases", "--weights", "lure-huge"], "lure-huge"),
    ],
)
def test_usage_errors(args: list[str], text: str, lure: Callable, cases: Path) -> None:
    done = lure(*args)
    assert (done.code, done.out) == (2, "")
    assert text in done.err


def test_a_prompt_that_is_not_understood_stops_before_fusing(lure: Callable, cases: Path) -> None:
    Path("cases/cases.json").write_text('{"clean": "", "vis_haze": "a cat on a sofa"}')
    done = lure("bench", "fusion", cases, "--save", "kept")
    assert done.code == 2
    assert not Path("kept").exists()


@pytest.mark.shared
def test_peers_score_as_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The maximum on degraded pairs, per image, against what an independent evaluator measured."""
    monkeypatch.chdir(tmp_path)
    table = json.loads((SHARED / "peers" / "tables.json").read_text())["degraded"]["RoadScene"]
    root = SHARED / "data" / "fusion" / "RoadScene" / "test"
    every = sorted(p.name for p in (root / "ir").iterdir())
    chosen = {Path(every[i]).stem: every[i] for i in np.linspace(0, len(every) - 1, 10).round().astype(int)[:2]}
    for side in ("ir", "vi"):
        Path("pairs", side).mkdir(parents=True)
        for stem in chosen:
            shutil.copy(next((root / side).glob(f"{stem}.*")), Path("pairs", side))
    command = [
        sys.executable,
        str(SHARED / "bench" / "degrade.py"),
        "pairs",
        "cases",
        "--cases",
        "clean,vis_haze,ir_noise",
    ]
    subprocess.run(command, check=True, capture_output=True)
    result = bench_fusion(FusionBenchOptions(Path("cases"), weights=(), baselines=True, jobs=1))
    for case in ("clean", "vis_haze", "ir_noise"):
        for stem in chosen:
            expected = table[case]["maximum"]["per_image"][stem]
            values = result.values[case]["maximum"][stem]
            for ours, theirs in (("VIF", "VIF"), ("Qabf", "Qabf"), ("SSIM", "SSIM"), ("self-PSNR", "selfPSNR")):
                if expected[theirs] is not None:
                    assert values[ours] == pytest.approx(expected[theirs], rel=2e-3), (case, stem, ours)


def test_cases_script_is_deterministic(case_folder: Path, small_examples: Path, tmp_path: Path) -> None:
    make_cases(small_examples, tmp_path / "c", "ir_noise")
    for name in ("gate", "drone"):
        a, b = (
            np.asarray(Image.open(root / "ir_noise" / "ir" / f"{name}.png")) for root in (case_folder, tmp_path / "c")
        )
        assert np.array_equal(a, b)


# --- wrong prompts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "wrong"),
    [
        (Prompt(("haze",)), Prompt(("rain",))),
        (Prompt(("lowres",)), Prompt(("haze",))),
        (Prompt(("rain",)), Prompt(("lowlight",))),  # not snow, which not all weights know
        (Prompt(("snow",)), Prompt(("lowlight",))),
        (Prompt(("haze", "rain")), Prompt(("lowlight",))),
        (Prompt(("noise",), ("noise",)), Prompt(("blur",), ("stripe",))),
        (Prompt((), ("lowres",)), Prompt((), ("lowcontrast",))),
        (Prompt(), Prompt(("haze",), ("lowcontrast",))),
    ],
)
def test_the_wrong_prompt_is_of_the_same_images_and_not_named(prompt: Prompt, wrong: Prompt) -> None:
    assert wrong_prompt(prompt) == wrong


def test_wrong_prompts(lure: Callable, cases: Path) -> None:
    for side in ("ir", "vi"):
        for case in ("clean", "vis_haze", "ir_noise"):
            Path("cases", case, side, "street.png").unlink()
    done = lure("bench", "fusion", cases, "--wrong", "--save", "kept", "--json", "--csv", "b.csv", "--markdown", "b.md")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["methods"] == ["lure-small", "lure-small-no-prompt", "lure-small-wrong-prompt"]
    assert record["wrong_prompts"]["vis_haze"] == {"vis": ["rain"], "ir": []}
    pair = ["--ir", "cases/ir_noise/ir/gate.png", "--vis", "cases/ir_noise/vi/gate.png"]
    assert lure("fuse", *pair, "--prompt-ir", "stripes", "-o", "one.png").code == 0
    misled = Path("kept", "lure-small-wrong-prompt")
    assert (misled / "ir_noise" / "gate.png").read_bytes() == Path("one.png").read_bytes()
    records = record["prompt_adherence"]["lure-small"]
    assert records["ir_noise"]["wrong_prompt"] == "stripe in the infrared image"
    clean = records["clean"]
    assert clean["unchanged"] == clean["self-PSNR"]["holding"] == 2  # without a prompt: as with the right one, none
    assert (clean["self-PSNR"]["right"], clean["self-PSNR"]["none"], clean["self-PSNR"]["holds"]) == (None, None, True)
    reference, damaged = (
        [metrics.to_grey(read_pixels(root / "clean" / f"{name}.png")) for name in ("drone", "gate")]
        for root in (Path("kept/lure-small"), misled)
    )
    psnrs = [10 * math.log10(255**2 / np.mean((a - b) ** 2)) for a, b in zip(reference, damaged, strict=True)]
    assert clean["self-PSNR"]["wrong"] == pytest.approx(np.mean(psnrs))
    for metric in ("self-PSNR", "SSIM"):
        h, means = records["ir_noise"][metric], record["means"]["all"][metric]["ir_noise"]
        assert [h["right"], h["none"], h["wrong"]] == [means[m] for m in record["methods"]]
        assert h["holds"] == (h["right"] > h["none"] > h["wrong"])
    assert next(csv.DictReader(Path("b.csv").read_text().splitlines()))["wrong_prompt"].startswith("haze in the vis")
    assert "prompt adherence of lure-small: self-PSNR" in Path("b.md").read_text()


def test_adherence_counts_images() -> None:
    def values(*psnrs: float) -> dict[str, dict[str, float]]:
        return {str(i): {"self-PSNR": v, "SSIM": 1.0} for i, v in enumerate(psnrs)}

    nan, inf = math.nan, math.inf
    of = {
        "clean": {"m": values(nan, nan), "m-no-prompt": values(inf, 60), "m-wrong-prompt": values(20, inf)},
        "a": {"m": values(30, 20, 30), "m-no-prompt": values(20, 25, 20), "m-wrong-prompt": values(10, 10, 21)},
    }
    methods = ("m", "m-no-prompt", "m-wrong-prompt")
    wrong = {"clean": Prompt(("haze",)), "a": Prompt(("rain",))}
    result = FusionBench("cddfuse", {"clean": "", "a": "haze"}, methods, of, wrong=wrong)
    case = adherence(result, "m", "a", "self-PSNR")
    assert (case.right, case.none, case.wrong) == (pytest.approx(80 / 3), pytest.approx(65 / 3), pytest.approx(41 / 3))
    assert (case.holding, case.images, case.holds) == (1, 3, True)
    clean = adherence(result, "m", "clean", "self-PSNR")
    assert (clean.right, clean.none, clean.wrong, clean.holding, clean.holds) == (inf, 60, 20, 1, False)
    assert not adherence(result, "m", "a", "SSIM").holds
    assert FusionBench("cddfuse", {}, methods, of).wrong == {}
