"""Fixtures: the example pictures, a tiny data folder, and the command line in this process."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer.main

from tests.helpers.browser import MISSING
from tests.helpers.files import EXAMPLES, ROOT, SHARED, UNBUILT, Outcome, make_data


def pytest_configure() -> None:
    """Tests run in several processes at a time, see pyproject.toml: one thread each, also in what they start."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch

        os.environ["OMP_NUM_THREADS"] = "1"
        torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the data folder beside the project, or a browser, where there is none."""
    missing = {"shared": "" if SHARED.is_dir() else "no shared data folder beside the project", "browser": MISSING}
    for item in items:
        for mark, reason in missing.items():
            if reason and mark in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


get_command = functools.cache(typer.main.get_command)
"""Typer builds its parser anew at every call, which takes longer than many a test. It never changes here."""


@pytest.fixture
def lure(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run the command line in this process."""
    from lure_cli.cli import main

    monkeypatch.delenv("LURE_DEBUG", raising=False)
    monkeypatch.setattr("typer.main.get_command", get_command)

    def run(*args: str | Path) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in args])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Outcome(int(stop.value.code or 0), out, err)

    return run


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a copy of the example pictures in `examples/`."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=UNBUILT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def warm() -> Iterator[list[str]]:
    """How to start `lure` as a process that has torch loaded: see warm.py. The arguments follow."""
    script = str(ROOT / "tests" / "helpers" / "warm.py")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    if not hasattr(os, "fork"):
        yield [sys.executable, "-m", "lure_cli"]
        return
    with tempfile.TemporaryDirectory() as folder:  # the path of a socket must be short
        address = f"{folder}/s"
        command = [sys.executable, script, "serve", address]
        with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None and server.stdout.readline() == b"ready\n"
            yield [sys.executable, "-IS", script, "ask", address]


@pytest.fixture(scope="session")
def small_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, their pictures of half the size, and clips of four frames."""
    from PIL import Image

    from tests.helpers.clips import make_clip, read_clip

    root = tmp_path_factory.mktemp("small") / "examples"
    shutil.copytree(EXAMPLES, root, ignore=UNBUILT)
    for path in root.rglob("*.png"):
        with Image.open(path) as image:
            smaller = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
        smaller.save(path)
    for path in (root / "clip").iterdir():
        make_clip(path, [x[::2, ::2].copy() for _, x in read_clip(path)[:4]], rate=12)
    return root


@pytest.fixture
def small(small_examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `examples`, with a copy of the small ones, which show the same at a quarter of the time."""
    shutil.copytree(small_examples, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make_data` makes."""
    return make_data(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(autouse=True)
def _same_number_of_threads() -> Iterator[None]:
    """A training run may set the number of threads; give the old one back."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
