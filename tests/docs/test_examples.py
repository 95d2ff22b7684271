"""Every example script runs, and the example pictures are the ones that their scripts render."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.files import EXAMPLES, make_data
from tests.helpers.shell import FRESH, SMALL_RUN, shims

WITH_DATA = "reproduce.sh"
"""It wants a data folder, and has a test of its own."""


@pytest.mark.parametrize("script", sorted({*EXAMPLES.glob("*.sh")} - {EXAMPLES / WITH_DATA}), ids=lambda p: p.name)
def test_example_scripts(script: Path, small: Path, warm: list[str]) -> None:
    make_data(small / "data")
    lure = FRESH if script.name == "cluster.sh" else warm  # Ray's workers are started as the process that asks was
    env = shims(small / "bin", lure) | {"LURE_TRAIN_FLAGS": " ".join(SMALL_RUN)}
    command = ["sh", f"examples/{script.name}"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = [
        p
        for p in small.rglob("*")
        if p.suffix in (".png", ".jpg", ".safetensors", ".csv", ".json") and "examples" not in p.parts
    ]
    assert written


def test_scene_script_renders_the_committed_pictures(tmp_path: Path) -> None:
    """Within one grey level: the bytes of a PNG depend on the library's version."""
    import numpy as np

    command = [sys.executable, str(EXAMPLES / "make_scene.py"), "--out", str(tmp_path)]
    subprocess.run(command, capture_output=True, check=True)
    pictures = [p.relative_to(tmp_path) for p in (*tmp_path.rglob("*.png"), *tmp_path.rglob("*.tif"))]
    assert len(pictures) == 13
    for name in pictures:
        a, b = (np.asarray(Image.open(root / name), np.int32) for root in (tmp_path, EXAMPLES))
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
