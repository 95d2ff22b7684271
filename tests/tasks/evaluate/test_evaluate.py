"""`lure eval`: names and files, methods against each other, references, each output, errors."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from lure_cli.core import metrics
from lure_cli.core.images.picture import read_pixels
from lure_cli.core.metrics.baselines import BASELINES
from lure_cli.errors import LureError
from lure_cli.tasks.evaluate.columns import find_columns
from lure_cli.tasks.evaluate.evaluate import evaluate, plan_evaluation
from lure_cli.tasks.evaluate.images import EvaluateOptions, parse_fused
from lure_cli.tasks.evaluate.summary import Column, summarise
from tests.helpers.files import EXAMPLES, ROOT, SHARED

NAMES = ("drone", "gate", "street")
PAIRS = EXAMPLES / "pairs"
SOURCES = ["--ir", "examples/pairs/ir", "--vis", "examples/pairs/vis"]
FEW = ["--metrics", "EN,MSE,VIF,VIF_min,SSIM"]


def grey(path: Path) -> np.ndarray:
    return metrics.to_grey(read_pixels(path))


@pytest.fixture
def folders(examples: Path) -> Path:
    """The example pictures, and two fused folders: `mean` (named as the sources) and `top` (NAME_fused)."""
    for folder, baseline, name in (("mean", "mean", "{}.png"), ("top", "maximum", "{}_fused.png")):
        (examples / folder).mkdir()
        for stem in NAMES:
            fused = BASELINES[baseline](*(grey(PAIRS / side / f"{stem}.png") for side in ("ir", "vis")))
            Image.fromarray(fused.astype(np.uint8)).save(examples / folder / name.format(stem))
    return examples


# --- names ----------------------------------------------------------------------------------------------------------


def names(*args: object, **kwargs: bool) -> list[str]:
    return [c.name for c in find_columns(*args, **kwargs)]  # type: ignore[arg-type]


def test_the_default_is_every_metric_and_the_worse_served_forms() -> None:
    assert names(None) == (
        "EN SD SF AG MI MSE PSNR CC SCD VIF VIF_min Qabf SSIM SSIM_min MS-SSIM Nabf FMI NMI CE Qcb Qy".split()
    )
    assert names(None, sources=False) == ["EN", "SD", "SF", "AG"]
    assert names(None, sources=False, reference=True)[4:] == ["PSNR_ref", "SSIM_ref", "MS-SSIM_ref", "CIEDE2000"]


def test_names_in_any_case_with_either_dash() -> None:
    assert names(["ssim", "MS_SSIM", "ms-ssim-min", "Vif_IR", "SSIM"]) == ["SSIM", "MS-SSIM", "MS-SSIM_min", "VIF_ir"]


def test_every_two_source_metric_has_its_forms() -> None:
    for metric in metrics.METRICS.values():
        if metric.kind == "sources":
            worse = "min" if metric.better == "higher" else "max"
            assert len(names([f"{metric.name}_{part}" for part in ("ir", "vis", worse)])) == 3
            with pytest.raises(LureError):
                names([f"{metric.name}_{'max' if worse == 'min' else 'min'}"])


@pytest.mark.parametrize(("name", "near"), [("SIMM", "SSIM"), ("VIFF", "VIF"), ("Qab", "Qabf"), ("MSE_min", "MSE_max")])
def test_an_unknown_metric_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(LureError, match=f"'{name}'") as caught:
        names([name])
    assert near in caught.value.hint


def test_what_a_metric_compares_with_must_be_there() -> None:
    with pytest.raises(LureError, match="VIF compares with the sources"):
        names(["VIF"], sources=False)
    with pytest.raises(LureError, match="PSNR_ref compares with a reference"):
        names(["PSNR_ref"])


@pytest.mark.parametrize(
    ("given", "methods"),
    [
        (["a=x/y"], [("a", "x/y")]),
        (["x/ours"], [("ours", "x/ours")]),
        (["x/p.png"], [("p", "x/p.png")]),
        (["x/a=b"], [("a=b", "x/a=b")]),
        (["a=b=c"], [("a", "b=c")]),
    ],
)
def test_methods_are_named_or_named_after_their_folder(given: list[str], methods: list[tuple[str, str]]) -> None:
    assert [(n, p.as_posix()) for n, p in parse_fused(given)] == methods


def test_two_methods_of_one_name() -> None:
    with pytest.raises(LureError, match="two methods are called 'a'"):
        parse_fused(["x/a", "a=y"])


# --- files ----------------------------------------------------------------------------------------------------------


def test_values_are_those_of_the_functions(folders: Path) -> None:
    plan = plan_evaluation(
        EvaluateOptions((("m", Path("mean")),), PAIRS / "ir", PAIRS / "vis", metrics=("VIF", "VIF_min", "SF"), jobs=1)
    )
    evaluation = evaluate(plan)
    assert [files.name for files in evaluation.images] == list(NAMES)
    for i, name in enumerate(NAMES):
        f, a, b = (
            grey(Path("mean", f"{name}.png")),
            grey(PAIRS / "ir" / f"{name}.png"),
            grey(PAIRS / "vis" / f"{name}.png"),
        )
        scores = metrics.visual_information_fidelity(f, a, b)
        values = evaluation.methods[0].values
        assert values["VIF"][i] == scores.both
        assert values["VIF_min"][i] == min(scores.ir, scores.vis)
        assert values["SF"][i] == metrics.spatial_frequency(f)


def test_processes_and_one_process_agree(folders: Path) -> None:
    options = {"ir": PAIRS / "ir", "vis": PAIRS / "vis", "baselines": True, "metrics": ("EN", "Qabf", "MSE")}
    one, two = (evaluate(plan_evaluation(EvaluateOptions((), **options, jobs=n))) for n in (1, 2))  # type: ignore[arg-type]
    assert [m.name for m in one.methods] == [m.name for m in two.methods]
    for a, b in zip(one.methods, two.methods, strict=True):
        assert all(np.array_equal(a.values[c], b.values[c]) for c in a.values)


def test_single_files(lure: Callable, examples: Path) -> None:
    pair = ["--ir", "examples/street/ir.png", "--vis", "examples/street/vis.png"]
    done = lure("eval", *pair, "--fused", "examples/street/vis.png", "--metrics", "VIF_vis,SSIM_vis,MSE_vis", "--json")
    assert done.code == 0
    (method,) = json.loads(done.out)["methods"]
    means = {k: v["mean"] for k, v in method["summary"].items()}
    assert means["VIF_vis"] == pytest.approx(1, abs=1e-9)
    assert means["SSIM_vis"] == pytest.approx(1)
    assert means["MSE_vis"] == 0


def test_a_method_that_lacks_an_image(lure: Callable, folders: Path) -> None:
    Path("top/gate_fused.png").unlink()
    args = ["eval", *SOURCES, "--fused", "a=mean", "--fused", "b=top", *FEW, "--json"]
    refused = lure(*args)
    assert refused.code == 2
    assert "method b lacks 1 of 3 images: gate" in refused.err
    done = lure(*args, "--common")
    assert done.code == 0
    assert set(json.loads(done.out)["images"]) == {"drone", "street"}
    assert "scored on 2 of 3 images" in done.err


def test_unmatched_files_are_named(lure: Callable, folders: Path) -> None:
    shutil.copy("mean/gate.png", "mean/extra.png")
    Path("examples/pairs/ir/drone.png").unlink()
    done = lure("eval", *SOURCES, "--fused", "mean", "--metrics", "EN")
    assert done.code == 0
    assert f"unmatched: {Path('examples/pairs/vis/drone.png')}" in done.err
    assert f"unmatched: {Path('mean/extra.png')}" in done.err


def test_sizes_that_differ_fail_that_image_and_name_both(lure: Callable, folders: Path) -> None:
    Image.open("mean/gate.png").resize((300, 240)).save("mean/gate.png")
    done = lure("eval", *SOURCES, "--fused", "mean", *FEW, "--json")
    assert done.code == 1
    assert "mean/gate.png is 300x240 but examples/pairs/vis/gate.png is 320x240" in done.err.replace("\\", "/")
    assert set(json.loads(done.out)["images"]) == {"drone", "street"}


def test_an_unreadable_file_fails_that_image_only(lure: Callable, folders: Path) -> None:
    Path("mean/street.png").write_bytes(b"no image")
    done = lure("eval", *SOURCES, "--fused", "mean", *FEW)
    assert done.code == 1
    assert "mean" in done.out
    assert "error: mean/street.png" in done.err.replace("\\", "/")


def test_nothing_measured_prints_no_table(lure: Callable, folders: Path) -> None:
    for name in NAMES:
        Path(f"mean/{name}.png").write_bytes(b"no image")
    done = lure("eval", *SOURCES, "--fused", "mean", *FEW, "--csv", "x.csv")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("error:") == 3
    assert not Path("x.csv").exists()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["eval", "--fused", "mean", "--ir", "examples/pairs/ir"], "--ir and --vis belong together"),
        (["eval", *SOURCES], "nothing to evaluate"),
        (["eval", *SOURCES, "--fused", "nowhere"], "nowhere: no such file"),
        (["eval", *SOURCES, "--fused", "mean", "--convention", "mine"], "unknown convention 'mine'"),
        (["eval", *SOURCES, "--fused", "mean/gate.png"], "is a folder but"),
        (["eval", "--fused", "mean", "--floors"], "--floors needs the sources"),
        (["eval", *SOURCES, "--fused", "maximum=mean", "--floors"], "cannot be called 'maximum'"),
        (["eval", *SOURCES, "--fused", "mean", "--jobs", "-1"], "-1 processes"),
        (["eval", "--fused", "mean", "--metrics", "VIF"], "VIF compares with the sources"),
        (["eval", *SOURCES, "--fused", "mean", "--metrics", "VIFF"], "no metric 'VIFF'"),
    ],
)
def test_usage_errors(args: list[str], text: str, lure: Callable, folders: Path) -> None:
    done = lure(*args)
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert "hint:" in done.err


# --- baselines, clean sources, references ----------------------------------------------------------------------------


def test_baselines_equal_their_files(folders: Path) -> None:
    plan = plan_evaluation(
        EvaluateOptions(
            (("top2", Path("top")),), PAIRS / "ir", PAIRS / "vis", metrics=("EN", "VIF"), baselines=True, jobs=1
        )
    )
    by_name = {m.name: m for m in evaluate(plan).methods}
    assert {n for n, m in by_name.items() if m.baseline} == set(BASELINES)
    for column in ("EN", "VIF"):
        assert np.array_equal(by_name["maximum"].values[column], by_name["top2"].values[column])
    assert by_name["copy-ir"].values["VIF"] == pytest.approx(by_name["copy-ir"].values["VIF"])


def test_copies_show_why_the_worse_served_source_is_there(folders: Path) -> None:
    """Copying one source beats averaging in the usual sum, and loses by far in the smaller of the two."""
    options = EvaluateOptions((), PAIRS / "ir", PAIRS / "vis", metrics=("VIF", "VIF_min"), baselines=True, jobs=1)
    means = {m.name: {c: s.mean for c, s in m.summary.items()} for m in evaluate(plan_evaluation(options)).methods}
    assert means["copy-vis"]["VIF"] > means["mean"]["VIF"]
    assert means["copy-vis"]["VIF_min"] < means["mean"]["VIF_min"] / 2


def test_degraded_sources_are_scored_against_the_clean_ones(lure: Callable, examples: Path) -> None:
    """Baselines are fused from --ir and --vis; every score is against --clean-ir and --clean-vis."""
    street = "examples/street"
    done = lure(
        "eval", "--ir", f"{street}/ir_noisy.png", "--vis", f"{street}/vis_hazy.png",
        "--clean-ir", f"{street}/ir.png", "--clean-vis", f"{street}/vis.png",
        "--fused", f"ours={street}/vis.png", "--floors", "--metrics", "VIF_vis,VIF_ir", "--json",
    )  # fmt: skip
    methods = {m["name"]: {k: v["mean"] for k, v in m["summary"].items()} for m in json.loads(done.out)["methods"]}
    assert methods["ours"]["VIF_vis"] == pytest.approx(1, abs=1e-9)
    clean, hazy = grey(Path(street, "vis.png")), grey(Path(street, "vis_hazy.png"))
    expected = metrics.visual_information_fidelity(hazy, clean, clean).vis
    assert methods["copy-vis"]["VIF_vis"] == expected < 0.9


def test_reference(lure: Callable, examples: Path) -> None:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    args = ["--fused", "examples/street/vis_hazy.png", "--reference", "examples/street/vis.png"]
    done = lure("eval", *args, "--json")
    (method,) = json.loads(done.out)["methods"]
    means = {k: v["mean"] for k, v in method["summary"].items()}
    assert set(means) == {"EN", "SD", "SF", "AG", "PSNR_ref", "SSIM_ref", "MS-SSIM_ref", "CIEDE2000"}
    x, y = (np.asarray(Image.open(f"examples/street/{n}.png")) for n in ("vis_hazy", "vis"))
    assert means["PSNR_ref"] == pytest.approx(peak_signal_noise_ratio(y, x))
    assert means["SSIM_ref"] == pytest.approx(structural_similarity(y, x, channel_axis=2))
    assert means["CIEDE2000"] > 3


def test_grey_references_have_no_colour_difference(lure: Callable, folders: Path) -> None:
    done = lure("eval", "--fused", "mean", "--reference", "top", "--json")
    assert "CIEDE2000" not in json.loads(done.out)["methods"][0]["summary"]


def test_sixteen_bits_are_read_on_their_own_range_and_said(lure: Callable, folders: Path) -> None:
    x = np.asarray(Image.open("mean/gate.png"))
    Image.fromarray(x.astype(np.uint16) * 257).save("mean16.png")
    eight, sixteen = (
        lure("eval", "--ir", "examples/pairs/ir/gate.png", "--vis", "examples/pairs/vis/gate.png", "--fused", f"m={f}",
             "--json")
        for f in ("mean/gate.png", "mean16.png")
    )  # fmt: skip
    assert json.loads(eight.out)["methods"] == json.loads(sixteen.out)["methods"]
    assert "16 bits" not in eight.err
    assert "mean16.png" in sixteen.err
    assert "16 bits" in sixteen.err


def test_undefined_values_are_counted_and_left_out_of_the_mean(lure: Callable, folders: Path) -> None:
    Image.new("L", (320, 240), 7).save("mean/gate.png")
    done = lure("eval", *SOURCES, "--fused", "mean", "--metrics", "CC,EN", "--json")
    (method,) = json.loads(done.out)["methods"]
    cc = method["summary"]["CC"]
    assert (cc["count"], cc["undefined"]) == (2, 1)
    values = [json.loads(done.out)["images"][n]["mean"]["CC"] for n in NAMES]
    assert values[1] is None
    assert cc["mean"] == pytest.approx((values[0] + values[2]) / 2)
    table = lure("eval", *SOURCES, "--fused", "mean", "--metrics", "CC,EN")
    assert "CC" in table.out
    assert "undefined" in table.out.lower()


# --- statistics -----------------------------------------------------------------------------------------------------


def test_ranks_ties_and_order() -> None:
    columns = [Column("VIF", "higher", ""), Column("MSE", "lower", "")]
    values = {
        "a": {"VIF": [1, 1], "MSE": [4, 4]},
        "b": {"VIF": [2, 2], "MSE": [3, 3]},
        "c": {"VIF": [1, 1], "MSE": [9, 9]},
    }
    methods = {m.name: m for m in summarise(values, columns)}
    assert [m.name for m in summarise(values, columns)] == ["b", "a", "c"]
    assert {n: m.summary["VIF"].rank for n, m in methods.items()} == {"a": 2.5, "b": 1, "c": 2.5}
    assert {n: m.mean_rank for n, m in methods.items()} == {"a": 2.25, "b": 1, "c": 2.75}


def test_interval_and_test() -> None:
    """Against a bootstrap written out, with other draws, and scipy's test."""
    from scipy.stats import wilcoxon

    rng = np.random.default_rng(1)
    x, y = rng.normal(1, 0.2, 40), rng.normal(1.1, 0.2, 40)
    column = [Column("VIF", "higher", "")]
    methods = {m.name: m.summary["VIF"] for m in summarise({"x": {"VIF": x}, "y": {"VIF": y}}, column)}
    low, high = np.percentile(y[rng.integers(0, 40, (9999, 40))].mean(axis=1), [2.5, 97.5])
    assert methods["y"].low == pytest.approx(low, abs=0.005)
    assert methods["y"].high == pytest.approx(high, abs=0.005)
    assert methods["y"].p_value == pytest.approx(wilcoxon(y, x).pvalue)
    assert methods["x"].p_value is None


def test_a_method_without_any_value_is_ranked_last() -> None:
    column = [Column("CC", "higher", "")]
    methods = summarise({"a": {"CC": [math.nan, math.nan]}, "b": {"CC": [0.1, 0.2]}}, column)
    assert [(m.name, m.mean_rank) for m in methods] == [("b", 1.0), ("a", 2.0)]
    assert methods[1].summary["CC"].undefined == 2
    assert math.isnan(methods[1].summary["CC"].mean)


# --- outputs --------------------------------------------------------------------------------------------------------


class Numbers(HTMLParser):
    """Every `data-value` of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.values: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.values |= {v for k, v in attrs if k == "data-value" and v}


def test_all_outputs_of_one_run(lure: Callable, folders: Path) -> None:
    pytest.importorskip("matplotlib")
    done = lure(
        "eval", *SOURCES, "--fused", "a=mean", "--fused", "b=top", "--floors", *FEW, "--csv", "out/t.csv",
        "--latex", "out/t.tex", "--markdown", "out/t.md", "--html", "out/t.html", "--plots", "out/plots",
    )  # fmt: skip
    assert done.code == 0, done.err
    rows = list(csv.DictReader(Path("out/t.csv").read_text().splitlines()))
    summary = list(csv.DictReader(Path("out/t_summary.csv").read_text().splitlines()))
    assert len(rows) == 8 * 3
    assert len(summary) == 8 * 5
    numbers = Numbers()
    numbers.feed(Path("out/t.html").read_text(encoding="utf-8"))
    for row in rows:
        for column in ("EN", "MSE", "VIF", "VIF_min", "SSIM"):
            assert row[column] in numbers.values
    assert {r["mean"] for r in summary} <= numbers.values
    for text in (done.out, *(Path("out", f).read_text(encoding="utf-8") for f in ("t.tex", "t.md", "t.html", "t.csv"))):
        assert "cddfuse" in text
    assert "\\toprule" in Path("out/t.tex").read_text(encoding="utf-8")
    assert len(list(Path("out/plots").glob("*.png"))) == 6


def test_list_explains_every_metric(lure: Callable) -> None:
    done = lure("eval", "--list")
    assert done.code == 0
    for metric in metrics.METRICS.values():
        assert f"{metric.name}: {metric.title}" in done.out
        assert metric.source in done.out
    entries = [json.loads(line) for line in lure("eval", "--list", "--json", "--convention", "zoo").out.splitlines()]
    mi = next(e for e in entries if e["name"] == "MI")
    assert (mi["unit"], mi["forms"]) == ("bits", ["MI_ir", "MI_vis", "MI_min"])


def test_conventions_change_what_they_should(lure: Callable, folders: Path) -> None:
    means = {}
    for convention in metrics.CONVENTIONS:
        done = lure("eval", *SOURCES, "--fused", "mean", "--metrics", "MI,MSE,SD", "--convention", convention, "--json")
        record = json.loads(done.out)
        assert record["convention"] == convention
        means[convention] = {k: v["mean"] for k, v in record["methods"][0]["summary"].items()}
    assert means["zoo"]["MI"] == pytest.approx(means["cddfuse"]["MI"] / math.log(2), rel=0.01)
    assert means["zoo"]["MSE"] == pytest.approx(means["cddfuse"]["MSE"] / 65025, rel=0.01)
    assert means["zoo"]["SD"] == pytest.approx(means["cddfuse"]["SD"], rel=0.01)


def test_no_torch_is_loaded(folders: Path) -> None:
    code = (
        "import sys\nfrom lure_cli.cli import main\n"
        "if __name__ == '__main__':\n    try: main(sys.argv[1:])\n    except SystemExit: print('torch' in sys.modules)"
    )
    script = folders / "run.py"
    script.write_text(code)
    command = [sys.executable, str(script), "eval", *SOURCES, "--fused", "mean", "--metrics", "EN", "--json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.shared
@pytest.mark.parametrize(
    ("dataset", "images"),
    [
        ("MSRS", ("00016N", "00435D")),
        ("RoadScene", ("FLIR_05064", "FLIR_07206")),
        ("VIFB", ("peopleshadow", "snow")),
    ],
)
def test_baselines_score_as_measured_elsewhere(
    dataset: str, images: tuple[str, ...], lure: Callable, tmp_path: Path
) -> None:
    """All columns, image by image, against what an independent evaluator measured of other programs' results.

    On other pairs those programs round single pixels otherwise, as does their Laplacian pyramid on some of these.
    """
    root = SHARED / "data" / "fusion" / dataset / "test"
    for side in ("ir", "vi"):
        (tmp_path / side).mkdir()
        for image in images:
            shutil.copy(next((root / side).glob(f"{image}.*")), tmp_path / side)
    columns = ("EN", "SD", "SF", "AG", "MI", "SCD", "VIF", "Qabf", "SSIM", "CC", "PSNR")
    sources = ["--ir", tmp_path / "ir", "--vis", tmp_path / "vi"]
    done = lure("eval", *sources, "--floors", "--metrics", ",".join(columns), "--jobs", "1", "--json")
    assert done.code == 0, done.err
    measured = json.loads(done.out)["images"]
    assert set(measured) == set(images)
    tables = json.loads((SHARED / "peers" / "tables.json").read_text())["clean"][dataset]["per_image"]
    for method, peer, within in (
        ("maximum", "maximum", 1e-6),
        ("guided-filter", "gff", 1e-6),
        ("laplacian", "laplacian", 1e-4),
    ):
        for image in images:
            expected = {column: tables[peer][image][column] for column in columns}
            assert measured[image][method] == pytest.approx(expected, rel=within), (method, image)


@pytest.mark.parametrize("kind", [np.uint16, np.float32, np.int16])
def test_sources_are_measured_as_they_are_fused(lure: Callable, examples: Path, kind: Any) -> None:
    ir = np.asarray(Image.open("examples/pairs/ir/gate.png").convert("L"))
    vis = np.asarray(Image.open("examples/pairs/vis/gate.png"))
    deep = (ir * np.float64(8) + 3000).astype(kind)
    deep[:3] = -9999 if kind is not np.uint16 else 0
    tifffile.imwrite("ir.tif", deep)
    tifffile.imwrite("vis.tif", vis.astype(np.int16), photometric="rgb")
    assert lure("restore", "--ir", "ir.tif", "-o", "seen.png", "--bits", "16").code == 0
    few = ["--fused", "examples/pairs/vis/gate.png", "--metrics", "MI,SSIM,VIF_ir", "--json"]
    first = lure("eval", "--ir", "ir.tif", "--vis", "vis.tif", *few)
    assert first.code == 0 and "2 sources are mapped as `lure fuse` does it (first: ir.tif: " in first.err
    second = lure("eval", "--ir", "seen.png", "--vis", "examples/pairs/vis/gate.png", *few)
    a, b = (json.loads(done.out)["methods"][0]["summary"] for done in (first, second))
    assert all(v["mean"] == pytest.approx(b[k]["mean"], rel=0.05) for k, v in a.items())
    other = lure("eval", "--ir", "ir.tif", "--vis", "vis.tif", *few, "--ir-range", "3000,20000")
    assert json.loads(other.out)["methods"][0]["summary"]["SSIM"] != a["SSIM"]
    refused = lure("eval", "--ir", "ir.tif", "--vis", "vis.tif", *few, "--ir-range", "warm")
    assert refused.code == 2 and "warm" in refused.err
    assert lure("eval", "--ir", "ir.tif", "--vis", "vis.tif", *few[:-1], "--floors", "--html", "r.html").code == 0
