"""The command line: parses, calls one task, shows the result. No logic, and no torch before it is needed."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module
from typing import Annotated

import typer

from lure_cli.cli.grouped import GroupedCommand
from lure_cli.cli.output import emit, escape_what_streams_lack, note, show_error
from lure_cli.errors import LureError
from lure_cli.version import __version__

COMMANDS = "fuse watch restore ui eval bench detect align data train plot export prompt weights info doctor".split()
"""In the order of `lure --help`."""
_NAMED = {"eval": "evaluate"}
"""Commands whose module in this folder, and what it is called there, has another name."""
_GROUPED = ("fuse", "watch", "restore")


def _show_version(value: bool) -> None:
    if value:
        emit(f"lure {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@cache
def build_app(only: str | None = None) -> typer.Typer:
    """The command line with all its commands, or with one: to look at the options of all takes 40 ms, which a script
    would wait for at every call."""
    app = typer.Typer(
        name="lure",
        help="Fuse infrared and visible images into one picture, and remove what spoils them on the way.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in (only,) if only else COMMANDS:
        module = _NAMED.get(name, name)
        command = getattr(import_module(f"lure_cli.cli.{module}"), module)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, cls=GroupedCommand if name in _GROUPED else None)(command)
    return app


_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
"""The base class of the parser's own errors, which typer does not export by name."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit: 0 all done, 1 some items failed, 2 bad usage or input, 130 interrupted.

    With LURE_DEBUG=1 in the environment, errors keep their traceback.
    """
    escape_what_streams_lack()
    first = next(iter(sys.argv[1:] if argv is None else argv), None)
    app = build_app(first if first in COMMANDS else None)
    try:
        code = app(args=argv, prog_name="lure", standalone_mode=False)
    except LureError as error:
        if os.environ.get("LURE_DEBUG") == "1":
            raise
        show_error(error)
        code = 2
    except ModuleNotFoundError as error:  # small machines go without: examples/guides/small-machines.md
        if error.name != "torch" or os.environ.get("LURE_DEBUG") == "1":
            raise
        show_error(LureError(f"lure {first}: this needs PyTorch, which is not installed", "pip install torch"))
        code = 2
    except typer.Abort:
        code = 130
    except BrokenPipeError:  # whoever read the results has had enough (| head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except _USAGE_ERROR as error:
        message = error.format_message()  # type: ignore[attr-defined]
        if message.startswith("Usage:"):  # no arguments at all: the parser hands over the help text
            note(message)
        else:
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "lure"
            show_error(LureError(message.rstrip("."), f"see `{command} --help`"))
        code = 2
    sys.exit(code if isinstance(code, int) else 0)
