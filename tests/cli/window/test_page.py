"""What the page is told while it waits."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from lure_cli.cli.window.page import Page, understand
from lure_cli.cli.window.session import Session
from lure_cli.cli.window.settings import Settings
from tests.helpers.files import EXAMPLES

pytest.importorskip("gradio")
REQUEST = SimpleNamespace(session_hash="page")


@pytest.fixture
def page(tmp_path: Path) -> Page:
    page = Page(Session(Settings(threads=1), tmp_path))
    page.names = ("ir", "vis", "suffix", "emissivity")
    return page


def upload(page: Page, name: str) -> str:
    folder = page.session.folder / name
    folder.mkdir()
    return shutil.copy(EXAMPLES / "clip" / f"{name}.mp4", folder)


def test_clip_says_how_far_it_is(page: Page) -> None:
    pytest.importorskip("av")
    *progress, last = page.run(REQUEST, upload(page, "ir"), upload(page, "vis"), ".png", "")
    frames = [re.search(r"frame (\d+) of 24 <progress", said) for _, said, *_ in progress]
    assert [int(found[1]) for found in frames if found] == list(range(1, 25))
    assert last[0]["clip"].endswith("/fused.mp4")
    assert "24 frames" in last[1]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((None, None, ".png", ""), "no pair is chosen"),
        (("/etc/passwd", None, ".png", ""), "passwd: is not among the uploads"),
        ((None, None, ".png", "much"), "--emissivity much is no number"),
    ],
)
def test_errors_are_those_of_the_terminal(page: Page, values: tuple[object, ...], text: str) -> None:
    ((_, said, *_),) = page.run(REQUEST, *values)
    assert re.fullmatch(rf'<pre class="error" role="alert">error: {text}\nhint: .*</pre>', said)


def test_prompt_is_no_markup() -> None:
    assert "<script" not in understand("haze <script>alert(1)</script>")
