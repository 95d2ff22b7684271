"""What the page asks for: a pair and how it is fused -> pictures, the file, and the command that makes it."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.cli.fuse import options_of
from lure_cli.cli.output import SIDES, describe
from lure_cli.cli.window.command import command_line
from lure_cli.errors import LureError

if TYPE_CHECKING:
    from lure_cli.cli.window.settings import Settings
    from lure_cli.tasks.inference.fuser import Fuser
    from lure_cli.tasks.inference.plan import FuseOptions

MODELS_KEPT = 2
"""Models that stay in memory."""
CLIP_SUFFIXES = {".png": ".mp4", ".tif": ".mkv"}
"""Types of clips, in the place of types of pictures."""


@dataclass(frozen=True)
class Shown:
    """What the page shows of one run.

    Attributes:
        layers: (name, file) of pictures of one size; none of a clip.
        size: (width, height) of the result.
        file: the result in full.
        said: what a person may want to know.
        command: the `lure fuse` that does the same.
        record: as `lure fuse --json` gives it.
    """

    layers: tuple[tuple[str, Path], ...]
    size: tuple[int, int]
    file: Path
    said: tuple[str, ...]
    command: str
    record: Mapping[str, Any]


class Session:
    """Fuses what the page asks for; every run has a folder of its own.

    Args:
        settings: those of the window.
        folder: where those folders lie.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self._fusers: dict[str, Fuser] = {}
        self._loading = threading.Lock()

    def fuser(self, weights: str) -> Fuser:
        """The model of some weights; the last `MODELS_KEPT` stay loaded."""
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

    def new_folder(self) -> Path:
        """An empty folder for one run."""
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir(parents=True)
        return folder

    def drop(self, folder: str | None) -> None:
        """Remove a run's folder; any other is left alone."""
        if folder and Path(folder).parent == self.folder:
            shutil.rmtree(folder, ignore_errors=True)

    def look(self, arguments: Mapping[str, Any], folder: Path) -> Shown:
        """The pair as it is read, before it is fused; arguments and errors as of `fuse`."""
        from lure_cli.tasks.compare import look

        plan = self._plan(arguments, folder / "fused.png")
        layers, said = look(plan)
        paths, size = _write(layers, folder), next(iter(layers.values())).shape
        return Shown(paths, (size[1], size[0]), folder, said, command_line(_as_typed(arguments, ".png")), {})

    def fuse(self, arguments: Mapping[str, Any], folder: Path, suffix: str = ".png") -> Shown:
        """Fuse one pair as `lure fuse` would.

        Args:
            arguments: by the names of the parameters of `lure fuse`.
            folder: where the result and the pictures to look at go.
            suffix: type of the result.

        Raises:
            LureError: as `lure fuse`.
        """
        from lure_cli.tasks.compare import compare

        plan = self._plan(arguments, folder / f"fused{suffix}")
        comparison = compare(plan, self.fuser(plan.options.weights))
        result = comparison.result
        assert result.size is not None
        said = [note.text for note in result.notes]
        said += [f"{SIDES[m]}: found {describe(each)}" for m, each in result.findings.items()]
        return Shown(
            _write(comparison.layers, folder),
            result.size,
            result.item.output,
            tuple(said),
            command_line(_as_typed(arguments, suffix)),
            result.record(),
        )

    def fuse_clips(
        self, arguments: Mapping[str, Any], folder: Path, suffix: str, stop: Callable[[], bool]
    ) -> Iterator[tuple[int, int | None] | Shown]:
        """Fuse two clips; how many frames of how many are done, again and again, and at the end what to show.

        Raises:
            LureError: as `lure fuse`.
        """
        from lure_cli.tasks.video.plan import VideoOptions, plan_video
        from lure_cli.tasks.video.result import ClipResult, Progress
        from lure_cli.tasks.video.run import fuse_clips

        suffix = CLIP_SUFFIXES.get(suffix, ".mp4")
        options = self._options(arguments, folder / f"fused{suffix}")
        plan = plan_video(VideoOptions(options, str(options.ir), str(options.vis)))
        for event in fuse_clips(plan, stop, self.fuser(options.weights)):
            if isinstance(event, Progress):
                yield event.done, event.total
            elif isinstance(event, ClipResult):
                if event.error is not None:
                    raise event.error
                assert event.size is not None
                said = (f"{event.frames} frames", *event.notes)
                command = command_line(_as_typed(arguments, suffix))
                yield Shown((), event.size, folder / f"fused{suffix}", said, command, event.record())

    def _options(self, arguments: Mapping[str, Any], output: Path) -> FuseOptions:
        options = options_of({**arguments, "output": str(output)})
        return replace(options, read=replace(options.read, max_pixels=self.settings.max_pixels))

    def _plan(self, arguments: Mapping[str, Any], output: Path) -> Any:
        from lure_cli.tasks.inference.plan import plan_fuse

        return plan_fuse(self._options(arguments, output))


def are_clips(arguments: Mapping[str, Any]) -> bool:
    """Whether the files are video files."""
    from lure_cli.core.video.source import is_video

    return any(is_video(str(arguments[m])) for m in ("ir", "vis") if arguments.get(m))


def _write(layers: Mapping[str, Any], folder: Path) -> tuple[tuple[str, Path], ...]:
    """Pictures to look at, of 8 bits."""
    from lure_cli.core.images.picture import write_image

    paths = tuple((name, folder / f"{name.replace(' ', '_')}.png") for name in layers)
    for name, path in paths:
        write_image(path, layers[name])
    return paths


def _as_typed(arguments: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    """With the files' own names instead of where they were uploaded to, and a result beside them."""
    named = dict(arguments)
    for m in ("ir", "vis"):
        if named.get(m):
            named[m] = Path(named[m]).name
    return named | {"output": f"{Path(named.get('vis') or named['ir']).stem}_fused{suffix}"}


def two_lines(error: LureError) -> str:
    """An error as the terminal shows it."""
    return f"error: {error.message}\nhint: {error.hint}"
