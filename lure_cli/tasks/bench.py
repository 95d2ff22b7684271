"""The protocol of degradation-aware fusion: fuse degraded pairs, score against the clean ones, case by case."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.evaluate.evaluate import evaluate, plan_evaluation
from lure_cli.tasks.evaluate.images import EvaluateOptions
from lure_cli.tasks.paths.pairing import find_pairs
from lure_cli.tasks.report.table import Cell, Table, format_number, markdown_table, marks_of
from lure_cli.tasks.weights.find import DEFAULT, resolve_weights, weights_label

if TYPE_CHECKING:
    from lure_cli.tasks.evaluate.summary import Evaluation

METRICS = ("VIF", "Qabf", "SSIM", "VIF_min", "Qabf_min", "SSIM_min")
SELF = "self-PSNR"
CLEAN = "clean"
MEAN = "mean of degraded"
UNPROMPTED = "-no-prompt"
WRONG = "-wrong-prompt"
_LAYOUT = 'a folder of cases holds cases.json, such as {"vis_haze": "haze"}, and vis_haze/ir, vis_haze/vi'
_DAY_OR_NIGHT = re.compile(r".*\d([DN])")


@dataclass(frozen=True)
class BenchOptions:
    """What `lure bench` was asked to do; see the command's help.

    `fused` holds (method, folder with one folder of fused images a case); `clean_ir` and `clean_vis` default to the
    sources of the case `clean`; `weights` may be empty, then only other methods are scored.
    """

    cases: Path
    fused: tuple[tuple[str, Path], ...] = ()
    weights: tuple[str, ...] = (DEFAULT,)
    only: tuple[str, ...] | None = None
    floors: bool = False
    clean_ir: Path | None = None
    clean_vis: Path | None = None
    convention: str = "cddfuse"
    common: bool = False
    save: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    jobs: int = 0
    wrong: bool = False


@dataclass(frozen=True)
class Case:
    """One folder of pairs, and its prompt (empty for clean pairs)."""

    name: str
    prompt: str
    ir: Path
    vis: Path


@dataclass(frozen=True)
class Bench:
    """The outcome: `values` is case -> method -> image -> metric -> value, NaN where undefined; self-PSNR is infinite
    where nothing differs."""

    convention: str
    prompts: Mapping[str, str]
    methods: tuple[str, ...]
    values: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]
    failed: tuple[LureError, ...] = ()
    notes: tuple[str, ...] = ()
    wrong: Mapping[str, Prompt] = field(default_factory=dict)  # case -> the wrong prompt, if there are such runs

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics; higher is better in each."""
        return (*METRICS, SELF)

    @property
    def splits(self) -> tuple[str, ...]:
        """`all`, then `day` and `night` if every name ends in a digit and D or N, as those of MSRS do."""
        names = {name for of in self.values.values() for images in of.values() for name in images}
        both = {m[1] for m in map(_DAY_OR_NIGHT.fullmatch, names) if m} == {"D", "N"}
        return ("all", "day", "night") if both and all(map(_DAY_OR_NIGHT.fullmatch, names)) else ("all",)

    def mean(self, case: str, method: str, metric: str, split: str = "all") -> tuple[float, int]:
        """The mean over the images of a case, and how many it is of; undefined values are left out."""
        found = [
            values.get(metric, math.nan)
            for name, values in self.values[case].get(method, {}).items()
            if split == "all" or name.endswith("D" if split == "day" else "N")
        ]
        found = [v for v in found if math.isfinite(v)]
        return (sum(found) / len(found) if found else math.nan), len(found)

    def rows(self, metric: str) -> list[tuple[str, list[float]]]:
        """The table of one metric: (label, a mean for each method), the cases first, then their means by split."""
        made = [(case, [self.mean(case, m, metric)[0] for m in self.methods]) for case in self.values]
        for split in self.splits:
            label = MEAN if split == "all" else f"{MEAN}, {split}"
            made.append((label, [self.mean_of_degraded(m, metric, split) for m in self.methods]))
        return made if metric != SELF else made[1:]  # the clean case is its own reference

    def mean_of_degraded(self, method: str, metric: str, split: str = "all") -> float:
        """The mean of the degraded cases' means; NaN if one of them is undefined or there is none."""
        means = [self.mean(case, method, metric, split)[0] for case in self.values if case != CLEAN]
        return sum(means) / len(means) if means else math.nan


def find_cases(folder: Path, only: Sequence[str] | None = None) -> tuple[Case, ...]:
    """The cases of a folder: `cases.json` (case -> prompt) with `<case>/ir` and `<case>/vi` (or `vis`) beside it.

    Raises:
        LureError: no or a damaged `cases.json`, an unknown case among `only`, a case without its folders.
    """
    index = folder / "cases.json"
    try:
        prompts = json.loads(index.read_text(encoding="utf-8"))
    except OSError as error:
        raise LureError(f"{index}: cannot be read ({error.strerror})", _LAYOUT) from error
    except ValueError as error:
        raise LureError(f"{index}: is no JSON ({error})", _LAYOUT) from error
    if not isinstance(prompts, dict) or not prompts or not all(isinstance(p, str) for p in prompts.values()):
        raise LureError(f"{index}: does not map cases to prompts", _LAYOUT)
    unknown = sorted(set(only or ()) - set(prompts))
    if unknown:
        raise LureError(f"{index}: has no case '{unknown[0]}'", f"there are {', '.join(prompts)}")
    cases = []
    for name, prompt in prompts.items():
        if name in ("", ".", "..") or Path(name).name != name:
            raise LureError(f"{index}: '{name}' cannot be the name of a folder", _LAYOUT)
        if only and name not in only:
            continue
        vis = folder / name / "vi"
        case = Case(name, prompt, folder / name / "ir", vis if vis.is_dir() else folder / name / "vis")
        for side in (case.ir, case.vis):
            if not side.is_dir():
                raise LureError(f"{side}: no such folder", _LAYOUT)
        cases.append(case)
    return tuple(cases)


def bench(options: BenchOptions, progress: Callable[[str], None] | None = None) -> Bench:
    """Fuse and score every case.

    Each weights file stands in the table twice: fused with the case's prompt, and (`-no-prompt`) without one; with
    `wrong` also (`-wrong-prompt`) with a wrong one, see `tasks/honesty.py`. Other methods and the floors stand beside
    it. All are scored against the clean sources. self-PSNR is that of a method's fused image against its own fusion of
    the clean pair (of weights, with that case's own prompt), grey, peak 255, in dB.

    Args:
        options: what to do. With `save`, fused images are kept as `<save>/<method>/<case>/<name>.png`; files that are
            there are replaced.
        progress: called with what is done next.

    Raises:
        LureError: cases, clean sources or weights that are missing, prompts that are not understood.
    """
    from lure_cli.core.metrics.baselines import FLOORS
    from lure_cli.tasks.honesty import wrong_prompt
    from lure_cli.tasks.prompt import parse_prompt

    cases, clean = _with_clean(options)
    for case in cases:
        parse_prompt(case.prompt or None)
    for name, path in options.fused:
        if not path.is_dir():
            raise LureError(f"{path}: no such folder", f"method {name} needs a folder with one folder a case")
    weights = label_weights(options.weights, progress)
    wrong = {case.name: wrong_prompt(parse_prompt(case.prompt or None)) for case in cases} if options.wrong else {}
    own = [name + suffix for name in weights for suffix in ("", UNPROMPTED, WRONG)[: 3 if wrong else 2]]
    floors = list(FLOORS) if options.floors else []
    methods = [*own, *(name for name, _ in options.fused), *floors]
    if not methods:
        raise LureError("there is nothing to score", "give --weights, --fused NAME=DIR or --floors")
    if len(set(methods)) < len(methods):
        raise LureError("two methods have the same name", "tell them apart: --fused NAME=DIR")
    say = progress or (lambda line: None)
    failed: list[LureError] = []
    with tempfile.TemporaryDirectory(prefix="lure-bench-") as scratch:
        made = options.save or Path(scratch)
        for name, path in weights.items():
            _fuse_cases(name, path, cases, wrong, made, options, say, failed)
        for name in floors:
            say(f"{name}: fusing")
            _fuse_floor(name, cases, made / name, failed)
        roots = {name: made / name for name in (*own, *floors)} | dict(options.fused)
        reference = {name + suffix: name for name in weights for suffix in (UNPROMPTED, WRONG)}
        clean_sources = (options.clean_ir or clean.ir, options.clean_vis or clean.vis)
        values: dict[str, Any] = {}
        notes: list[str] = []
        for case in cases:
            say(f"{case.name}: scoring")
            common = options.common or bool(failed)  # a pair that could not be fused is left out for every method
            plan = _scoring(case, {m: roots[m] for m in methods}, clean_sources, options, common)
            found = evaluate(plan_evaluation(plan))
            failed += found.failed
            notes += found.notes
            values[case.name] = _values(found, {m: roots[reference.get(m, m)] / CLEAN for m in methods})
    prompts = {case.name: case.prompt for case in cases}
    notes = list(dict.fromkeys(notes))
    return Bench(options.convention, prompts, tuple(methods), values, tuple(failed), tuple(notes), wrong)


def label_weights(weights: Sequence[str], say: Callable[[str], None] | None = None) -> dict[str, Path]:
    """A name for each, and its file; LureError if two have the same, or one is missing."""
    found = {weights_label(w): resolve_weights(w, say) for w in weights}
    if len(found) < len(weights):
        raise LureError("two weight files have the same name", "rename one of them, or give copies")
    return found


def _with_clean(options: BenchOptions) -> tuple[tuple[Case, ...], Case]:
    """All cases, `clean` first, which is added if only others were asked for."""
    if (options.clean_ir is None) != (options.clean_vis is None):
        raise LureError("--clean-ir and --clean-vis belong together", "give both")
    cases = [c for c in find_cases(options.cases, options.only) if c.name != CLEAN]
    if options.clean_ir is not None and options.clean_vis is not None:
        clean = Case(CLEAN, "", options.clean_ir, options.clean_vis)
    else:
        try:
            clean = find_cases(options.cases, [CLEAN])[0]
        except LureError as error:
            hint = "score against a case 'clean', or give --clean-ir and --clean-vis"
            raise LureError(f"{options.cases}: has no clean sources ({error.message})", hint) from error
    return (clean, *cases), clean


def _fuse_cases(
    name: str,
    weights: Path,
    cases: Sequence[Case],
    wrong: Mapping[str, Prompt],
    made: Path,
    options: BenchOptions,
    say: Callable[[str], None],
    failed: list[LureError],
) -> None:
    from lure_cli.core.images.picture import write_image
    from lure_cli.tasks.inference.fuser import Fuser
    from lure_cli.tasks.prompt import parse_prompt

    fuser = Fuser.from_pretrained(weights, options.device, options.dtype)
    for case in cases:
        say(f"{case.name}: fusing with {name}")
        prompt = parse_prompt(case.prompt or None)
        for pair in find_pairs(case.ir, case.vis, f"{made / name / case.name}{os.sep}")[0]:
            try:
                told = fuser.fuse(pair.ir, pair.vis, prompt)
                plain = fuser.fuse(pair.ir, pair.vis, parse_prompt(None)) if case.prompt else told
                write_image(pair.output, told)
                write_image(made / (name + UNPROMPTED) / case.name / pair.output.name, plain)
                if case.name in wrong:
                    misled = fuser.fuse(pair.ir, pair.vis, wrong[case.name])
                    write_image(made / (name + WRONG) / case.name / pair.output.name, misled)
            except LureError as error:
                failed.append(error)


def _fuse_floor(name: str, cases: Sequence[Case], root: Path, failed: list[LureError]) -> None:
    from lure_cli.core.images.picture import read_pixels, write_image
    from lure_cli.core.metrics import to_grey
    from lure_cli.core.metrics.baselines import FLOORS

    for case in cases:
        for pair in find_pairs(case.ir, case.vis, f"{root / case.name}{os.sep}")[0]:
            try:
                ir, vis = (to_grey(read_pixels(path)) for path in (pair.ir, pair.vis))
                write_image(pair.output, FLOORS[name](ir, vis) / 255)
            except LureError as error:
                failed.append(error)


def _scoring(
    case: Case, roots: Mapping[str, Path], clean: tuple[Path, Path], options: BenchOptions, common: bool
) -> EvaluateOptions:
    fused = tuple((method, root / case.name) for method, root in roots.items())
    return EvaluateOptions(
        fused,
        case.ir,
        case.vis,
        METRICS,
        options.convention,
        clean_ir=clean[0],
        clean_vis=clean[1],
        common=common,
        jobs=options.jobs,
    )


def _values(found: Evaluation, clean: Mapping[str, Path]) -> dict[str, dict[str, dict[str, float]]]:
    """method -> image -> metric -> value, with self-PSNR against the method's files in its clean folder."""
    by_method: dict[str, Any] = {m.name: m for m in found.methods}
    made: dict[str, dict[str, dict[str, float]]] = {}
    for method, root in clean.items():
        of = {}
        for index, files in enumerate(found.images):
            of[files.name] = {metric: float(by_method[method].values[metric][index]) for metric in METRICS}
            fused = files.fused[method]
            of[files.name][SELF] = math.nan if fused.parent == root else _self_psnr(fused, root / fused.name)
        made[method] = of
    return made


def _self_psnr(fused: Path, of_clean: Path) -> float:
    from lure_cli.core.images.picture import read_pixels
    from lure_cli.core.metrics import reference_psnr, to_grey

    if not of_clean.is_file():
        return math.nan
    return reference_psnr(*(to_grey(read_pixels(path)) for path in (fused, of_clean)))


def to_dict(found: Bench) -> dict[str, Any]:
    """JSON-ready: means by split, metric, case and method, and the values of every image; undefined is null, and so is
    the self-PSNR of equal images."""
    from lure_cli.tasks.honesty import honesty_records

    honesty = honesty_records(found)
    return {
        "convention": found.convention,
        "prompts": dict(found.prompts),
        **({"wrong_prompts": {c: asdict(p) for c, p in found.wrong.items()}, "honesty": honesty} if honesty else {}),
        "methods": list(found.methods),
        "means": {
            split: {
                metric: {
                    case: {m: defined(found.mean(case, m, metric, split)[0]) for m in found.methods}
                    for case in found.values
                }
                | {MEAN: {m: defined(found.mean_of_degraded(m, metric, split)) for m in found.methods}}
                for metric in found.metrics
            }
            for split in found.splits
        },
        "images": {
            case: {m: {i: {k: defined(v) for k, v in x.items()} for i, x in y.items()} for m, y in of.items()}
            for case, of in found.values.items()
        },
    }


def defined(value: float) -> float | None:
    """A number as JSON may hold it."""
    return value if math.isfinite(value) else None


def tables(found: Bench) -> list[Table]:
    """One table a metric: cases x methods, the best method of each case marked; means of the degraded cases below.
    Then, if there were runs with wrong prompts, one of honesty for each weights file."""
    from lure_cli.tasks.honesty import honesty_tables

    made = []
    images = max(
        (n for case in found.values for m in found.methods if (n := found.mean(case, m, "SSIM")[1])), default=0
    )
    for metric in found.metrics:
        rows = []
        for label, means in found.rows(metric):
            ranks = [
                float(1 + sum(other > mean for other in means)) if math.isfinite(mean) else math.nan for mean in means
            ]
            decimals = 2 if metric == SELF else 3
            if len(means) == 1:
                ranks = [math.nan]
            cells = [
                Cell(format_number(mean, decimals), mark) for mean, mark in zip(means, marks_of(ranks), strict=True)
            ]
            rows.append((label, tuple(cells)))
        title = f"{metric} ↑, against the clean sources, convention {found.convention}, up to {images} images a case"
        if metric == SELF:
            title = f"{metric} ↑ in dB, against the method's own fusion of the clean pair, up to {images} images a case"
        made.append(Table(title, ("case", *found.methods), tuple(rows), ()))
    return made + honesty_tables(found)


def to_markdown(found: Bench) -> str:
    """The tables, one below the other."""
    return "\n".join(map(markdown_table, tables(found)))


def to_csv(found: Bench) -> str:
    """One row an image: convention, case, prompt (that of the case), with wrong prompts the wrong one, method, image,
    then the metrics; undefined is empty."""
    from lure_cli.tasks.honesty import told

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    also = ["wrong_prompt"] if found.wrong else []
    table.writerow(["convention", "case", "prompt", *also, "method", "image", *found.metrics])
    for case, of in found.values.items():
        prompts = [found.prompts[case], *([told(found.wrong[case])] if found.wrong else [])]
        for method, images in of.items():
            for image, values in images.items():
                cells = [repr(values[k]) if math.isfinite(values[k]) else "" for k in found.metrics]
                table.writerow([found.convention, case, *prompts, method, image, *cells])
    return text.getvalue()
