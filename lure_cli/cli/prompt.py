"""`lure prompt`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from lure_cli.cli.output import emit, emit_json, show_error
from lure_cli.errors import LureError


def prompt(
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT...", help="Prompts, each in quotes.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show what can be understood, with examples.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a text on stdout.")] = False,
) -> None:
    """Show how prompts are understood, without fusing anything."""
    from lure_cli.tasks import prompt as task

    if bool(texts) == listing:
        raise LureError("give texts or --list", "for example: lure prompt 'night shot, grainy thermal image'")
    if listing:
        for word in task.vocabulary():
            if as_json:
                emit_json(asdict(word))
            else:
                emit(f"{word.degradation:13} {'+'.join(word.images) or '-':7}  {word.example}")
        return
    failed = False
    for reading in task.understand_all(texts or []):
        sides = {"vis": reading.vis, "ir": reading.ir}
        if as_json:
            record: dict[str, Any] = {"text": reading.text, "understood": reading.error is None}
            for side, items in sides.items():
                record[side] = [asdict(f) | {"score": round(f.score, 4)} for f in items]
            if reading.error:
                record |= {"error": reading.error.message, "hint": reading.error.hint}
            emit_json(record)
        elif reading.error is None:
            parts = [f"{side}: {', '.join(_describe(f) for f in items)}" for side, items in sides.items() if items]
            emit(f"{reading.text}\n  {'; '.join(parts) or 'nothing is wrong: plain fusion'}")
        if reading.error:
            failed = True
            show_error(reading.error)
    if failed:
        raise typer.Exit(2)


def _describe(finding: Any) -> str:
    return f"{finding.degradation} (score {finding.score:.2f}, severity {finding.severity:g})"
