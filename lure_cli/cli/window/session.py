"""What the page asks for: a pair and how it is fused -> pictures, the file, and the command that makes it."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.cli.fuse import fuse_options
from lure_cli.cli.output import SIDES, describe
from lure_cli.cli.window.command import command_line
from lure_cli.errors import LureError

if TYPE_CHECKING:
    from lure_cli.cli.window.settings import Settings
    from lure_cli.tasks.inference.fuser import Fuser
    from lure_cli.tasks.inference.options import FuseOptions
    from lure_cli.tasks.inference.plan import FusePlan

MODELS_KEPT = 2
"""Models that stay in memory."""
CLIP_SUFFIXES = {".png": ".mp4", ".tif": ".mkv"}
"""Types of clips, in the place of types of pictures."""
FILES = ("ir", "vis", "rig")
"""Parameters that are files which were uploaded."""
BESIDE = {"temperature": ".tif", "provenance": ".png"}
"""Parameters that are files beside the result, and their types; on the page they are wanted or not."""
OLD = 3600.0
"""Seconds after which files go that no open page shows."""


@dataclass(frozen=True)
class Shown:
    """What the page shows of one run.

    Attributes:
        layers: (name, file) of pictures of one size; none of a clip.
        size: (width, height) of the result.
        file: the result in full; None: there is none yet.
        said: what a person may want to know.
        command: the `lure fuse` that does the same.
        record: as `lure fuse --json` gives it.
        temperature: the file of temperatures, if they were wanted.
    """

    layers: tuple[tuple[str, Path], ...]
    size: tuple[int, int]
    file: Path | None
    said: tuple[str, ...]
    command: str
    record: Mapping[str, Any] = field(default_factory=dict)
    temperature: Path | None = None


class Stopped(LureError):
    """Somebody does not want to wait for the result any more."""

    def __init__(self) -> None:
        super().__init__("stopped before there was a result", "Fuse begins anew")


@dataclass(frozen=True)
class Run:
    """One piece of work: its folder, and whether it is to stop."""

    folder: Path
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass
class _Visit:
    """What one open page holds: the run that it shows and its arguments, those at work, the uploads that it uses."""

    shown: Path | None = None
    arguments: Mapping[str, Any] | None = None
    working: list[Run] = field(default_factory=list)
    uploads: set[Path] = field(default_factory=set)


class Session:
    """Fuses what pages ask for; every run has a folder of its own, and every page's files go with it.

    Args:
        settings: those of the window.
        folder: where uploads and results lie.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder, self.results = settings, folder, folder / "results"
        self.results.mkdir(parents=True, exist_ok=True)
        self._fusers: dict[str, Fuser] = {}
        self._visits: dict[str, _Visit] = {}
        self._loading, self._changing = threading.Lock(), threading.Lock()

    def fuser(self, weights: str) -> Fuser:
        """The model of some weights; the last `MODELS_KEPT` stay loaded. LureError if they cannot be used."""
        from lure_cli.tasks.inference.fuser import Fuser

        with self._loading:
            fuser = self._fusers.pop(weights, None)
            if fuser is None:
                s = self.settings
                fuser = Fuser.from_pretrained(weights, device=s.device, dtype=s.dtype, threads=s.threads)
            self._fusers[weights] = fuser  # the last in line is the last to go
            while len(self._fusers) > MODELS_KEPT:
                del self._fusers[next(iter(self._fusers))]
            return fuser

    # --- files -------------------------------------------------------------------------------------------------------

    @contextmanager
    def run(self, page: str | None, arguments: Mapping[str, Any]) -> Iterator[Run]:
        """One run of a page (None: of a program). What the page showed before goes once the run is through, and what
        the run itself has made if it fails or the page is closed meanwhile."""
        run = Run(self.results / uuid.uuid4().hex)
        run.folder.mkdir(parents=True)
        if page is not None:
            with self._changing:
                visit = self._visits.setdefault(page, _Visit())
                visit.working.append(run)
                gone = visit.uploads - (used := self._uploaded(arguments))
                visit.uploads = used
                self._forget(gone)
        whole = False
        try:
            yield run
            whole = True
        finally:
            with self._changing:
                here = None if page is None else self._visits.get(page)
                if here is not None:
                    here.working.remove(run)
                if whole and here is not None:
                    before, here.shown, here.arguments = here.shown, run.folder, arguments
                else:
                    before = run.folder if page is not None or not whole else None
                    if here is not None:
                        here.arguments = None  # what the page says now is about those that failed
            if before is not None:
                shutil.rmtree(before, ignore_errors=True)

    def is_shown(self, page: str, arguments: Mapping[str, Any]) -> bool:
        """Whether that is what a page shows the pair or the result of."""
        with self._changing:
            return self._visits.get(page, _Visit()).arguments == arguments

    def stop(self, page: str) -> None:
        """What a page is waiting for is not wanted any more."""
        with self._changing:
            for run in self._visits.get(page, _Visit()).working:
                run.stop.set()

    def leave(self, page: str) -> None:
        """A page was closed: its work ends and its files go."""
        self.stop(page)
        with self._changing:
            visit = self._visits.pop(page, _Visit())
            self._forget(visit.uploads)
        if visit.shown is not None:
            shutil.rmtree(visit.shown, ignore_errors=True)

    def close(self) -> None:
        """All pages were closed."""
        for page in list(self._visits):
            self.leave(page)

    def sweep(self, old: float = OLD) -> None:
        """Remove files and results that no open page holds, if they are older than so many seconds."""
        with self._changing:
            visits = list(self._visits.values())
            held = {v.shown for v in visits} | {run.folder for v in visits for run in v.working}
            held |= {path.parent for v in visits for path in v.uploads} | {self.results}
            for path in (*self.folder.iterdir(), *self.results.iterdir()):
                if path in held or time.time() - path.stat().st_mtime < old:
                    continue
                path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)

    def check_uploads(self, arguments: Mapping[str, Any]) -> None:
        """LureError unless all files are uploads, by their full names: what a program names could be any file here."""
        for path in self._uploaded(arguments):
            if not path.is_file() or path.resolve().parent.parent != self.folder.resolve():
                raise LureError(f"{path.name}: is not among the uploads", "upload it (again)")

    def _uploaded(self, arguments: Mapping[str, Any]) -> set[Path]:
        return {Path(arguments[name]) for name in FILES if arguments.get(name)}

    def _forget(self, uploads: Iterable[Path]) -> None:
        """Remove uploads that no page uses; equal files are there once. What lies elsewhere stays."""
        used = set().union(*(visit.uploads for visit in self._visits.values()))
        for path in set(uploads) - used:
            if path.parent.parent == self.folder:
                shutil.rmtree(path.parent, ignore_errors=True)

    def without_folders(self, text: str) -> str:
        """A text with the names of uploads and results instead of their places."""
        return re.sub(rf"{re.escape(str(self.folder))}[/\\](?:results[/\\])?[^/\\\s]+[/\\]", "", text)

    # --- work --------------------------------------------------------------------------------------------------------

    def look(self, arguments: Mapping[str, Any], run: Run) -> Shown:
        """The pair as it is read, before it is fused; arguments and errors as of `fuse`."""
        from lure_cli.tasks.compare import look

        layers, said = look(self._plan(arguments, run.folder / "fused.png"))
        size = next(iter(layers.values())).shape
        shown = tuple(map(self.without_folders, said))
        return Shown(_write(layers, run.folder), (size[1], size[0]), None, shown, command_line(_typed(arguments)))

    def fuse(
        self, arguments: Mapping[str, Any], run: Run, suffix: str = ".png", plain: bool = True, layers: bool = True
    ) -> Shown:
        """Fuse one pair as `lure fuse` would.

        Args:
            arguments: by the names of the parameters of `lure fuse`; `temperature` and `provenance`: whether they are
                wanted.
            run: where the result and the pictures to look at go.
            suffix: type of the result.
            plain: the plain fusion is wanted as well, to look at.
            layers: pictures to look at are wanted at all.

        Raises:
            LureError: as `lure fuse`; Stopped.
        """
        from lure_cli.tasks.compare import compare

        if run.stop.is_set():
            raise Stopped()
        plan = self._plan(arguments, run.folder / f"fused{suffix}")
        fuser = self.fuser(plan.options.weights)
        try:
            with _stoppable(fuser, run.stop):
                comparison = compare(plan, fuser, plain)
        except LureError as error:
            raise Stopped() if run.stop.is_set() else error from None
        result = comparison.result
        assert result.size is not None
        said = [note.text for note in result.notes]
        said += [f"{SIDES[m]}: found {describe(each)}" for m, each in result.findings.items()]
        if result.temperatures is not None:
            said.append(f"measured: {result.temperatures}")
        return Shown(
            _write(comparison.layers, run.folder) if layers else (),
            result.size,
            result.item.output,
            tuple(map(self.without_folders, said)),
            command_line(_typed(arguments, suffix)),
            self._record(result.record()),
            result.item.extras.get("temperature"),
        )

    def fuse_clips(
        self, arguments: Mapping[str, Any], run: Run, suffix: str
    ) -> Iterator[tuple[int, int | None] | Shown]:
        """Fuse two clips; how many frames of how many are done, again and again, and at the end what to show. If it is
        stopped, that is the clip up to there.

        Raises:
            LureError: as `lure fuse`.
        """
        from lure_cli.tasks.video.plan import VideoOptions, plan_video
        from lure_cli.tasks.video.result import ClipResult, Progress
        from lure_cli.tasks.video.run import fuse_clips

        suffix = CLIP_SUFFIXES.get(suffix, ".mp4")
        output = run.folder / f"fused{suffix}"
        if not arguments.get("vis"):
            raise LureError("no visible clip is given", "drop one")
        options = self._options(arguments, output)
        plan = plan_video(VideoOptions(options, str(options.ir), str(options.vis)))
        with closing(fuse_clips(plan, run.stop.is_set, self.fuser(options.weights))) as events:  # type: ignore[type-var]
            for event in events:
                if isinstance(event, Progress):
                    yield event.done, event.total
                elif isinstance(event, ClipResult):
                    if event.error is not None:
                        raise Stopped() if run.stop.is_set() else event.error
                    assert event.size is not None
                    said = [f"stopped after {event.frames} frames"] if event.interrupted else [f"{event.frames} frames"]
                    said += [self.without_folders(text) for text in event.notes]
                    command = command_line(_typed(arguments, suffix))
                    yield Shown((), event.size, output, tuple(said), command, self._record(event.record()))
                    return
        raise Stopped()

    def _options(self, arguments: Mapping[str, Any], output: Path) -> FuseOptions:
        s = self.settings
        given = {"max_pixels": s.max_pixels, "device": s.device, "dtype": s.dtype, "threads": s.threads}
        given |= {"weights": s.weights[0], **arguments, "outputs": str(output)}
        if given["weights"] not in s.weights:  # others could be files of this machine, or be downloaded
            raise LureError(f"the model '{given['weights']}' is not offered here", f"one of {', '.join(s.weights)}")
        given |= {name: str(output.with_name(f"{name}{end}")) for name, end in BESIDE.items() if arguments.get(name)}
        return fuse_options(given)

    def _plan(self, arguments: Mapping[str, Any], output: Path) -> FusePlan:
        from lure_cli.tasks.inference.plan import plan_fuse

        return plan_fuse(self._options(arguments, output))

    def _record(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        return json.loads(self.without_folders(json.dumps(record)))  # type: ignore[no-any-return]


def are_clips(arguments: Mapping[str, Any]) -> bool:
    """Whether the files are video files."""
    from lure_cli.core.video.source import is_video

    return any(is_video(str(arguments[m])) for m in ("ir", "vis") if arguments.get(m))


def is_pair(arguments: Mapping[str, Any]) -> bool:
    """Whether there are both images of a pair: two files, or a radiometric one with a photo inside."""
    from lure_cli.core.images.radiometric import radiometric_sizes

    if arguments.get("vis") or not arguments.get("ir"):
        return bool(arguments.get("vis") and arguments.get("ir"))
    sizes = radiometric_sizes(Path(arguments["ir"]))
    return sizes is not None and sizes.photo is not None


def two_lines(error: LureError) -> str:
    """An error as the terminal shows it."""
    return f"error: {error.message}\nhint: {error.hint}"


@contextmanager
def _stoppable(fuser: Fuser, stop: threading.Event) -> Iterator[None]:
    """Within this, `Stopped` is raised before the next layer of the model once that is wanted."""

    def check(*_: Any) -> None:
        if stop.is_set():
            raise Stopped()

    modules = getattr(fuser.engine.model, "modules", tuple)  # a graph has none
    hooks = [layer.register_forward_pre_hook(check) for layer in modules()]
    try:
        check()
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _write(layers: Mapping[str, Any], folder: Path) -> tuple[tuple[str, Path], ...]:
    """Pictures to look at, PNG of 8 bits: compressed little, as that takes most of the time."""
    from concurrent.futures import ThreadPoolExecutor

    import imagecodecs

    from lure_cli.core.images.picture import quantised

    def write(path: Path, picture: Any) -> None:
        pixels = quantised(picture, 8)
        fast = {"level": 1, "strategy": imagecodecs.PNG.STRATEGY.RLE, "filter": imagecodecs.PNG.FILTER.UP}
        path.write_bytes(imagecodecs.png_encode(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, **fast))

    below = folder / "layers"
    below.mkdir()
    paths = tuple((name, below / f"{name.replace(' ', '_')}.png") for name in layers)
    with ThreadPoolExecutor() as pool:
        list(pool.map(write, [path for _, path in paths], layers.values()))
    return paths


def _typed(arguments: Mapping[str, Any], suffix: str = ".png") -> dict[str, Any]:
    """With the files' own names instead of where they were uploaded to, and a result beside them."""
    named = dict(arguments)
    for name in FILES:
        if named.get(name):
            named[name] = Path(named[name]).name
    if named.get("ir") == named.get("vis"):  # of two folders
        named |= {name: f"{name}/{named[name]}" for name in ("ir", "vis")}
    stem = Path(named.get("vis") or named["ir"]).stem
    named |= {name: f"{stem}_{name}{end}" for name, end in BESIDE.items() if named.get(name)}
    return named | {"outputs": [f"{stem}_fused{suffix}"]}
