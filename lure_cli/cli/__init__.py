"""The command line: parses, calls one task, shows the result. No logic, and no torch before it is needed."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from lure_cli.cli.align import align
from lure_cli.cli.bench import bench
from lure_cli.cli.data import data
from lure_cli.cli.detect import detect
from lure_cli.cli.doctor import doctor
from lure_cli.cli.evaluate import evaluate
from lure_cli.cli.export import export
from lure_cli.cli.fuse import fuse
from lure_cli.cli.grouped import GroupedCommand
from lure_cli.cli.info import info
from lure_cli.cli.output import emit, escape_what_streams_lack, note, show_error
from lure_cli.cli.plot import plot
from lure_cli.cli.prompt import prompt
from lure_cli.cli.restore import restore
from lure_cli.cli.train import train
from lure_cli.cli.ui import ui
from lure_cli.cli.watch import watch
from lure_cli.cli.weights import weights
from lure_cli.errors import LureError
from lure_cli.version import __version__

app = typer.Typer(
    name="lure",
    help="Fuse infrared and visible images into one picture, and remove what spoils them on the way.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        emit(f"lure {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command(cls=GroupedCommand)(fuse)
app.command(cls=GroupedCommand)(watch)
app.command(cls=GroupedCommand)(restore)
app.command()(ui)
app.command("eval")(evaluate)
app.add_typer(bench, name="bench")
app.command()(detect)
app.command()(align)
app.add_typer(data, name="data")
app.add_typer(train, name="train")
app.add_typer(plot, name="plot")
app.add_typer(export, name="export")
app.command()(prompt)
app.add_typer(weights, name="weights")
app.command()(info)
app.command()(doctor)

_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
"""The base class of the parser's own errors, which typer does not export by name."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit: 0 all done, 1 some items failed, 2 bad usage or input, 130 interrupted.

    With LURE_DEBUG=1 in the environment, errors keep their traceback.
    """
    escape_what_streams_lack()
    try:
        code = app(args=argv, prog_name="lure", standalone_mode=False)
    except LureError as error:
        if os.environ.get("LURE_DEBUG") == "1":
            raise
        show_error(error)
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
