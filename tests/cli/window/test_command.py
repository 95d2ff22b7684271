"""The command that the window shows is the one that does the same."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer.main

from lure_cli.cli import build_app
from lure_cli.cli.fuse import fuse_options
from lure_cli.cli.window.command import command_line

PAIR = {"ir": "a.png", "vis": "b.png"}


def parsed(line: str) -> dict[str, Any]:
    """What the command line's own parser makes of it."""
    command = typer.main.get_command(build_app()).commands["fuse"]  # type: ignore[attr-defined]
    words = shlex.split(line)
    assert words[:2] == ["lure", "fuse"]
    arguments: dict[str, Any] = command.make_context("fuse", words[2:]).params
    return arguments


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"prompt": 'haze; it\'s "thick" $HOME'},
        {"strength_ir": 0.35, "strength_vis": 2.0},
        {"ir_range": "-5,30", "vis_range": "full", "bits": 16},
        {"align": "auto", "resize_ir": True, "compiled": True},
        {"outputs": ["with space/b_fused.png"]},
        {"palette": "iron", "palette_from": "-5", "legend": True, "unit": "ck"},
        {"emissivity": 0.9, "reflected": -3.25, "distance": 12.0, "provenance": "map.png"},
    ],
    ids=lambda chosen: ",".join(chosen) or "nothing",
)
def test_command_line_means_what_was_chosen(chosen: dict[str, Any]) -> None:
    typed = parsed(command_line(PAIR | chosen))
    assert fuse_options(typed | {"outputs": None}) == fuse_options(PAIR | chosen | {"outputs": None})
    assert list(typed["outputs"] or ()) == chosen.get("outputs", [])


def test_defaults_are_left_out() -> None:
    line = command_line(PAIR | {"strength_ir": None, "align": "none", "bits": 8, "resize_ir": False, "prompt": None})
    assert line == "lure fuse --ir a.png --vis b.png"
