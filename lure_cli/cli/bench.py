"""`lure bench CASES`, `lure bench restore` and `lure bench speed`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lure_cli.cli import options as o
from lure_cli.cli.interrupt import interruptible
from lure_cli.cli.output import emit_json, note, show_error


class _Bench(TyperGroup):
    """Anything but these words is the folder of `lure bench CASES`; a folder called `speed` is `./speed`."""

    words = ("restore", "speed")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else "--help"
        if first not in self.words and first not in ctx.help_option_names:
            args = ["CASES", *args]
        return super().parse_args(ctx, args)


bench = typer.Typer(
    cls=_Bench,
    help="Compare methods on degraded pairs (lure bench CASES), restoring on test sets with references (lure bench "
    "restore DATA), or the speed of this machine (lure bench speed).",
    no_args_is_help=True,
    subcommand_metavar="CASES | restore DATA | speed ...",
    rich_markup_mode=None,
)


@bench.command("CASES")
def bench_cases(
    cases: Annotated[Path, typer.Argument(help="Folder with cases.json and CASE/ir, CASE/vi; one is called clean.")],
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Shipped name, file or owner/repo[@revision]; may be repeated; 'none': no model."),
    ] = None,
    fused: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="Another method's results, DIR/<case>/<name>.png; may be repeated."),
    ] = None,
    only: Annotated[str | None, typer.Option("--cases", help="Only these cases, such as 'vis_haze,ir_noise'.")] = None,
    floors: Annotated[
        bool, typer.Option("--floors", help="Add mean, maximum, Laplacian pyramid, guided filter, both copies.")
    ] = False,
    wrong: Annotated[
        bool, typer.Option("--wrong", help="Fuse with a wrong prompt too, and tell whether right > none > wrong holds.")
    ] = False,
    clean_ir: Annotated[Path | None, typer.Option(help="Clean infrared folder, if there is no case 'clean'.")] = None,
    clean_vis: Annotated[Path | None, typer.Option(help="Clean visible folder, if there is no case 'clean'.")] = None,
    convention: Annotated[str, typer.Option(help="Whose definitions: cddfuse, matlab or zoo.")] = "cddfuse",
    common: Annotated[
        bool, typer.Option("--common", help="Score on the images that all methods have, if one lacks some.")
    ] = False,
    save: Annotated[Path | None, typer.Option(help="Keep fused images as SAVE/<method>/<case>/<name>.png.")] = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
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
    from lure_cli.tasks.bench import cases as task
    from lure_cli.tasks.bench.result import BenchOptions
    from lure_cli.tasks.bench.tables import to_dict
    from lure_cli.tasks.evaluate.images import parse_fused
    from lure_cli.tasks.weights.find import DEFAULT

    found = task.bench(
        BenchOptions(
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
            wrong,
        ),
        None if quiet else note,
    )
    if not quiet:
        for line in found.notes:
            note(line)
    if as_json:
        emit_json(to_dict(found))
    else:
        show_bench(found)
    _finish(task, found, csv, markdown)


@bench.command("restore")
def bench_restore(
    data: Annotated[Path, typer.Argument(help="Data folder; its layout is that of `lure train`, with folders 'test'.")],
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Shipped name, file or owner/repo[@revision]; may be repeated; 'none': no model."),
    ] = None,
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
    limit: Annotated[int | None, typer.Option(help="At most so many images of each set.")] = None,
    save: Annotated[Path | None, typer.Option(help="Keep images as SAVE/<method>/<set>/<name>.png.")] = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of tables.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write one row an image.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables as Markdown.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only results and errors.")] = False,
) -> None:
    """Restore the test sets of a data folder, told what is wrong, and score them against the clean images.

    Files written by an earlier run are replaced.
    """
    from lure_cli.cli.tables import show_table
    from lure_cli.tasks.bench import restoration as task
    from lure_cli.tasks.weights.find import DEFAULT

    found = task.bench_restore(
        task.RestoreBenchOptions(
            data,
            tuple(w for w in weights or (DEFAULT,) if w != "none"),
            tuple(name.strip() for name in sets.split(",")) if sets else (),
            task.parse_clean(clean or ()),
            no_prompt,
            wrong,
            limit,
            save,
            device,
            dtype,
        ),
        None if quiet else note,
    )
    if as_json:
        emit_json(task.to_dict(found))
    else:
        for table in task.tables(found):
            show_table(table)
    _finish(task, found, csv, markdown)


def _finish(task: Any, found: Any, csv: Path | None, markdown: Path | None) -> None:
    """Write the files that were asked for, from the module `task` that made the result; exit with 1 if some failed."""
    from lure_cli.tasks.report.table import write_text

    if csv:
        write_text(csv, task.to_csv(found))
    if markdown:
        write_text(markdown, task.to_markdown(found))
    for error in found.failed:
        show_error(error)
    if found.failed:
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
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only results and errors.")] = False,
) -> None:
    """Measure seconds, memory and arithmetic of each way to run the model here.

    The pictures are rendered. Give the machine nothing else to do meanwhile.
    """
    from lure_cli.cli.tables import show_table
    from lure_cli.tasks.bench import speed as task
    from lure_cli.tasks.report.table import markdown_table, write_text

    def names(text: str) -> tuple[str, ...]:
        return tuple(name.strip() for name in text.split(","))

    options = task.SpeedOptions(
        names(sizes), names(backends), names(dtypes), names(prompts), weights, device, threads, runs
    )
    rows = task.plan_speed(options)
    machine = task.machine(options)
    found = []
    with interruptible() as stop:
        for each in task.speed(options, rows, stop):
            found.append(each)
            if as_json:
                emit_json(each.record() | {"machine": asdict(machine)})
            if not quiet:
                note(f"{len(found)}/{len(rows)} {each.row.describe()}: {'failed' if each.error else 'measured'}")
        stopped = stop()
    table = task.table(machine, found)
    if not as_json:
        show_table(table)
    if markdown:
        write_text(markdown, markdown_table(table))
    failed = [each for each in found if each.error]
    for each in failed:
        assert each.error is not None
        show_error(each.error)
    if stopped:
        raise typer.Exit(130)
    if failed:
        raise typer.Exit(1)
