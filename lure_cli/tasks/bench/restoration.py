"""Restoration on test sets with references: what an image gains by being restored, set by set."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.pixels import MODALITY_NAMES, Modality
from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.bench.adherence import wrong_prompt
from lure_cli.tasks.bench.cases import label_weights
from lure_cli.tasks.bench.result import UNPROMPTED, WRONG, defined
from lure_cli.tasks.paths.find import list_images
from lure_cli.tasks.report.table import Cell, Table, format_number, markdown_table, marks_of
from lure_cli.tasks.weights.find import DEFAULT

if TYPE_CHECKING:
    import numpy as np

    from lure_cli.tasks.inference.fuser import Fuser

METRICS = ("PSNR", "SSIM")
INPUT = "input"
_LAYOUT = "it holds restoration/<visible|infrared>/<degradation>/<set>/test/{degraded,clean}, with equal names"


@dataclass(frozen=True)
class RestoreBenchOptions:
    """What `lure bench restore` was asked to do; see the command's help.

    `weights` may be empty, then only the images as they come are scored. `clean` names folders of clean images, each
    with what it shows (`vis`, `ir`), or None: its parent folder says so.
    """

    data: Path
    weights: tuple[str, ...] = (DEFAULT,)
    only: tuple[str, ...] = ()
    clean: tuple[tuple[str | None, Path], ...] = ()
    no_prompt: bool = False
    wrong: bool = False
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

    def mean(self, name: str, method: str, metric: str) -> float:
        """The mean over the images of a set; those without a finite value are left out. NaN if that is all of them."""
        found = [values[metric] for values in self.values[name].get(method, {}).values()]
        found = [v for v in found if math.isfinite(v)]
        return sum(found) / len(found) if found else math.nan

    def identical(self, name: str, method: str) -> int:
        """How many images of a set came out as their reference, to the last bit."""
        return sum(math.isinf(values["PSNR"]) for values in self.values[name].get(method, {}).values())


def parse_clean(values: Iterable[str]) -> tuple[tuple[str | None, Path], ...]:
    """`--clean`: DIR, vis=DIR or ir=DIR."""
    made: list[tuple[str | None, Path]] = []
    for value in values:
        side, equals, rest = value.partition("=")
        made.append((side, Path(rest)) if equals and side in MODALITY_NAMES else (None, Path(value)))
    return tuple(made)


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
    found = [
        RestorationSet(f"{MODALITY_NAMES[m]}/{degradation}/{name}", m, degradation, tuple((f[0], f[1]) for f in files))
        for (m, degradation), sets in restoration_pairs(read_layout(o.data), "never trained on").items()
        for name, files in sets.items()
    ]
    for wanted in o.only:
        if not any(_is_called(each, wanted) for each in found):
            raise LureError(
                f"{o.data}: has no test set '{wanted}'", f"there are {', '.join(s.name for s in found) or 'none'}"
            )
    if o.only:
        found = [each for each in found if any(_is_called(each, wanted) for wanted in o.only)]
    if not found and not o.clean:
        raise LureError(f"{o.data}: holds no test sets", _LAYOUT)
    found += [_clean_set(side, folder) for side, folder in o.clean]
    if len({each.name for each in found}) < len(found):
        raise LureError("two folders of clean images have the same name", "give each once, or rename one")
    return tuple(RestorationSet(each.name, each.modality, each.degradation, each.files[: o.limit]) for each in found)


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
    (`-no-prompt`) and with a wrong one (`-wrong-prompt`, see `honesty.wrong_prompt`).

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

    say = progress or (lambda line: None)
    sets = find_sets(options)
    weights = label_weights(options.weights, progress)
    fusers = {name: Fuser.from_pretrained(path, options.device, options.dtype) for name, path in weights.items()}
    methods = [INPUT, *(name + suffix for name in fusers for suffix in _runs(Prompt(), options))]
    values: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    failed: list[LureError] = []
    for each in sets:
        say(f"{each.name}: restoring {len(each.files)} images")
        values[each.name] = {method: {} for method in methods}
        for degraded, clean in each.files:
            try:
                scores = _score_image(each, degraded, clean, fusers, options)
            except LureError as error:
                failed.append(error)
                continue
            for method, found in scores.items():
                values[each.name][method][degraded.stem] = found
    return RestoreBench(sets, tuple(methods), values, tuple(failed))


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
    reference = quantised(y, 8)
    scores = {INPUT: _scores(quantised(x, 8), reference)} if each.degradation else {}
    for name, fuser in fusers.items():
        made: dict[Prompt, np.ndarray] = {}
        for suffix, prompt in _runs(each.prompt, options).items():
            method = name + suffix
            if prompt not in made:
                made[prompt] = fuser.fulfil_one(x, each.modality, Request(prompt))[0]
            scores[method] = _scores(quantised(made[prompt], 8), reference)
            if options.save is not None:
                write_image(options.save / method / each.name / f"{degraded.stem}.png", made[prompt])
    return scores


def _scores(image: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """uint8 (H, W, C), both."""
    from lure_cli.core.metrics import reference_psnr, reference_ssim

    return {"PSNR": reference_psnr(image, reference), "SSIM": reference_ssim(image, reference)}


def to_dict(found: RestoreBench) -> dict[str, Any]:
    """JSON-ready: the means of each set, and the values of every image; undefined and infinite is null."""
    return {
        "methods": list(found.methods),
        "sets": [
            {
                "set": each.name,
                "modality": each.modality,
                "prompt": each.degradation,
                **({"wrong_prompt": _wrong(each)} if _has_wrong(found) else {}),
                "images": _count(found, each),
                "means": {m: {k: defined(found.mean(each.name, m, k)) for k in METRICS} for m in found.methods},
                "identical": {m: found.identical(each.name, m) for m in found.methods},
            }
            for each in found.sets
        ],
        "images": {
            name: {m: {i: {k: defined(v) for k, v in x.items()} for i, x in y.items()} for m, y in of.items()}
            for name, of in found.values.items()
        },
    }


def _has_wrong(found: RestoreBench) -> bool:
    return found.methods[-1].endswith(WRONG)


def _wrong(each: RestorationSet) -> str:
    """The degradation that a wrong prompt names."""
    return str(getattr(wrong_prompt(each.prompt), each.modality)[0])


def _count(found: RestoreBench, each: RestorationSet) -> int:
    """How many images were scored."""
    return max(map(len, found.values[each.name].values()))


def tables(found: RestoreBench) -> list[Table]:
    """One table a metric: sets x methods, the best one of each set marked."""
    titles = {
        "PSNR": "PSNR ↑ in dB against the clean images, 8 bits, all channels, mean over images",
        "SSIM": "SSIM ↑ against the clean images, 8 bits, 7x7 uniform window, mean over channels and images",
    }
    notes = [
        f"{each.name}, {method}: {count} of {_count(found, each)} images came out as their reference to the last bit; "
        "they are not in the mean PSNR"
        for each in found.sets
        for method in found.methods
        if (count := found.identical(each.name, method))
    ]
    if _has_wrong(found):
        notes.append("wrong prompts: " + ", ".join(f"{each.name}: {_wrong(each)}" for each in found.sets))
    made = []
    for metric in METRICS:
        rows = []
        for each in found.sets:
            means = [found.mean(each.name, method, metric) for method in found.methods]
            ranks = [1.0 + sum(other > mean for other in means) if math.isfinite(mean) else math.nan for mean in means]
            marks = marks_of(ranks if each.degradation else [math.nan] * len(means))
            cells = [Cell(format_number(m, 2 if metric == "PSNR" else 3), k) for m, k in zip(means, marks, strict=True)]
            rows.append((each.name, (Cell(str(_count(found, each))), *cells)))
        made.append(
            Table(
                titles[metric], ("set", "images", *found.methods), tuple(rows), tuple(notes if metric == "PSNR" else ())
            )
        )
    return made


def to_markdown(found: RestoreBench) -> str:
    """The tables, one below the other."""
    return "\n".join(map(markdown_table, tables(found)))


def to_csv(found: RestoreBench) -> str:
    """One row an image and method: set, prompt, method, image, then the metrics; undefined and infinite is empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["set", "prompt", "method", "image", *METRICS])
    for each in found.sets:
        for method, images in found.values[each.name].items():
            for image, values in images.items():
                cells: Sequence[str] = [repr(values[k]) if math.isfinite(values[k]) else "" for k in METRICS]
                table.writerow([each.name, each.degradation or "", method, image, *cells])
    return text.getvalue()
