"""Registration: known movements undone, registered pairs left alone, refusals, and `lure align`."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from lure_cli.core.images.picture import read_image
from lure_cli.core.registration.alignment import Alignment, describe, warp
from lure_cli.core.registration.estimate import estimate, estimate_once, judge, search
from lure_cli.core.registration.transform_file import read_transform, write_transform
from lure_cli.errors import LureError
from tests.benchmarks.align import error, matrix, run, similarity
from tests.helpers.files import EXAMPLES, ROOT, SHARED, Outcome, save_png

Run = Callable[..., Outcome]
NAMES = ("drone", "gate", "street")
IR, VIS = "examples/pairs/ir/gate.png", "examples/pairs/vis/gate.png"


def pair(name: str) -> tuple[np.ndarray, np.ndarray]:
    folder = EXAMPLES / "pairs"
    return read_image(folder / "ir" / f"{name}.png", channels=1), read_image(folder / "vis" / f"{name}.png", channels=1)


def shifted(ir: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The infrared image that the transform `by` (2, 3) of the visible grid leads into."""
    back = np.linalg.inv(np.vstack([by, [0, 0, 1]]))
    h, w = ir.shape[:2]
    y, x = np.mgrid[:h, :w]
    at = [back[i] @ [x.ravel(), y.ravel(), np.ones(h * w)] for i in (1, 0)]
    return np.clip(map_coordinates(ir[..., 0], at, order=3, mode="nearest"), 0, 1).reshape(h, w, 1).astype(np.float32)


def off(alignment: Alignment, true: np.ndarray) -> float:
    return error(matrix(alignment), true, alignment.size)


MOVES = {
    "shift": (3.0, -15.0, 0.0, 1.0),
    "turn": (4.0, 3.0, 2.0, 1.0),
    "smaller": (0.0, 0.0, -1.0, 0.97),
    "all": (-9.0, 8.0, -2.0, 1.03),
}


@functools.cache
def moved_pair(name: str, move: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, Alignment]:
    """The infrared image moved, the visible one, the movement, and what is estimated for it; for more than one test."""
    ir, vis = pair(name)
    true = similarity(*MOVES[move], (ir.shape[1], ir.shape[0]))
    moved = shifted(ir, true)
    return moved, vis, true, estimate(moved, vis)


@pytest.mark.parametrize("name, move", [*(("street", m) for m in MOVES), ("gate", "all"), ("drone", "all")])
def test_known_movements_are_undone(name: str, move: str) -> None:
    *_, true, alignment = moved_pair(name, move)
    assert off(alignment, true) < 1.0
    dx, dy, degrees, scale = MOVES[move]
    assert np.allclose(alignment.shift, (dx, dy), atol=1.0)
    assert abs(alignment.rotation - degrees) < 0.3
    assert abs(alignment.scale - scale) < 0.01
    assert alignment.confidence > 0.5


def test_a_shear_takes_the_affine_model() -> None:
    ir, vis = pair("street")
    h, w = ir.shape[:2]
    turn, centre = np.array([[1.02, 0.03], [0.0, 0.99]]), np.array([(w - 1) / 2, (h - 1) / 2])
    true = np.column_stack([turn, centre + (5, -4) @ np.eye(2) - turn @ centre])
    alignment = estimate(shifted(ir, true), vis, model="affine")
    assert off(alignment, true) < 1.0
    assert off(alignment, true) < off(estimate(shifted(ir, true), vis), true)


@pytest.mark.parametrize("name", NAMES)
def test_registered_pairs_stay_as_they_are(name: str) -> None:
    ir, vis = pair(name)
    alignment = estimate(ir, vis)
    warped = warp(ir, alignment)
    assert alignment.is_identity
    assert warped is ir


def test_the_same_twice_gives_the_same() -> None:
    moved, vis, _, alignment = moved_pair("gate", "all")
    assert search([(moved, vis)], "auto") == alignment


def test_warping_undoes_the_movement() -> None:
    ir, _ = pair("street")
    moved, _, _, alignment = moved_pair("street", "all")
    warped = warp(moved, alignment)
    assert warped.shape == ir.shape
    assert warped.dtype == np.float32
    assert warped.min() >= 0 and warped.max() <= 1
    inner = np.s_[30:-30, 30:-30]
    before = np.abs(moved - ir)[inner].mean()
    assert np.abs(warped - ir)[inner].mean() < before / 3
    assert alignment.moved > 5


def test_warping_by_whole_pixels_repeats_the_edge() -> None:
    x = np.random.default_rng(0).random((20, 30, 1), np.float32)
    y = warp(x, Alignment((1, 0, 4, 0, 1, 0), (30, 20)))
    assert np.allclose(y[:, :26], x[:, 4:], atol=1e-5)
    assert np.allclose(y[:, 26:], x[:, -1:], atol=1e-5)


def test_figures_of_a_transform() -> None:
    alignment = Alignment(tuple(similarity(3, -4, 2, 1.1, (101, 51)).ravel().tolist()), (101, 51), 0.5)
    assert np.allclose(alignment.shift, (3, -4))
    assert alignment.rotation == pytest.approx(2)
    assert alignment.scale == pytest.approx(1.1)
    assert Alignment((1, 0, 3, 0, 1, 4), (10, 10)).moved == pytest.approx(5)
    text = describe(Alignment((1, 0, 3, 0, 1, 4), (10, 10), 0.93))
    assert text == "moved 5.0 px (shift 3.0, 4.0; rotation 0.0 degrees; scale 1.000), confidence 0.93"


def test_one_transform_for_a_rig() -> None:
    true = similarity(-8, 6, 1, 1.02, (320, 240))
    pairs = [(shifted(ir, true), vis) for ir, vis in map(pair, NAMES)]
    blank = np.full_like(pairs[0][0], 0.5)  # a pair that shows nothing does not spoil it
    assert off(estimate_once([*pairs, (blank, blank)]), true) < 1.0


def test_noise_against_a_scene_is_refused() -> None:
    _, vis = pair("street")
    noise = np.random.default_rng(0).random(vis.shape, np.float32)
    with pytest.raises(LureError, match=r"not to be trusted|implausible") as caught:
        estimate(noise, vis)
    assert "--align none" in caught.value.hint


def test_an_image_without_edges_is_refused() -> None:
    _, vis = pair("gate")
    with pytest.raises(LureError):
        estimate(np.full_like(vis, 0.5), vis)


@pytest.mark.parametrize("ir, vis", [("gate", "street"), ("street", "drone")])
def test_another_scene_is_refused(ir: str, vis: str) -> None:
    with pytest.raises(LureError):
        estimate(pair(ir)[0], pair(vis)[1])


@pytest.mark.parametrize("move", [(0, 0, 0, 1.3), (0, 0, 0, 0.7), (0, 0, 16, 1), (70, 0, 0, 1)])
def test_implausible_results_are_refused(move: tuple[float, float, float, float]) -> None:
    refusal = judge(Alignment(tuple(similarity(*move, (320, 240)).ravel().tolist()), (320, 240)))
    assert refusal is not None
    assert "implausible" in refusal.message
    assert judge(Alignment((1, 0, 5, 0, 1, 5), (320, 240))) is None


def test_sizes_that_differ_are_refused() -> None:
    ir, vis = pair("gate")
    with pytest.raises(LureError, match="infrared images to align differ in size: 318x240, 320x240"):
        estimate_once([(ir[:, :-2], vis), (ir, vis)])
    with pytest.raises(LureError, match="estimated for 10x10"):
        warp(ir, Alignment((1, 0, 0, 0, 1, 0), (10, 10)))


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (9, 12), (64, 64)])
def test_any_size_gives_an_answer_or_a_refusal(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).random((*shape, 1), np.float32)
    try:
        estimate(x, x)
    except LureError as refusal:
        assert refusal.hint


def test_transform_file_round_trip(tmp_path: Path) -> None:
    written = Alignment(tuple(similarity(3.3, -4.7, 1.9, 1.013, (320, 240)).ravel().tolist()), (320, 240), 0.87)
    path = tmp_path / "new" / "t.json"
    write_transform(path, written)
    assert read_transform(path) == written
    keys = {"kind", "version", "matrix", "size", "source", "distortion", "moved", "shift", "rotation", "scale"}
    keys |= {"confidence"}
    assert json.loads(path.read_text()).keys() == keys
    assert [p.name for p in path.parent.iterdir()] == ["t.json"]
    path.write_text('{"matrix": [[1, 0, 2], [0, 1, 3]], "size": [320, 240]}')
    assert read_transform(path) == Alignment((1, 0, 2, 0, 1, 3), (320, 240))


BAD_TRANSFORMS = {
    "no JSON": "{",
    "no list": "[]",
    "no matrix": '{"size": [3, 3]}',
    "one row": '{"matrix": [[1, 0, 0]], "size": [3, 3]}',
    "text": '{"matrix": [["a", 0, 0], [0, 1, 0]], "size": [3, 3]}',
    "flat": '{"matrix": [[1, 0, 0], [1, 0, 0]], "size": [3, 3]}',
    "infinite": '{"matrix": [[1, 0, Infinity], [0, 1, 0]], "size": [3, 3]}',
    "no size": '{"matrix": [[1, 0, 0], [0, 1, 0]]}',
}


@pytest.mark.parametrize("text", BAD_TRANSFORMS.values(), ids=BAD_TRANSFORMS.keys())
def test_transform_files_that_hold_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(LureError, match=r"t\.json") as caught:
        read_transform(path)
    assert "'matrix'" in caught.value.hint


def move_file(path: str, true: np.ndarray) -> None:
    moved = shifted(read_image(path, channels=1), true)
    save_png(Path(path), np.round(moved[..., 0] * 255).astype(np.uint8))


def test_command_aligns_a_pair(small: Path, lure: Run) -> None:
    original = read_image(IR, channels=1)
    true = similarity(12, -3, 1, 1.01, (160, 120))
    move_file(IR, true)
    done = lure("align", "--ir", IR, "--vis", VIS, "-o", "out.png", "--transform", "t.json")
    assert done.code == 0
    assert off(read_transform(Path("t.json")), true) < 1
    assert done.out == f"gate: {describe(read_transform(Path('t.json')))}\n"
    inner = np.s_[20:-20, 20:-20]
    assert np.abs(read_image("out.png", channels=1) - original)[inner].mean() < 0.02
    again = lure("align", "--ir", IR, "--vis", VIS, "-o", "again.png", "--apply", "t.json")
    assert again.code == 0
    assert again.out == done.out
    assert Path("again.png").read_bytes() == Path("out.png").read_bytes()


def test_command_leaves_a_registered_pair_alone(small: Path, lure: Run) -> None:
    done = lure("align", "--ir", IR, "--vis", VIS, "--json")
    assert done.code == 0
    record = json.loads(done.out)
    assert record["moved"] == 0
    assert record["matrix"] == [[1, 0, 0], [0, 1, 0]]
    assert record["status"] == "done"
    assert np.array_equal(read_image("gate_aligned.png", channels=1), read_image(IR, channels=1))


def test_command_goes_on_after_a_pair_that_fails(small: Path, lure: Run) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160), np.uint8)
    save_png(Path(IR), noise)
    each = "--transform", "out/{stem}.json"
    done = lure("align", "--ir", "examples/pairs/ir", "--vis", "examples/pairs/vis", "-o", "out/", *each, "--json")
    assert done.code == 1
    records = {r["name"]: r for r in map(json.loads, done.out.splitlines())}
    assert {name: r["status"] for name, r in records.items()} == {"drone": "done", "gate": "failed", "street": "done"}
    assert "trusted" in records["gate"]["error"] or "implausible" in records["gate"]["error"]
    assert done.err.count("error: examples/pairs/ir/gate.png: ") == 1
    assert done.err.count("hint:") == 1
    assert "2 of 3 pairs done, 1 failed" in done.err
    assert sorted(p.name for p in Path("out").iterdir()) == ["drone.json", "drone.png", "street.json", "street.png"]


def test_command_with_one_transform_for_the_folder(small: Path, lure: Run) -> None:
    true = similarity(-7, 5, 1, 1.02, (160, 120))
    for name in NAMES:
        move_file(f"examples/pairs/ir/{name}.png", true)
    folders = "--ir", "examples/pairs/ir", "--vis", "examples/pairs/vis"
    done = lure("align", *folders, "--once", "--transform", "rig.json")
    assert done.code == 0
    assert len({line.split(": ", 1)[1] for line in done.out.splitlines()}) == 1
    assert off(read_transform(Path("rig.json")), true) < 1
    assert len(list(Path("aligned").iterdir())) == 3
    applied = lure("align", *folders, "-o", "applied/", "--apply", "rig.json")
    assert applied.code == 0
    for name in NAMES:
        assert Path(f"applied/{name}.png").read_bytes() == Path(f"aligned/{name}.png").read_bytes()


def test_command_tells_how_far_off_a_rig_is(small: Path, lure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    noise = np.random.default_rng(0).integers(0, 256, (120, 160), np.uint8)
    save_png(Path("examples/pairs/ir/gate.png"), noise)
    write_transform(Path("rig.json"), Alignment((1, 0, 0, 0, 1, 0), (160, 120)))
    write_transform(Path("knocked.json"), Alignment((1, 0, 4, 0, 1, 0), (160, 120)))
    good = lure("align", *FOLDERS, "--check", "rig.json")
    assert good.code == 0
    assert "warning" not in good.err
    rows = {line.split()[0]: line for line in good.out.splitlines()}
    assert rows["gate"].endswith("shows too little to tell")
    assert float(rows["street"].split()[1]) < 1
    assert "2 of 3 pairs: off by " in good.out
    assert not Path("aligned").exists()
    bad = lure("align", *FOLDERS, "--check", "knocked.json", "--json")
    assert bad.code == 0
    *pairs, total = map(json.loads, bad.out.splitlines())
    assert [p["sure"] for p in pairs] == [True, False, True]
    assert pairs[2]["shift"] == pytest.approx([-4, 0], abs=0.7)
    assert total["drift"] == pytest.approx(4, abs=0.7)
    assert total["median"] == pytest.approx(4, abs=0.7)
    assert f"warning: {total['warning']}" in bad.err
    assert "the rig is off by" in total["warning"]


def test_command_checks_a_pair_that_shows_nothing_and_one_that_fails(small: Path, lure: Run) -> None:
    write_transform(Path("rig.json"), Alignment((1, 0, 0, 0, 1, 0), (160, 120)))
    save_png(Path(IR), np.full((120, 160), 128, np.uint8))
    done = lure("align", *PAIR, "--check", "rig.json", "--json")
    assert done.code == 0
    assert json.loads(done.out.splitlines()[-1])["drift"] is None
    assert "warning: no pair shows enough to tell" in done.err
    save_png(Path(IR), np.full((60, 160), 128, np.uint8))
    failed = lure("align", *PAIR, "--check", "rig.json", "--json")
    assert failed.code == 1
    assert json.loads(failed.out.splitlines()[0])["status"] == "failed"


PAIR = ["--ir", IR, "--vis", VIS]
FOLDERS = ["--ir", "examples/pairs/ir", "--vis", "examples/pairs/vis"]
MISUSE = {
    "model": ([*PAIR, "--model", "elastic"], "elastic"),
    "once for files": ([*PAIR, "--once"], "--once"),
    "apply and estimate": ([*PAIR, "--apply", "t.json", "--transform", "u.json"], "--apply"),
    "check and write": ([*PAIR, "--check", "t.json", "-o", "x.png"], "--check"),
    "check and estimate": ([*PAIR, "--check", "t.json", "--once"], "--check"),
    "check and apply": ([*PAIR, "--check", "t.json", "--apply", "t.json"], "--check"),
    "apply and resize": ([*PAIR, "--apply", "t.json", "--resize-ir"], "--resize-ir"),
    "no transform file": ([*PAIR, "--apply", "missing.json"], "missing.json"),
    "transform suffix": ([*PAIR, "--transform", "t.txt"], "t.txt"),
    "one file for several": ([*FOLDERS, "--transform", "t.json"], "several pairs"),
    "exists": ([*PAIR, "-o", "examples/street/vis.png"], "exists"),
    "transform exists": ([*PAIR, "--transform", "there.json"], "exists"),
    "output is an input": ([*PAIR, "-o", IR, "--overwrite"], "also an input"),
    "missing": (["--ir", "nowhere.png", "--vis", VIS], "nowhere.png"),
}


@pytest.mark.parametrize("args, text", MISUSE.values(), ids=MISUSE.keys())
def test_misuse(examples: Path, lure: Run, args: list[str], text: str) -> None:
    Path("there.json").write_text("{}")
    done = lure("align", *args)
    assert done.code == 2
    assert done.out == ""
    error_line, hint_line = done.err.splitlines()
    assert error_line.startswith("error: ") and text in error_line
    assert hint_line.startswith("hint: ")
    assert not Path("gate_aligned.png").exists()


def test_apply_for_the_same_cameras_at_half_the_size(small: Path, lure: Run) -> None:
    write_transform(Path("t.json"), Alignment((1, 0, 4, 0, 1, 0), (320, 240)))
    applied = lure("align", *PAIR, "--apply", "t.json")
    assert "gate: moved 2.0 px" in applied.out
    assert "estimated for 320x240 on 320x240 and scaled" in applied.out
    checked = lure("align", *PAIR, "--check", "t.json")
    assert checked.err.count("and scaled") == 1


def test_apply_for_another_size(examples: Path, lure: Run) -> None:
    write_transform(Path("t.json"), Alignment((1, 0, 2, 0, 1, 3), (640, 400)))
    done = lure("align", *PAIR, "--apply", "t.json")
    assert done.code == 1
    assert f"error: {IR} and {VIS}: the infrared image is 320x240, but" in done.err
    assert "estimated for 640x400" in done.err


def test_overwrite(small: Path, lure: Run) -> None:
    Path("out.png").write_bytes(b"old")
    assert lure("align", *PAIR, "-o", "out.png").code == 2
    assert Path("out.png").read_bytes() == b"old"
    assert lure("align", *PAIR, "-o", "out.png", "--overwrite").code == 0
    assert read_image("out.png", channels=1).shape == (120, 160, 1)


def test_radiometric_files_are_mapped_by_their_degrees(small: Path, lure: Run) -> None:
    """They have no full range, which is the default of other files; what was done is said."""
    aqua = str(EXAMPLES / "thermal" / "Aqua_Tower_thermal_image.jpg")
    save_png(Path("vis.png"), np.zeros((180, 180, 3), np.uint8))
    write_transform(Path("t.json"), Alignment((1, 0, 2, 0, 1, 3), (180, 180)))
    done = lure("align", "--ir", aqua, "--vis", "vis.png", "--apply", "t.json", "-o", "out.png", "--json")
    assert done.code == 0 and "-66.43..-2.47 °C -> 0..1 (percentiles 0.5 and 99.5)" in done.err
    assert json.loads(done.out)["notes"] == [f"{aqua}: -66.43..-2.47 °C -> 0..1 (percentiles 0.5 and 99.5)"]
    asked = lure("align", "--ir", aqua, "--vis", "vis.png", "--apply", "t.json", "-o", "no.png", "--ir-range", "full")
    assert asked.code == 1 and "no full range" in asked.err


def test_without_simpleitk(examples: Path, lure: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    done = lure("align", *PAIR)
    assert done.code == 2
    assert done.err.splitlines() == [
        "error: aligning needs SimpleITK, which is not installed",
        'hint: pip install "lure-cli[align]"',
    ]
    write_transform(Path("t.json"), Alignment((1, 0, 2, 0, 1, 3), (320, 240)))
    assert lure("align", *PAIR, "--apply", "t.json").code == 0


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom lure_cli.cli import main\n"
        "try: main(['align', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'SimpleITK'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.shared
@pytest.mark.slow  # eight registrations of real pairs
def test_known_movements_of_real_pairs_are_undone() -> None:
    """A small sample; `tests/benchmarks/align.py` measures on all."""
    trials = list(run(SHARED / "data", "test", 2, strangers=False))
    assert len(trials) == 8
    assert np.mean([t.undone <= 1.5 and not t.refused for t in trials]) >= 0.85
