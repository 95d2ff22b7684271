"""What is to be installed where torch does not fit: always what pyproject.toml declares, and no torch."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from lure_cli.without_torch import requirements
from tests.helpers.files import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = [
    *PROJECT["dependencies"],
    *(f'{r}; extra == "{extra}"' for extra, rs in PROJECT["optional-dependencies"].items() for r in rs),
]


def test_it_is_all_that_is_declared_but_torch() -> None:
    left_out = {r for r in PROJECT["dependencies"] if r.startswith(("torch", "open_clip"))}
    assert len(left_out) == 2
    assert requirements(DECLARED) == [r for r in PROJECT["dependencies"] if r not in left_out]


def test_extras_are_added_without_torch() -> None:
    extra = PROJECT["optional-dependencies"]
    assert requirements(DECLARED, ["video", "thermal"]) == [*requirements(DECLARED), *extra["video"], *extra["thermal"]]
    assert not any("lure" in r or "torch" in r for r in requirements(DECLARED, ["all", "bench", "train", "test"]))
    assert requirements(DECLARED, ["bench"]) == [*requirements(DECLARED), "pycocotools>=2.0.8"]
    with pytest.raises(ValueError, match=r"no extra 'cameras'; there are .*video"):
        requirements(DECLARED, ["cameras"])


def test_metadata_as_build_tools_write_them() -> None:
    written = ["torch>=2.6", "open-clip-torch>=2.30", "numpy>=1.26", "av>=18; extra == 'video'", "Torch ; extra == 'x'"]
    assert requirements(written, ["video", "x"]) == ["numpy>=1.26", "av>=18"]


def test_it_runs_before_anything_is_installed() -> None:
    """With nothing but Python, in which the package is not even installed."""
    command = [sys.executable, "-S", "-m", "lure_cli.without_torch"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["error: lure-cli is not installed", "hint: pip install --no-deps lure-cli"]
