"""The detector: statistics, weights, `lure detect`, and the prompt `auto`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lure_cli import Fuser
from lure_cli.core.detector.detector import FORMAT, Detector, decide, load_detector
from lure_cli.core.detector.features import image_features
from lure_cli.core.detector.marks import spot_features, stripe_features
from lure_cli.core.images.picture import read_image
from lure_cli.core.text.vocabulary import DEGRADATIONS, Prompt
from lure_cli.core.training.degradations import ORDER, degrade_measured
from lure_cli.errors import LureError
from lure_cli.tasks.detect import shipped_detector
from lure_cli.tasks.inference.request import request_of
from lure_cli.tasks.weights import find as weights
from tests.helpers.files import EXAMPLES, ROOT, SHARED, Outcome, make_data, save_png

Run = Callable[..., Outcome]

STREET = EXAMPLES / "street"
GATE_IR, GATE_VIS = "examples/pairs/ir/gate.png", "examples/pairs/vis/gate.png"


def names(path: Path, modality: str) -> list[str]:
    x = read_image(path, channels=3 if modality == "vis" else 1)
    return [f.degradation for f in shipped_detector().detect(x, modality)]


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (128, 128), (129, 127), (400, 33), (500, 700)])
@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_of_any_size_are_finite_and_of_one_length(shape: tuple[int, int], channels: int) -> None:
    rng = np.random.default_rng(0)
    lengths = set()
    for x in (rng.random((*shape, channels)), np.zeros((*shape, channels)), np.ones((*shape, channels))):
        features = image_features(x.astype(np.float32))
        assert features.dtype == np.float32
        assert np.isfinite(features).all()
        lengths.add(features.shape)
    assert lengths == {shipped_detector().layers["vis" if channels == 3 else "ir"]["mean"].shape}


def test_the_examples_show_what_they_were_made_with() -> None:
    assert "haze" in names(STREET / "vis_hazy.png", "vis")
    assert names(STREET / "ir_noisy.png", "ir") == ["noise"]
    for path in sorted((EXAMPLES / "pairs" / "ir").iterdir()):
        assert names(path, "ir") == []


def test_severity_grows_with_the_noise() -> None:
    clean = read_image(STREET / "ir.png", channels=1)
    grain = np.random.default_rng(0).normal(0, 1, clean.shape)
    severities = []
    for sigma in (10, 20, 40):
        x = np.clip(clean + sigma / 255 * grain, 0, 1).astype(np.float32)
        (finding,) = shipped_detector().detect(x, "ir")
        assert finding.degradation == "noise"
        assert abs(finding.severity - sigma / 50) < 0.25
        severities.append(finding.severity)
    assert severities == sorted(severities)


def test_stripes_are_told_from_noise() -> None:
    clean = read_image(STREET / "ir.png", channels=1)
    offset = np.random.default_rng(1).normal(0, 0.05, (1, clean.shape[1], 1))
    (finding,) = shipped_detector().detect(np.clip(clean + offset, 0, 1).astype(np.float32), "ir")
    assert finding.degradation == "stripe"


@pytest.mark.parametrize("name", ORDER)
def test_degradations_tell_their_severity(name: str) -> None:
    modality = "vis" if name in DEGRADATIONS["vis"] else "ir"
    clean = torch.rand(3 if modality == "vis" else 1, 48, 64, generator=torch.Generator().manual_seed(0))
    drawn = []
    for seed in range(40):
        x, severities = degrade_measured(clean, (name,), modality, torch.Generator().manual_seed(seed))
        assert list(severities) == [name]
        assert 0 <= severities[name] <= 1
        drawn.append((severities[name], float((x - clean).square().mean())))
    severity, change = np.array(drawn).T
    assert severity.max() - severity.min() > 0.15
    if name != "haze":  # how much haze changes depends on its colour, too
        assert np.corrcoef(severity.argsort().argsort(), change.argsort().argsort())[0, 1] > 0.3


def test_of_two_rivals_the_surer_one_is_found() -> None:
    known = DEGRADATIONS["vis"]
    scores, limits = np.zeros((1, len(known))), np.full(len(known), 0.5)
    scores[0, [known.index("lowlight"), known.index("overexposure"), known.index("haze")]] = 0.9, 0.8, 0.5
    assert [n for n, f in zip(known, decide(scores, limits, known)[0], strict=True) if f] == ["haze", "lowlight"]
    limits[known.index("lowlight")] = 0.7  # 0.9 is less above 0.7 than 0.8 is above 0.5
    assert [n for n, f in zip(known, decide(scores, limits, known)[0], strict=True) if f] == ["haze", "overexposure"]


def test_the_shipped_file_is_small_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights.detector_path()
    assert path.stat().st_size < 1_000_000
    held_out = shipped_detector().provenance["held_out"]
    assert all(held_out["vis"][n]["f1"] > 0.7 for n in DEGRADATIONS["vis"])
    monkeypatch.setattr(weights, "DETECTOR", replace(weights.DETECTOR, sha256="0" * 64))
    with pytest.raises(LureError, match="checksum"):
        weights.detector_path()
    monkeypatch.setattr(weights, "DETECTOR", replace(weights.DETECTOR, file="other.safetensors"))
    with pytest.raises(LureError, match="missing"):
        weights.detector_path()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"kind": "model"}, "not a detector"),
        ({"format": FORMAT + 1}, "newer"),
        ({"format": FORMAT - 1}, "older"),
        ({"thresholds": {}}, "damaged"),
        ({"short": True}, "damaged"),
    ],
)
def test_files_that_do_not_fit_are_refused(change: dict[str, object], fault: str, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    detector = shipped_detector()
    tensors = load_file(weights.detector_path())
    if change.pop("short", False):
        tensors["vis.mean"] = tensors["vis.mean"][:-1]
    metadata = {"format": FORMAT, "kind": "detector", "thresholds": detector.thresholds, "provenance": {}} | change
    path = tmp_path / "d.safetensors"
    save_file(tensors, path, {k: json.dumps(v) for k, v in metadata.items()})
    with pytest.raises(LureError, match=fault):
        load_detector(path)


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    for name, fault in (("none.safetensors", "cannot be read"), ("bad.safetensors", "damaged")):
        with pytest.raises(LureError, match=fault):
            load_detector(tmp_path / name)


def test_detect_command(lure: Run, examples: Path) -> None:
    done = lure("detect", "examples/street/ir_noisy.png", "examples/pairs/ir", "--modality", "ir")
    assert (done.code, done.err) == (0, "")
    first, *others = done.out.splitlines()
    assert first.startswith("examples/street/ir_noisy.png: noise (severity 0.")
    assert others == [f"examples/pairs/ir/{n}.png: none" for n in ("drone", "gate", "street")]
    (line,) = lure("detect", "examples/street/ir_noisy.png", "--modality", "ir", "--json").out.splitlines()
    record = json.loads(line)
    (finding,) = record.pop("degradations")
    assert record == {"image": "examples/street/ir_noisy.png", "modality": "ir"}
    assert set(finding) == {"degradation", "score", "severity"}
    assert finding["degradation"] == "noise"
    assert 0.5 < finding["score"] <= 1


def test_detect_goes_on_after_a_bad_file(lure: Run, examples: Path) -> None:
    Path("bad.png").write_bytes(b"no picture")
    done = lure("detect", "bad.png", "none.png", GATE_IR, "--modality", "ir", "--json")
    assert done.code == 1
    assert done.err.count("error:") == done.err.count("hint:") == 2
    bad, none, gate = map(json.loads, done.out.splitlines())
    assert "bad.png" in bad["error"]
    assert "none.png" in none["error"]
    assert "degradations" not in bad
    assert gate["degradations"] == []


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([GATE_IR], "--modality"),
        ([GATE_IR, "--modality", "uv"], "'uv' is not known"),
        (["empty", "--modality", "ir"], "empty: holds no image files"),
        (["--modality", "ir"], "Missing argument"),
    ],
)
def test_detect_usage(args: list[str], text: str, lure: Run, examples: Path) -> None:
    Path("empty").mkdir()
    done = lure("detect", *args)
    assert (done.code, done.out) == (2, "")
    assert text in done.err


def test_detect_does_without_torch(examples: Path) -> None:
    code = (
        "import sys\nfrom lure_cli.cli import main\n"
        "try: main(['detect', 'examples/pairs/ir', '--modality', 'ir'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_what_auto_means_per_image() -> None:
    assert request_of("auto").auto == ("vis", "ir")
    assert request_of("AUTO ", prompt_ir="noise").auto == ("vis",)
    assert request_of("AUTO ", prompt_ir="noise").prompt == Prompt(ir=("noise",))
    only_ir = request_of("haze and noise", prompt_ir="auto")
    assert (only_ir.auto, only_ir.prompt) == (("ir",), Prompt(vis=("haze", "noise")))
    assert request_of("haze").auto == ()
    assert request_of(prompt_vis="auto").auto == ("vis",)


def test_auto_uses_what_was_found(lure: Run, examples: Path) -> None:
    ir, vis = "examples/street/ir_noisy.png", "examples/pairs/vis/street.png"
    for name, size in ((ir, 1), (vis, 3)):
        crop = read_image(Path(name), channels=size)[:200, :260]  # type: ignore[arg-type]
        save_png(Path(Path(name).name), (crop.squeeze() * 255).round().astype(np.uint8))
    pair = ["fuse", "--ir", "ir_noisy.png", "--vis", "street.png"]
    done = lure(*pair, "--prompt-vis", "haze", "--prompt-ir", "auto", "-o", "auto.png", "--json")
    assert done.code == 0
    assert "street: infrared: noise (severity 0." in done.err
    record = json.loads(done.out)
    assert record["prompt"] == {"vis": ["haze"], "ir": ["noise"]}
    assert [f["degradation"] for f in record["detected"]["ir"]] == ["noise"]
    assert set(record["detected"]) == {"ir"}
    assert lure(*pair, "--prompt-vis", "haze", "--prompt-ir", "noise", "-o", "told.png").code == 0
    assert Path("auto.png").read_bytes() == Path("told.png").read_bytes()
    both = json.loads(lure(*pair, "--prompt", "auto", "-o", "both.png", "--json", "-q").out)
    assert set(both["detected"]) == {"vis", "ir"}
    assert {m: [f["degradation"] for f in both["detected"][m]] for m in ("vis", "ir")} == both["prompt"]


def test_auto_from_python() -> None:
    fuser = Fuser.from_pretrained("lure-small", device="cpu", dtype="fp32")
    ir = (read_image(STREET / "ir_noisy.png", channels=1)[:160, :200, 0] * 255).round().astype(np.uint8)
    vis = np.full((160, 200, 3), 128, np.uint8)
    assert [f.degradation for f in fuser.detect(ir, "ir")] == ["noise"]
    assert np.array_equal(fuser(ir, vis, prompt_ir="auto"), fuser(ir, vis, prompt_ir="noise"))
    assert np.array_equal(fuser.restore(ir, "ir", "auto"), fuser.restore(ir, "ir", "noise"))


def test_training_is_deterministic(data: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    from lure_cli.core.training.corpus import find_corpus
    from lure_cli.core.training.layout import read_layout
    from lure_cli.tasks.train.detector import draw, find_sources, fit

    layout, corpus = read_layout(data), find_corpus(data)
    for name, jobs in (("a", 1), ("b", 2)):
        tables = {m: draw(find_sources(layout, corpus, m, 18), 0, jobs) for m in ("ir", "vis")}  # type: ignore[arg-type]
        assert set(tables["vis"].label.any(1)) == {True, False}
        fit(tables, corpus.sets(), 0, tmp_path / f"{name}.safetensors", epochs=1, batch=4)  # type: ignore[arg-type]
    one, two = (load_file(tmp_path / f"{name}.safetensors") for name in "ab")
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[k], two[k]) for k in one)
    assert isinstance(load_detector(tmp_path / "a.safetensors"), Detector)


def test_labelled_images_are_drawn_as_what_they_show(tmp_path: Path) -> None:
    from lure_cli.core.training.corpus import find_corpus
    from lure_cli.core.training.layout import read_layout
    from lure_cli.tasks.train.detector import draw, find_sources

    root = make_data(tmp_path)
    for what, name in (("haze+lowlight/mine", "fog"), ("lowlight/demo", "gate"), ("clean/mine", "fine")):
        (root / "labelled" / "visible" / what).mkdir(parents=True)
        shutil.copy(STREET / "vis.png", root / "labelled" / "visible" / what / f"{name}.png")
    sources = find_sources(read_layout(root), find_corpus(root), "vis", 4)
    shown = {s.group: (s.names, s.native) for s in sources if s.group.startswith("labelled/")}
    assert shown == {
        "labelled/demo/lowlight": (("lowlight",), False),
        "labelled/mine/haze+lowlight": (("haze", "lowlight"), False),
        "labelled/mine/clean": ((), True),
    }
    # "gate" is a picture of the fusion set "demo", too, but no clean one any more
    assert sorted(s.path.stem for s in sources if s.group == "fusion/demo") == ["drone", "street"]
    table = draw([s for s in sources if s.names == ("haze", "lowlight")], 0, 1)
    named = dict(zip(DEGRADATIONS["vis"], table.label.T, strict=True))
    assert named["haze"].all() and named["lowlight"].all() and not named["overexposure"].any()
    known = dict(zip(DEGRADATIONS["vis"], table.known[0], strict=True))
    assert [n for n, k in known.items() if not k] == ["noise"]  # nobody said


def test_stripes_run_over_the_whole_height() -> None:
    rng = np.random.default_rng(3)
    scene = rng.normal(0.5, 0.02, (240, 320)).astype(np.float32)
    pole, striped = scene.copy(), scene + rng.normal(0, 0.02, (1, 320)).astype(np.float32)
    pole[:120, 150:156] += 0.3
    agreement = [stripe_features(y)[1] for y in (scene, pole, striped)]  # a quarter of the bands agree less
    assert agreement[2] > 0.8 > 0.3 > max(agreement[:2])
    assert stripe_features(striped.T.copy())[1] < 0.3
    assert stripe_features(striped.T.copy())[21] > 0.8  # rows


def test_flakes_are_brighter_than_what_is_around_them() -> None:
    rng = np.random.default_rng(4)
    scene = rng.normal(0.4, 0.03, (1, 128, 128)).astype(np.float32)
    flakes, holes = scene.copy(), scene.copy()
    for top, left in rng.integers(0, 124, (60, 2)):
        flakes[0, top : top + 4, left : left + 4] += 0.4
        holes[0, top : top + 4, left : left + 4] -= 0.4
    plain, bright, dark = (spot_features(y)[15] for y in (scene, flakes, holes))  # skewness of the smallest spots
    assert bright > plain + 0.5 and dark < plain - 0.5


@pytest.mark.shared
def test_test_sets(tmp_path: Path) -> None:
    """F1 on degraded test pairs and false alarms on clean ones; a part of the whole measure (see the model card)."""
    true: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
    for name in ("MSRS", "RoadScene"):
        pairs, out = SHARED / "data" / "fusion" / name / "test", tmp_path / name
        command = [sys.executable, str(SHARED / "bench" / "degrade.py"), str(pairs), str(out), "--limit", "2"]
        subprocess.run(command, check=True, capture_output=True)
        for case in json.loads((out / "cases.json").read_text()):
            for modality, folder in (("vis", "vi"), ("ir", "ir")):
                there = _of_case(case, modality)
                for path in sorted((out / case / folder).iterdir()):
                    named = names(path, modality)
                    night = name == "MSRS" and path.stem.endswith("N")  # dark streets, whatever else was done to them
                    for label in set(DEGRADATIONS[modality]) - ({"lowlight"} if night else set()):
                        true.setdefault((modality, label), []).append((label == there, label in named))
    f1 = {k: 2 * sum(t and f for t, f in v) / sum(t + f for t, f in v) for k, v in true.items() if any(t for t, _ in v)}
    assert len(f1) == 10
    assert np.mean(list(f1.values())) >= 0.9, f1
    for name, ends in (("MSRS", "D"), ("RoadScene", ""), ("LLVIP", "")):
        alarms = []
        for modality, folder in (("vis", "vi"), ("ir", "ir")):
            paths = sorted((SHARED / "data" / "fusion" / name / "test" / folder).iterdir())
            alarms += [names(p, modality) != [] for p in paths if p.stem.endswith(ends)]
        assert np.mean(alarms) <= 0.05, name
    nights = sorted((SHARED / "data" / "fusion" / "MSRS" / "test" / "vi").glob("*N.*"))[::4]
    assert np.mean(["lowlight" in names(p, "vis") for p in nights]) >= 0.8


def _of_case(case: str, modality: str) -> str:
    """`haze+ir_stripe`, `vis_noise`, `ir_blur`, `clean` -> the degradation of that modality, or nothing."""
    for part in case.split("+"):
        side, _, label = part.rpartition("_")
        if label != "clean" and modality == (side or "vis"):
            return label
    return ""
