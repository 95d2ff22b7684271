"""`lure fuse` for clips: what is shown of them."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import typer

from lure_cli.cli.interrupt import interruptible
from lure_cli.cli.output import SIDES, describe, emit, emit_json, note, show_error

if TYPE_CHECKING:
    from lure_cli.tasks.inference.request import FuserLike
    from lure_cli.tasks.video.plan import ClipPlan
    from lure_cli.tasks.video.result import Change, ClipResult, Progress


def fuse_video(plan: ClipPlan, *, dry_run: bool, as_json: bool, quiet: bool, fuser: FuserLike | None = None) -> None:
    """Carry out a plan and show it; typer.Exit with 1 if a clip failed or was cut short, 130 if interrupted."""
    from lure_cli.tasks.inference.loading import check_machine, pick_backend
    from lure_cli.tasks.video.plan import finished
    from lure_cli.tasks.video.result import Change, ClipResult, Message
    from lure_cli.tasks.video.run import fuse_clips

    for path in plan.unmatched:
        note(f"unmatched: {path}")
    if dry_run:
        options = plan.options.shared
        if pick_backend(options.backend, plan.weights) == "torch":
            check_machine(options.device, options.dtype)
        for pair in plan.items:
            status = "skipped" if finished(pair, plan.options) else "planned"
            if as_json:
                record = {"name": pair.name, "status": status, "ir": pair.ir, "vis": pair.vis, "output": pair.output}
                emit_json(record | ({"live": [{"output": o.name} for o in pair.live]} if pair.live else {}))
            else:
                emit(f"{status}: {pair.ir} + {pair.vis} -> {', '.join(pair.outputs)}")
        return
    results: list[ClipResult] = []
    line = _ProgressLine()
    with interruptible() as stop:
        for event in fuse_clips(plan, stop, fuser):
            if isinstance(event, ClipResult):
                line.end()
                results.append(event)
                _show(event, as_json=as_json, quiet=quiet)
            elif isinstance(event, Message):
                line.end()
                if event.warning or not quiet:
                    note(f"{'warning' if event.warning else 'note'}: {event.text}")
            elif not quiet:
                if isinstance(event, Change):
                    line.end()
                    _show_change(event)
                else:
                    line.show(event)
        stopped = stop()
    for result in results:
        if result.error is not None:
            show_error(result.error)
    if stopped and (len(results) < len(plan.items) or any(r.interrupted for r in results)):
        raise typer.Exit(130)
    if any(result.status == "failed" or result.truncated for result in results):
        raise typer.Exit(1)


def _show(result: ClipResult, *, as_json: bool, quiet: bool) -> None:
    if result.interrupted and result.status == "done":
        holds = "holds" if result.pair.output is not None else "was sent"
        note(f"interrupted: {result.pair.outputs[0]} {holds} the {result.frames} frames that were fused")
    if as_json:
        emit_json(result.record())
    elif result.status == "skipped":
        if not quiet:
            note(f"skipped: {result.pair.output} exists")
    elif result.status == "done" and not quiet:
        for output in result.pair.outputs:
            emit(output)
        note(f"{result.frames} frames in {result.seconds:.1f} s, {result.frames / result.seconds:.2f} a second")


def _show_change(change: Change) -> None:
    sides = "; ".join(f"{SIDES[m]}: {describe(each)}" for m, each in change.findings.items())
    now = {m: ", ".join(getattr(change.prompt, m)) or "none" for m in change.findings}
    prompt = "; ".join(f"{SIDES[m]}: {text}" for m, text in now.items())
    note(f"frame {change.frame}: prompt from here on: {prompt} (found: {sides})")


class _ProgressLine:
    """How far a clip is: one line that is written over on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._every = 1.0 if self._terminal else 10.0
        self._last = self._started = time.monotonic()
        self._open = False

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.done == 1:
            self._started = self._last = now  # the first frame had the model load
        if now - self._last < self._every:
            return
        self._last = now
        rate = (progress.done - 1) / (now - self._started)
        text = f"{progress.pair.name}: frame {progress.done}"
        if progress.total is not None:
            left = timedelta(seconds=round(max(0, progress.total - progress.done) / rate)) if rate else "?"
            text += f" of {progress.total}, {rate:.2f} a second, about {left} left"
        else:
            text += f", {rate:.2f} a second"
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._open = True
        else:
            note(text)

    def end(self) -> None:
        """Before anything else is printed."""
        if self._open:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._open = False
