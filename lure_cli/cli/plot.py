"""`lure plot ulfs` and `lure plot sheet`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lure_cli.cli import options as o
from lure_cli.cli.output import emit, emit_json, note, show_error

plot = typer.Typer(help="Draw figures of models and of fused images.", no_args_is_help=True, rich_markup_mode=None)


@plot.command()
def ulfs(
    weights: Annotated[
        list[str],
        typer.Argument(
            metavar="[LABEL=]WEIGHTS",
            help="Weights, a panel each: files, names, owner/repo; 'init' or 'init:MODEL' is an untrained network.",
        ),
    ],
    data: Annotated[Path, typer.Option(help="Data folder; the training guide shows its layout.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Figure to write (.png).")] = Path("ulfs.png"),
    split: Annotated[str, typer.Option(help="Whose images: train or test.")] = "train",
    samples: Annotated[int, typer.Option(help="Source images a modality, and at most so many real pairs a task.")] = 60,
    size: Annotated[int, typer.Option(help="Side of the crops in pixels.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of crops, degradations and t-SNE.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: o.TablesAsJson = False,
    csv: Annotated[Path | None, typer.Option(help="Write the numbers, one a row.")] = None,
    quiet: o.OnlyResults = False,
) -> None:
    """Draw the latents of all tasks (t-SNE) at several moments of stage I, and measure how far they have merged.

    Files written by an earlier run are replaced. Needs the extra 'plot'.
    """
    from lure_cli.cli.tables import show_table
    from lure_cli.tasks.report.table import write_text
    from lure_cli.tasks.ulfs.probe import plot_ulfs
    from lure_cli.tasks.ulfs.result import ulfs_results
    from lure_cli.tasks.ulfs.samples import UlfsOptions

    options = UlfsOptions(tuple(weights), data, split=split, samples=samples, size=size, seed=seed, device=device)
    results = ulfs_results(plot_ulfs(options, output, None if quiet else note))
    if csv:
        write_text(csv, results.to_csv())
    if as_json:
        emit_json({**results.record, "figure": str(output)})
        return
    for table in results.tables:
        show_table(table)
    emit(str(output))


@plot.command("sheet")
def contact_sheet(
    fused: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]PATH",
            help="Fused image, folder or template ('DIR/{stem}_{method}.jpg'); a column each, so repeat it.",
        ),
    ] = None,
    ir: Annotated[Path | None, typer.Option(help="Infrared image or folder.")] = None,
    vis: Annotated[Path | None, typer.Option(help="Visible image or folder.")] = None,
    a: Annotated[Path | None, typer.Option("--a", help="Instead of --ir: an image or folder of any kind.")] = None,
    b: Annotated[Path | None, typer.Option("--b", help="Instead of --vis: the other one.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Clean reference image or folder, the last column.")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Image to write; several pages become NAME-1.png, NAME-2.png ...")
    ] = Path("sheet.png"),
    limit: Annotated[int | None, typer.Option(help="Show so many images, evenly spaced by name.")] = None,
    height: Annotated[int, typer.Option(help="Height of a picture in pixels.")] = 160,
    rows: Annotated[int, typer.Option(help="Images a page.")] = 20,
    common: Annotated[bool, typer.Option("--common", help="Show the images that all have, if one lacks some.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    quiet: o.OnlyResults = False,
) -> None:
    """Draw a contact sheet: a row for each image, columns for the sources and for each method.

    Images belong together by name, as in `lure eval`. Files written by an earlier run are replaced.
    """
    from lure_cli.errors import LureError
    from lure_cli.tasks.evaluate.images import parse_fused
    from lure_cli.tasks.report.contact_sheet import ContactSheetOptions, draw_contact_sheet

    if (ir or vis) and (a or b):
        raise LureError("--a and --b stand instead of --ir and --vis", "give one pair of names")
    drawn = draw_contact_sheet(
        ContactSheetOptions(
            fused=parse_fused(fused or ()),
            ir=a or ir,
            vis=b or vis,
            reference=reference,
            output=output,
            limit=limit,
            height=height,
            rows=rows,
            common=common,
            by_colour=bool(a or b),
        )
    )
    if not quiet:
        for line in drawn.notes:
            note(line)
    for error in drawn.failed:
        show_error(error)
    if as_json:
        emit_json(drawn.to_dict())
    else:
        for path in drawn.pages:
            emit(str(path))
    if drawn.failed:
        raise typer.Exit(1)
