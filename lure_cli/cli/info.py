"""`lure info`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lure_cli.cli.output import emit, emit_json, show_weights


def info(as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False) -> None:
    """Show versions, devices, and the weights found with their checksum state."""
    from lure_cli.tasks.info import collect_info

    environment = collect_info()
    if as_json:
        emit_json(asdict(environment))
        return
    emit(f"lure {environment.lure}, Python {environment.python}, {environment.system}, {environment.threads} threads")
    for title, table in (("packages", environment.packages), ("devices", environment.devices)):
        emit(f"{title}:")
        for key, value in table.items():
            emit(f"  {key:16} {value}")
    emit("weights:")
    for w in environment.weights:
        show_weights(asdict(w))
