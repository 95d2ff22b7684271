"""`lure fuse`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lure_cli.cli.output import describe, emit, emit_json, note, show_error

_SIDES = {"vis": "visible", "ir": "infrared"}


def fuse(
    ir: Annotated[Path, typer.Option(help="Infrared image, or a folder of them.")],
    vis: Annotated[Path, typer.Option(help="Visible image, or a folder of them; folders are paired by name.")],
    prompt: Annotated[
        str | None,
        typer.Option(help="What is wrong with the pair, such as 'haze' or 'low light and ir noise'; 'auto' finds out."),
    ] = None,
    prompt_ir: Annotated[str | None, typer.Option(help="What is wrong with the infrared image.")] = None,
    prompt_vis: Annotated[str | None, typer.Option(help="What is wrong with the visible image.")] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(help="CSV (stem,prompt) or JSON Lines with a prompt for each pair.")
    ] = None,
    strength: Annotated[
        float, typer.Option(help="How much of the restoration is done: 0 none, 1 all that the prompt asks, up to 2.")
    ] = 1.0,
    strength_ir: Annotated[float | None, typer.Option(help="The same for the infrared image alone.")] = None,
    strength_vis: Annotated[float | None, typer.Option(help="The same for the visible image alone.")] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="File, folder, or template such as 'out/{stem}.png'."),
    ] = None,
    weights: Annotated[str, typer.Option(help="Name of shipped weights, or a .safetensors file.")] = "lure-small",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave out pairs that are done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a pair on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")] = False,
) -> None:
    """Fuse a pair, or all pairs of two folders."""
    from lure_cli.tasks import fuse as task

    plan = task.plan_fuse(
        task.FuseOptions(
            ir,
            vis,
            output,
            prompt,
            prompt_ir,
            prompt_vis,
            prompt_file,
            weights,
            device,
            dtype,
            overwrite,
            skip_existing,
            strength,
            strength_ir,
            strength_vis,
        )
    )
    for path in plan.unmatched:
        note(f"unmatched: {path}")
    if not quiet and prompt_file is None and any((prompt, prompt_ir, prompt_vis)):
        said = plan.requests[0]
        told = {m: "to be examined" if m in said.auto else ", ".join(getattr(said.prompt, m)) or "none" for m in _SIDES}
        note("prompt: " + "; ".join(f"{_SIDES[m]}: {text}" for m, text in told.items()))
    failed, total = [], len(plan.pairs)
    for number, result in enumerate(task.fuse(plan), 1):
        if result.error:
            failed.append(result)
        if result.found and not quiet:
            note(f"{result.pair.name}: " + "; ".join(f"{_SIDES[m]}: {describe(f)}" for m, f in result.found.items()))
        if as_json:
            pair = result.pair
            record: dict[str, Any] = {"name": pair.name, "status": result.status, "output": str(pair.output)}
            record |= {"ir": str(pair.ir), "vis": str(pair.vis)}
            record |= {"seconds": round(result.seconds, 4), "size": result.size}
            record |= {"prompt": {"vis": result.prompt.vis, "ir": result.prompt.ir}}
            record |= {"strength": {"vis": result.request.strength_vis, "ir": result.request.strength_ir}}
            if result.found:
                record |= {"detected": {m: [asdict(f) for f in found] for m, found in result.found.items()}}
            if result.error:
                record |= {"error": result.error.message, "hint": result.error.hint}
            emit_json(record)
        elif not quiet and result.status == "done":
            emit(str(result.pair.output))
        elif not quiet and result.status == "skipped":
            note(f"skipped: {result.pair.output} exists")
        if not quiet and total > 1:
            note(f"{number}/{total} {result.pair.name}: {result.status}")
    for result in failed:
        assert result.error is not None
        show_error(result.error)
    if not quiet and total > 1:
        note(f"{total - len(failed)} of {total} pairs done or skipped, {len(failed)} failed")
    if failed:
        raise typer.Exit(1)
