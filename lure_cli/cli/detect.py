"""`lure detect`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lure_cli.cli.output import describe, emit, emit_json, show_error


def detect(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    modality: Annotated[str, typer.Option(help="What the images show: ir or vis.")],
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON an image on stdout.")] = False,
) -> None:
    """Tell which degradations images show, as `lure fuse --prompt auto` judges them."""
    from lure_cli.tasks import detect as task

    failed = False
    for judgement in task.detect(task.DetectOptions(tuple(images), modality)):
        if judgement.error:
            failed = True
            show_error(judgement.error)
        if as_json:
            record: dict[str, Any] = {"image": str(judgement.image), "modality": modality}
            record |= {"degradations": [asdict(f) for f in judgement.findings]}
            if judgement.error:
                record = {**record, "error": judgement.error.message, "hint": judgement.error.hint}
                del record["degradations"]
            emit_json(record)
        elif not judgement.error:
            emit(f"{judgement.image}: {describe(judgement.findings)}")
    if failed:
        raise typer.Exit(1)
