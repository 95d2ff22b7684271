"""The protocol of degradation-aware fusion: fuse degraded pairs, score against the clean ones, case by case."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.bench.result import CLEAN, METRICS, SELF, UNPROMPTED, WRONG, Bench, BenchOptions, Case
from lure_cli.tasks.evaluate.evaluate import evaluate, plan_evaluation
from lure_cli.tasks.evaluate.images import EvaluateOptions
from lure_cli.tasks.paths.pairing import find_pairs
from lure_cli.tasks.weights.find import resolve_weights, weights_label

if TYPE_CHECKING:
    from lure_cli.tasks.evaluate.summary import Evaluation


_LAYOUT = 'a folder of cases holds cases.json, such as {"vis_haze": "haze"}, and vis_haze/ir, vis_haze/vi'


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
    `wrong` also (`-wrong-prompt`) with a wrong one, see `adherence.py`. Other methods and the floors stand beside
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
    from lure_cli.tasks.bench.adherence import wrong_prompt
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
