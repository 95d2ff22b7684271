"""The command line that does what the window shows: `lure fuse` with what is not its default."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping
from typing import Any, get_type_hints

from lure_cli.cli.fuse import fuse


def command_line(arguments: Mapping[str, Any]) -> str:
    """`lure fuse --ir a.png --vis b.png ...`, quoted for a POSIX shell.

    Args:
        arguments: by the names of the parameters of `lure fuse`; what is its default is left out.
    """
    hints = get_type_hints(fuse, include_extras=True)
    parts = ["lure", "fuse"]
    for name, parameter in inspect.signature(fuse).parameters.items():
        value = arguments.get(name, parameter.default)
        if name in arguments and value != parameter.default:
            flag = _flag(name, hints[name])
            parts += [flag] if isinstance(value, bool) else [flag, _text(value)]
    return shlex.join(parts)


def _flag(name: str, hint: Any) -> str:
    """The option of a parameter, as typer makes it."""
    (option,) = (each for each in hint.__metadata__ if hasattr(each, "param_decls"))
    declared: tuple[str, ...] = option.param_decls or ()
    return declared[0] if declared else "--" + name.replace("_", "-")


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
