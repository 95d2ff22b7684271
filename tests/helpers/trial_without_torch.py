"""Tries an installation without torch, as the guide of small machines describes it; `.ci/run` does that.

    python -m tests.helpers.trial_without_torch

It makes a fresh environment, which needs the network, and takes a minute. Pictures are compared with those that torch
makes: of fusing with the golden ones, of restoring with one that is made here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np
from PIL import Image

from lure_cli.without_torch import LEFT_OUT
from tests.helpers.files import EXAMPLES, ROOT
from tests.helpers.ship import GOLDEN

HAZY = EXAMPLES / "street" / "vis_hazy.png"
TOLERANCE = 1
"""Grey levels: two runtimes round differently."""


def main() -> None:
    """Make the environment, and run commands in it; an AssertionError or CalledProcessError where something fails."""
    with tempfile.TemporaryDirectory(prefix="lure-without-torch-") as name:
        folder, begun = Path(name), time.perf_counter()
        python = install(folder / "env", folder)
        print(f"installed in {time.perf_counter() - begun:.0f} s: {size_of(folder / 'env') >> 20} MiB")
        listed = run(python, "-m", "pip", "list", "--format=freeze", folder=folder).stdout.lower().replace("-", "_")
        assert not any(line.startswith(f"{package}==") for package in LEFT_OUT for line in listed.splitlines()), listed
        fuse_and_restore(python, folder)
        others(python, folder)
    print("without torch: ok")


def install(home: Path, folder: Path) -> Path:
    """The package alone, then what it asks for besides torch; gives the environment's Python."""
    venv.create(home, with_pip=True)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "-q", "--no-deps", str(ROOT), folder=folder)
    requirements = run(python, "-m", "lure_cli.without_torch", folder=folder).stdout
    (folder / "requirements.txt").write_text(requirements)
    run(python, "-m", "pip", "install", "-q", "-r", "requirements.txt", folder=folder)
    return python


def fuse_and_restore(python: Path, folder: Path) -> None:
    """Pictures are those of torch."""
    for pair, prompt in GOLDEN.items():
        images = [f"--{side}={EXAMPLES / 'pairs' / side / pair}.png" for side in ("ir", "vis")]
        told = [] if prompt is None else ["--prompt", prompt]
        run(python, "-m", "lure_cli", "fuse", *images, *told, "-o", f"{pair}.png", folder=folder)
        compare(folder / f"{pair}.png", ROOT / "tests" / "golden" / "lure-small" / f"{pair}.png")
    restore = ["-m", "lure_cli", "restore", "--vis", str(HAZY), "--prompt", "haze", "-o"]
    run(python, *restore, "restored.png", folder=folder)
    run(Path(sys.executable), *restore, "torch.png", "--backend", "torch", "--dtype", "fp32", folder=folder, here=True)
    compare(folder / "restored.png", folder / "torch.png")


def others(python: Path, folder: Path) -> None:
    """What does without a model works, what needs torch says so, and the doctor knows."""
    assert "haze" in run(python, "-m", "lure_cli", "prompt", "please get rid of the fog", folder=folder).stdout
    assert "haze" in run(python, "-m", "lure_cli", "detect", "--modality", "vis", str(HAZY), folder=folder).stdout
    run(python, "-m", "lure_cli", "doctor", folder=folder)
    refused = run(python, "-m", "lure_cli", "train", "stage1", "--data", ".", folder=folder, code=2)
    assert "needs PyTorch" in refused.stderr, refused.stderr
    assert "hint: pip install torch" in refused.stderr, refused.stderr


def run(
    python: Path, *arguments: str, folder: Path, code: int = 0, here: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder; `here`: with the code of this checkout."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | ({"PYTHONPATH": str(ROOT)} if here else {})
    done = subprocess.run([str(python), *arguments], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == code, f"{' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def compare(made: Path, expected: Path) -> None:
    """Within `TOLERANCE` of each other, every pixel."""
    a, b = (np.asarray(Image.open(path), np.int16) for path in (made, expected))
    assert a.shape == b.shape, f"{made.name}: {a.shape} and {b.shape}"
    assert np.abs(a - b).max() <= TOLERANCE, f"{made.name}: {np.abs(a - b).max()} grey levels from {expected}"


def size_of(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


if __name__ == "__main__":
    main()
