"""`lure watch`."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from lure_cli.cli import options as o
from lure_cli.cli.fuse import fuse, fuse_options
from lure_cli.cli.interrupt import interruptible
from lure_cli.cli.jobs import show_other_notes, show_prompt, show_result
from lure_cli.cli.output import SIDES, emit_json, no_progress_bars, note, show_error
from lure_cli.errors import LureError

_NOT_HERE = frozenset(
    "a b prompt_file fps sync length check_every codec crf pair_file align_once engine workers skip_existing limit"
    " shard fail_fast dry_run".split()
)
"""Options of `lure fuse` that are for clips, or for pairs that are all there when the job begins."""


def watch(
    folder: Annotated[
        str | None,
        typer.Argument(metavar="FOLDER", help="Folder in which both images of a pair arrive.", rich_help_panel=o.INPUT),
    ] = None,
    *,
    ir: Annotated[
        str | None, typer.Option(help="Folder or pattern of the infrared images.", rich_help_panel=o.INPUT)
    ] = None,
    vis: Annotated[
        str | None, typer.Option(help="Folder or pattern of the visible images.", rich_help_panel=o.INPUT)
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option(help="End after so many seconds in which nothing arrived.", rich_help_panel=o.INPUT),
    ] = None,
    poll: Annotated[
        bool,
        typer.Option("--poll", help="List the folders again and again: for network shares.", rich_help_panel=o.INPUT),
    ] = False,
    outputs: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", help="Folder, or template such as 'out/{folder}/{stem}.png'.", rich_help_panel=o.OUTPUT
        ),
    ] = None,
    **options: Any,
) -> None:
    """Fuse pairs as they arrive in a folder, or in two.

    Names say which file is the infrared one: street_ir.png and street_vis.png, or sub-folders ir and vis. Radiometric
    files with a photo inside, whose names do not, are fused alone; with --ir and no --vis all of them are. Files that
    are still being written wait, and pairs whose output exists are left out. Ctrl-C ends after the pair in hand.

    Exit codes: 0 ended with all done that was complete, 1 some pairs failed, 2 bad usage or input, 130 interrupted with
    complete pairs left.
    """
    from lure_cli.tasks.watch import Watcher, WatchOptions, plan_watch

    if folder is not None and (ir is not None or vis is not None):
        raise LureError("a folder that holds both is given, and --ir or --vis as well", "give the one or the others")
    if folder is None and ir is None and vis is None:
        raise LureError("no folder to watch", "name the one that holds both images, or give --ir and --vis")
    quiet, as_json = options["quiet"], options["as_json"]
    if quiet:
        no_progress_bars()
    places = {"ir": ir or folder, "vis": vis or folder, "outputs": outputs}
    asked = WatchOptions(fuse_options(options | places), idle, poll)
    tell = None if quiet else note
    plan = plan_watch(asked, tell)
    if not quiet and any(options[text] for text in ("prompt", "prompt_ir", "prompt_vis")):
        show_prompt(plan.request, SIDES)
    watcher, failed = Watcher(plan), False
    kinds: Counter[str] = Counter()
    with interruptible() as stop:
        for result in watcher.run(stop, tell):
            error = result if isinstance(result, LureError) else result.error
            if not isinstance(result, LureError):
                show_result(result, kinds, as_json=as_json, quiet=quiet)
            elif as_json:
                emit_json({"status": "failed", "error": result.message, "hint": result.hint})
            if error is not None:
                show_error(error)
                failed = True
        if not quiet:
            show_other_notes(kinds, "pairs")
            for path in watcher.unmatched:
                note(f"unmatched: {path}")
        if stop() and watcher.left:
            note(f"interrupted: {watcher.left} complete pairs are left; the same command goes on from here")
            raise typer.Exit(130)
    if failed:
        raise typer.Exit(1)


def _parameters() -> Iterator[inspect.Parameter]:
    """Those of `watch`, and all of `fuse` that make sense for pairs that are not there yet."""
    own = inspect.signature(watch, eval_str=True).parameters
    yield from (p for p in own.values() if p.kind is not p.VAR_KEYWORD)
    for p in inspect.signature(fuse, eval_str=True).parameters.values():
        if p.name not in own and p.name not in _NOT_HERE:
            yield p.replace(kind=p.KEYWORD_ONLY)


_OPTIONS = list(_parameters())
watch.__signature__ = inspect.Signature(_OPTIONS)  # type: ignore[attr-defined]
watch.__annotations__ = {p.name: p.annotation for p in _OPTIONS}
