"""`lure eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lure_cli.cli import options as o
from lure_cli.cli.output import emit, emit_json, note, show_error
from lure_cli.errors import LureError


def evaluate(
    fused: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]PATH",
            help="Fused image, folder or template ('DIR/{stem}_{method}.jpg'); repeat it to compare.",
        ),
    ] = None,
    ir: Annotated[Path | None, typer.Option(help="Infrared image or folder.")] = None,
    vis: Annotated[Path | None, typer.Option(help="Visible image or folder.")] = None,
    a: Annotated[
        Path | None,
        typer.Option("--a", help="Instead of --ir: an image or folder of any kind, as to `lure fuse`; X_ir is of it."),
    ] = None,
    b: Annotated[Path | None, typer.Option("--b", help="Instead of --vis: the other one; X_vis is of it.")] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Such as 'EN,VIF_min,VIF_ir,NIQE,pyiqa:musiq'. See --list.")
    ] = None,
    convention: Annotated[str, typer.Option(help="Whose definitions: cddfuse, matlab, zoo or vifb.")] = "cddfuse",
    baselines: Annotated[
        bool, typer.Option("--floors", help="Add mean, maximum, Laplacian pyramid, guided filter, both copies.")
    ] = False,
    reference: Annotated[
        Path | None, typer.Option(help="Clean reference image or folder; adds PSNR, SSIM, MS-SSIM, CIEDE2000.")
    ] = None,
    clean_ir: Annotated[
        Path | None, typer.Option(help="Score against these clean infrared images instead of --ir.")
    ] = None,
    clean_vis: Annotated[
        Path | None, typer.Option(help="Score against these clean visible images instead of --vis.")
    ] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Score on the images that all methods have, if one lacks some.")
    ] = False,
    ir_range: Annotated[
        str, typer.Option(help="What of the infrared's numbers is black and white; as it was given to `lure fuse`.")
    ] = "auto",
    vis_range: Annotated[str, typer.Option(help="The same for the visible's numbers.")] = "auto",
    frames: Annotated[int, typer.Option(help="Of clips only: measure the first N frames; 0 means all.")] = 0,
    jobs: Annotated[int, typer.Option(help="Processes; 0 means one a core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of the table.")] = False,
    csv: Annotated[
        Path | None, typer.Option(help="Write one row an image; the summary goes to NAME_summary.csv beside it.")
    ] = None,
    latex: Annotated[Path | None, typer.Option(help="Write the table as LaTeX.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table as Markdown.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a report: tables, best and worst images, in one file.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for box plots and a rank heat map (PNG).")] = None,
    explain: Annotated[bool, typer.Option("--list", help="Explain every metric, and stop.")] = False,
    quiet: o.OnlyResults = False,
) -> None:
    """Measure fused images against their sources, with the exact definitions of a common evaluator.

    Fused clips (video files, or folders of numbered pictures with one of their metrics) are measured for steadiness.
    Files written by an earlier run are replaced.
    """
    if explain:
        _explain(convention, as_json)
        return
    from tqdm import tqdm

    from lure_cli.cli.tables import show_evaluation
    from lure_cli.tasks.evaluate import clips
    from lure_cli.tasks.evaluate import evaluate as task
    from lure_cli.tasks.evaluate.images import EvaluateOptions, parse_fused
    from lure_cli.tasks.report.html import to_html
    from lure_cli.tasks.report.means import evaluation_results, summary_csv, to_latex
    from lure_cli.tasks.report.plots import check_plots, write_plots
    from lure_cli.tasks.report.table import write_text

    if (ir or vis) and (a or b):
        raise LureError("--a and --b stand instead of --ir and --vis", "give one pair of names")
    names = tuple(name.strip() for name in metrics.split(",") if name.strip()) if metrics is not None else None
    options = EvaluateOptions(
        parse_fused(fused or ()),
        a or ir,
        b or vis,
        metrics=names,
        convention=convention,
        baselines=baselines,
        reference=reference,
        clean_ir=clean_ir,
        clean_vis=clean_vis,
        common=common,
        jobs=jobs,
        ir_range=ir_range,
        vis_range=vis_range,
        by_colour=bool(a or b),
        frames=frames,
    )
    if plots:
        check_plots()
    if clips.are_clips(options):
        if html:
            raise LureError("the HTML report shows images, not clips", "leave --html out")
        clips_plan = clips.plan_clips(options)
        with tqdm(disable=quiet, unit="frame", leave=False) as bar:
            evaluation = clips.evaluate_clips(clips_plan, bar.update)
    else:
        plan = task.plan_evaluation(options)
        few = len(plan.images) < 2
        with tqdm(total=len(plan.images), disable=quiet or few, unit="image", leave=False) as bar:
            evaluation = task.evaluate(plan, bar.update)
    if not quiet:
        for line in evaluation.notes:
            note(line)
    if evaluation.images:
        results = evaluation_results(evaluation)
        if as_json:
            emit_json(results.record)
        else:
            show_evaluation(evaluation)
        if csv:
            write_text(csv, results.to_csv())
            write_text(csv.with_name(f"{csv.stem}_summary{csv.suffix}"), summary_csv(evaluation))
        if latex:
            write_text(latex, to_latex(evaluation))
        if markdown:
            write_text(markdown, results.to_markdown())
        if html:
            write_text(html, to_html(evaluation, lambda index, which: task.picture(evaluation, index, which, options)))
        if plots:
            write_plots(evaluation, plots)
    for error in evaluation.failed:
        show_error(error)
    if evaluation.failed:
        if not quiet and evaluation.images:
            failed = len(evaluation.failed)
            total = failed + len(evaluation.images)
            note(f"{failed} of {total} images could not be measured; the table is without them")
        raise typer.Exit(1)


def _explain(convention: str, as_json: bool) -> None:
    from lure_cli.tasks.evaluate.columns import explain

    for entry in explain(convention):
        if as_json:
            emit_json(entry)
            continue
        unit = f", {entry['unit']}" if entry["unit"] else ""
        emit(f"{entry['name']}: {entry['title']}")
        emit(f"    {entry['better']} is better; range {entry['range']}{unit}; {entry['source']}")
        if entry["convention"]:
            emit(f"    {convention}: {entry['convention']}")
        if entry["noise"]:
            emit(f"    noise: {entry['noise']}")
        if entry["forms"]:
            emit(f"    also {', '.join(entry['forms'])}")
