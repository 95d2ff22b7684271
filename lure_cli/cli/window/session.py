"""What the page asks for: a pair and how it is fused -> pictures, the file, and the command that makes it."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.cli.fuse import options_of
from lure_cli.cli.output import describe
from lure_cli.cli.window.command import command_line
from lure_cli.core.pixels import MODALITY_NAMES
from lure_cli.errors import LureError

if TYPE_CHECKING:
    from lure_cli.cli.window.server import Settings
    from lure_cli.tasks.inference.fuser import Fuser

MODELS_KEPT = 2
"""Models that stay in memory."""


@dataclass(frozen=True)
class Shown:
    """What the page shows of one run: `layers` are (name, file) of pictures of one size (width, height); `file` is the
    result in full; `said` what a person may want to know."""

    layers: tuple[tuple[str, Path], ...]
    size: tuple[int, int]
    file: Path
    said: tuple[str, ...]
    command: str
    record: Mapping[str, Any]


class Session:
    """Fuses what the page asks for; results lie in a folder of their own for each run.

    Args:
        settings: those of the window.
        folder: where results lie.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self._fusers: dict[str, Fuser] = {}
        self._loading = threading.Lock()

    def fuser(self, weights: str) -> Fuser:
        """The model of some weights; the last `MODELS_KEPT` stay loaded."""
        from lure_cli.tasks.inference.fuser import Fuser

        with self._loading:
            if weights not in self._fusers:
                s = self.settings
                loaded = Fuser.from_pretrained(weights, device=s.device, dtype=s.dtype, threads=s.threads)
                for old in list(self._fusers)[: 1 - MODELS_KEPT]:
                    del self._fusers[old]
                self._fusers[weights] = loaded
            return self._fusers[weights]

    def new_folder(self) -> Path:
        """An empty folder for one run."""
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir(parents=True)
        return folder

    def drop(self, folder: str | None) -> None:
        """Remove a run's folder; any other is left alone."""
        if folder and Path(folder).parent == self.folder:
            shutil.rmtree(folder, ignore_errors=True)

    def fuse(self, arguments: Mapping[str, Any], folder: Path, suffix: str = ".png") -> Shown:
        """Fuse one pair as `lure fuse` would.

        Args:
            arguments: by the names of the parameters of `lure fuse`.
            folder: where the result and the pictures to look at go.
            suffix: type of the result.

        Raises:
            LureError: as `lure fuse`.
        """
        from lure_cli.core.images.picture import write_image
        from lure_cli.tasks.compare import compare
        from lure_cli.tasks.inference.plan import plan_fuse

        options = options_of(arguments | {"output": str(folder / f"fused{suffix}")})
        options = replace(options, read=replace(options.read, max_pixels=self.settings.max_pixels))
        comparison = compare(plan_fuse(options), self.fuser(options.weights))
        result = comparison.result
        layers = []
        for name, picture in comparison.layers.items():
            path = folder / f"{name.replace(' ', '_')}.png"
            write_image(path, picture)
            layers.append((name, path))
        assert result.size is not None
        said = [note.text for note in result.notes]
        said += [f"{MODALITY_NAMES[m]}: found {describe(each)}" for m, each in result.findings.items()]
        return Shown(
            tuple(layers),
            result.size,
            result.item.output,
            tuple(said),
            command_line(_as_typed(arguments)),
            result.record(),
        )


def _as_typed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """With the files' own names instead of where they were uploaded to, and a result beside them."""
    named = dict(arguments)
    for m in ("ir", "vis"):
        if named.get(m):
            named[m] = Path(named[m]).name
    return named | {"output": f"{Path(named['vis'] or named['ir']).stem}_fused.png"}


def two_lines(error: LureError) -> str:
    """An error as the terminal shows it."""
    return f"error: {error.message}\nhint: {error.hint}"
