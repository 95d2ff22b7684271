"""`lure restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lure_cli.cli import options as o
from lure_cli.cli.jobs import run_job, show_plan, show_prompt
from lure_cli.cli.output import no_progress_bars, note
from lure_cli.errors import LureError


def restore(
    vis: Annotated[
        str | None,
        typer.Option(help="Visible image, folder, pattern in quotes or - (standard input).", rich_help_panel=o.INPUT),
    ] = None,
    ir: Annotated[
        str | None, typer.Option(help="Infrared image, folder, pattern or -.", rich_help_panel=o.INPUT)
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="What is wrong with the image, such as 'haze'; 'auto' finds out.", rich_help_panel=o.PROMPTS),
    ] = None,
    strength: o.Strength = 1.0,
    output: o.Output = None,
    bits: Annotated[
        int, typer.Option(help="Bits a channel of the output: 8, or 16 (PNG, TIFF).", rich_help_panel=o.OUTPUT)
    ] = 8,
    recursive: o.Recursive = False,
    ir_range: o.IrRange = "auto",
    unit: o.Unit = "auto",
    emissivity: o.Emissivity = None,
    reflected: o.Reflected = None,
    distance: o.Distance = None,
    temperature: o.Temperature = None,
    vis_range: o.VisRange = "auto",
    alpha: o.Alpha = "keep",
    tile: o.Tile = "auto",
    overlap: o.Overlap = None,
    max_pixels: o.MaxPixels = 200_000_000,
    frame: o.Frame = "only",
    weights: Annotated[
        str,
        typer.Option(
            help="lure-small, lure-base, a .safetensors or .onnx file, or owner/repo[@revision].",
            rich_help_panel=o.MACHINE,
        ),
    ] = "lure-small",
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    threads: o.Threads = None,
    backend: o.Backend = "auto",
    overwrite: o.Overwrite = False,
    skip_existing: o.SkipExisting = False,
    limit: Annotated[int | None, typer.Option(help="At most so many images.", rich_help_panel=o.LARGE_JOBS)] = None,
    shard: o.Shard = None,
    fail_fast: o.FailFast = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be restored to what.", rich_help_panel=o.OUTPUT)
    ] = False,
    as_json: o.AsJson = False,
    quiet: o.Quiet = False,
) -> None:
    """Restore single images, visible or infrared, without fusing.

    Without a prompt nothing is taken to be wrong. Exit codes: 0 done, 1 some images failed, 2 bad usage or input, 130
    interrupted (finished files are whole).
    """
    from lure_cli.core.thermal.radiometry import Radiometry
    from lure_cli.tasks.inference import restore as task
    from lure_cli.tasks.inference.options import ReadOptions, RestoreOptions
    from lure_cli.tasks.inference.plan import plan_restore

    if output == "-" and as_json:
        raise LureError("--json and -o - both want standard output", "give the picture a file, or leave --json out")
    if quiet:
        no_progress_bars()
    plan = plan_restore(
        RestoreOptions(
            ir=None if ir is None else Path(ir),
            vis=None if vis is None else Path(vis),
            output=output,
            prompt=prompt,
            strength=strength,
            recursive=recursive,
            read=ReadOptions(
                ir_range=ir_range,
                vis_range=vis_range,
                alpha=alpha,
                max_pixels=max_pixels,
                frame=frame,
                radiometry=Radiometry(unit=unit, emissivity=emissivity, reflected=reflected, distance=distance),
            ),
            temperature=temperature,
            bits=bits,
            weights=weights,
            device=device,
            dtype=dtype,
            threads=threads,
            backend=backend,
            tile=tile,
            overlap=overlap,
            overwrite=overwrite,
            skip_existing=skip_existing,
            limit=limit,
            shard=shard,
            fail_fast=fail_fast,
        ),
        None if quiet else note,
    )
    if prompt is not None and not quiet and plan.items:
        show_prompt(plan.requests[0], [plan.items[0].modality])
    if dry_run:
        show_plan(plan, as_json=as_json)
        return
    run_job(lambda stop: task.restore(plan, stop), len(plan.items), "images", as_json=as_json, quiet=quiet)
