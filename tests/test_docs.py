"""Every command of the README and every example script runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.files import EXAMPLES, ROOT, Outcome, make_data

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line.strip()
]
SETUP = [c for c in COMMANDS if c.startswith("python3 -m venv")]
FRESH = [sys.executable, "-m", "lure_cli"]
"""`lure` of this checkout, in a fresh interpreter."""
SMALL = ["--steps", "1", "--set", "crop=48", "--set", "batch_vis=2", "--set", "batch_ir=2"]
"""Added to training commands, so that they take seconds."""


def shims(folder: Path, lure: list[str]) -> dict[str, str]:
    """An environment in which `lure` is the command given, and `python` this interpreter."""
    folder.mkdir()
    for name, command in {"lure": lure, "python": [sys.executable]}.items():
        file = folder / name
        file.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        file.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "HF_HUB_OFFLINE": "1"}


def test_readme_commands(small: Path, lure: Callable[..., Outcome]) -> None:
    """Those of `lure` run in this process, as it has loaded torch already; that of Ray, which wants one of its own, is
    an example script's, which `test_example_scripts` runs."""
    make_data(small / "data")
    env, ran = shims(small / "bin", FRESH), 0
    for command in COMMANDS:
        if command in SETUP:
            continue
        args = shlex.split(command)
        assert args[0] in ("lure", "python"), f"no test runs: {command}"
        if args[1] == "train":
            args += SMALL
        if "ray" in args:
            assert command.replace(" cluster/", " out/") in (EXAMPLES / "cluster.sh").read_text().splitlines()
            continue
        if args[0] == "lure":
            outcome = lure(*args[1:])
            assert outcome.code == 0, f"{command}\n{outcome.err}"
        else:
            done = subprocess.run(args, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
        ran += 1
    assert ran >= 40
    made = (
        "fused.png",
        "dehazed.png",
        "denoised.png",
        "mine.png",
        "auto.png",
        "auto/gate.png",
        "half.png",
        "thermal.tif",
        "rig/gate.png",
        "job/gate.png",
        "ir_aligned.json",
        "onnx.png",
        "lure-small-fp16.prompts.json",
        "fused.mp4",
        "frames/0002.png",
        "lossless.mkv",
        "sheet.png",
    )
    for name in (*made, "out/drone.png", "jpg/gate_fused.jpg"):
        assert (small / name).is_file()


def test_setup_commands_are_the_ones_that_ci_runs() -> None:
    assert len(SETUP) == 2
    script = (ROOT / ".ci" / "run").read_text()
    assert "grep '^python3 -m venv' README.md" in script
    assert 'eval "${setup[0]}"' in script
    assert 'eval "${setup[1]}"' in script
    assert "lure fuse" in SETUP[0]
    assert "pytest" in SETUP[1]


def test_the_main_job_of_the_setup_command(examples: Path) -> None:
    job = SETUP[0].split("&&")[-1].strip().removeprefix(".venv/bin/")
    env = shims(examples / "bin", FRESH)
    subprocess.run(shlex.split(job), env=env, capture_output=True, check=True)
    with Image.open("street_fused.png") as image:
        assert image.size == (640, 480)


def test_readme_python(examples: Path) -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, names)
    assert names["fused"].shape == (480, 640, 3)  # type: ignore[attr-defined]
    assert names["batch"].shape == (4, 3, 96, 128)  # type: ignore[attr-defined]
    assert len(names["pictures"]) == 3  # type: ignore[arg-type]
    assert 0 < names["of_ir"] < 1  # type: ignore[operator]


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.sh")), ids=lambda p: p.name)
def test_example_scripts(script: Path, small: Path, warm: list[str]) -> None:
    make_data(small / "data")
    lure = FRESH if script.name == "cluster.sh" else warm  # Ray's workers are started as the process that asks was
    env = shims(small / "bin", lure) | {"LURE_TRAIN_FLAGS": " ".join(SMALL)}
    command = ["sh", f"examples/{script.name}"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = [
        p
        for p in small.rglob("*")
        if p.suffix in (".png", ".jpg", ".safetensors", ".csv", ".json") and "examples" not in p.parts
    ]
    assert made


def test_scene_script_renders_the_committed_pictures(tmp_path: Path) -> None:
    """Within one grey level: the bytes of a PNG depend on the library's version."""
    import numpy as np

    command = [sys.executable, str(EXAMPLES / "make_scene.py"), "--out", str(tmp_path)]
    subprocess.run(command, capture_output=True, check=True)
    pictures = [p.relative_to(tmp_path) for p in tmp_path.rglob("*.png")]
    assert len(pictures) == 10
    for name in pictures:
        a, b = (np.asarray(Image.open(root / name), np.int16) for root in (tmp_path, EXAMPLES))
        assert np.abs(a - b).max() <= 1, name


def test_clip_script_renders_the_committed_clips(tmp_path: Path) -> None:
    """Its first frames, within what coding does."""
    import numpy as np

    from tests.helpers.clips import read_clip

    command = [sys.executable, str(EXAMPLES / "make_clip.py"), "--out", str(tmp_path), "--frames", "2"]
    subprocess.run(command, capture_output=True, check=True)
    for name in ("ir.mp4", "vis.mp4"):
        a, b = (read_clip(folder / name)[0][1].astype(int) for folder in (tmp_path, EXAMPLES / "clip"))
        assert np.abs(a - b).mean() < 4, name


def test_nothing_but_the_named_folders_at_the_top() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in done.stdout.splitlines()}
    named = {"lure_cli", "weights", "examples", "tests", "pyproject.toml", "CHANGELOG.md", "README.md", "LICENSE"}
    assert {t for t in top if t != ".ci" and not t.startswith(".")} == named
