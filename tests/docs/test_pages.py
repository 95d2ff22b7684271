"""The documents agree with each other and with the project."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lure_cli.version import __version__
from tests.helpers import command_pages
from tests.helpers.documents import CONTRIBUTING, DOCUMENTS, GUIDES, README, anchors, links, names_of_files
from tests.helpers.files import EXAMPLES, ROOT

CHANGELOG = ROOT / "CHANGELOG.md"
title = {"ids": lambda p: str(p.relative_to(ROOT)).removesuffix(".md")}


@pytest.mark.parametrize("page", [*DOCUMENTS, CHANGELOG], **title)
def test_links_point_to_something(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: no such file"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", DOCUMENTS, **title)
def test_files_and_modules_that_are_named_exist(page: Path) -> None:
    for name in names_of_files(page):
        path = ROOT / name
        candidates = (path, path.with_suffix(".py"), path.parent, path.parent.with_suffix(".py"))
        assert any(p.exists() for p in candidates[: 2 if "." in path.name else 4]), f"{name}: no such file"


def test_contributing_names_what_is_there() -> None:
    """Every folder, and where it says `NAME` of `FILE`, a name that stands in that file."""
    text = CONTRIBUTING.read_text()
    for path in (ROOT / "lure_cli").rglob("__init__.py"):
        assert f"| `{path.parent.relative_to(ROOT)}` |" in text, path.parent
    named = re.findall(r"`(\w+)`\s+(?:of|in)\s+`([\w/.]+\.py)`", text)
    assert len(named) >= 5
    for name, file in named:
        assert re.search(rf"\b{name}\b", (ROOT / file).read_text()), f"{file} has no {name}"


def test_the_readme_leads_to_every_guide_and_is_short() -> None:
    guides = {f"examples/guides/{p.name}" for p in (*GUIDES, command_pages.PAGE)}
    assert guides <= set(links(README))
    assert len(README.read_text().splitlines()) <= 130


def test_the_page_of_commands_is_up_to_date() -> None:
    same = command_pages.PAGE.read_text() == command_pages.page()
    assert same, "run: python -m tests.helpers.command_pages"


def test_every_script_and_folder_of_the_examples_is_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        if path.name not in ("README.md", "__pycache__"):
            assert path.name in listed, path


def test_the_changelog_has_this_version() -> None:
    assert f"\n## [{__version__}] - " in CHANGELOG.read_text()


def test_nothing_but_the_named_folders_at_the_top() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in done.stdout.splitlines()}
    named = {"lure_cli", "weights", "examples", "tests", "pyproject.toml", "CHANGELOG.md", "README.md", "LICENSE"}
    assert {t for t in top if not t.startswith(".")} == named
