"""Prompt adherence: whether the right prompt helps more than none, and none more than a wrong one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from lure_cli.core.pixels import MODALITY_NAMES
from lure_cli.core.text.vocabulary import DEGRADATIONS, FIRST, Prompt
from lure_cli.tasks.bench.result import CLEAN, SELF, UNPROMPTED, WRONG, FusionBench
from lure_cli.tasks.prompt import parse_prompt
from lure_cli.tasks.report.table import Cell, Table, defined, format_number

METRICS = (SELF, "SSIM")
_RULE = (
    "The wrong prompt names, for each image that the right one speaks of, the degradation that follows in the "
    "vocabulary of that image, round, that is not named, and that all weights know; for clean pairs the first one of "
    "each image."
)


def wrong_prompt(prompt: Prompt) -> Prompt:
    """Another degradation of the same images, which the pair does not have: always the same one for a prompt.

    For each image that the prompt speaks of: what follows the first degradation that it names, in the order of
    `DEGRADATIONS` and from the end back to the start, is not named itself, and is known to all weights (`FIRST`). A
    prompt that speaks of no image (clean pairs) gets the first degradation of each.
    """
    wrong = {}
    for modality, known in DEGRADATIONS.items():
        named: tuple[str, ...] = getattr(prompt, modality)
        if not named:
            wrong[modality] = () if prompt != Prompt() else known[:1]
            continue
        start = known.index(named[0])
        others = [name for name in (*known[start:], *known[:start]) if name in FIRST and name not in named]
        wrong[modality] = tuple(others[:1])
    return Prompt(**wrong)


def describe_prompt(prompt: Prompt) -> str:
    """A prompt in words: 'rain in the visible image'."""
    parts = [f"{name} in the {MODALITY_NAMES[m]} image" for m in MODALITY_NAMES for name in getattr(prompt, m)]
    return " and ".join(parts) or "none"


@dataclass(frozen=True)
class Adherence:
    """One metric of one case and one weights file: its means over the images with the right prompt, none, and a wrong
    one, and of how many images right > none > wrong holds; where the right prompt is none (`clean`), right = none >
    wrong. self-PSNR is infinite for images that do not differ: they are left out of a mean, unless it is all of them.
    """

    right: float
    none: float
    wrong: float
    images: int
    holding: int
    clean: bool

    @property
    def holds(self) -> bool:
        """Whether it holds for the means."""
        return _holds(self.right, self.none, self.wrong, clean=self.clean)


def _holds(right: float, none: float, wrong: float, *, clean: bool) -> bool:
    return right == none > wrong if clean else right > none > wrong


def adherence(bench: FusionBench, name: str, case: str, metric: str) -> Adherence:
    """Of one weights file, by its name in the table."""
    of, clean = bench.values[case], parse_prompt(bench.prompts[case] or None) == Prompt()
    runs = [of.get(name + suffix, {}) for suffix in ("", UNPROMPTED, WRONG)]
    triples = [tuple(run[image][metric] for run in runs) for image in runs[0] if all(image in run for run in runs)]
    if metric == SELF and case == CLEAN:  # its own reference, of which the others are at a distance
        triples = [tuple(math.inf if math.isnan(v) else v for v in t) for t in triples]
    triples = [t for t in triples if not any(map(math.isnan, t))]
    right, none, wrong = (_mean([t[run] for t in triples]) for run in range(3))
    holding = sum(_holds(*t, clean=clean) for t in triples)
    return Adherence(right, none, wrong, images=len(triples), holding=holding, clean=clean)


def _mean(values: list[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return sum(finite) / len(finite) if finite else (math.inf if values else math.nan)


def _names(bench: FusionBench) -> list[str]:
    """The weights files that were run with wrong prompts."""
    methods = set(bench.methods)
    return [m for m in bench.methods if bench.wrong and {m + UNPROMPTED, m + WRONG} <= methods]


def adherence_records(bench: FusionBench) -> dict[str, Any]:
    """JSON-ready: weights -> case -> wrong prompt, and by metric the means and whether the order holds; empty without
    runs with wrong prompts. The self-PSNR of equal images is null; of clean pairs, `unchanged` says how many come out
    without a prompt as with the right one, to the last bit."""
    records: dict[str, Any] = {}
    for name in _names(bench):
        records[name] = {}
        for case in bench.values:
            record: dict[str, Any] = {"wrong_prompt": describe_prompt(bench.wrong[case])}
            for metric in METRICS:
                a = adherence(bench, name, case, metric)
                record[metric] = asdict(a) | {k: defined(getattr(a, k)) for k in ("right", "none", "wrong")}
                record[metric] |= {"holds": a.holds}
            if case == CLEAN:
                runs = bench.values[case][name + UNPROMPTED].values()
                record["unchanged"] = sum(math.isinf(values[SELF]) for values in runs)
            records[name][case] = record
    return records


def adherence_tables(bench: FusionBench) -> list[Table]:
    """One table for each weights file and metric: cases x (wrong prompt; right, none, wrong; does the order hold)."""
    notes = (
        "Holds: right > none > wrong, for the means and (in brackets) for how many of the images; for clean pairs, "
        "where the right prompt is none: right = none > wrong.",
        "same: as the method's own fusion of the clean pair, to the last bit.",
        _RULE,
    )
    head = ("case", "wrong prompt", "right", "none", "wrong", "holds")
    return [
        Table(
            f"prompt adherence of {name}: {metric} ↑{' in dB' if metric == SELF else ''} by prompt",
            head,
            tuple((case, tuple(_cells(bench, name, case, metric))) for case in bench.values),
            notes if metric == METRICS[-1] else (),
        )
        for name in _names(bench)
        for metric in METRICS
    ]


def _cells(bench: FusionBench, name: str, case: str, metric: str) -> Iterator[Cell]:
    yield Cell(", ".join(f"{degradation} ({m})" for m in DEGRADATIONS for degradation in getattr(bench.wrong[case], m)))
    a = adherence(bench, name, case, metric)
    for value in (a.right, a.none, a.wrong):
        yield Cell("same" if math.isinf(value) else format_number(value, 2 if metric == SELF else 3))
    yield Cell(f"{'yes' if a.holds else 'no'} ({a.holding}/{a.images})")
