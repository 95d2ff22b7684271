"""`lure doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lure_cli.cli.output import emit, emit_json


def doctor(as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a check.")] = False) -> None:
    """Try out this installation: weights, devices, image files, a fusion, optional parts.

    Exit code 1 if something that fusing needs does not work.
    """
    from lure_cli.tasks.doctor import examine

    fails = False
    for check in examine():
        fails |= check.needed and check.state != "ok"
        if as_json:
            emit_json(asdict(check))
            continue
        emit(f"{check.state:8}{check.name:16}{check.found}")
        if check.state != "ok" and check.hint:
            emit(f"{'':8}{'':16}{check.hint}")
    if fails:
        raise typer.Exit(1)
