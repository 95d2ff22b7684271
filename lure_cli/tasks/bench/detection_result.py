"""What `lure bench detect` gives: the average precision of each method, seed and test, and its tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lure_cli.tasks.bench.detection_options import CLEAN
from lure_cli.tasks.report.table import Cell, Results, Table, counted, defined, format_number

METRICS = ("AP50", "AP50:95")
_DECIMALS = 3
_SPREAD = (
    "±: standard deviation over the seeds; within the spread: the values of the seeds overlap. How far other test "
    "pairs would move the values is not in it."
)


@dataclass(frozen=True)
class DetectBench:
    """The outcome.

    Attributes:
        values: method -> seed -> test -> metric -> value; metrics are `METRICS`, and `AP50 <class>` of each class.
        settings: what it was measured with.
        finished: whether nothing is left to do.
    """

    methods: tuple[str, ...]
    classes: tuple[str, ...]
    cases: tuple[str, ...]
    values: Mapping[str, Mapping[int, Mapping[str, Mapping[str, float]]]]
    settings: Mapping[str, Any]
    finished: bool = True
    notes: tuple[str, ...] = ()

    def of(self, method: str, test: str, metric: str) -> dict[int, float]:
        """seed -> value, of the seeds that are done."""
        return {seed: tests[test][metric] for seed, tests in self.values[method].items() if test in tests}


def detection_results(bench: DetectBench) -> Results:
    """Two tables: methods x metrics on the clean pairs, and, for what is degraded, plain, prompt and auto.

    The record holds all values; for CSV one row a method, seed and test.
    """
    metrics = (*METRICS, *(f"AP50 {name}" for name in bench.classes))
    record = {
        "settings": dict(bench.settings),
        "finished": bench.finished,
        "values": {
            method: {
                str(seed): {test: {k: defined(v) for k, v in of.items()} for test, of in tests.items()}
                for seed, tests in seeds.items()
            }
            for method, seeds in bench.values.items()
        },
    }
    rows = tuple(
        (method, seed, test, *(of[k] for k in metrics))
        for method, seeds in bench.values.items()
        for seed, tests in seeds.items()
        for test, of in tests.items()
    )
    tables = [_clean_table(bench), *_case_tables(bench)]
    return Results(tuple(tables), record, ("method", "seed", "test", *metrics), rows)


def _clean_table(bench: DetectBench) -> Table:
    s = bench.settings
    rows = []
    for method in bench.methods:
        of = {metric: bench.of(method, CLEAN, metric) for metric in METRICS}
        cells = [Cell(_spread(of[metric])) for metric in METRICS]
        cells += [Cell(_spread(bench.of(method, CLEAN, f"AP50 {name}"))) for name in bench.classes]
        against = "" if method == "visible" else compared(of[METRICS[0]], bench.of("visible", CLEAN, METRICS[0]))
        rows.append((method, (*cells, Cell(against), Cell(str(len(of[METRICS[0]]))))))
    title = (
        f"Object detection ↑: a detector of {s['parameters'] / 1e6:.1f} M parameters trained on each method's "
        f"{counted(s['train_pairs'], 'picture')} ({s['train_objects']} objects) for {s['epochs']} epochs, tested on "
        f"{s['test_pairs']} ({s['test_objects']})"
    )
    head = ("method", *METRICS, *(f"AP50 {name}" for name in bench.classes), "AP50 against visible", "seeds")
    return Table(title, head, tuple(rows), (*_best(bench), _SPREAD))


def _case_tables(bench: DetectBench) -> Iterator[Table]:
    rows = []
    for case in bench.cases:
        for method in bench.methods:
            plain, clean = (bench.of(method, test, METRICS[0]) for test in (case, CLEAN))
            if not plain:
                continue
            prompt, auto = (bench.of(method, f"{case}-{asked}", METRICS[0]) for asked in ("prompt", "auto"))
            texts = [_spread(of) for of in (clean, plain, prompt, auto)]
            texts += [compared(prompt, plain), given_back(clean, plain, prompt)]
            rows.append((f"{case}, {method}", tuple(map(Cell, texts))))
    if rows:
        title = (
            "AP50 ↑ on degraded test pairs, of the detectors that were trained on the same method's pictures of clean "
            "pairs"
        )
        head = ("case, method", "clean pairs", "degraded", "right prompt", "auto", "prompt against none", "given back")
        note = "given back: of what the degradation took, what the right prompt returns, mean over the seeds."
        yield Table(title, head, tuple(rows), (note, _SPREAD))


def _spread(of: Mapping[int, float]) -> str:
    """Mean and standard deviation: '0.512 ± 0.013'."""
    values = [v for v in of.values() if math.isfinite(v)]
    if not values:
        return "-"
    mean = format_number(statistics.fmean(values), _DECIMALS)
    return f"{mean} ± {format_number(statistics.stdev(values), _DECIMALS)}" if len(values) > 1 else mean


def _best(bench: DetectBench) -> list[str]:
    """A note on the best method of those with several seeds, and on those that cannot be told from it: better than a
    mark that chance has set."""
    of = {m: values for m in bench.methods if len(values := bench.of(m, CLEAN, METRICS[0])) > 1}
    if len(of) < 2:
        return []
    best = max(of, key=lambda m: statistics.fmean(of[m].values()))
    alike = [m for m in of if m != best and not _apart(of[m], of[best])]
    return [f"Highest AP50: {best}; not told from it by these seeds: {', '.join(alike) or 'none'}."]


def _apart(one: Mapping[int, float], other: Mapping[int, float]) -> bool:
    """Whether the values of two methods do not overlap."""
    return min(one.values()) > max(other.values()) or max(one.values()) < min(other.values())


def compared(one: Mapping[int, float], other: Mapping[int, float]) -> str:
    """The difference of the means, and whether it is within the spread: '+0.013, within the spread'."""
    if not one or not other:
        return "-"
    text = f"{statistics.fmean(one.values()) - statistics.fmean(other.values()):+.{_DECIMALS}f}"
    if min(len(one), len(other)) < 2:
        return f"{text}, one seed"
    return text if _apart(one, other) else f"{text}, within the spread"


def given_back(clean: Mapping[int, float], plain: Mapping[int, float], prompt: Mapping[int, float]) -> str:
    """Of what a degradation took, in percent, what a prompt returns; nothing to say where it took less than 0.01."""
    seeds = set(clean) & set(plain) & set(prompt)
    if not seeds:
        return "-"
    took, returned = (statistics.fmean(a[s] - plain[s] for s in seeds) for a in (clean, prompt))
    if took < 0.01:
        return "took nothing"
    return f"{100 * returned / took:.0f} %" if returned >= 0 else "none, it is worse"
