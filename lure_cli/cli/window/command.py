"""The command line that does what the window shows: `lure fuse` with what is not its default."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping
from functools import cache
from typing import Any

import typer

from lure_cli.cli.fuse import fuse


def command_line(arguments: Mapping[str, Any]) -> str:
    """`lure fuse --ir a.png --vis b.png ...`, quoted for a POSIX shell.

    Args:
        arguments: by the names of the parameters of `lure fuse`; what is its default is left out.
    """
    parts = ["lure", "fuse"]
    for name, parameter in inspect.signature(fuse).parameters.items():
        value = arguments.get(name, parameter.default)
        if value != parameter.default:
            for each in value if isinstance(value, list) else [value]:
                parts += [_flags()[name]] if isinstance(each, bool) else [_flags()[name], _text(each)]
    return shlex.join(parts)


@cache
def _flags() -> Mapping[str, str]:
    """The long option of each parameter."""
    app = typer.Typer()
    app.command()(fuse)
    return {str(p.name): max(p.opts, key=len) for p in typer.main.get_command(app).params}


def _text(value: Any) -> str:
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
