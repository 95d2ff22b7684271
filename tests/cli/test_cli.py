"""The command line: (arguments, exit code, text), files written, start-up, layers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.files import ROOT, Outcome, save_png
from tests.helpers.flir import segment, with_segments, write_flir

Run = Callable[..., Outcome]

IR, VIS = "examples/pairs/ir/gate.png", "examples/pairs/vis/gate.png"
PAIR = ["fuse", "--ir", IR, "--vis", VIS]


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["--version"], 0, "lure 0."),
        (["--help"], 0, "Usage: lure"),
        (["fuse", "--help"], 0, "--prompt-ir"),
        (["train", "stage2", "--help"], 0, "--init"),
        ([], 2, "Usage: lure"),
        (["train"], 2, "stage1"),
        (["bogus"], 2, "No such command"),
        (["fuse"], 2, "no image is given"),
        (["fuse", "--ir", IR], 2, "not a radiometric one"),
        (["fuse", "--ir", "examples/pairs/ir"], 2, "no file there is a radiometric one"),
        (["fuse", "--ir", "examples/clip/ir.mp4"], 2, "no visible clip"),
        ([*PAIR, "--bogus"], 2, "No such option"),
        (["fuse", "--ir", "nope.png", "--vis", VIS], 2, "nope.png"),
        (["fuse", "--ir", IR, "--vis", "examples"], 2, "is a folder"),
        (["prompt", "--help"], 0, "--list"),
        (["prompt", "--list"], 0, "lowcontrast"),
        (["prompt"], 2, "give texts or --list"),
        (["prompt", "haze", "--list"], 2, "give texts or --list"),
        (["prompt", "a cat on a sofa"], 2, "does not say what is wrong"),
        ([*PAIR, "--prompt", "a cat on a sofa"], 2, "does not say what is wrong"),
        ([*PAIR, "--prompt", "stripes in the visible image"], 2, "not known for the visible"),
        ([*PAIR, "--prompt", ""], 2, "empty"),
        ([*PAIR, "--prompt-file", "none.csv"], 2, "none.csv: cannot be read"),
        ([*PAIR, "--prompt-file", VIS], 2, "not UTF-8"),
        ([*PAIR, "--prompt-ir", "haze"], 2, "not known for the infrared"),
        ([*PAIR, "-o", "x.gif"], 2, "x.gif"),
        ([*PAIR, "-o", IR], 2, "is also an input"),
        ([*PAIR, "--weights", "lure-smal"], 2, "lure-small"),
        ([*PAIR, "--weights", "none.safetensors"], 2, "no such weight file"),
        ([*PAIR, "--weights", "examples/pairs"], 2, "a folder without model.safetensors"),
        ([*PAIR, "--weights", "owner/repo@../x"], 2, "no revision"),
        (["weights", "--help"], 0, "download"),
        (["weights", "info", "lure-smal"], 2, "lure-small"),
        (["weights", "push", VIS, "owner/repo"], 2, "damaged or not a safetensors file"),
        ([*PAIR, "--weights", VIS], 2, "damaged or not a safetensors file"),
        ([*PAIR, "--device", "toaster"], 2, "toaster"),
        ([*PAIR, "--dtype", "int3"], 2, "int3"),
        ([*PAIR, "--dtype", "fp16", "--device", "cpu"], 2, "fp16"),
        ([*PAIR, "--overwrite", "--skip-existing"], 2, "exclude each other"),
        (["train", "stage1", "--data", "none", "--out", "r"], 2, "none: no such folder"),
        (["train", "stage1", "--set", "lrr=1"], 2, "did you mean: lr"),
        (["train", "stage1", "--data", "none"], 2, "--out"),
        (["train", "stage1", "--config", "none.toml"], 2, "none.toml"),
    ],
)
def test_arguments_exit_code_text(args: list[str], code: int, text: str, lure: Run, examples: Path) -> None:
    before = sorted(examples.rglob("*"))
    done = lure(*args)
    assert done.code == code
    assert text in done.out + done.err
    if code == 2 and "Usage: lure" not in done.err:
        lines = done.err.splitlines()
        assert [line.split(":")[0] for line in lines] == ["error", "hint"]
        assert done.out == ""
    assert sorted(examples.rglob("*")) == before


def test_one_pair(lure: Run, examples: Path) -> None:
    done = lure(*PAIR, "-o", "out.png")
    assert (done.code, done.out, done.err) == (0, "out.png\n", "")
    fused = np.asarray(Image.open("out.png"))
    assert fused.shape == (240, 320, 3)
    again = lure(*PAIR, "-o", "out.png")
    assert again.code == 2
    assert "--overwrite" in again.err
    assert lure(*PAIR, "-o", "out.png", "--overwrite", "-q").out == ""
    assert np.array_equal(np.asarray(Image.open("out.png")), fused)
    assert "skipped" in lure(*PAIR, "-o", "out.png", "--skip-existing").err
    prompted = lure(*PAIR, "-o", "lit.png", "--prompt", "low light")
    assert prompted.code == 0
    assert np.asarray(Image.open("lit.png")).mean() > fused.mean() + 5
    assert {p.name for p in examples.iterdir()} == {"examples", "out.png", "lit.png"}


def test_default_name_json_and_types(lure: Run, examples: Path) -> None:
    done = lure(*PAIR, "--prompt", "noise in the infrared image", "--json")
    record = json.loads(done.out)
    assert record["status"] == "done"
    assert record["output"] == "gate_fused.png"
    assert record["size"] == [320, 240]
    assert record["prompt"] == {"vis": [], "ir": ["noise"]}
    for suffix in ("jpg", "tiff", "bmp", "webp"):
        assert lure(*PAIR, "-o", f"a.{suffix}").code == 0
        with Image.open(f"a.{suffix}") as image:
            assert image.size == (320, 240)
            assert image.format in ("JPEG", "TIFF", "BMP", "WEBP")


def test_folders_go_on_after_a_bad_file(lure: Run, examples: Path) -> None:
    Path("examples/pairs/ir/gate.png").write_bytes(b"no picture")
    Path("examples/pairs/vis/lonely.png").write_bytes(b"")
    save_png(Path("examples/pairs/ir/drone.png"), np.zeros((10, 20), np.uint8))
    done = lure("fuse", "--ir", "examples/pairs/ir", "--vis", "examples/pairs/vis", "-o", "out", "--json")
    assert done.code == 1
    records = {r["name"]: r for r in map(json.loads, done.out.splitlines())}
    assert {n: r["status"] for n, r in records.items()} == {"drone": "failed", "gate": "failed", "street": "done"}
    assert "gate.png" in records["gate"]["error"]
    assert "20x10" in records["drone"]["error"]
    assert "320x240" in records["drone"]["error"]
    assert done.err.count("error:") == done.err.count("hint:") == 2
    assert "unmatched: examples/pairs/vis/lonely.png" in done.err
    assert [p.name for p in Path("out").iterdir()] == ["street.png"]
    assert lure("fuse", "--ir", "examples/pairs/ir", "--vis", "examples/pairs/vis", "-o", "out").code == 2


def test_info_of_files(lure: Run, examples: Path) -> None:
    tower = "examples/thermal/Aqua_Tower_thermal_image.jpg"
    plain = lure("info", tower)
    for line in (
        "camera           FLIR Systems AB Flir b60",
        "date             2010-12-18 14:44:09",
        "infrared         180x180",
        "temperatures     -68.1 to -0.2 degrees Celsius, mean -9.9",
        "emissivity       1",
        "reflected        20 degrees Celsius",
        "humidity         50%",
        "photo            480x480",
        "alignment        ratio 1.719, offset 2, -10 px of the photo",
    ):
        assert f"  {line}\n" in plain.out
    done = lure("info", tower, "gone.png", IR, "--json")
    first, second, third = map(json.loads, done.out.splitlines())
    assert done.code == 1 and "gone.png: no such file" in done.err and "no such file" in second["error"]
    assert first["radiometric"]["photo"] == [480, 480] and first["unit"] == "degrees Celsius"
    assert (third["type"], third["size"], third["bits"], third["radiometric"]) == ("PNG", [320, 240], 8, None)
    pixels = np.asarray(Image.open(IR))
    assert (third["least"], third["most"]) == (pixels.min(), pixels.max())
    assert third["mean"] == pytest.approx(pixels.mean())
    Path("dji.jpg").write_bytes(with_segments(segment(3, bytes(500)), make="DJI"))
    assert "maker            DJI\n" in lure("info", "dji.jpg").out
    write_flir(Path("alone.jpg"), photo=None, raw=np.zeros((24, 32), np.uint16))
    alone = lure("info", "alone.jpg")
    assert "photo            none inside" in alone.out and "temperatures     none" in alone.out


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_info_of_a_weight_file_points_to_what_tells_it(
    suffix: str, lure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = str(ROOT / "weights" / f"lure-small{suffix}")
    done = lure("info", shipped, "--json")
    assert done.code == 1
    assert json.loads(done.out)["hint"].endswith(f"lure weights info {shipped}")
    assert "a weight file, no image" in done.err
    Path("folder.safetensors").mkdir()
    assert "a weight file" not in lure("info", "folder.safetensors", "gone.safetensors").err


def test_info(lure: Run) -> None:
    plain = lure("info")
    assert plain.code == 0
    assert "checksum ok" in plain.out
    found = json.loads(lure("info", "--json").out)
    assert found["weights"][0]["checksum"] == "ok"
    assert found["devices"]["cpu"]
    assert found["packages"]["torch"]


def test_train_both_stages_then_fuse(lure: Run, examples: Path, data: Path) -> None:
    small = ["--steps", "2", "--set", "crop=48", "--set", "batch_vis=2", "--set", "batch_ir=2"]
    first = lure("train", "stage1", "--data", data, "--out", "s1", *small)
    assert (first.code, first.out) == (0, "s1/weights.safetensors\n")
    assert "2/2" in first.err
    quiet = lure("train", "stage2", "--data", data, "--out", "s2", "--init", "s1/weights.safetensors", "-q", *small)
    assert (quiet.code, quiet.err) == (0, "")
    assert lure(*PAIR, "--weights", "s2/weights.safetensors", "-o", "mine.png").code == 0
    assert lure("train", "stage1", "--data", data, "--out", "s1", *small).code == 2
    assert lure("train", "stage1", "--data", data, "--out", "s1", "--resume", *small).code == 0


def test_debug_keeps_the_traceback(examples: Path) -> None:
    command = [sys.executable, "-m", "lure_cli", "fuse", "--ir", "x", "--vis", "y"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    plain = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    debug = subprocess.run(command, env={**env, "LURE_DEBUG": "1"}, capture_output=True, text=True, check=False)
    assert plain.returncode == 2
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr


@pytest.mark.parametrize(
    "args",
    [
        [*c, "--help"]
        for c in (
            [],
            ["fuse"],
            ["watch"],
            ["ui"],
            ["restore"],
            ["eval"],
            ["bench"],
            ["bench", "detect"],
            ["train", "stage1"],
            ["weights"],
            ["weights", "push"],
        )
    ]
    + [["--version"], ["prompt", "--list"]],
)
def test_help_imports_neither_torch_nor_numpy(args: list[str]) -> None:
    code = (
        "import sys\nfrom lure_cli.cli import main\n"
        f"try: main({args!r})\nexcept SystemExit: pass\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'numpy', 'PIL', 'huggingface_hub', 'rich'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("args", "needed"),
    [
        (["prompt", "night shot, grainy thermal image"], {"numpy", "safetensors"}),
        (["detect", "--modality", "vis", "examples/street/vis_hazy.png"], {"numpy", "safetensors", "PIL"}),
        (
            [*"fuse --ir examples/street/ir.png --vis examples/street/vis_hazy.png --prompt haze -o".split(), "OUT"],
            {"numpy", "safetensors", "PIL", "imagecodecs"},
        ),
    ],
)
def test_a_command_imports_the_packages_that_it_needs(args: list[str], needed: set[str], tmp_path: Path) -> None:
    """Of what this project declares, except for the runtime of the model; scipy alone takes a third of a second."""
    declared = {"numpy", "safetensors", "PIL", "imagecodecs", "imageio", "skimage", "tifffile", "scipy", "jinja2"}
    declared |= {"huggingface_hub", "open_clip", "rich", "matplotlib", "sklearn", "SimpleITK", "av", "gradio", "onnx"}
    args = [str(tmp_path / "fused.png") if a == "OUT" else a for a in args]
    code = (
        "import sys\nfrom lure_cli.cli import main\n"
        f"try: main({args!r})\nexcept SystemExit as stop: assert not stop.code\n"
        f"print(*sorted({{m.split('.')[0] for m in sys.modules}} & {declared!r}))\n"
        "print(*sorted(m for m in sys.modules if m.startswith('lure_cli.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    *_, packages, commands = done.stdout.splitlines()
    assert set(packages.split()) == needed
    others = {"lure_cli.cli.doctor", "lure_cli.cli.train", "lure_cli.cli.evaluate"}
    assert not others & set(commands.split())


def test_a_refused_prompt_or_path_does_not_wait_for_torch(examples: Path) -> None:
    code = (
        "import sys\nfrom lure_cli.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: print('torch' in sys.modules)"
    )
    repo = [*PAIR, "--weights", "no-such-owner/no-such-repo"]
    for args in ([*PAIR, "--prompt", "cat"], ["fuse", "--ir", "x", "--vis", "y"], ["prompt", "haze"], repo):
        command = [sys.executable, "-c", code, *args]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("command", ["fuse", "restore"])
def test_help_lists_the_options_in_groups(command: str, lure: Run) -> None:
    lines = lure(command, "--help").out.splitlines()
    headings = [line[:-1] for line in lines if line.endswith(":") and not line.startswith(" ")]
    expected = ["Input", "Prompts", "Output", "Clips", "Pairing", "Thermal", "Large jobs", "Machine", "Other"]
    assert headings == [h for h in expected if command == "fuse" or h not in ("Clips", "Pairing")]
    groups = "\n".join(lines).split("\n\n")
    assert any(g.startswith("Large jobs:") and "--shard" in g and "--tile" in g for g in groups)
    assert [line.split()[0] for line in groups[-1].splitlines()[1:2]] == ["-h,"]  # all others have a group
