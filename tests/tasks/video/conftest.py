"""Fixtures: a folder to work in, and `lure fuse` of clips with a fuser that is handed in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from lure_cli.cli.output import show_error
from lure_cli.cli.video import fuse_video
from lure_cli.errors import LureError
from tests.helpers.clips import Both, plan
from tests.helpers.files import Outcome


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fuse(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`lure fuse` of clips with `Both`, or another fuser, in the place of the model."""

    def run(
        ir: str,
        vis: str,
        output: str | None = None,
        fuser: Both | None = None,
        *,
        as_json: bool = False,
        quiet: bool = False,
        dry_run: bool = False,
        **options: Any,
    ) -> Outcome:
        capfd.readouterr()
        code = 0
        try:
            fuse_video(
                plan(ir, vis, output, **options), dry_run=dry_run, as_json=as_json, quiet=quiet, fuser=fuser or Both()
            )
        except LureError as error:
            show_error(error)
            code = 2
        except typer.Exit as end:
            code = end.exit_code
        return Outcome(code, *capfd.readouterr())

    return run
