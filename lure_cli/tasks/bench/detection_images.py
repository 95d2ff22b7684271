"""The pictures that object detectors are trained and tested on: fused by each method, once, and kept."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lure_cli.core.images.value_range import ValueRange
from lure_cli.core.pixels import CHANNELS, Modality
from lure_cli.errors import LureError
from lure_cli.tasks.bench.detection_options import CLEAN, FLOORS, SOURCES, Case, DetectPlan, LabelledPairs
from lure_cli.tasks.inference.request import AUTO, request_of

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.tasks.inference.fuser import Fuser
    from lure_cli.tasks.paths.pairing import Pair

_SEVERE = (0.5, 0.9)
"""How severe the degradations of test pairs are, on the scale of each; see `core.training.degradations`."""
_DRAWS = 200
"""After so many the one nearest to `_SEVERE` is taken: the recipe of rain reaches 0.4 at most."""


@dataclass(frozen=True)
class Test:
    """One set of pictures that the detectors of a method are tested on: the case, None for the clean pairs, and what
    was asked for: nothing (`plain`), the right prompt (`prompt`), or `auto`."""

    case: Case | None
    asked: str = "plain"

    @property
    def name(self) -> str:
        """As results call it: `clean`, `vis_haze`, `vis_haze-prompt`."""
        return CLEAN if self.case is None else self.case.name + ("" if self.asked == "plain" else f"-{self.asked}")


def tests_of(method: str, plan: DetectPlan) -> tuple[Test, ...]:
    """What the detectors of a method are tested on: one source on what is wrong with it, floors on all that is
    degraded, models also restored; others' pictures are there for the clean pairs alone."""
    tests = [Test(None)]
    for case in plan.cases if method not in plan.fused else ():
        if SOURCES.get(method, case.modality) == case.modality:
            restored = () if method in SOURCES or method in FLOORS else ("prompt", "auto")
            tests += [Test(case, asked) for asked in ("plain", *restored)]
    return tuple(tests)


class Pictures:
    """The pictures of each method, made when they are asked for, below the output folder: `fused/<method>/<set>` and
    `degraded/<case>`; what is there is not made again.

    Args:
        plan: whose. weights: name -> file, of models. notify: told what is done. stop: asked after each picture.
    """

    def __init__(
        self,
        plan: DetectPlan,
        weights: Mapping[str, Path],
        notify: Callable[[str], None],
        stop: Callable[[], bool],
    ) -> None:
        self.plan, self.weights, self._notify, self._stop = plan, weights, notify, stop
        self._fuser: tuple[str, Fuser] | None = None

    def training(self, method: str) -> dict[str, Path] | None:
        """The pictures to train on, by name; None if it was stopped."""
        if method in self.plan.fused:
            return dict(self.plan.fused[method]["train"])
        return self._all(method, "train", self.plan.train, Test(None))

    def testing(self, method: str, test: Test) -> dict[str, Path] | None:
        """The pictures of a test, by name; None if it was stopped."""
        if method in self.plan.fused:
            return dict(self.plan.fused[method]["test"])
        return self._all(method, test.name, self.plan.test, test)

    def _all(self, method: str, folder: str, split: LabelledPairs, test: Test) -> dict[str, Path] | None:
        made, root = {}, self.plan.options.output / "fused" / method / folder
        sources = {name: self._sources(pair, test) for name, pair in split.pairs.items()}
        if method in SOURCES:
            return {name: of[SOURCES[method]] for name, of in sources.items()}
        missing = [name for name in sources if not (root / f"{name}.png").is_file()]
        if missing:
            self._notify(f"{method}: fusing {len(missing)} pairs ({folder})")
        for done, name in enumerate(missing, 1):
            self._fuse(method, sources[name], test, root / f"{name}.png")
            if done % 50 == 0:
                self._notify(f"{method}: {done} of {len(missing)} pairs ({folder})")
            if self._stop():
                return None
        made = {name: root / f"{name}.png" for name in sources}
        return made

    def _sources(self, pair: Pair, test: Test) -> dict[Modality, Path]:
        """The files of a pair, one of them degraded if the test says so."""
        sources: dict[Modality, Path] = {"ir": pair.ir, "vis": pair.vis}
        if test.case is not None:
            m, path = test.case.modality, self.plan.options.output / "degraded" / test.case.name / f"{pair.name}.png"
            if not path.is_file():
                _degrade(sources[m], test.case, pair.name, path)
            sources[m] = path
        return sources

    def _fuse(self, method: str, sources: Mapping[Modality, Path], test: Test, path: Path) -> None:
        from lure_cli.core.images.picture import write_image

        if method in FLOORS:
            write_image(path, _floor(method, sources))
            return
        if self._fuser is None or self._fuser[0] != method:
            from lure_cli.tasks.inference.fuser import Fuser

            o = self.plan.options
            self._fuser = method, Fuser.from_pretrained(self.weights[method], o.device, o.dtype)
        request = request_of(AUTO if test.asked == AUTO else None)
        if test.asked == "prompt" and test.case is not None:
            request = replace(request, prompt=test.case.prompt)
        request = replace(request, vis_range=ValueRange(modality="vis"))
        write_image(path, self._fuser[1].fuse_request(sources["ir"], sources["vis"], request).picture)


def read_source(path: Path, modality: Modality) -> np.ndarray:
    """A source on the range on which it is fused, float32 (H, W, 1 or 3) in [0, 1]."""
    from lure_cli.core.images.picture import read_picture

    channels = CHANNELS[modality]
    return read_picture(path, channels=channels, value_range=ValueRange(modality=modality)).x  # type: ignore[arg-type]


def read_seen(path: Path, method: str) -> np.ndarray:
    """A picture as detectors see it: uint8 (H, W, 3)."""
    from lure_cli.core.images.picture import quantised, read_image, to_channels

    x = read_source(path, SOURCES[method]) if method in SOURCES else read_image(path, channels=3)
    return quantised(to_channels(x, 3), 8)


def _floor(method: str, sources: Mapping[Modality, Path]) -> np.ndarray:
    """A baseline's picture, which is grey, with the colours (Cb and Cr) of the visible image, as is usual."""
    import numpy as np

    from lure_cli.core.images.picture import to_channels
    from lure_cli.core.metrics.baselines import BASELINES

    ir, vis = (read_source(sources[m], m) for m in ("ir", "vis"))
    if ir.shape[:2] != vis.shape[:2]:
        raise LureError(f"{sources['ir']} and {sources['vis']} differ in size", "give registered pairs")
    luma = to_channels(vis, 1)[..., 0]
    fused = BASELINES[method](255.0 * ir[..., 0].astype(np.float64), 255.0 * luma.astype(np.float64)) / 255
    return np.clip(vis + (fused - luma)[..., None], 0, 1)


def _degrade(source: Path, case: Case, name: str, path: Path) -> None:
    """Write an image, degraded: the first draw of the recipe that is as severe as `_SEVERE`, or else the nearest of
    `_DRAWS`; what is drawn depends on the case and the name alone."""
    import torch

    from lure_cli.core.images.picture import write_image
    from lure_cli.core.training.degradations import degrade_measured

    x = torch.tensor(read_source(source, case.modality)).permute(2, 0, 1)
    least, nearest = math.inf, x
    for draw in range(_DRAWS):
        seed = int.from_bytes(hashlib.sha256(f"{case.name}/{name}/{draw}".encode()).digest()[:6])
        y, severity = degrade_measured(x, (case.degradation,), case.modality, torch.Generator().manual_seed(seed))
        off = max(_SEVERE[0] - severity[case.degradation], severity[case.degradation] - _SEVERE[1], 0.0)
        if off < least:
            least, nearest = off, y
        if not off:
            break
    write_image(path, nearest.permute(1, 2, 0).numpy())
