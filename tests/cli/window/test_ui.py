"""What `lure ui` refuses before it serves anything, and what it turns off."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lure_cli.cli.window.settings import require_gradio
from tests.helpers.files import Outcome


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files lie; variables of the environment are as before afterwards."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("os.environ", dict(os.environ))
    return tmp_path


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--port", "70000"], "--port 70000"),
        (["--auth", "secret"], "--auth"),
        (["--auth", ":secret"], "--auth"),
        (["--max-pixels", "0"], "--max-pixels"),
        (["--weights", "nothing.safetensors"], "nothing.safetensors"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused(lure: Callable[..., Outcome], home: Path, args: list[str], text: str) -> None:
    done = lure("ui", "--no-browser", *args)
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert lines[0].startswith("error: ")
    assert text in lines[0]
    assert lines[1].startswith("hint: ")
    assert not list(home.iterdir())


def test_folders_of_servers_that_were_killed_go_after_a_day(lure: Callable[..., Outcome], home: Path) -> None:
    for name in ("lure-ui-old", "lure-ui-new", "other"):
        (home / name).mkdir()
    for name in ("lure-ui-old", "other"):
        os.utime(home / name, (0, 0))
    lure("ui", "--no-browser", "--weights", "nothing.safetensors")
    assert {path.name for path in home.iterdir()} == {"lure-ui-new", "other"}


def test_without_gradio_it_says_what_to_install(
    lure: Callable[..., Outcome], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    done = lure("ui", "--no-browser")
    assert done.code == 2
    assert done.err.splitlines()[1] == 'hint: pip install "lure-cli[ui]"'
    assert not list(home.iterdir())


def test_gradio_reports_nothing_and_keeps_to_what_it_is_told(home: Path) -> None:
    pytest.importorskip("gradio")
    from gradio import analytics

    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "True", "GRADIO_SHARE": "True", "GRADIO_ALLOWED_PATHS": "/"}
    require_gradio()
    assert not analytics.analytics_enabled()
    assert not os.environ.keys() & {"GRADIO_SHARE", "GRADIO_ALLOWED_PATHS"}
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert os.environ["GRADIO_RUN_HISTORY"] == "False"
