"""With an ONNX file nothing heavy is loaded: neither torch nor what the job does not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lure_cli.tasks.weights.export import ExportOptions, export_onnx
from tests.helpers.files import EXAMPLES, ROOT

HEAVY = (
    "torch torchvision onnx scipy skimage sklearn open_clip matplotlib ray av SimpleITK gradio "
    "huggingface_hub accelerate"
).split()
IR, VIS = (EXAMPLES / "pairs" / side / "gate.png" for side in ("ir", "vis"))
COMMAND = """
import sys
from lure_cli.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    assert not stop.code, stop.code
"""
PYTHON = """
import sys
import numpy as np
from lure_cli import Fuser
fuser = Fuser.from_pretrained(sys.argv[1], tile=96)
ir, vis = (np.random.default_rng(0).random((130, 150, c), np.float32) for c in (1, 3))
assert fuser(ir, vis, prompt="haze", strength=0.6).shape == (130, 150, 3)
assert len(list(fuser.stream([ir] * 3, [vis] * 3, prompt="auto"))) == 3
assert fuser.computed_by == "onnxruntime cpu fp32"
"""
REPORT = f"""
import json
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped weights as ONNX."""
    return export_onnx(ExportOptions(output=tmp_path_factory.mktemp("onnx") / "small.onnx", check=False)).path


def loaded(program: str, *args: str | Path) -> list[str]:
    """What of `HEAVY` a program has loaded in the end, in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program + REPORT, *map(str, args)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--prompt", "haze in the visible image, and stripes in the infrared one"],
        ["--prompt", "auto"],
        ["--prompt", "low light", "--tile", "96", "--strength-vis", "0.6", "--threads", "1", "--device", "cpu"],
    ],
    ids=["plain", "words", "auto", "tiles"],
)
def test_fuse(args: list[str], small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    assert loaded(COMMAND, "fuse", "--ir", IR, "--vis", VIS, "--weights", small, "-o", out, *args) == []
    with Image.open(VIS) as vis, Image.open(out) as fused:
        assert fused.size == vis.size
        assert np.asarray(fused).std() > 1


def test_a_folder(small: Path, tmp_path: Path) -> None:
    folders = ["--ir", EXAMPLES / "pairs" / "ir", "--vis", EXAMPLES / "pairs" / "vis"]
    assert loaded(COMMAND, "fuse", *folders, "--weights", small, "-o", f"{tmp_path}/out/", "--prompt-vis", "haze") == []
    assert len(list((tmp_path / "out").iterdir())) == len(list((EXAMPLES / "pairs" / "vis").iterdir()))


def test_a_clip(small: Path, small_examples: Path, tmp_path: Path) -> None:
    """Only what decodes and encodes it."""
    pytest.importorskip("av")
    ir, vis = (small_examples / "clip" / f"{side}.mp4" for side in ("ir", "vis"))
    args = ["--weights", small, "--prompt-vis", "auto", "-o", tmp_path / "out.mp4"]
    assert loaded(COMMAND, "fuse", "--ir", ir, "--vis", vis, *args) == ["av"]
    assert (tmp_path / "out.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    "args", [["--vis", VIS, "--prompt", "auto"], ["--ir", IR, "--prompt", "stripes", "--tile", "96"]]
)
def test_restore(args: list[str | Path], small: Path, tmp_path: Path) -> None:
    assert loaded(COMMAND, "restore", *args, "--weights", small, "-o", tmp_path / "out.png") == []
    assert (tmp_path / "out.png").is_file()


def test_by_default(tmp_path: Path) -> None:
    """A pair, and one image, on a CPU."""
    end = ["--device", "cpu", "-o", tmp_path / "out.png", "--overwrite"]
    assert loaded(COMMAND, "fuse", "--ir", IR, "--vis", VIS, *end) == []
    assert loaded(COMMAND, "restore", "--vis", VIS, "--prompt", "haze", *end) == []


def test_python(small: Path) -> None:
    assert loaded(PYTHON, small) == []


def test_what_is_refused_is_refused_without_torch(small: Path, tmp_path: Path) -> None:
    args = ["fuse", "--ir", IR, "--vis", VIS, "--weights", small, "-o", tmp_path / "x.png", "--dtype", "bf16"]
    assert loaded(COMMAND.replace("assert not stop.code", "assert stop.code == 2"), *args) == []


def test_heavy_things_are_found() -> None:
    """The list would show them."""
    assert loaded("import sys, scipy, torch") == ["torch", "scipy"]
