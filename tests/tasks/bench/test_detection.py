"""`lure bench detect`: from labelled pairs to tables, what is kept and gone on from, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lure_cli import Fuser
from lure_cli.core.images.picture import quantised, read_image
from lure_cli.core.metrics.baselines import maximum
from lure_cli.errors import LureError
from lure_cli.tasks.bench.detection import bench_detection
from lure_cli.tasks.bench.detection_options import DetectBenchOptions, parse_case, plan_detection
from lure_cli.tasks.bench.detection_result import DetectBench, _best, compared, detection_results, given_back
from tests.helpers.files import Outcome
from tests.helpers.images import luma
from tests.helpers.objects import CLASSES, make_labelled

Run = Callable[..., Outcome]
QUICK = ("--seeds", "2", "--epochs", "1", "--size", "96", "--device", "cpu")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_labelled(tmp_path / "pairs")


def options(**changes: Any) -> DetectBenchOptions:
    given = {"weights": (), "seeds": 1, "epochs": 1, "size": 96, "device": "cpu"} | changes
    return DetectBenchOptions(**{name: Path(folder) for name, folder in FOLDERS.items()} | given)


FOLDERS = {"train": "pairs/train", "test": "pairs/test", "output": "out"}


def test_all_methods_and_cases(lure: Run, here: Path) -> None:
    """Tables, JSON and CSV of sources, model, another's pictures and floors; restored where there is a prompt."""
    for split in ("train", "test"):
        shutil.copytree(here / split / "vi", f"mine/{split}")
    command = ["bench", "detect", "pairs/train", "pairs/test", "-o", "out", "--fused", "mine=mine", "--floors"]
    cases = ["--cases", "vis_haze,ir_stripe"]
    done = lure(*command, *cases, *QUICK, "--seeds", "1", "--json", "--csv", "b.csv", "--markdown", "b.md")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    floors = ("mean", "maximum", "laplacian", "guided-filter")
    assert list(record["values"]) == ["visible", "infrared", "lure-small", "mine", *floors]
    assert (
        record["finished"] and record["settings"]["test_objects"] == 6 and record["settings"]["classes"] == [*CLASSES]
    )
    tests = {method: set(of["0"]) for method, of in record["values"].items()}
    assert tests["visible"] == {"clean", "vis_haze"} and tests["infrared"] == {"clean", "ir_stripe"}
    assert tests["mine"] == {"clean"} and tests["mean"] == {"clean", "vis_haze", "ir_stripe"}
    restored = {f"{case}-{asked}" for case in ("vis_haze", "ir_stripe") for asked in ("prompt", "auto")}
    assert tests["lure-small"] == {"clean", "vis_haze", "ir_stripe"} | restored
    assert record["values"]["mine"]["0"]["clean"] == record["values"]["visible"]["0"]["clean"]  # they are the same
    rows = list(csv.DictReader(Path("b.csv").read_text().splitlines()))
    assert len(rows) == sum(map(len, tests.values()))
    assert set(rows[0]) == {"method", "seed", "test", "AP50", "AP50:95", "AP50 square", "AP50 bar"}
    text = Path("b.md").read_text()
    assert "vis_haze, lure-small" in text and "ir_stripe, maximum" in text and "vis_haze, mine" not in text


def test_pictures_are_those_of_the_methods(lure: Run, here: Path) -> None:
    """Floors in colour, and what a model makes of a degraded image with and without its prompt."""
    done = lure("bench", "detect", "pairs/train", "pairs/test", "-o", "out", "--floors", "--cases", "ir_stripe", *QUICK)
    assert done.code == 0, done.err
    ir, vis = (np.asarray(Image.open(here / "test" / side / "100.png"), float) for side in ("ir", "vi"))
    seen = np.asarray(Image.open("out/fused/maximum/clean/100.png"), float)
    inside = np.logical_and(seen > 0, seen < 255).all(-1)
    np.testing.assert_allclose(luma(seen)[inside, 0], maximum(ir, luma(vis)[..., 0])[inside], atol=1.5)
    np.testing.assert_allclose((seen - luma(seen))[inside], (vis - luma(vis))[inside], atol=1.5)
    fuser, striped = Fuser.from_pretrained(device="cpu"), Path("out/degraded/ir_stripe/100.png")
    for test, prompt in (
        ("ir_stripe", None),
        ("ir_stripe-prompt", "stripes in the infrared"),
        ("ir_stripe-auto", "auto"),
    ):
        fused = fuser(striped, here / "test" / "vi" / "100.png", prompt)
        kept = read_image(f"out/fused/lure-small/{test}/100.png", channels=3)
        np.testing.assert_array_equal(quantised(kept, 8), quantised(fused, 8))
    change = read_image(striped, channels=1) - read_image(here / "test" / "ir" / "100.png", channels=1)
    assert 0.03 < change.std() < 0.2


def test_the_same_command_goes_on(lure: Run, here: Path) -> None:
    command = ["bench", "detect", "pairs/train", "pairs/test", "-o", "out", "--weights", "none", *QUICK, "--json"]
    first = lure(*command)
    assert first.code == 0, first.err
    assert first.err.count("training") == 4  # two sources, two seeds
    values = json.loads(first.out)["values"]
    again = lure(*command)
    assert json.loads(again.out)["values"] == values and "training" not in again.err
    Path("out/detectors/infrared/seed-1.json").unlink()  # tested again by the detector that is kept
    again = lure(*command)
    assert json.loads(again.out)["values"] == values and "training" not in again.err and "AP50" in again.err
    Path("out/detectors/infrared/seed-1.json").unlink()
    Path("out/detectors/infrared/seed-1.safetensors").unlink()
    again = lure(*command)
    assert json.loads(again.out)["values"] == values and again.err.count("training") == 1
    other = lure(*command, "--epochs", "2")
    assert other.code == 2 and "other settings (epochs: 1, not 2)" in other.err
    (here / "train" / "labels" / "0.txt").write_text("")
    other = lure(*command)
    assert other.code == 2 and "train_objects" in other.err


def test_what_is_stopped_is_gone_on_from(here: Path) -> None:
    stops = iter([False, True])
    partly = bench_detection(options(), stop=lambda: next(stops, True))
    assert not partly.finished
    late = bench_detection(options(minutes=0.0))
    assert not late.finished and late.values["visible"] == {}
    whole = bench_detection(options())
    assert whole.finished and set(whole.values["infrared"]) == {0}
    assert bench_detection(options(minutes=0.0)).finished  # nothing is left to begin


def test_a_class_that_does_not_occur_has_no_value(here: Path) -> None:
    bench = bench_detection(options(classes=(*CLASSES, "tram")))
    kept = json.loads(Path("out/detectors/visible/seed-0.json").read_text())["clean"]
    assert kept["AP50 tram"] is None and 0 <= kept["AP50"] <= 1
    results = detection_results(bench)
    assert results.record["values"]["visible"]["0"]["clean"]["AP50 tram"] is None
    head, (_, cells) = results.tables[0].head[1:], results.tables[0].rows[0]
    assert {name: cell.text for name, cell in zip(head, cells, strict=True)}["AP50 tram"] == "-"


def test_other_pictures_of_the_same_name_are_refused(here: Path) -> None:
    for name in ("one", "two"):
        for split in ("train", "test"):
            shutil.copytree(here / split / "vi", f"{name}/{split}")
    bench_detection(options(fused=(("mine", Path("one")),)))
    with pytest.raises(LureError, match="other weights or another folder"):
        bench_detection(options(fused=(("mine", Path("two")),)))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"train": Path("none")}, "none/labels: no such folder"),
        ({"labels": Path("none")}, "none/train: no such folder"),
        ({"seeds": 0}, "--seeds 0"),
        ({"epochs": 0}, "--epochs 0"),
        ({"size": 8}, "--size 8"),
        ({"cases": ("ir_haze",)}, "case 'ir_haze' is not known"),
        ({"classes": ("square",)}, "line 2: class 1, but there are 1"),
        ({"fused": (("mine", Path("pairs/train")),)}, "pairs/train/train: no such folder"),
        ({"fused": (("visible", Path("pairs")),)}, "holds no image files"),
    ],
)
def test_refused(here: Path, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(LureError) as caught:
        plan_detection(options(**changes))
    assert fault in caught.value.message and caught.value.hint


def test_labels_that_do_not_fit_are_told(here: Path) -> None:
    labels = here / "train" / "labels"
    (labels / "0.txt").rename(labels / "zero.txt")
    plan = plan_detection(options())
    assert len(plan.notes) == 2 and "1 pairs without labels" in plan.notes[0] and "zero" in plan.notes[1]
    assert plan.train.count == 6 and len(plan.train.pairs) == 4
    for file in labels.glob("[1-3].txt"):
        file.write_text("")
    with pytest.raises(LureError, match="no object in any file"):
        plan_detection(options())
    for file in labels.glob("*.txt"):
        if file.name != "classes.txt":
            file.rename(labels / f"x{file.name}")
    with pytest.raises(LureError, match="no file is named like a pair"):
        plan_detection(options())
    for split in ("train", "test"):
        (here / split / "labels" / "classes.txt").unlink()
    with pytest.raises(LureError, match="nothing says what the classes are called"):
        plan_detection(options())


def test_labels_may_lie_elsewhere(here: Path) -> None:
    for split in ("train", "test"):
        shutil.move(here / split / "labels", f"labels/{split}")
    Path("labels/train/classes.txt").rename("labels/classes.txt")
    plan = plan_detection(options(labels=Path("labels")))
    assert plan.classes == CLASSES and plan.test.count == 6


def test_cases_are_named_by_image_and_degradation() -> None:
    case = parse_case("vis_lowlight")
    assert (case.modality, case.degradation) == ("vis", "lowlight") and case.prompt.vis == ("lowlight",)
    for wrong in ("haze", "vis", "vis_stripe", "both_haze"):
        with pytest.raises(LureError, match="is not known"):
            parse_case(wrong)


def test_differences_are_called_by_the_spread() -> None:
    low, high, wide = {0: 0.40, 1: 0.42}, {0: 0.50, 1: 0.54}, {0: 0.41, 1: 0.60}
    assert compared(high, low) == "+0.110" and compared(low, high) == "-0.110"
    assert compared(wide, low) == "+0.095, within the spread"
    values = {name: {s: {"clean": {"AP50": v}} for s, v in of.items()} for name, of in (("a", low), ("b", high))}
    values |= {"c": {s: {"clean": {"AP50": v}} for s, v in wide.items()}, "d": {0: {"clean": {"AP50": 0.3}}}, "e": {}}
    bench = DetectBench(tuple("abcde"), (), (), values, {})
    assert _best(bench) == ["Highest AP50: b; not told from it by these seeds: c."]
    assert compared({0: 0.5}, low) == "+0.090, one seed" and compared({}, low) == "-"
    assert given_back(high, low, {0: 0.45, 1: 0.48}) == "50 %"
    assert given_back(high, low, {0: 0.35}) == "none, it is worse"
    assert given_back(low, high, low) == "took nothing" and given_back(high, low, {2: 1.0}) == "-"
