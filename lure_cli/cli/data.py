"""`lure data check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lure_cli.cli.output import emit, emit_json, printable

data = typer.Typer(help="Look after a folder of training data.", no_args_is_help=True, rich_markup_mode=None)


@data.callback()
def _root() -> None:
    pass  # keeps `check` a subcommand while it is the only one


@data.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Data folder; the training guide shows its layout.")],
    config: Annotated[
        Path | None, typer.Option(help="TOML file of the training to come: crop and exclude; else stage1's preset.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Decode every image, not headers and a few images.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of the table.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only faults, no table and no warnings.")] = False,
) -> None:
    """Tell what a data folder holds, and all that training would stumble over; exit code 1 if there is such a fault."""
    from tqdm import tqdm

    from lure_cli.cli.tables import show_table
    from lure_cli.tasks.data import check as task

    options = task.check_options(folder, config, full)
    with tqdm(disable=quiet or as_json, unit="file", leave=False) as bar:
        report = task.check_data(options, bar.update)
    if as_json:
        emit_json(report.to_dict())
    else:
        if not quiet:
            show_table(task.table_of_sets(report))
        for issue in report.faults if quiet else report.issues:
            emit(printable(f"{issue.level}: {issue.folder}: {issue.message}"))
        if not quiet:
            emit(task.verdict(report))
    if report.faults:
        raise typer.Exit(1)
