"""Restoration on test sets with references: what an image gains by being restored, set by set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lure_cli.core.pixels import MODALITY_NAMES, Modality
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.bench.adherence import wrong_prompt
from lure_cli.tasks.bench.cases import label_weights
from lure_cli.tasks.bench.result import UNPROMPTED, WRONG
from lure_cli.tasks.inference.loading import check_prompts
from lure_cli.tasks.paths.find import list_images
from lure_cli.tasks.weights.find import DEFAULT

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.core.pixels import MODALITY_NAMES, Modality
    from lure_cli.tasks.inference.fuser import Fuser

METRICS = ("PSNR", "SSIM")
FITTED = "PSNR-fit"
"""PSNR after the best gain and offset of brightness, where `fit` asks for it."""
INPUT = "input"
_EXPECTED_LAYOUT = "it holds restoration/<visible|infrared>/<degradation>/<set>/test/{degraded,clean}, with equal names"


@dataclass(frozen=True)
class RestoreBenchOptions:
    """What `lure bench restore` was asked to do; see the command's help.

    `weights` may be empty, then only the images as they come are scored. `clean` names folders of clean images, each
    with what it shows (`vis`, `ir`), or None: its parent folder says so.
    """

    data: Path
    _: KW_ONLY
    weights: tuple[str, ...] = (DEFAULT,)
    only: tuple[str, ...] = ()
    clean: tuple[tuple[str | None, Path], ...] = ()
    no_prompt: bool = False
    wrong: bool = False
    fit: bool = False
    limit: int | None = None
    save: Path | None = None
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True)
class RestorationSet:
    """Images with references: (degraded, clean) files. Without a degradation both are one, and nothing is asked for."""

    name: str
    modality: Modality
    degradation: str | None
    files: tuple[tuple[Path, Path], ...]

    @property
    def prompt(self) -> Prompt:
        """What is wrong with the images."""
        return Prompt(**{self.modality: (self.degradation,)}) if self.degradation else Prompt()


@dataclass(frozen=True)
class RestoreBench:
    """The outcome: `values` is set -> method -> image -> metric -> value; the first method is `input`. PSNR is infinite
    where an image came out as its reference."""

    sets: tuple[RestorationSet, ...]
    methods: tuple[str, ...]
    values: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]
    failed: tuple[LureError, ...] = ()
    metrics: tuple[str, ...] = METRICS

    def mean(self, name: str, method: str, metric: str) -> float:
        """The mean over the images of a set; those without a finite value are left out. NaN if that is all of them."""
        values = [of[metric] for of in self.values[name].get(method, {}).values() if math.isfinite(of[metric])]
        return sum(values) / len(values) if values else math.nan

    def identical(self, name: str, method: str) -> int:
        """How many images of a set came out as their reference, to the last bit."""
        return sum(math.isinf(values["PSNR"]) for values in self.values[name].get(method, {}).values())

    def count(self, name: str) -> int:
        """How many images of a set were scored."""
        return max(map(len, self.values[name].values()))

    @property
    def wrong(self) -> bool:
        """Whether there are runs with wrong prompts."""
        return self.methods[-1].endswith(WRONG)


def parse_clean(values: Iterable[str]) -> tuple[tuple[str | None, Path], ...]:
    """`--clean`: DIR, vis=DIR or ir=DIR."""
    folders: list[tuple[str | None, Path]] = []
    for value in values:
        side, equals, rest = value.partition("=")
        folders.append((side, Path(rest)) if equals and side in MODALITY_NAMES else (None, Path(value)))
    return tuple(folders)


def find_sets(options: RestoreBenchOptions) -> tuple[RestorationSet, ...]:
    """The test sets of a data folder, and the folders of clean images that were named.

    Raises:
        LureError: no such folder, nothing in it, unpaired files, a set or a folder that is not there.
    """
    from lure_cli.core.training.corpus import restoration_pairs
    from lure_cli.core.training.layout import read_layout

    o = options
    if o.limit is not None and o.limit < 1:
        raise LureError(f"--limit {o.limit} leaves nothing to do", "give a number from 1 on")
    test_sets = [
        RestorationSet(f"{MODALITY_NAMES[m]}/{degradation}/{name}", m, degradation, tuple((f[0], f[1]) for f in files))
        for (m, degradation), sets in restoration_pairs(read_layout(o.data), "never trained on").items()
        for name, files in sets.items()
    ]
    for wanted in o.only:
        if not any(_is_called(each, wanted) for each in test_sets):
            known = ", ".join(each.name for each in test_sets) or "none"
            raise LureError(f"{o.data}: has no test set '{wanted}'", f"there are {known}")
    if o.only:
        test_sets = [each for each in test_sets if any(_is_called(each, wanted) for wanted in o.only)]
    if not test_sets and not o.clean:
        raise LureError(f"{o.data}: holds no test sets", _EXPECTED_LAYOUT)
    test_sets += [_clean_set(side, folder) for side, folder in o.clean]
    if len({each.name for each in test_sets}) < len(test_sets):
        raise LureError("two folders of clean images have the same name", "give each once, or rename one")
    return tuple(replace(each, files=each.files[: o.limit]) for each in test_sets)


def _is_called(each: RestorationSet, wanted: str) -> bool:
    """By its whole name, the end of it or one part: `visible/noise/CC`, `noise/CC`, `CC`, `noise`."""
    return f"/{each.name}".endswith(f"/{wanted}") or wanted in each.name.split("/")


def _clean_set(side: str | None, folder: Path) -> RestorationSet:
    parent = folder.resolve().parent.name
    modality = side or next((m for m, word in MODALITY_NAMES.items() if word == parent), None)
    if modality not in ("ir", "vis"):
        raise LureError(
            f"{folder}: is it visible or infrared?",
            f"say --clean vis={folder} or --clean ir={folder}, unless it lies in a folder 'visible' or 'infrared'",
        )
    files = list_images(folder)
    if not files:
        raise LureError(f"{folder}: holds no image files", "give the folder that holds the images themselves")
    stems = {path.stem: path for path in files}
    for path in files:
        if stems[path.stem] != path:
            raise LureError(f"{path} and {stems[path.stem]} have the same name", "keep one of the two")
    name = f"clean/{folder.resolve().name}"
    return RestorationSet(name, modality, None, tuple((path, path) for path in files))  # type: ignore[arg-type]


def bench_restore(options: RestoreBenchOptions, progress: Callable[[str], None] | None = None) -> RestoreBench:
    """Restore every image of every set with the prompt that names its degradation, and score it against its reference.

    All is scored as 8-bit images, visible ones in colour, with `reference_psnr` and `reference_ssim` of
    `lure_cli.core.metrics` (the SSIM of scikit-image: 7x7 uniform window, mean over channels). Clean images are
    restored without a prompt, and scored against themselves. `no_prompt` and `wrong` add runs without a prompt
    (`-no-prompt`) and with a wrong one (`-wrong-prompt`, see `adherence.wrong_prompt`). `fit` adds `fitted_psnr`: for
    references whose brightness is another, as that of derived ones often is.

    Args:
        options: what to do. With `save`, restored images are kept as `<save>/<method>/<set>/<name>.png`; files that
            are there are replaced.
        progress: called with what is done next.

    Returns:
        The values; an image that cannot be read or restored is left out everywhere, and reported in `failed`.

    Raises:
        LureError: data or weights that are missing or cannot be used.
    """
    from lure_cli.tasks.inference.fuser import Fuser

    notify = progress or (lambda line: None)
    sets = find_sets(options)
    weights = label_weights(options.weights, progress)
    for name, path in weights.items():
        check_prompts({each.prompt for each in sets}, path, name)
    fusers = {name: Fuser.from_pretrained(path, options.device, options.dtype) for name, path in weights.items()}
    methods = [INPUT, *(name + suffix for name in fusers for suffix in _runs(Prompt(), options))]
    values: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    failed: list[LureError] = []
    for each in sets:
        notify(f"{each.name}: restoring {len(each.files)} images")
        values[each.name] = {method: {} for method in methods}
        for degraded, clean in each.files:
            try:
                scores = _score_image(each, degraded, clean, fusers, options)
            except LureError as error:
                failed.append(error)
                continue
            for method, of_method in scores.items():
                values[each.name][method][degraded.stem] = of_method
    return RestoreBench(sets, tuple(methods), values, tuple(failed), _metrics(options))


def _metrics(options: RestoreBenchOptions) -> tuple[str, ...]:
    return (*METRICS, FITTED) if options.fit else METRICS


def _runs(prompt: Prompt, options: RestoreBenchOptions) -> dict[str, Prompt]:
    """What each weights file is told: end of the method's name -> prompt."""
    runs = {"": prompt}
    if options.no_prompt:
        runs[UNPROMPTED] = Prompt()
    if options.wrong:
        runs[WRONG] = wrong_prompt(prompt)
    return runs


def _score_image(
    each: RestorationSet, degraded: Path, clean: Path, fusers: Mapping[str, Fuser], options: RestoreBenchOptions
) -> dict[str, dict[str, float]]:
    """method -> metric -> value."""
    from lure_cli.core.images.picture import quantised, read_image, write_image
    from lure_cli.tasks.inference.request import Request

    x, y = (read_image(path, channels=1 if each.modality == "ir" else 3) for path in (degraded, clean))
    if x.shape != y.shape:
        (h, w), (hc, wc) = x.shape[:2], y.shape[:2]
        raise LureError(f"{degraded} is {w}x{h} but {clean} is {wc}x{hc}", "both must show the same view")
    reference, metrics = quantised(y, 8), _metrics(options)
    scores = {INPUT: _scores(quantised(x, 8), reference, metrics)} if each.degradation else {}
    for name, fuser in fusers.items():
        restored: dict[Prompt, np.ndarray] = {}
        for suffix, prompt in _runs(each.prompt, options).items():
            method = name + suffix
            if prompt not in restored:
                restored[prompt] = fuser.restore_request(x, each.modality, Request(prompt)).picture
            scores[method] = _scores(quantised(restored[prompt], 8), reference, metrics)
            if options.save is not None:
                write_image(options.save / method / each.name / f"{degraded.stem}.png", restored[prompt])
    return scores


def _scores(image: np.ndarray, reference: np.ndarray, metrics: Iterable[str]) -> dict[str, float]:
    """uint8 (H, W, C), both."""
    from lure_cli.core.metrics import fitted_psnr, reference_psnr, reference_ssim

    of = {"PSNR": reference_psnr, "SSIM": reference_ssim, FITTED: fitted_psnr}
    return {metric: of[metric](image, reference) for metric in metrics}


def named_wrongly(each: RestorationSet) -> str:
    """The degradation that a set's wrong prompt names."""
    return str(getattr(wrong_prompt(each.prompt), each.modality)[0])
