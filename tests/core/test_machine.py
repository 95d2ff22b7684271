"""What this machine has, told without torch."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lure_cli.core import machine
from lure_cli.core.devices import native_bf16, pick_device
from lure_cli.errors import LureError
from tests.helpers.files import ROOT


def test_nothing_is_imported() -> None:
    code = "import sys; from lure_cli.core.machine import *; from lure_cli.core.machine import _built_for; "
    code += "print(torch_installed(), torch_loaded(), gpu_expected(), bf16_expected(), sorted(_built_for())); "
    code += "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True False ")
    assert ("'cuda'" in done.stdout) == (torch.version.cuda is not None)
    assert ("'hip'" in done.stdout) == (torch.version.hip is not None)


def test_what_torch_has_is_expected() -> None:
    if pick_device("auto").type != "cpu":
        assert machine.gpu_expected()
    if native_bf16(torch.device("cpu")):
        assert machine.bf16_expected()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 sse\n", True),
        ("processor\t: 0\nflags\t\t: fpu amx_tile sse\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx512f avx2\nbugs\t: bf16\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd\n", False),
        (None, True),
    ],
)
def test_bf16(flags: str | None, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cpuinfo"
    if flags is not None:
        file.write_text(flags)
    monkeypatch.setattr(machine, "_CPUS", str(file))
    assert machine.bf16_expected() is expected


@pytest.mark.parametrize(
    ("built", "kernel", "library", "hidden", "expected"),
    [
        ({"cuda"}, True, True, None, True),
        ({"cuda"}, True, True, "0,1", True),
        ({"cuda"}, True, True, "", False),
        ({"cuda"}, True, True, "-1", False),
        ({"cuda"}, True, False, None, False),
        ({"cuda"}, False, True, None, False),
        (set(), True, True, None, False),
    ],
)
def test_nvidia(
    built: set[str],
    kernel: bool,
    library: bool,
    hidden: str | None,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(name: str) -> None:
        assert name == "libcuda.so.1"
        if not library:
            raise OSError

    (tmp_path / "driver").touch()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(machine, "_built_for", lambda: frozenset(built))
    monkeypatch.setattr(machine, "_NVIDIA", ("/no/such", str(tmp_path / "driver") if kernel else "/nor/such"))
    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert machine.gpu_expected() is expected


def test_amd_and_apple(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(machine, "_AMD", str(tmp_path))
    for built, expected in (({"hip"}, True), ({"cuda"}, False)):
        monkeypatch.setattr(machine, "_built_for", lambda built=built: frozenset(built))
        monkeypatch.setattr(machine, "_nvidia", lambda: False)
        assert machine.gpu_expected() is expected
    monkeypatch.setattr(sys, "platform", "darwin")
    for kind, expected in (("arm64", True), ("x86_64", False)):
        monkeypatch.setattr("platform.machine", lambda kind=kind: kind)
        assert machine.gpu_expected() is expected


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    machine.require_torch("--compile")
    monkeypatch.setitem(sys.modules, "torch", None)  # as an import that failed leaves it
    assert not machine.torch_installed()
    assert not machine.torch_loaded()
    with pytest.raises(LureError, match="--compile: needs PyTorch") as caught:
        machine.require_torch("--compile", "leave it out")
    assert caught.value.hint == "pip install torch; or leave it out"
