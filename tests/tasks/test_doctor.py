"""`lure doctor`, and the completion of the shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from lure_cli.tasks import doctor
from tests.helpers.files import ROOT, Outcome

Run = Callable[..., Outcome]


def test_all_is_well(lure: Run) -> None:
    done = lure("doctor", "--json")
    checks = {c["name"]: c for c in map(json.loads, done.out.splitlines())}
    assert done.code == 0, done.out
    assert all(c["state"] == "ok" for c in checks.values() if c["needed"])
    assert {"python", "torch", "weights", "text encoder", "detector", "image files"} <= set(checks)
    assert all("64x64" in checks[name]["found"] for name in ("onnxruntime", "fusion"))


def test_a_damaged_weight_file_is_found(lure: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lure_cli.tasks.weights import find as weights

    bad = tmp_path / "lure-small.safetensors"
    bad.write_bytes(b"damaged")
    locate = weights.locate
    monkeypatch.setattr(weights, "locate", lambda file: bad if file == bad.name else locate(file))
    done = lure("doctor")
    assert done.code == 1
    lines = [line for line in done.out.splitlines() if line.startswith("broken")]
    assert [line.split()[1] for line in lines if line.split()[1] in ("weights", "fusion")] == ["weights", "fusion"]


def test_offline_state_and_missing_extras(lure: Run, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(doctor.EXTRAS, "eval", ("no_such_module", "nothing"))
    done = lure("doctor")
    assert done.code == 0
    assert "HF_HUB_OFFLINE" in done.out
    assert 'pip install "lure-cli[eval]"' in done.out


@pytest.mark.parametrize(("typed", "expected"), [("lure fu", "fuse"), ("lure fuse --skip", "--skip-existing")])
def test_completion(typed: str, expected: str) -> None:
    words = typed.split()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "_LURE_COMPLETE": "complete_bash"}
    env |= {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run([sys.executable, "-m", "lure_cli"], env=env, capture_output=True, text=True, check=False)
    assert expected in done.stdout.split()


def test_every_extra_of_the_package_is_looked_for() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    assert set(doctor.EXTRAS) == set(extras) - {"all", "test"}
