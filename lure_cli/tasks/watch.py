"""Watching folders: pairs that arrive are fused as they become complete, with the plan and worker of `lure fuse`.

A folder's events only say when to look. What there is to do is found by listing it, so that it does not matter what
arrived before the start, or which events were lost.
"""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lure_cli.core.video.live_output import hidden, is_live_output
from lure_cli.errors import LureError
from lure_cli.tasks.inference.fuse import FuseWorker
from lure_cli.tasks.inference.job import Result, Stop, clean_up, run_locally
from lure_cli.tasks.inference.options import FuseOptions
from lure_cli.tasks.inference.plan import check_types, holds_both, pair_in_one, plan_job, refuse_pairing
from lure_cli.tasks.inference.request import FuserLike, Request
from lure_cli.tasks.paths.find import File, is_many, present, root_of
from lure_cli.tasks.paths.markers import is_marker, side_of
from lure_cli.tasks.paths.outputs import (
    Names,
    check_folder,
    check_outputs,
    files_of,
    folder_of_outputs,
    folders_of_outputs,
)
from lure_cli.tasks.paths.pairing import FUSED, Pair, check_pairing, make_pair, pair_files
from lure_cli.tasks.weights.hub import Notify

SETTLE = 0.5
"""Seconds for which size and time of a file stay the same before it is taken to be complete."""
PATIENCE = 5.0
"""Seconds without a change after which a file that cannot be read is taken to stay so."""
TICK = 0.2
"""Seconds between two looks while something is on its way."""
REST = 3.0
"""Between two looks at least so many times what the last one took: it grows with the folder."""
RESCAN = 10.0
"""Seconds after which the folders are listed although no event came."""

Stamp = tuple[int, int, int]
"""Size, time of the last change in ns, and inode: another one is another content."""


@dataclass(frozen=True)
class WatchOptions:
    """What `lure watch` was asked to do; see the command's help.

    fuse: as for `lure fuse` with folders; `ir` and `vis` are the same folder if that holds both. There, radiometric
        files with a photo inside are fused alone if their names do not say which image they are; all other files wait
        for their partner. Without `vis` such files alone are fused, whatever their names.
    idle: end after so many seconds in which nothing arrived and nothing was on its way; None: never.
    poll: list the folders again and again instead of waiting for events.
    """

    fuse: FuseOptions
    idle: float | None = None
    poll: bool = False


@dataclass(frozen=True)
class WatchPlan:
    """What has been checked before the model loads: the options, what is wanted of every pair, the weight file."""

    options: WatchOptions
    request: Request
    weights: Path


def plan_watch(options: WatchOptions, notify: Notify | None = None) -> WatchPlan:
    """Check everything that can be checked before a pair is there; no torch is imported.

    Args:
        options: see there. Unless `overwrite` is set, pairs whose output exists are left out.
        notify: told if weights are downloaded.

    Raises:
        LureError: sources that are no folders, a pairing by a table, outputs that would be sources or cannot be
            written, no `watchfiles`; also as `plan_job`.
    """
    o = replace(options.fuse, skip_existing=not options.fuse.overwrite)
    if options.idle is not None and options.idle < 0:
        raise LureError(f"--idle {options.idle:g} is negative", "give seconds, from 0 on")
    for source in _sources(o):
        if not is_many(source):
            raise LureError(
                f"{source} is a file, but arriving files are watched for", "name a folder; or use lure fuse"
            )
    if o.pairing.by == "csv":
        raise LureError("--pair csv lists files that are there already", "use lure fuse, or --pair stem, name or regex")
    check_pairing(o.pairing, True)
    if o.in_one:
        refuse_pairing(o.pairing, True)
    if o.output is not None and is_live_output(o.output):
        raise LureError(f"-o {hidden(o.output)} is for clips", "give a folder or a template")
    names = Names("name", (), {"ir": "name", "vis": "name"})
    example = make_pair(names, Path("ir"), Path("vis"), o.output, o.extras, True)
    for target in (o.output, *o.extras.values()):
        outputs = folder_of_outputs(target, FUSED) or os.path.realpath(".")
        if outputs in {os.path.realpath(root_of(source)) for source in _sources(o)}:
            raise LureError(f"{outputs}: results would arrive where files are watched for", "write to another folder")
        check_folder(Path(outputs))
    check_types([example], o.bits)
    _, requests, weights = plan_job(o, [example], existing=lambda _: None, notify=notify)
    _watchfiles()
    return WatchPlan(replace(options, fuse=o), requests[0], weights)


class Watcher:
    """Fuses what arrives; one for each run.

    Args:
        plan: from `plan_watch`.
        fuser: the model, if it is not to be loaded.

    Attributes:
        left: pairs that are complete and not done.
        unmatched: files that wait for their partner, or whose name does not say what they show.
    """

    def __init__(self, plan: WatchPlan, fuser: FuserLike | None = None) -> None:
        self.plan = plan
        self.left = 0
        self.unmatched: tuple[Path, ...] = ()
        self._worker = FuseWorker(plan.options.fuse, plan.weights, fuser)
        self._files: dict[Path, tuple[Stamp, float]] = {}  # of each file there is, and since when
        self._tried: dict[tuple[Path, Path], tuple[Stamp, Stamp]] = {}  # the pairs that are dealt with, as they were
        self._again: dict[tuple[Path, Path], tuple[Stamp, Stamp]] = {}  # those that failed and may still change
        self._both: dict[Path, tuple[Stamp, bool]] = {}  # whether a file holds both images, as it was
        self._refused: set[str] = set()
        self._swept: set[Path] = set()
        self._arrived = 0.0

    def run(self, stop: Stop = lambda: False, notify: Notify | None = None) -> Iterator[Result[Pair] | LureError]:
        """Fuse pairs as they become complete, until `stop` says yes (what is in hand is finished) or nothing arrives.

        A file is complete when it has not changed for `SETTLE`; a pair that fails while one of its files changed less
        than `PATIENCE` ago is tried again, and named only if it fails after that. It is tried once more whenever a file
        of it changes. A pair that is done is done again if its files change and the options say `overwrite`.

        Args:
            stop: asked between pairs and several times a second.
            notify: told when watching begins, and of pairs that changed and are left as they are.

        Yields:
            The result of each pair, in the order of names of those that are complete together; an error for files that
            could belong to two pairs.

        Raises:
            LureError: the weights, the device or the events of the folders cannot be used, or a folder is gone.
        """
        _ = self._worker.fuser
        o, waiting = self.plan.options, True
        self._arrived = listed = time.monotonic()
        took = 0.0
        ready = False
        for changed in _ticks(o):
            if stop():
                break
            now = time.monotonic()
            waiting |= changed or now - listed >= RESCAN
            if waiting and now - listed >= REST * took:
                for root in {root_of(source) for source in _sources(o.fuse)}:
                    if not root.is_dir():
                        raise LureError(f"{root}: the folder is gone", "start again when it is back")
                refused: list[LureError] = []
                pairs, waiting = self._look(now, refused.append, notify)
                listed = time.monotonic()
                took = listed - now
                yield from self._news(refused)
                if not ready and notify is not None:
                    notify(f"watching {' and '.join(sorted(set(map(str, _sources(o.fuse)))))}; Ctrl-C ends")
                ready = True
                if pairs:
                    yield from self._fuse(pairs, stop)
                    waiting, self._arrived = True, time.monotonic()
            if not waiting and o.idle is not None and time.monotonic() - self._arrived >= o.idle:
                break

    def _fuse(self, pairs: Sequence[Pair], stop: Stop) -> Iterator[Result[Pair]]:
        """The results of pairs that are complete, but for those that are to be tried again."""
        folders = {pair.output.parent for pair in pairs} - self._swept
        clean_up([pair for pair in pairs if pair.output.parent in folders])
        self._swept |= folders
        before = {pair: self._stamps(pair) for pair in pairs}
        self.left = len(pairs)
        for result in run_locally(self._worker, [(pair, self.plan.request) for pair in pairs], stop):
            self.left -= 1
            key = (result.item.ir, result.item.vis)
            if result.status == "failed" and self._may_change(result.item):
                self._again[key] = before[result.item]
                continue
            self._again.pop(key, None)
            self._tried[key] = before[result.item]
            yield result

    def _look(self, now: float, refuse: Callable[[LureError], None], notify: Notify | None) -> tuple[list[Pair], bool]:
        """The pairs to fuse now, and whether more is on its way."""
        o = self.plan.options.fuse
        try:
            irs, viss, others = _listed(o)
        except LureError:  # a sub-folder that went while it was listed
            return [], True
        sides = irs, viss, others
        self._stamp({file.path for files in sides for file in files}, now)
        complete = [[file for file in files if self._is_complete(file.path)] for files in sides]
        pairs = pair_files(complete[0], complete[1], o.output, o.pairing, refuse, o.extras)
        pairs += [pair_in_one(file, o) for file in complete[2] if o.read.alpha == "ir" or self._holds_both(file.path)]
        pairs.sort(key=lambda pair: pair.name)
        taken = {path for pair in pairs for path in pair.sources.values()}
        self.unmatched = tuple(file.path for file in (*irs, *viss, *others) if file.path not in taken)
        self._both = {path: known for path, known in self._both.items() if path in self._files}
        for known in (self._tried, self._again):
            for key in [key for key in known if not self._files.keys() >= set(key)]:
                del known[key]
        due, outputs = [], dict[str, Pair]()
        for pair in pairs:
            first = outputs.setdefault(unicodedata.normalize("NFC", str(pair.output)), pair)
            try:
                if first is not pair:
                    check_outputs([first, pair], (), FUSED)
                elif self._is_due(pair, notify):
                    check_outputs([pair], (), FUSED)
                    due.append(pair)
            except LureError as error:
                refuse(error)
        growing = sum(map(len, complete)) < sum(map(len, sides))
        return due, growing or bool(self._again)

    def _stamp(self, paths: set[Path], now: float) -> None:
        """Note how the files are now, and since when those that stayed the same."""
        files: dict[Path, tuple[Stamp, float]] = {}
        for path in paths:
            try:
                status = path.stat()
            except OSError:  # gone since it was listed
                continue
            stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
            known = self._files.get(path)
            if known is None or known[0] != stamp:
                known, self._arrived = (stamp, now), now
            files[path] = known
        self._files = files

    def _quiet(self, path: Path) -> float:
        """Seconds for which a file has not changed, as far as was seen or its own time says."""
        (_, changed, _), since = self._files[path]
        return max(time.monotonic() - since, time.time() - changed / 1e9)

    def _is_complete(self, path: Path) -> bool:
        if path not in self._files:
            return False
        (size, _, _), since = self._files[path]
        return self._quiet(path) >= SETTLE and (size > 0 or time.monotonic() - since >= PATIENCE)

    def _holds_both(self, path: Path) -> bool:
        """Whether a complete file is a pair of its own; one that cannot be told is tried, so that it is named."""
        stamp = self._files[path][0]
        if self._both.get(path, (None,))[0] != stamp:
            self._both[path] = stamp, holds_both(path, damaged=True)
        return self._both[path][1]

    def _stamps(self, pair: Pair) -> tuple[Stamp, Stamp]:
        return self._files[pair.ir][0], self._files[pair.vis][0]

    def _is_due(self, pair: Pair, notify: Notify | None) -> bool:
        """Whether a complete pair is to be fused, for the first time or again."""
        key, stamps = (pair.ir, pair.vis), self._stamps(pair)
        if self._tried.get(key) == stamps:
            return False
        if self._again.get(key) == stamps and self._may_change(pair):
            return False
        if not all(map(os.path.lexists, files_of(pair))):
            return True
        if not self.plan.options.fuse.overwrite:
            if key in self._tried and notify is not None:
                notify(f"{pair.name} has changed, but {pair.output} exists; --overwrite fuses it again")
        elif key in self._tried or max(stamp[1] for stamp in stamps) > pair.output.lstat().st_mtime_ns:
            return True
        self._tried[key] = stamps
        return False

    def _may_change(self, pair: Pair) -> bool:
        return min(self._quiet(pair.ir), self._quiet(pair.vis)) < PATIENCE

    def _news(self, refused: Sequence[LureError]) -> Iterator[LureError]:
        """What is wrong and was not said at the last look."""
        yield from (error for error in refused if error.message not in self._refused)
        self._refused = {error.message for error in refused}


def _listed(o: FuseOptions) -> tuple[list[File], list[File], list[File]]:
    """The infrared files, the visible ones, and those that may be both: their names do not say what they are, or do
    not count."""
    skip = folders_of_outputs(o.output, o.extras, FUSED)
    ir, vis = _sources(o)
    files = present(vis, o.pairing.recursive, skip)
    if ir != vis:
        return present(ir, o.pairing.recursive, skip), files, []
    if o.in_one:
        return [], [], files
    if not o.pairing.recursive and vis.is_dir():
        for folder in sorted(vis.iterdir()):
            if is_marker(folder.name) and folder.is_dir() and os.path.realpath(folder) not in skip:
                files += [File(f.path, folder.name / f.below) for f in present(folder, False, skip)]
    sides: dict[str | None, list[File]] = {"ir": [], "vis": [], None: []}
    for file in files:
        folders = [part for part in file.below.parent.parts if not is_marker(part)]
        sides[side_of(file)].append(File(file.path, Path(*folders, file.below.name)))
    return sides["ir"], sides["vis"], sides[None]


def _sources(o: FuseOptions) -> tuple[Path, Path]:
    """Where infrared and visible files arrive."""
    return o.ir, o.ir if o.vis is None else o.vis


def _watchfiles() -> None:
    """LureError unless the events' library is there."""
    from importlib.util import find_spec

    if find_spec("watchfiles") is None:
        raise LureError("watching needs the package watchfiles", 'install it: pip install "lure-cli[watch]"')


def _ticks(options: WatchOptions) -> Iterator[bool]:
    """Several times a second, whether something happened in the folders since.

    Raises:
        LureError: their events cannot be had.
    """
    import watchfiles

    o = options.fuse
    skip = tuple(folder + os.sep for folder in folders_of_outputs(o.output, o.extras, FUSED))
    roots = {root_of(source) for source in _sources(o)}
    try:
        for changes in watchfiles.watch(
            *roots,
            watch_filter=lambda _, path: not os.path.realpath(path).startswith(skip),
            debounce=100,
            rust_timeout=round(1000 * TICK),
            yield_on_timeout=True,
            force_polling=options.poll or None,
        ):
            yield bool(changes)
    except (OSError, RuntimeError) as error:
        raise LureError(f"{' and '.join(map(str, roots))}: no events ({error})", "list them instead: --poll") from error
