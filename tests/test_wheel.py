"""The wheel: what it holds, and that it fuses offline outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.files import EXAMPLES, ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("lure_cli-*.whl")
    return path


def test_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(n for n in names if n.endswith("METADATA"))).decode()
    for name in (
        "weights/lure-small.safetensors",
        "weights/lure-small.onnx",
        "weights/lure-base.safetensors",
        "weights/lure-text.safetensors",
        "weights/lure-detect.safetensors",
        "core/text/wording.toml",
        "core/metrics/natural.safetensors",
        "core/metrics/natural.txt",
        "presets/stage1.toml",
        "presets/stage2.toml",
        "presets/stage1-gpu.toml",
        "presets/stage2-gpu.toml",
        "py.typed",
        "tasks/report/report.html.jinja",
        "cli/window/viewer.js",
        "cli/window/viewer.html",
        "cli/window/viewer.css",
        "cli/window/page.css",
        "cli/window/pictures/ir_noisy.png",
        "cli/window/pictures/vis_hazy.png",
    ):
        assert f"lure_cli/{name}" in names
    assert all(n.startswith(("lure_cli/", "lure_cli-")) for n in names)
    for terms in ("LICENSE", "lure_cli/core/metrics/natural.txt"):
        assert f"License-File: {terms}" in metadata
    assert wheel.stat().st_size < 60_000_000
    packages = "torch typer rich huggingface-hub safetensors onnxruntime open-clip-torch imageio tqdm scipy jinja2"
    for package in packages.split():
        required = [line for line in metadata.replace("_", "-").splitlines() if f"Requires-Dist: {package}" in line]
        assert any("extra" not in line for line in required), package
    for extra in ("train", "eval", "plot", "export", "video", "ui", "bench", "all", "test"):
        assert f"Provides-Extra: {extra}" in metadata


def test_fuses_offline_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own that has the wheel, and this environment's packages as dependencies.

    The dependencies are lent, not installed again, because they take gigabytes; the wheel itself is installed afresh.
    """
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    paths = sysconfig.get_paths(vars={"base": str(home), "platbase": str(home)})
    site = Path(paths["purelib"])
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (site / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")  # comes after the wheel on the path
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    python = str(scripts / "python")
    where = subprocess.run(
        [python, "-c", "import lure_cli; print(lure_cli.__file__)"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert where.stdout.startswith(str(site))
    pair = ["--ir", str(EXAMPLES / "pairs" / "ir" / "gate.png"), "--vis", str(EXAMPLES / "pairs" / "vis" / "gate.png")]
    command = [python, "-m", "lure_cli", "fuse", *pair, "-o", "out.png"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (320, 240)
    entry = (site / "bin" / "lure").read_text()
    assert "from lure_cli.cli import main" in entry
