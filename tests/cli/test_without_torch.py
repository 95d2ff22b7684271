"""Every command where torch is not installed: it works, or says what it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lure_cli.cli import COMMANDS
from tests.helpers.files import EXAMPLES, ROOT, make_data

HIDING = ROOT / "tests" / "helpers" / "without_torch"
NEEDED = "needs PyTorch, which is not installed"
IR, VIS = str(EXAMPLES / "street" / "ir.png"), str(EXAMPLES / "street" / "vis_hazy.png")
PAIR = ["--ir", IR, "--vis", VIS]
DATA = ["--data", "{data}", "--out", "{tmp}/run"]
PARTS = [f"--{part}=lure-small" for part in ("vis", "ir", "fusion")]


def environment() -> dict[str, str]:
    """Of a process that finds no torch."""
    kept = {k: v for k, v in os.environ.items() if k != "LURE_DEBUG"}
    return kept | {"PYTHONPATH": f"{HIDING}{os.pathsep}{ROOT}"}


def test_the_helper_hides_torch() -> None:
    code = (
        "import importlib.util as u\n"
        "try: import torch.nn\nexcept ModuleNotFoundError as error: print(error.name, u.find_spec('torch'))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["torch", "None"]


ROWS: list[tuple[list[str], int, str]] = [
    (["prompt", "fog, and the thermal image is grainy"], 0, "vis: haze"),
    (["detect", "--modality", "vis", VIS], 0, "haze"),
    (["info", IR], 0, "640x480"),
    (["info"], 0, "by onnxruntime alone"),
    (["eval", "--list"], 0, "SSIM"),
    (["eval", *PAIR, "--fused", VIS], 0, "SSIM"),
    (["align", *PAIR, "-o", "{data}/moved.png"], 0, "moved"),
    (["weights", "path", "lure-small"], 0, "lure-small.safetensors"),
    (["weights", "list"], 0, "1.29 M              - "),
    (["weights", "info", "lure-base"], 0, "15.01 M parameters"),
    (["weights", "info", "lure-small.onnx"], 0, "checksum ok\n"),
    (["data", "check", "{data}"], 0, "haze"),
    (["fuse", *PAIR, "--prompt", "auto", "--json", "-o", "{data}/fused.png"], 0, "onnxruntime"),
    (["restore", "--vis", VIS, "--prompt", "haze", "-o", "{data}/restored.png"], 0, "restored.png"),
    (["bench", "start", "--backends", "torch"], 2, "torch is not installed"),
    (["fuse", *PAIR, "--prompt", "cat", "-o", "{tmp}/a.png"], 2, "does not say what is wrong"),
    (["fuse", *PAIR, "--backend", "tensorrt", "-o", "{tmp}/a.png"], 2, "backend 'tensorrt' is not known"),
    (["fuse", *PAIR, "--compile", "-o", "{tmp}/a.png"], 2, NEEDED),
    (["fuse", *PAIR, "--device", "cuda", "-o", "{tmp}/a.png"], 2, NEEDED),
    (["fuse", *PAIR, "--backend", "torch", "-o", "{tmp}/a.png"], 2, NEEDED),
    (["fuse", *PAIR, "--weights", "lure-base", "-o", "{tmp}/a.png"], 2, NEEDED),
    (["fuse", *PAIR, "--provenance", "{tmp}/map.png", "-o", "{tmp}/a.png"], 2, NEEDED),
    (["restore", "--vis", VIS, "--prompt", "haze", "--weights", "lure-base", "-o", "{tmp}/a.png"], 2, NEEDED),
    (["train", "stage1", *DATA], 2, NEEDED),
    (["train", "stage2", *DATA, "--init", "lure-small"], 2, NEEDED),
    (["export", "onnx", "-o", "{tmp}/a.onnx"], 2, NEEDED),
    (["bench", "speed"], 2, NEEDED),
    (["weights", "join", *PARTS, "-o", "{tmp}/a.safetensors"], 2, NEEDED),
    (["plot", "ulfs", "lure-small", "--data", "{data}", "-o", "{tmp}/a.png"], 2, NEEDED),
]
"""Arguments, exit code, and what is printed."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int | None, str, str]]:
    """What became of each row, and of `lure doctor --json`; all in one process, for its imports take the time."""
    folder = tmp_path_factory.mktemp("without_torch")
    data = make_data(folder / "data")
    (folder / "out").mkdir()
    words = {"{tmp}": str(folder / "out"), "{data}": str(data)}
    commands = [[_filled(a, words) for a in args] for args, _, _ in ROWS]
    command = [sys.executable, str(HIDING / "commands.py")]
    asked = json.dumps([*commands, ["doctor", "--json"]])
    done = subprocess.run(
        command, env=environment(), cwd=folder, input=asked, capture_output=True, text=True, timeout=300, check=True
    )
    assert not any((folder / "out").iterdir())
    return [(code, out, err) for code, out, err in json.loads(done.stdout)]


def _filled(argument: str, words: dict[str, str]) -> str:
    for word, meant in words.items():
        argument = argument.replace(word, meant)
    return argument


@pytest.mark.parametrize("n", range(len(ROWS)), ids=[" ".join(args[:2]) for args, _, _ in ROWS])
def test_a_command_works_or_says_that_it_needs_torch(n: int, outcomes: list[tuple[int | None, str, str]]) -> None:
    _, expected, text = ROWS[n]
    code, out, err = outcomes[n]
    assert text in out + err
    assert code == expected
    if text == NEEDED:
        assert [line.split(":")[0] for line in err.splitlines()[-2:]] == ["error", "hint"]
        assert "pip install torch" in err


def test_the_table_knows_every_command() -> None:
    other = {"watch", "ui", "doctor"}  # the first two do what `fuse` does, and need an extra before that
    assert {args[0] for args, _, _ in ROWS} | other == set(COMMANDS)


def test_doctor_says_what_is_missing_without_torch(outcomes: list[tuple[int | None, str, str]]) -> None:
    checks = {c["name"]: c for c in map(json.loads, outcomes[-1][1].splitlines())}
    assert checks["torch"]["state"] == "missing"
    assert not checks["torch"]["needed"]
    assert "no training" in checks["torch"]["found"]
    assert {checks[n]["state"] for n in ("python", "text encoder", "detector", "image files")} == {"ok"}
