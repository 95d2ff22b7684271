"""`lure bench fusion`: what is asked for, and what a benchmark of degraded cases gives."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from lure_cli.core.text.vocabulary import Prompt
from lure_cli.errors import LureError
from lure_cli.tasks.weights.find import DEFAULT

METRICS = ("VIF", "Qabf", "SSIM", "VIF_min", "Qabf_min", "SSIM_min")
SELF = "self-PSNR"
CLEAN = "clean"
MEAN = "mean of degraded"
UNPROMPTED = "-no-prompt"
WRONG = "-wrong-prompt"


_DAY_OR_NIGHT = re.compile(r".*\d([DN])")


@dataclass(frozen=True)
class FusionBenchOptions:
    """What `lure bench fusion` was asked to do; see the command's help.

    `fused` holds (method, folder with one folder of fused images a case); `clean_ir` and `clean_vis` default to the
    sources of the case `clean`; `weights` may be empty, then only other methods are scored.
    """

    cases: Path
    _: KW_ONLY
    fused: tuple[tuple[str, Path], ...] = ()
    weights: tuple[str, ...] = (DEFAULT,)
    only: tuple[str, ...] | None = None
    baselines: bool = False
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
class FusionBench:
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
        defined = [
            v
            for name, values in self.values[case].get(method, {}).items()
            if split == "all" or name.endswith("D" if split == "day" else "N")
            if math.isfinite(v := values.get(metric, math.nan))
        ]
        return (sum(defined) / len(defined) if defined else math.nan), len(defined)

    def rows(self, metric: str) -> list[tuple[str, list[float]]]:
        """The table of one metric: (label, a mean for each method), the cases first, then their means by split."""
        rows = [(case, [self.mean(case, m, metric)[0] for m in self.methods]) for case in self.values]
        for split in self.splits:
            label = MEAN if split == "all" else f"{MEAN}, {split}"
            rows.append((label, [self.mean_of_degraded(m, metric, split) for m in self.methods]))
        return rows if metric != SELF else rows[1:]  # the clean case is its own reference

    def mean_of_degraded(self, method: str, metric: str, split: str = "all") -> float:
        """The mean of the degraded cases' means; NaN if one of them is undefined or there is none."""
        means = [self.mean(case, method, metric, split)[0] for case in self.values if case != CLEAN]
        return sum(means) / len(means) if means else math.nan
