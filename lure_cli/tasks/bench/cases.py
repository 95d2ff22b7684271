"""`lure bench fusion`: fuse degraded pairs, score them against the clean ones, case by case."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.bench.adherence import wrong_prompt
from lure_cli.tasks.bench.result import (
    CLEAN,
    METRICS,
    SELF,
    UNPROMPTED,
    WRONG,
    Case,
    FusionBench,
    FusionBenchOptions,
)
from lure_cli.tasks.evaluate.evaluate import evaluate, plan_evaluation
from lure_cli.tasks.evaluate.images import EvaluateOptions
from lure_cli.tasks.inference.loading import check_prompts
from lure_cli.tasks.paths.pairing import find_pairs
from lure_cli.tasks.prompt import parse_prompt
from lure_cli.tasks.weights.find import resolve_weights, weights_label

if TYPE_CHECKING:
    from lure_cli.tasks.evaluate.summary import Evaluation
    from lure_cli.tasks.inference.fuser import Fuser

_EXPECTED_LAYOUT = 'a folder of cases holds cases.json, such as {"vis_haze": "haze"}, and vis_haze/ir, vis_haze/vi'


def find_cases(folder: Path, only: Sequence[str] | None = None) -> tuple[Case, ...]:
    """The cases of a folder: `cases.json` (case -> prompt) with `<case>/ir` and `<case>/vi` (or `vis`) beside it.

    Raises:
        LureError: no or a damaged `cases.json`, an unknown case among `only`, a case without its folders.
    """
    index = folder / "cases.json"
    try:
        prompts = json.loads(index.read_text(encoding="utf-8"))
    except OSError as error:
        raise LureError(f"{index}: cannot be read ({error.strerror})", _EXPECTED_LAYOUT) from error
    except ValueError as error:
        raise LureError(f"{index}: is no JSON ({error})", _EXPECTED_LAYOUT) from error
    if not isinstance(prompts, dict) or not prompts or not all(isinstance(p, str) for p in prompts.values()):
        raise LureError(f"{index}: does not map cases to prompts", _EXPECTED_LAYOUT)
    unknown = sorted(set(only or ()) - set(prompts))
    if unknown:
        raise LureError(f"{index}: has no case '{unknown[0]}'", f"there are {', '.join(prompts)}")
    cases = []
    for name, prompt in prompts.items():
        if name in ("", ".", "..") or Path(name).name != name:
            raise LureError(f"{index}: '{name}' cannot be the name of a folder", _EXPECTED_LAYOUT)
        if only and name not in only:
            continue
        vis = folder / name / "vi"
        case = Case(name, prompt, folder / name / "ir", vis if vis.is_dir() else folder / name / "vis")
        for side in (case.ir, case.vis):
            if not side.is_dir():
                raise LureError(f"{side}: no such folder", _EXPECTED_LAYOUT)
        cases.append(case)
    return tuple(cases)


def bench_fusion(options: FusionBenchOptions, progress: Callable[[str], None] | None = None) -> FusionBench:
    """Fuse and score every case.

    Each weights file stands in the table twice: fused with the case's prompt, and (`-no-prompt`) without one; with
    `wrong` also (`-wrong-prompt`) with a wrong one, see `adherence.py`. Other methods and the baselines stand beside
    it. All are scored against the clean sources. self-PSNR is that of a method's fused image against its own fusion of
    the clean pair (of weights, with that case's own prompt), grey, peak 255, in dB.

    Args:
        options: what to do. With `save`, fused images are kept as `<save>/<method>/<case>/<name>.png`; files that are
            there are replaced.
        progress: called with what is done next.

    Raises:
        LureError: cases, clean sources or weights that are missing, prompts that are not understood.
    """
    from lure_cli.core.metrics.baselines import BASELINES

    cases, clean = _with_clean(options)
    prompts = {case.name: parse_prompt(case.prompt or None) for case in cases}
    for name, path in options.fused:
        if not path.is_dir():
            raise LureError(f"{path}: no such folder", f"method {name} needs a folder with one folder a case")
    weights = label_weights(options.weights, progress)
    for name, path in weights.items():
        check_prompts(prompts.values(), path, name)
    wrong = {case: wrong_prompt(prompt) for case, prompt in prompts.items()} if options.wrong else {}
    own = [name + suffix for name in weights for suffix in ("", UNPROMPTED, WRONG)[: 3 if wrong else 2]]
    baselines = list(BASELINES) if options.baselines else []
    methods = [*own, *(name for name, _ in options.fused), *baselines]
    if not methods:
        raise LureError("there is nothing to score", "give --weights, --fused NAME=DIR or --floors")
    if len(set(methods)) < len(methods):
        raise LureError("two methods have the same name", "tell them apart: --fused NAME=DIR")
    notify = progress or (lambda line: None)
    failed: list[LureError] = []
    with tempfile.TemporaryDirectory(prefix="lure-bench-") as scratch:
        folder = options.save or Path(scratch)
        for name, path in weights.items():
            fuser = _load_fuser(path, options)
            for case in cases:
                notify(f"{case.name}: fusing with {name}")
                runs = {"": prompts[case.name], UNPROMPTED: Prompt()}
                if wrong:
                    runs[WRONG] = wrong[case.name]
                failed += _fuse_case(fuser, case, runs, folder / name)
        for name in baselines:
            notify(f"{name}: fusing")
            for case in cases:
                failed += _fuse_baseline(name, case, folder / name)
        roots = {name: folder / name for name in (*own, *baselines)} | dict(options.fused)
        reference = {name + suffix: name for name in weights for suffix in (UNPROMPTED, WRONG)}
        clean_sources = (options.clean_ir or clean.ir, options.clean_vis or clean.vis)
        values: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
        notes: list[str] = []
        for case in cases:
            notify(f"{case.name}: scoring")
            common = options.common or bool(failed)  # a pair that could not be fused is left out for every method
            plan = _scoring(case, {m: roots[m] for m in methods}, clean_sources, options, common)
            evaluation = evaluate(plan_evaluation(plan))
            failed += evaluation.failed
            notes += evaluation.notes
            values[case.name] = _values(evaluation, {m: roots[reference.get(m, m)] / CLEAN for m in methods})
    return FusionBench(
        convention=options.convention,
        prompts={case.name: case.prompt for case in cases},
        methods=tuple(methods),
        values=values,
        failed=tuple(failed),
        notes=tuple(dict.fromkeys(notes)),
        wrong=wrong,
    )


def label_weights(weights: Sequence[str], notify: Callable[[str], None] | None = None) -> dict[str, Path]:
    """A name for each, and its file; LureError if two have the same, or one is missing."""
    files = {weights_label(w): resolve_weights(w, notify) for w in weights}
    if len(files) < len(weights):
        raise LureError("two weight files have the same name", "rename one of them, or give copies")
    return files


def _with_clean(options: FusionBenchOptions) -> tuple[tuple[Case, ...], Case]:
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


def _load_fuser(weights: Path, options: FusionBenchOptions) -> Fuser:
    from lure_cli.tasks.inference.fuser import Fuser  # and torch, which baselines do without

    return Fuser.from_pretrained(weights, options.device, options.dtype)


def _fuse_case(fuser: Fuser, case: Case, runs: Mapping[str, Prompt], root: Path) -> list[LureError]:
    """Fuse the pairs of a case with each prompt of `runs`; the images go to `<root><key of the run>/<case>`.

    Returns:
        What became of the pairs that could not be fused.
    """
    from lure_cli.core.images.picture import write_image

    failed = []
    for pair in find_pairs(case.ir, case.vis, f"{root / case.name}{os.sep}")[0]:
        try:
            fused = {prompt: fuser.fuse(pair.ir, pair.vis, prompt) for prompt in dict.fromkeys(runs.values())}
            for suffix, prompt in runs.items():
                write_image(root.with_name(root.name + suffix) / case.name / pair.output.name, fused[prompt])
        except LureError as error:
            failed.append(error)
    return failed


def _fuse_baseline(name: str, case: Case, root: Path) -> list[LureError]:
    """As `_fuse_case`, with a baseline; the images go to `<root>/<case>`."""
    from lure_cli.core.images.picture import read_levels, write_image
    from lure_cli.core.images.value_range import ValueRange
    from lure_cli.core.metrics import to_grey
    from lure_cli.core.metrics.baselines import BASELINES

    failed = []
    for pair in find_pairs(case.ir, case.vis, f"{root / case.name}{os.sep}")[0]:
        try:
            ir = to_grey(read_levels(pair.ir, ValueRange())[0])
            vis = to_grey(read_levels(pair.vis, ValueRange(modality="vis"))[0])
            write_image(pair.output, BASELINES[name](ir, vis) / 255)
        except LureError as error:
            failed.append(error)
    return failed


def _scoring(
    case: Case, roots: Mapping[str, Path], clean: tuple[Path, Path], options: FusionBenchOptions, common: bool
) -> EvaluateOptions:
    fused = tuple((method, root / case.name) for method, root in roots.items())
    return EvaluateOptions(
        fused,
        case.ir,
        case.vis,
        metrics=METRICS,
        convention=options.convention,
        clean_ir=clean[0],
        clean_vis=clean[1],
        common=common,
        jobs=options.jobs,
    )


def _values(evaluation: Evaluation, clean: Mapping[str, Path]) -> dict[str, dict[str, dict[str, float]]]:
    """method -> image -> metric -> value, with self-PSNR against the method's files in its clean folder."""
    by_name = {method.name: method for method in evaluation.methods}
    values: dict[str, dict[str, dict[str, float]]] = {}
    for method, root in clean.items():
        values[method] = {}
        for index, files in enumerate(evaluation.images):
            fused = files.fused[method]
            of_image = {metric: float(by_name[method].values[metric][index]) for metric in METRICS}
            of_image[SELF] = math.nan if fused.parent == root else _self_psnr(fused, root / fused.name)
            values[method][files.name] = of_image
    return values


def _self_psnr(fused: Path, of_clean: Path) -> float:
    from lure_cli.core.images.picture import read_pixels
    from lure_cli.core.metrics import reference_psnr, to_grey

    if not of_clean.is_file():
        return math.nan
    return reference_psnr(*(to_grey(read_pixels(path)) for path in (fused, of_clean)))
