"""`lure weights list|path|download|verify|info|join|push`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lure_cli.cli.output import emit, emit_json, no_progress_bars, note, printable, show_error, show_weights
from lure_cli.errors import LureError

weights = typer.Typer(
    help="Weights: those that ship, files of your own, and models on the Hugging Face Hub (owner/repo[@revision]).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_WEIGHTS = typer.Argument(metavar="WEIGHTS", help="Shipped name, .safetensors file, or owner/repo[@revision].")
_JSON = typer.Option("--json", help="One line of JSON an entry on stdout.")
_QUIET = typer.Option("-q", "--quiet", help="Only results and errors.")


_LISTED = "{:24} {:12} {:>6} {:>9} {:>14} {:>14}  {:8} {}"


@weights.command("list")
def _list(
    time: Annotated[bool, typer.Option("--time", help="Fuse with each model, to tell the seconds here.")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List shipped weights and downloaded models: sizes, arithmetic, terms.

    GFLOP and seconds are those of a pair of 640x480, plain / with prompts for both images; a multiply-add counts as two
    operations.
    """
    from lure_cli.tasks.weights.find import MISSING, list_weights
    from lure_cli.tasks.weights.inspect import try_weights

    if not as_json:
        emit(_LISTED.format("name", "kind", "MB", "parameters", "GFLOP", "seconds here", "state", "terms"))
    for entry in list_weights():
        known, seconds = try_weights(entry.name), None
        if time and known.config:
            from lure_cli.tasks.bench.glance import glance

            seconds = glance(entry.name)
        state = "ok" if known.checksum == "ok" else MISSING if entry.path == MISSING else "damaged"
        if as_json:
            told: dict[str, Any] = {"parameters": known.parameters, "gflop_plain": known.gflop_plain}
            told |= {"gflop_prompts": known.gflop_prompts, "terms": known.terms, "state": state}
            emit_json(asdict(entry) | told | {"seconds": asdict(seconds) if seconds else None})
            continue
        gflop = f"{known.gflop_plain:.1f} / {known.gflop_prompts:.1f}" if known.gflop_plain else "-"
        took = f"{seconds.plain:.2f} / {seconds.prompts:.2f}" if seconds else "-"
        size, parameters = f"{entry.size / 1e6:.1f}", f"{known.parameters / 1e6:.2f} M" if known.parameters else "-"
        emit(_LISTED.format(entry.name, entry.kind, size, parameters, gflop, took, state, printable(known.terms)))
    if not as_json:
        note("note: GFLOP and seconds are of a pair of 640x480, plain / with prompts; a multiply-add counts as two")
    if not (time or as_json):
        note("note: --time tells the seconds that a pair takes here")


@weights.command()
def path(weights: Annotated[str, _WEIGHTS]) -> None:
    """Print the file of weights that are here.

    It is checked against its record; what is not here is not downloaded.
    """
    from lure_cli.tasks.weights.find import local_weights

    emit(str(local_weights(weights)[0]))


@weights.command()
def download(
    weights: Annotated[list[str], typer.Argument(metavar="WEIGHTS...", help="owner/repo[@revision].")],
    force: Annotated[bool, typer.Option("--force", help="Again, even if it is in the cache: it was damaged.")] = False,
    quiet: Annotated[bool, _QUIET] = False,
) -> None:
    """Get models from the hub, or newer ones.

    Prints their files. Commands that take --weights owner/repo use what is here and download only what is not, so this
    is how a branch is brought up to date.
    """
    from lure_cli.tasks.weights.find import update_weights

    if quiet:
        no_progress_bars()
    failed = False
    for name in weights:
        try:
            emit(str(update_weights(name, None if quiet else note, force)))
        except LureError as error:
            failed = True
            show_error(error)
    if failed:
        raise typer.Exit(1 if len(weights) > 1 else 2)


@weights.command()
def verify(
    weights: Annotated[list[str] | None, typer.Argument(metavar="WEIGHTS...", help="Without any: all of list.")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Check bytes, format, and that they load.

    Exit code 1 if some are not as they should be. Nothing is downloaded.
    """
    from lure_cli.tasks.weights.find import list_weights
    from lure_cli.tasks.weights.inspect import inspect_weights

    failed = False
    for name in weights or [entry.name for entry in list_weights()]:
        try:
            details = inspect_weights(name)
        except LureError as error:
            failed = True
            if as_json:
                emit_json({"name": name, "checksum": "failed", "error": error.message, "hint": error.hint})
            show_error(error)
            continue
        if as_json:
            emit_json({"name": name, "checksum": details.checksum, "sha256": details.sha256, "path": details.path})
        else:
            state = "ok" if details.checksum == "ok" else f"loads, but has {details.checksum} to be checked against"
            emit(f"{name}: {state}")
    if failed:
        raise typer.Exit(1)


@weights.command()
def info(weights: Annotated[str, _WEIGHTS], as_json: Annotated[bool, _JSON] = False) -> None:
    """Show model, training, data and licence."""
    from lure_cli.tasks.weights.inspect import inspect_weights

    details = asdict(inspect_weights(weights))
    if as_json:
        emit_json(details)
    else:
        show_weights(details)


@weights.command()
def join(
    vis: Annotated[str, typer.Option(metavar="WEIGHTS", help="Where the visible encoder comes from.")],
    ir: Annotated[str, typer.Option(metavar="WEIGHTS", help="Where the infrared encoder comes from.")],
    fusion: Annotated[str, typer.Option(metavar="WEIGHTS", help="Where fusion module and decoder come from.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Weight file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace it if it exists.")] = False,
    quiet: Annotated[bool, _QUIET] = False,
) -> None:
    """Put together parts that were trained apart.

    For runs from one start that trained the two encoders and the fusion module side by side; what does not fit together
    is refused. Prints the file.
    """
    from lure_cli.tasks.weights import merge as task

    if quiet:
        no_progress_bars()
    options = task.MergeOptions(vis, ir, fusion, output, overwrite)
    emit(str(task.merge(options, None if quiet else note)))


@weights.command()
def push(
    weights: Annotated[str, typer.Argument(metavar="FILE", help="Weight file, as `lure train` writes it.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/REPO", help="Repository; made if it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="If the repository is made: for its owner alone.")] = False,
    branch: Annotated[str | None, typer.Option(help="Branch instead of main; made if it is not there.")] = None,
    message: Annotated[str | None, typer.Option("-m", "--message", help="Message of the commit.")] = None,
    new_card: Annotated[bool, typer.Option("--new-card", help="Replace the model card that is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show model card and record.")] = False,
    quiet: Annotated[bool, _QUIET] = False,
) -> None:
    """Publish weights on the hub.

    With a record of their checksum and a model card, in one commit.
    Needs a token that may write (HF_TOKEN). Prints the repository at the commit that was made.
    """
    from lure_cli.tasks.weights import push as task

    if quiet:
        no_progress_bars()
    options = task.PushOptions(weights, repo, private, branch, message, new_card)
    plan = task.plan_push(options)
    if not plan.licensed and not quiet:
        note("note: these weights state no licence; the key `licence` of a training config does")
    if dry_run:
        emit(plan.card)
        emit(plan.record.rstrip())
        return
    emit(str(task.push(plan, options, None if quiet else note)))
