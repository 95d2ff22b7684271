"""Jobs on many images: how a plan, its results and their sum are shown."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer

from lure_cli.cli.interrupt import interruptible
from lure_cli.cli.output import SIDES, describe, emit, emit_json, note, show_error

if TYPE_CHECKING:
    from lure_cli.tasks.inference.job import Result
    from lure_cli.tasks.inference.options import JobOptions
    from lure_cli.tasks.inference.plan import FusePlan, RestorePlan
    from lure_cli.tasks.inference.request import Request
    from lure_cli.tasks.paths.outputs import Item

_SHOWN = 3
"""How many notes of one kind are printed for a folder; the rest is counted (and in the records of --json)."""


def show_prompt(request: Request, sides: Iterable[str]) -> None:
    """How the prompt was understood."""
    descriptions = {m: "to be examined" if m in request.auto else ", ".join(getattr(request.prompt, m)) for m in sides}
    note("prompt: " + "; ".join(f"{SIDES[m]}: {text or 'none'}" for m, text in descriptions.items()))


def show_plan(plan: FusePlan | RestorePlan, *, as_json: bool) -> None:
    """What would be done.

    Raises:
        LureError: nothing would be, as this machine lacks the device or number type that is asked for.
    """
    from lure_cli.tasks.inference.loading import check_machine, pick_backend
    from lure_cli.tasks.inference.plan import finished

    options: JobOptions = plan.options
    if pick_backend(options.backend, plan.weights) == "torch":
        check_machine(options.device, options.dtype)
    items: Iterable[Item] = plan.items
    for item in items:
        status = "skipped" if finished(item, options) else "planned"
        paths = {side: str(path) for side, path in item.sources.items()}
        if as_json:
            more: dict[str, Any] = {what: str(path) for what, path in item.extras.items()}
            if "temperature" in more:
                more["temperature"] = {"file": more["temperature"]}
            emit_json({"name": item.name, "status": status} | paths | {"output": str(item.output)} | more)
        else:
            made = map(str, (item.output, *item.extras.values()))
            emit(f"{status}: {' + '.join(paths.values())} -> {' + '.join(made)}")


def run_job(
    start: Callable[[Callable[[], bool]], Iterator[Result[Any]]], total: int, things: str, *, as_json: bool, quiet: bool
) -> None:
    """Carry out a job and show it; typer.Exit with 1 if an item failed, 130 if interrupted with some left.

    Args:
        start: given what says that the user wants an end, begins the job.
        total: how many items it has.
        things: what they are called.
        as_json, quiet: what to show.
    """
    with interruptible() as stop:
        counts, failed = _show(start(stop), total, things, as_json=as_json, quiet=quiet)
        left = total - sum(counts.values())
        if stop() and left:
            note(f"interrupted: {left} of {total} {things} are left; --skip-existing goes on from here")
            raise typer.Exit(130)
    if failed:
        raise typer.Exit(1)


def _show(
    results: Iterator[Result[Any]], total: int, things: str, *, as_json: bool, quiet: bool
) -> tuple[Counter[str], bool]:
    """Show each result as it comes and the sum at the end; how many there were of each status."""
    failed: list[Result[Any]] = []
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    started = time.perf_counter()
    for result in results:
        counts[result.status] += 1
        if result.status == "failed":
            failed.append(result)
        show_result(result, kinds, as_json=as_json, quiet=quiet)
        if not quiet and total > 1:
            left = _time_left(counts, total, time.perf_counter() - started)
            note(f"{sum(counts.values())}/{total} {result.item.name}: {result.status}{left}")
    seconds = time.perf_counter() - started
    if not quiet:
        show_other_notes(kinds, things)
    for result in failed:
        assert result.error is not None
        show_error(result.error)
    if not quiet and total > 1:
        parts = ", ".join(f"{counts[status]} {status}" for status in ("done", "skipped", "failed"))
        rate = f"; {counts['done'] / seconds:.2f} {things} a second" if counts["done"] else ""
        note(f"{parts} of {total} {things}{rate}")
    return counts, bool(failed)


def show_result(result: Result[Any], kinds: Counter[str], *, as_json: bool, quiet: bool) -> None:
    """One result, without its error; `kinds` counts the notes there were so far."""
    if not quiet:
        if result.findings:
            sides = "; ".join(f"{SIDES[m]}: {describe(each)}" for m, each in result.findings.items())
            note(f"{result.item.name}: {sides}")
        for message in result.notes:
            kinds[message.kind] += 1
            if kinds[message.kind] <= (1 if message.kind == "rig" else _SHOWN):
                note(f"note: {message.text}")
    if result.data is not None:
        sys.stdout.buffer.write(result.data)
        sys.stdout.buffer.flush()
    elif as_json:
        emit_json(result.record())
    elif not quiet and result.status == "done":
        emit(str(result.item.output))
    elif not quiet and result.status == "skipped":
        note(f"skipped: {result.item.output} exists")
    if result.temperatures is not None and "temperature" in result.item.extras and not (as_json or quiet):
        note(f"{result.item.extras['temperature']}: {result.temperatures}")


def show_other_notes(kinds: Counter[str], things: str) -> None:
    """How many notes of each kind were not shown."""
    for kind, count in kinds.items():
        if count > _SHOWN and kind != "rig":
            note(f"note: {count - _SHOWN} more {things} with such a note ({kind})")


def _time_left(counts: Counter[str], total: int, seconds: float) -> str:
    """', about 1:23:45 left', once there is enough to judge from; items that were skipped took no time."""
    worked, left = counts["done"] + counts["failed"], total - sum(counts.values())
    if worked < 10 or not left:
        return ""
    return f", about {timedelta(seconds=round(seconds / worked * left))} left"
