"""`lure bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lure_cli.cli.output import emit_json, note, show_error


def bench(
    cases: Annotated[Path, typer.Argument(help="Folder with cases.json and CASE/ir, CASE/vi; one is called clean.")],
    weights: Annotated[
        list[str] | None, typer.Option(help="Shipped name or .safetensors file; may be repeated; 'none' runs no model.")
    ] = None,
    fused: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="Another method's results, DIR/<case>/<name>.png; may be repeated."),
    ] = None,
    only: Annotated[str | None, typer.Option("--cases", help="Only these cases, such as 'vis_haze,ir_noise'.")] = None,
    floors: Annotated[
        bool, typer.Option("--floors", help="Add mean, maximum, Laplacian pyramid, guided filter, both copies.")
    ] = False,
    clean_ir: Annotated[Path | None, typer.Option(help="Clean infrared folder, if there is no case 'clean'.")] = None,
    clean_vis: Annotated[Path | None, typer.Option(help="Clean visible folder, if there is no case 'clean'.")] = None,
    convention: Annotated[str, typer.Option(help="Whose definitions: cddfuse, matlab or zoo.")] = "cddfuse",
    common: Annotated[
        bool, typer.Option("--common", help="Score on the images that all methods have, if one lacks some.")
    ] = False,
    save: Annotated[Path | None, typer.Option(help="Keep fused images as SAVE/<method>/<case>/<name>.png.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    jobs: Annotated[int, typer.Option(help="Processes that score; 0 means one a core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of tables.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write one row an image.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables as Markdown.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only results and errors.")] = False,
) -> None:
    """Fuse degraded pairs with and without their prompt, and score them against the clean sources.

    Files written by an earlier run are replaced.
    """
    from lure_cli.cli.tables import show_bench
    from lure_cli.tasks import bench as task
    from lure_cli.tasks.evaluate import parse_fused
    from lure_cli.tasks.report import write_text
    from lure_cli.tasks.weights import DEFAULT

    found = task.bench(
        task.BenchOptions(
            cases,
            parse_fused(fused or ()),
            tuple(w for w in weights or (DEFAULT,) if w != "none"),
            tuple(name.strip() for name in only.split(",")) if only else None,
            floors,
            clean_ir,
            clean_vis,
            convention,
            common,
            save,
            device,
            dtype,
            jobs,
        ),
        None if quiet else note,
    )
    if not quiet:
        for line in found.notes:
            note(line)
    if as_json:
        emit_json(task.to_dict(found))
    else:
        show_bench(found)
    if csv:
        write_text(csv, task.to_csv(found))
    if markdown:
        write_text(markdown, task.to_markdown(found))
    for error in found.failed:
        show_error(error)
    if found.failed:
        raise typer.Exit(1)
