"""`lure bench fusion`, `lure bench restore`, `lure bench detect`, `lure bench speed` and `lure bench start`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lure_cli.cli import options as o
from lure_cli.cli.interrupt import interruptible
from lure_cli.cli.output import emit_json, note, show_error

if TYPE_CHECKING:
    from lure_cli.errors import LureError
    from lure_cli.tasks.bench.speed_result import Machine, Speed
    from lure_cli.tasks.bench.start_result import Start, StartMachine
    from lure_cli.tasks.report.table import Results

Measured = TypeVar("Measured", "Speed", "Start")

bench = typer.Typer(
    help="Compare methods on degraded pairs, restoring on test sets with references, object detection on fused "
    "pictures, or the speed of this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@bench.command("fusion")
def bench_fusion(
    cases: Annotated[Path, typer.Argument(help="Folder with cases.json and CASE/ir, CASE/vi; one is called clean.")],
    weights: o.BenchWeights = None,
    fused: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="Another method's results, DIR/<case>/<name>.png; may be repeated."),
    ] = None,
    only: Annotated[str | None, typer.Option("--cases", help="Only these cases, such as 'vis_haze,ir_noise'.")] = None,
    baselines: Annotated[
        bool, typer.Option("--floors", help="Add mean, maximum, Laplacian pyramid, guided filter, both copies.")
    ] = False,
    wrong: Annotated[
        bool, typer.Option("--wrong", help="Fuse with a wrong prompt too, and tell whether right > none > wrong holds.")
    ] = False,
    clean_ir: Annotated[Path | None, typer.Option(help="Clean infrared folder, if there is no case 'clean'.")] = None,
    clean_vis: Annotated[Path | None, typer.Option(help="Clean visible folder, if there is no case 'clean'.")] = None,
    convention: Annotated[str, typer.Option(help="Whose definitions: cddfuse, matlab, zoo or vifb.")] = "cddfuse",
    common: Annotated[
        bool, typer.Option("--common", help="Score on the images that all methods have, if one lacks some.")
    ] = False,
    save: Annotated[Path | None, typer.Option(help="Keep fused images as SAVE/<method>/<case>/<name>.png.")] = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    jobs: Annotated[int, typer.Option(help="Processes that score; 0 means one a core.")] = 0,
    as_json: o.TablesAsJson = False,
    csv: o.Csv = None,
    markdown: o.Markdown = None,
    quiet: o.OnlyResults = False,
) -> None:
    """Fuse degraded pairs with and without their prompt, and score them against the clean sources.

    Files written by an earlier run are replaced.
    """
    from lure_cli.tasks.bench import cases as task
    from lure_cli.tasks.bench.result import FusionBenchOptions
    from lure_cli.tasks.bench.tables import fusion_results
    from lure_cli.tasks.evaluate.images import parse_fused
    from lure_cli.tasks.weights.find import DEFAULT

    measured = task.bench_fusion(
        FusionBenchOptions(
            cases,
            fused=parse_fused(fused or ()),
            weights=tuple(w for w in weights or (DEFAULT,) if w != "none"),
            only=_names(only) if only else None,
            baselines=baselines,
            wrong=wrong,
            clean_ir=clean_ir,
            clean_vis=clean_vis,
            convention=convention,
            common=common,
            save=save,
            device=device,
            dtype=dtype,
            jobs=jobs,
        ),
        None if quiet else note,
    )
    if not quiet:
        for line in measured.notes:
            note(line)
    _show(fusion_results(measured), measured.failed, as_json=as_json, csv=csv, markdown=markdown)


@bench.command("restore")
def bench_restore(
    data: Annotated[Path, typer.Argument(help="Data folder; its layout is that of `lure train`, with folders 'test'.")],
    weights: o.BenchWeights = None,
    sets: Annotated[
        str | None, typer.Option(help="Only these sets, by any part of their names, such as 'LOL,noise'.")
    ] = None,
    clean: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[vis=|ir=]DIR",
            help="Clean images too, restored without a prompt; may be repeated.",
        ),
    ] = None,
    no_prompt: Annotated[bool, typer.Option("--no-prompt", help="Restore everything without a prompt too.")] = False,
    wrong: Annotated[bool, typer.Option("--wrong", help="... and with a wrong prompt.")] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="PSNR too after the best gain and offset of brightness, image by image.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="At most so many images of each set.")] = None,
    save: Annotated[Path | None, typer.Option(help="Keep images as SAVE/<method>/<set>/<name>.png.")] = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    as_json: o.TablesAsJson = False,
    csv: o.Csv = None,
    markdown: o.Markdown = None,
    quiet: o.OnlyResults = False,
) -> None:
    """Restore the test sets of a data folder, told what is wrong, and score them against the clean images.

    Files written by an earlier run are replaced.
    """
    from lure_cli.tasks.bench import restoration as task
    from lure_cli.tasks.bench.tables import restoration_results
    from lure_cli.tasks.weights.find import DEFAULT

    measured = task.bench_restore(
        task.RestoreBenchOptions(
            data,
            weights=tuple(w for w in weights or (DEFAULT,) if w != "none"),
            only=_names(sets) if sets else (),
            clean=task.parse_clean(clean or ()),
            no_prompt=no_prompt,
            wrong=wrong,
            fit=fit,
            limit=limit,
            save=save,
            device=device,
            dtype=dtype,
        ),
        None if quiet else note,
    )
    _show(restoration_results(measured), measured.failed, as_json=as_json, csv=csv, markdown=markdown)


@bench.command("detect")
def bench_detect(
    train: Annotated[Path, typer.Argument(help="Folder of the training pairs: ir, vi (or vis), and labels.")],
    test: Annotated[Path, typer.Argument(help="Folder of the test pairs, the same.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder where all is kept; the same command goes on from there.")
    ],
    labels: Annotated[
        Path | None, typer.Option(help="Folder with train and test, which hold the YOLO files, if not in labels.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Names of the classes, such as 'person,car', if not in labels/classes.txt.")
    ] = None,
    weights: o.BenchWeights = None,
    fused: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="Another method's results, DIR/{train,test}/<name>.png; repeatable."),
    ] = None,
    floors: Annotated[
        bool, typer.Option("--floors", help="Add mean, maximum, Laplacian pyramid, guided filter, in colour.")
    ] = False,
    cases: Annotated[
        str | None, typer.Option(help="Test degraded pairs too, such as 'vis_haze,vis_lowlight,ir_stripe'.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Detectors of each method, for the spread.")] = 3,
    epochs: Annotated[int, typer.Option(help="How often a detector sees each training picture.")] = 40,
    size: Annotated[int, typer.Option(help="Longer side in pixels, as detectors see pictures.")] = 640,
    minutes: Annotated[
        float | None, typer.Option(help="Begin no further detector after so long; the same command goes on.")
    ] = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    as_json: o.TablesAsJson = False,
    csv: Annotated[Path | None, typer.Option(help="Write one row a method, seed and test.")] = None,
    markdown: o.Markdown = None,
    quiet: o.OnlyResults = False,
) -> None:
    """Object detection: train a small detector on each method's fused pictures, and test it (AP50, AP50:95).

    Not about degradations, which `lure detect` finds. The visible and the infrared images alone are always compared.
    """
    from lure_cli.tasks.bench import detection as task
    from lure_cli.tasks.bench.detection_options import DetectBenchOptions
    from lure_cli.tasks.bench.detection_result import detection_results
    from lure_cli.tasks.evaluate.images import parse_fused
    from lure_cli.tasks.weights.find import DEFAULT

    options = DetectBenchOptions(
        train,
        test,
        output,
        labels=labels,
        classes=_names(classes) if classes else (),
        weights=tuple(w for w in weights or (DEFAULT,) if w != "none"),
        fused=parse_fused(fused or ()),
        floors=floors,
        cases=_names(cases) if cases else (),
        seeds=seeds,
        epochs=epochs,
        size=size,
        minutes=minutes,
        device=device,
        dtype=dtype,
    )
    with interruptible() as stop:
        measured = task.bench_detection(options, None if quiet else note, stop)
    if not quiet:
        for line in measured.notes:
            note(line)
        if not measured.finished:
            note("not finished: the same command goes on from here")
    _show(detection_results(measured), (), as_json=as_json, csv=csv, markdown=markdown)
    if stop():
        raise typer.Exit(stop.code)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _show(
    results: Results, failed: Sequence[LureError], *, as_json: bool, csv: Path | None, markdown: Path | None
) -> None:
    """Show results and write the files that were asked for; exit with 1 if something failed."""
    from lure_cli.cli.tables import show_table
    from lure_cli.tasks.report.table import write_text

    if as_json:
        emit_json(results.record)
    else:
        for table in results.tables:
            show_table(table)
    if csv:
        write_text(csv, results.to_csv())
    if markdown:
        write_text(markdown, results.to_markdown())
    for error in failed:
        show_error(error)
    if failed:
        raise typer.Exit(1)


@bench.command("speed")
def bench_speed(
    sizes: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels, several with commas.")] = "640x480,1280x720",
    backends: Annotated[str, typer.Option(help="torch, compile (torch.compile), onnx (onnxruntime).")] = "torch",
    dtypes: Annotated[str, typer.Option(help="fp32, bf16, fp16.")] = "fp32",
    prompts: Annotated[
        str, typer.Option(help="What is asked for: none, vis (of the visible image), both (of both images).")
    ] = "none,vis,both",
    weights: Annotated[str, typer.Option(help="Name of shipped weights, or a .safetensors file.")] = "lure-small",
    device: o.Device = "auto",
    threads: o.Threads = None,
    runs: Annotated[int, typer.Option(help="Pairs that count; the table shows medians.")] = 9,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a row on stdout.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write the table as Markdown.")] = None,
    quiet: o.OnlyResults = False,
) -> None:
    """Measure seconds, memory and arithmetic of each way to run the model here.

    The pictures are rendered. Give the machine nothing else to do meanwhile.
    """
    from lure_cli.cli.tables import show_table
    from lure_cli.tasks.bench import speed as task
    from lure_cli.tasks.bench.speed_result import SpeedOptions, speed_table
    from lure_cli.tasks.report.table import markdown_table, write_text

    options = SpeedOptions(
        sizes=_names(sizes),
        backends=_names(backends),
        dtypes=_names(dtypes),
        prompts=_names(prompts),
        weights=weights,
        device=device,
        threads=threads,
        runs=runs,
    )
    rows = task.plan_speed(options)
    machine = task.find_machine(options)
    with interruptible() as stop:
        measured = _measured(task.measure_speed(options, rows, stop), len(rows), machine, as_json=as_json, quiet=quiet)
        stopped = stop()
    table = speed_table(machine, measured)
    if not as_json:
        show_table(table)
    if markdown:
        write_text(markdown, markdown_table(table))
    _exit([each.error for each in measured if each.error], stopped=stopped)


@bench.command("start")
def bench_start(
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the pair in pixels.")] = "640x480",
    backends: Annotated[
        str | None, typer.Option(help="torch, onnx (onnxruntime); those that are installed if left out.")
    ] = None,
    prompts: Annotated[
        str, typer.Option(help="What is asked for: none, vis (of the visible image), both (of both images).")
    ] = "none,both",
    weights: Annotated[str, typer.Option(help="Name of shipped weights, or a weight file.")] = "lure-small",
    threads: o.Threads = None,
    runs: Annotated[int, typer.Option(help="Starts that count, of each; the table shows medians.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a row on stdout.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write the table as Markdown.")] = None,
    quiet: o.OnlyResults = False,
) -> None:
    """Measure how long one pair takes from starting the command, by parts, and how long each further one.

    The pictures are rendered. Give the machine nothing else to do meanwhile.
    """
    from lure_cli.cli.tables import show_table
    from lure_cli.tasks.bench import start as task
    from lure_cli.tasks.bench.start_result import StartOptions, start_table
    from lure_cli.tasks.report.table import markdown_table, write_text

    options = StartOptions(
        size=size,
        backends=_names(backends) if backends else (),
        prompts=_names(prompts),
        weights=weights,
        threads=threads,
        runs=runs,
    )
    rows = task.plan_start(options)
    machine = task.find_start_machine(options)
    with interruptible() as stop:
        measured = _measured(task.measure_start(options, rows, stop), len(rows), machine, as_json=as_json, quiet=quiet)
        stopped = stop()
    table = start_table(machine, options, measured)
    if not as_json:
        show_table(table)
    if markdown:
        write_text(markdown, markdown_table(table))
    _exit([each.error for each in measured if each.error], stopped=stopped)


def _measured(
    measuring: Iterable[Measured], count: int, machine: Machine | StartMachine, *, as_json: bool, quiet: bool
) -> list[Measured]:
    """The rows, each told as soon as it is there."""
    rows = []
    for each in measuring:
        rows.append(each)
        if as_json:
            emit_json(each.record() | {"machine": asdict(machine)})
        if not quiet:
            note(f"{len(rows)}/{count} {each.row.describe()}: {'failed' if each.error else 'measured'}")
    return rows


def _exit(errors: Sequence[LureError], *, stopped: bool) -> None:
    """After rows were measured: say what failed, and leave with the code for it."""
    for error in errors:
        show_error(error)
    if stopped:
        raise typer.Exit(130)
    if errors:
        raise typer.Exit(1)
