"""Every command of the README and of the guides runs."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers.command_pages import root
from tests.helpers.documents import GUIDES, README, blocks, commands
from tests.helpers.files import EXAMPLES, ROOT, Outcome, make_data
from tests.helpers.objects import make_labelled
from tests.helpers.shell import FRESH, QUICK_DETECTORS, SMALL_RUN, shims

PAGES = (README, *GUIDES)
SETUP = [c for c in commands(README) if c.startswith("python3 -m venv")]
FILES: dict[str, tuple[str, ...]] = {
    "README": ("fused.png", "dehazed.png", "out/drone.png", "dehazed_alone.png"),
    "fusing": ("jpg/gate_fused.jpg", "map.png", "maps/gate.png", "ir_denoised.png", "restored/gate.png"),
    "prompts": ("clear.png", "denoised.png", "each/gate.png", "auto.png", "auto/gate.png", "half.png", "more.png"),
    "files": (
        "gate_fused.png",
        "thermal.tif",
        "registered.png",
        "rig/gate.png",
        "ir_aligned.json",
        "rig.json",
        "by_rig/gate.png",
    ),
    "thermal": (
        "tower.png",
        "tower_cold.png",
        "towers/Aqua_Tower_thermal_image.png",
        "celsius.tif",
        "warm.png",
        "ir_celsius.tif",
        "hot.png",
        "hot.mp4",
        "inspection.png",
        "warm_windows.png",
        "tower_celsius.tif",
    ),
    "large-jobs": ("job/gate.png", "arrived/gate.png", "tiled.png", "one.png", "torch.png", "onnx.png"),
    "small-machines": ("fused.png", "restored.png"),
    "clips": (
        "fused.mp4",
        "auto.mkv",
        "frames/0002.png",
        "lossless.mkv",
        "clear.mp4",
        "lit.mp4",
        "kept.mkv",
        "web/live.m3u8",
    ),
    "evaluation": (
        *("table.csv", "table.tex", "report.html", "clip.csv"),
        *("sheet.png", "bench.csv", "adherence.md", "restored.csv"),
    ),
    "peers": ("results/gate_restored.png", "peers.csv", "peers_summary.csv"),
    "detection": ("objects/settings.json", "objects.csv", "cases.md", "objects/detectors/visible/seed-0.json"),
    "training": ("runs/stage1/weights.safetensors", "mine.png"),
    "weights": ("base.png",),
    "other-pairs": ("sharp.png", "out/gate.png", "sheet.png"),
    "other-programs": ("lure-small.onnx", "lure-small-fp16.prompts.json", "onnx.png", "alone.png"),
}
"""What the commands of a page write, among other files."""
PYTHON: dict[str, Callable[[dict[str, Any]], bool]] = {
    "python": lambda names: (
        names["fused"].shape == (480, 640, 3)
        and names["tower"].shape == (480, 480, 3)
        and names["quick"].computed_by.startswith("onnxruntime")
        and names["batch"].shape == (4, 3, 96, 128)
        and len(names["pictures"]) == 3
        and names["warm"].shape[1] > 640
    ),
    "thermal": lambda names: names["celsius"].shape == (240, 320) and names["restored"].shape == (240, 320, 1),
    "evaluation": lambda names: 0 < names["of_ir"] < 1,
    "other-pairs": lambda names: names["sharp"].shape == (240, 320, 3),
}
"""What holds for the variables of a page after its Python has run."""


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda p: p.stem)
def test_commands(page: Path, small: Path, lure: Callable[..., Outcome], warm: list[str]) -> None:
    """In the order of the page, in a folder with the examples. Those of `lure` run in this process, as it has loaded
    torch already; that of Ray, which wants one of its own, is an example script's."""
    make_data(small / "data")
    make_labelled(small / "pairs")
    env = shims(small / "bin", warm)
    for command in commands(page):
        if command in SETUP:
            continue
        args = shlex.split(command)
        assert args[0] in ("lure", "python"), f"no test runs: {command}"
        if "ray" in args:
            assert command.replace(" cluster/", " out/") in (EXAMPLES / "cluster.sh").read_text().splitlines()
        elif args[0] == "lure" and ">" not in args:
            quick = SMALL_RUN if args[1] == "train" else QUICK_DETECTORS if args[1:3] == ["bench", "detect"] else ()
            outcome = lure(*args[1:], *quick)
            assert outcome.code == 0, f"{command}\n{outcome.err}"
        else:
            done = subprocess.run(command, shell=True, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
    for name in FILES[page.stem]:
        assert (small / name).is_file(), name


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.stem)
def test_python(page: Path, examples: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks(page, "python"):
        exec(block, names)
    assert PYTHON[page.stem](names)


def test_commands_that_need_more_than_the_examples_are_read_by_the_parser() -> None:
    """Those that are shown as text, as they need a network, a graphics card or the user's own files."""
    read = 0
    for page in GUIDES:
        for line in (line for block in blocks(page, "text") for line in block.splitlines()):
            if call := re.search(r"(?:^lure|-m lure_cli) (.*)", line):
                command, args = root(), shlex.split(call[1])
                while hasattr(command, "commands"):
                    command = command.commands[args.pop(0)]
                command.make_context("lure", args)  # raises if an option is not known
                read += 1
    assert read >= 8


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
