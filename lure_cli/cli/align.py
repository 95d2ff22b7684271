"""`lure align`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lure_cli.cli import options as o
from lure_cli.cli.output import emit, emit_json, note, show_error


def align(
    ir: Annotated[Path, typer.Option(help="Infrared image, or a folder of them.")],
    vis: Annotated[Path, typer.Option(help="Visible image, or a folder of them; folders are paired by name.")],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="File, folder, or template such as 'out/{stem}.png', for the infrared."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="auto: shift, rotation and scale, or nothing where that is as good; affine.")
    ] = "auto",
    once: Annotated[bool, typer.Option("--once", help="One transform for the whole folder: a fixed rig.")] = False,
    transform: Annotated[
        str | None, typer.Option(help="Write the transform here, as JSON; for folders 'out/{stem}.json'.")
    ] = None,
    apply: Annotated[Path | None, typer.Option(help="Warp by the transform in this file; estimate nothing.")] = None,
    ir_range: o.IrRange = "full",
    resize_ir: o.ResizeIr = False,
    overwrite: o.Overwrite = False,
    as_json: o.AsJson = False,
) -> None:
    """Lay infrared images onto their visible images, and tell how far they moved."""
    from lure_cli.tasks import align as task

    plan = task.plan_align(
        task.AlignOptions(ir, vis, output, model, once, transform, apply, ir_range, resize_ir, overwrite), note
    )
    for path in plan.unmatched:
        note(f"unmatched: {path}")
    failed = []
    for result in task.align(plan):
        pair, alignment = result.pair, result.alignment
        if result.error:
            failed.append(result.error)
        if as_json:
            record: dict[str, Any] = {"name": pair.name, "ir": str(pair.ir), "vis": str(pair.vis)}
            record |= {"status": "failed" if result.error else "done", "output": str(pair.output)}
            record |= {"seconds": round(result.seconds, 4)}
            record |= alignment.record() if alignment else {}
            if result.error:
                record |= {"error": result.error.message, "hint": result.error.hint}
            emit_json(record)
        elif alignment:
            emit(f"{pair.name}: {task.describe(alignment)}")
    for error in failed:
        show_error(error)
    if len(plan.pairs) > 1:
        note(f"{len(plan.pairs) - len(failed)} of {len(plan.pairs)} pairs done, {len(failed)} failed")
    if failed:
        raise typer.Exit(1)
