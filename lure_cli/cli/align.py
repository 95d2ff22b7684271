"""`lure align`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lure_cli.cli import options as o
from lure_cli.cli.output import emit, emit_json, note, show_error
from lure_cli.errors import LureError

if TYPE_CHECKING:
    from lure_cli.tasks.align import AlignPlan


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
    check: Annotated[
        Path | None, typer.Option(help="Only tell how far off the transform in this file is, pair by pair.")
    ] = None,
    ir_range: Annotated[
        str | None,
        typer.Option(
            help="What of the infrared's numbers becomes black and white: auto, full (as they are), percentile or "
            "MIN,MAX; the default is full, and auto of radiometric files, whose numbers are degrees Celsius."
        ),
    ] = None,
    resize_ir: o.ResizeIr = False,
    overwrite: o.Overwrite = False,
    as_json: o.AsJson = False,
) -> None:
    """Lay infrared images onto their visible images, and tell how far they moved.

    Exit codes: 0 done (a rig that has drifted is a warning), 1 some pairs failed, 2 bad usage or input.
    """
    from lure_cli.tasks import align as task

    plan = task.plan_align(
        task.AlignOptions(ir, vis, output, model, once, transform, apply, check, ir_range, resize_ir, overwrite), note
    )
    for path in plan.unmatched:
        note(f"unmatched: {path}")
    if check is not None:
        _check(plan, as_json=as_json)
        return
    failed = []
    for result in task.align(plan):
        pair, alignment = result.pair, result.alignment
        if result.error:
            failed.append(result.error)
        for text in result.notes:
            note(f"note: {text}")
        if as_json:
            record: dict[str, Any] = {"name": pair.name, "ir": str(pair.ir), "vis": str(pair.vis)}
            record |= {"status": "failed" if result.error else "done", "output": str(pair.output)}
            record |= {"seconds": round(result.seconds, 4)}
            record |= {"notes": list(result.notes)} if result.notes else {}
            record |= alignment.record() if alignment else {}
            if result.error:
                record |= {"error": result.error.message, "hint": result.error.hint}
            emit_json(record)
        elif alignment:
            known = plan.known
            emit(f"{pair.name}: {task.describe(alignment) if known is None else task.fit_of(alignment, known)}")
    _end(plan, failed)


def _check(plan: AlignPlan, *, as_json: bool) -> None:
    """How far off each pair is, and the sum."""
    from lure_cli.tasks import align as task

    wide = max(len("pair"), *(len(pair.name) for pair in plan.pairs))
    if not as_json:
        emit(f"{'pair':<{wide}}     off      dx      dy  confidence")
    assert plan.known is not None
    done: list[task.Checked] = []
    for each in task.check_rig(plan):
        by = each.alignment
        if by is not None and by not in (plan.known, *(other.alignment for other in done)):
            note(f"note: {each.pair.ir}: {task.fit_of(by, plan.known)}")
        done.append(each)
        if as_json:
            emit_json(each.record())
        elif (r := each.residual) is not None:
            row = (
                f"{each.pair.name:<{wide}}  {r.moved:6.1f}  {r.shift[0]:6.1f}  {r.shift[1]:6.1f}  {r.confidence:10.2f}"
            )
            emit(row if r.is_sure else f"{row}  shows too little to tell")
    total = task.sum_up(done)
    if as_json:
        emit_json(total.record())
    elif total.drift is not None:
        emit(
            f"{total.sure} of {total.pairs} pairs: off by {total.median:.1f} pixels (median); drift, which they have in"
            f" common: {total.drift:.1f} pixels"
        )
    if total.warning is not None:
        note(f"warning: {total.warning}")
    _end(plan, [each.error for each in done if each.error is not None])


def _end(plan: AlignPlan, failed: list[LureError]) -> None:
    """The errors and how many there were; exit code 1 if there were any."""
    for error in failed:
        show_error(error)
    if len(plan.pairs) > 1:
        note(f"{len(plan.pairs) - len(failed)} of {len(plan.pairs)} pairs done, {len(failed)} failed")
    if failed:
        raise typer.Exit(1)
