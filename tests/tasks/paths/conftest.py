"""Fixture: a folder to work in."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory; the tests name files relative to it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
