"""The engine `ray`: on a local cluster of two workers, the same files as without it, byte for byte."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lure_cli.core.registration.alignment import Alignment
from lure_cli.core.registration.transform_file import write_transform
from tests.helpers.files import ROOT, Outcome
from tests.helpers.folders import FOLDERS, make_folder

Run = Callable[..., Outcome]


@pytest.mark.slow  # starts a cluster of processes, each of which loads torch
def test_the_same_files_byte_for_byte(lure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray.data")
    monkeypatch.chdir(tmp_path)
    names = make_folder(6, (64, 80))
    Path("i/p0004.png").write_bytes(b"no picture")
    write_transform(Path("rig.json"), Alignment((1.0, 0.02, 1.5, -0.02, 1.0, 0.0), (80, 64), distortion=(0.02, 0.0)))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    records: dict[str, dict[str, Any]] = {}
    for engine in ("local", "ray"):
        args = ["--ir", "i", "--vis", "v", "-o", engine, "--prompt", "haze and ir noise", "--rig", "rig.json"]
        args += ["--json", "-q"]
        if engine == "local":
            done = lure("fuse", *args)
        else:
            command = [sys.executable, "-m", "lure_cli", "fuse", *args, "--engine", "ray", "--workers", "2"]
            ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            done = Outcome(ended.returncode, ended.stdout, ended.stderr)
        assert done.code == 1, done.err
        lines = [line for line in done.err.splitlines() if "ray" not in line]  # it greets on stderr
        assert [line.split(":")[0] for line in lines] == ["error", "hint"], done.err
        assert lines[0].startswith("error: i/p0004.png: ")
        records[engine] = {r["name"]: r for r in map(json.loads, done.out.splitlines())}
    written = sorted(os.listdir("ray"))
    assert written == sorted(os.listdir("local")) == [f"{n}.png" for n in names if n != "p0004"]
    for name in written:
        assert Path("ray", name).read_bytes() == Path("local", name).read_bytes()
    for name in names:
        here, there = records["local"][name], records["ray"][name]
        here["output"] = here["output"].replace("local", "ray")
        assert {k: v for k, v in here.items() if k != "seconds"} == {k: v for k, v in there.items() if k != "seconds"}


def test_standard_input_is_refused(lure: Run, examples: Path) -> None:
    done = lure("fuse", "--ir", "-", "--vis", "examples/pairs/vis/gate.png", "-o", "x.png", "--engine", "ray")
    assert done.code == 2
    assert "standard input" in done.err


def test_without_ray(lure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder(1)
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.split(".")[0] == "ray":
            raise ImportError("No module named 'ray'")
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    done = lure(*FOLDERS, "--engine", "ray")
    assert done.code == 2
    assert "No module named 'ray'" in done.err and 'pip install "lure-cli[ray]"' in done.err
