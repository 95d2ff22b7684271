"""The rule of `--backend auto`: which file a job is computed with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lure_cli import Fuser
from lure_cli.errors import LureError
from lure_cli.tasks.inference import backend
from lure_cli.tasks.inference.backend import Cost, Machine, Work, pick, torch_only, work_of
from lure_cli.tasks.inference.options import FuseOptions, RestoreOptions
from lure_cli.tasks.inference.plan import plan_fuse, plan_restore
from lure_cli.tasks.weights.find import onnx_of, shipped_path
from tests.helpers.clips import make_clip
from tests.helpers.files import EXAMPLES, Outcome

Run = Callable[..., Outcome]
STREET = EXAMPLES / "street"
LAPTOP = Machine("installed", gpu=False, bf16=True)
SMALL, LARGE = shipped_path("lure-small"), shipped_path("lure-base")


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures to reckon with."""
    costs = {"onnx": Cost(1, 2, 3), "torch fp32": Cost(10, 1.5, 2.5), "torch bf16": Cost(10, 1, 1)}
    monkeypatch.setattr(backend, "COSTS", costs)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Say what this machine is."""

    def say(machine: Machine) -> None:
        monkeypatch.setattr(Machine, "here", classmethod(lambda _: machine))
        missing = machine.torch == "missing"
        monkeypatch.setattr("lure_cli.core.machine.torch_installed", lambda: not missing)

    say(LAPTOP)
    return say


@pytest.mark.usefixtures("costs")
@pytest.mark.parametrize(
    ("work", "machine", "more", "expected"),
    [
        (Work(9), LAPTOP, {}, "onnx"),  # 19 against 19 s
        (Work(9.1), LAPTOP, {}, "torch"),
        (Work(3, 3), LAPTOP, {}, "onnx"),  # 16 against 16 s
        (Work(3, 3.1), LAPTOP, {}, "torch"),
        (Work(18), LAPTOP, {"dtype": "fp32"}, "onnx"),  # 37 against 37 s
        (Work(18), Machine("installed", gpu=False, bf16=False), {}, "onnx"),
        (Work(18.1), Machine("installed", gpu=False, bf16=False), {}, "torch"),
        (Work(1), Machine("loaded", gpu=False, bf16=True), {}, "torch"),
        (None, LAPTOP, {}, "torch"),
        (Work(1), Machine("installed", gpu=True, bf16=True), {}, "torch"),
        (Work(1), Machine("installed", gpu=True, bf16=True), {"device": "cpu"}, "onnx"),
        (Work(1e9), Machine("missing", gpu=True, bf16=True), {}, "onnx"),
        (None, Machine("missing", gpu=False, bf16=False), {}, "onnx"),
        (Work(1), Machine("installed", gpu=False, bf16=True, onnxruntime=False), {}, "torch"),
    ],
)
def test_who_is_sooner_done(work: Work | None, machine: Machine, more: dict[str, str], expected: str) -> None:
    assert pick(work, machine, **more) == expected


def test_the_figures_make_sense() -> None:
    """A pair is onnxruntime's and a day's recordings in bfloat16 are torch's, whatever is measured next."""
    assert pick(Work(0.3, 0.6), LAPTOP) == "onnx"
    assert pick(Work(1e5, 0), LAPTOP) == pick(Work(1e5, 2e5), LAPTOP) == "torch"
    for cost in backend.COSTS.values():
        assert min(cost) > 0


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("auto", "auto", False), None),
        (("cpu", "fp32", False), None),
        (("cuda:1", "auto", False), "--device cuda:1"),
        (("mps", "auto", False), "--device mps"),
        (("auto", "bf16", False), "--dtype bf16"),
        (("auto", "auto", True), "--compile"),
    ],
)
def test_what_only_torch_can_do(asked: tuple[str, str, bool], expected: str | None) -> None:
    assert torch_only(*asked) == expected


def planned(tmp_path: Path, **options: Any) -> Path:
    """The file that a pair would be fused with."""
    options = {"device": "cpu"} | options
    ir, vis = options.pop("ir", STREET / "ir.png"), options.pop("vis", STREET / "vis.png")
    return plan_fuse(FuseOptions(Path(ir), Path(vis), f"{tmp_path}/out/", **options)).weights


@pytest.mark.usefixtures("here")
def test_a_plan_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = onnx_of("lure-small")
    assert planned(tmp_path) == planned(tmp_path, dtype="fp32", prompt="auto", weights=str(SMALL)) == twin
    assert planned(tmp_path, backend="onnx", prompt="haze") == twin
    for more in ({"backend": "torch"}, {"dtype": "bf16"}, {"device": "mps"}, {"compiled": True}, {"engine": "ray"}):
        assert planned(tmp_path, **more) == SMALL, more
    assert planned(tmp_path, provenance="map.png") == SMALL
    assert planned(tmp_path, weights="lure-base") == LARGE
    own = tmp_path / "own.safetensors"
    own.write_bytes(SMALL.read_bytes())
    assert planned(tmp_path, weights=str(own)) == own
    monkeypatch.setattr(backend, "COSTS", backend.COSTS | {"torch bf16": Cost(0, 0, 0)})
    assert planned(tmp_path) == SMALL
    assert planned(tmp_path, backend="onnx") == twin


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "onnx", "weights": "lure-base"}, "needs an ONNX file"),
        ({"backend": "onnx", "provenance": "map.png"}, "ONNX files such as"),
        ({"backend": "tensorrt"}, "backend 'tensorrt' is not known"),
    ],
)
def test_refusals(options: dict[str, Any], message: str, tmp_path: Path, here: Any) -> None:
    with pytest.raises(LureError, match=message):
        planned(tmp_path, **options)


def test_without_torch(tmp_path: Path, here: Any) -> None:
    here(Machine("missing", gpu=False, bf16=False))
    twin = onnx_of("lure-small")
    assert planned(tmp_path) == twin
    for options, message, hint in (
        ({"compiled": True}, "--compile: needs PyTorch", "leave it out"),
        ({"provenance": "map.png"}, "--provenance: needs PyTorch", "leave it out"),
        ({"backend": "torch"}, "--backend torch: needs PyTorch", "leave it out"),
        ({"weights": "lure-base"}, "the weights lure-base: needs PyTorch", "--weights lure-small"),
    ):
        with pytest.raises(LureError, match=message) as caught:
            planned(tmp_path, **options)
        assert caught.value.hint == f"pip install torch; or {hint}"


def test_how_much_there_is_to_do(tmp_path: Path) -> None:
    def work(limit: int, **options: Any) -> Work:
        pairs = EXAMPLES / "pairs"
        plan = plan_fuse(FuseOptions(pairs / "ir", pairs / "vis", f"{tmp_path}/out/", limit=limit, **options))
        return work_of(list(plan.jobs), 10**9)

    pair = 320 * 240 / 1e6
    assert work(1) == Work(pair)
    assert work(3) == Work(pytest.approx(3 * pair))
    assert work(2, prompt="haze") == Work(2 * pair, 2 * pair)
    assert work(2, prompt="auto") == work(2, prompt="noise in both images") == Work(2 * pair, 4 * pair)
    assert work(2, prompt_ir="auto") == Work(2 * pair, 2 * pair)
    assert work(3, by_colour=True) == Work(pytest.approx(3 * pair))
    assert work_of([], 1) == Work(0)
    focus = EXAMPLES / "focus"
    plan = plan_fuse(FuseOptions(focus / "near.png", focus / "far.png", f"{tmp_path}/x.png", by_colour=True))
    with Image.open(focus / "far.png") as image:
        assert work_of(list(plan.jobs), 10**9) == Work(image.width * image.height / 1e6)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    for source in (broken, Path("-")):
        plan = plan_fuse(FuseOptions(source, STREET / "vis.png", f"{tmp_path}/out/"))
        assert work_of(list(plan.jobs), 10**9) == Work(640 * 480 / 1e6)
        plan = plan_fuse(FuseOptions(STREET / "ir.png", source, f"{tmp_path}/out/"))
        assert work_of(list(plan.jobs), 10**9) == Work(backend.UNKNOWN)


def test_what_is_done_already_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Any) -> None:
    seen = []
    monkeypatch.setattr(backend, "pick", lambda work, *_: seen.append(work) or "onnx")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "gate.png").touch()
    pairs = EXAMPLES / "pairs"
    plan_fuse(FuseOptions(pairs / "ir", pairs / "vis", f"{tmp_path}/out/", skip_existing=True))
    (work,) = seen
    assert work.megapixels == pytest.approx(0.0768 * (len(list((pairs / "ir").glob("*.png"))) - 1))


@pytest.mark.usefixtures("here")
def test_single_images_too(tmp_path: Path) -> None:
    def restored(**options: Any) -> Path:
        return plan_restore(RestoreOptions(vis=STREET / "vis.png", output=f"{tmp_path}/out.png", **options)).weights

    assert restored(device="cpu") == restored(device="cpu", backend="onnx", prompt="haze") == onnx_of("lure-small")
    assert restored(device="cpu", backend="torch") == restored(device="mps") == SMALL


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "args",
    [[], ["--prompt", "low light, noise in the infrared image"], ["--prompt", "auto", "--tile", "128"]],
    ids=["plain", "prompts", "tiles"],
)
def test_both_make_the_same_pictures_and_records_say_which(args: list[str], lure: Run, tmp_path: Path) -> None:
    folders = ["--ir", EXAMPLES / "pairs" / "ir", "--vis", EXAMPLES / "pairs" / "vis", "--device", "cpu", *args]
    for name, more, by in (("auto", [], "onnxruntime cpu fp32"), ("torch", ["--dtype", "fp32"], "torch cpu fp32")):
        done = lure("fuse", *folders, "--backend", name, *more, "-o", f"{tmp_path}/{name}/", "--json")
        assert done.code == 0, done.err
        records = list(map(json.loads, done.out.splitlines()))
        assert {record["computed_by"] for record in records} == {by}
    for record in records:
        one, other = (np.asarray(Image.open(tmp_path / n / f"{record['name']}.png"), int) for n in ("auto", "torch"))
        assert np.abs(one - other).max() <= 1
        assert (one != other).mean() < 1e-3


@pytest.mark.usefixtures("here")
def test_records_of_single_images_and_clips(lure: Run, tmp_path: Path) -> None:
    vis = EXAMPLES / "pairs" / "vis" / "gate.png"
    done = lure("restore", "--vis", vis, "--device", "cpu", "-o", tmp_path / "out.png", "--json")
    assert json.loads(done.out)["computed_by"] == "onnxruntime cpu fp32"
    done = lure("restore", "--vis", vis, "--device", "cpu", "-o", tmp_path / "out.png", "--json", "--skip-existing")
    assert "computed_by" not in json.loads(done.out)
    frames = list(np.random.default_rng(0).integers(0, 255, (2, 48, 64, 3), np.uint8))
    clips = [make_clip(tmp_path / f"{side}.mp4", frames, rate=12) for side in ("ir", "vis")]
    common = ["fuse", "--ir", clips[0], "--vis", clips[1], "--device", "cpu", "--json", "--overwrite"]
    for more, by in (([], "torch cpu "), (["--backend", "onnx"], "onnxruntime cpu fp32")):
        done = lure(*common, "-o", tmp_path / "out.mkv", *more)
        assert json.loads(done.out)["computed_by"].startswith(by), done.err


def test_the_number_type_of_a_file_may_be_named(lure: Run, tmp_path: Path) -> None:
    pair = ["--ir", STREET / "ir.png", "--vis", STREET / "vis.png", "--device", "cpu", "--json"]
    done = lure("fuse", *pair, "--backend", "onnx", "--dtype", "fp32", "-o", tmp_path / "out.png")
    assert json.loads(done.out)["computed_by"] == "onnxruntime cpu fp32"
    done = lure("fuse", *pair, "--backend", "onnx", "--dtype", "bf16", "-o", tmp_path / "other.png")
    assert done.code == 2
    assert "computes as exported" in done.err


def test_python_takes_torch_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Fuser.from_pretrained(device="cpu", dtype="fp32").computed_by == "torch cpu fp32"
    assert Fuser.from_pretrained(device="cpu", backend="onnx").computed_by == "onnxruntime cpu fp32"
    monkeypatch.setattr(Machine, "here", classmethod(lambda _: Machine("missing", gpu=False, bf16=False)))
    assert Fuser.from_pretrained(device="cpu").computed_by == "onnxruntime cpu fp32"
