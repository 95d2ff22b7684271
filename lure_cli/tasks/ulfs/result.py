"""What was measured of the latent space."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lure_cli.core.pixels import MODALITY_NAMES
from lure_cli.core.text.vocabulary import NONE
from lure_cli.tasks.report.table import Cell, Results, Table, defined, format_number
from lure_cli.tasks.ulfs.samples import FOLDS, Group, UlfsOptions

if TYPE_CHECKING:
    import numpy as np


INIT = "init"
"""Stands for an untrained network: `init`, or `init:MODEL`."""


SCOPES = {"vis": MODALITY_NAMES["vis"], "ir": MODALITY_NAMES["ir"], "all": "both"}


@dataclass(frozen=True)
class Probe:
    """Accuracy of a linear probe that tells the tasks apart.

    accuracy: on latents with the right prompt, F(x, t); error: its standard error over source images.
    nothing_done: on F(x, p0), the same images with the pseudo prompt: what an encoder that ignores the text gives.
    prompt_alone: on F(y, t), the clean images with each task's prompt: above chance where a prompt leaves a mark of its
        own, by which a probe knows the task although the degradation may be gone.
    perfect: on F(y, p0): if every latent were that of its clean image, what could still be told apart.
    chance: of guessing. tasks: how many there are.
    scales: as accuracy, on each scale of the latent alone, finest first.
    """

    accuracy: float
    error: float
    nothing_done: float
    prompt_alone: float
    perfect: float
    chance: float
    tasks: int
    scales: tuple[float, ...]


@dataclass(frozen=True)
class LatentMeasurement:
    """What was measured of one weights file.

    Attributes:
        name, stage, steps: of the weights.
        points: (N, K) pooled latents with the right prompt, in units of the clean images' spread; the groups one after
            the other.
        probe: by scope: `vis`, `ir`, `all`.
        distances: remaining distance of every sample of a group, by the group's name; none for the pseudo task.
    """

    name: str
    stage: int
    steps: int
    points: np.ndarray
    probe: dict[str, Probe]
    distances: dict[str, tuple[float, ...]]

    def median(self, group: str | None = None) -> float:
        """Of one group's distances, or of all; NaN if there are none."""
        values = [v for name, d in self.distances.items() if group in (None, name) for v in d if not math.isnan(v)]
        return statistics.median(values) if values else math.nan


@dataclass(frozen=True)
class UlfsResult:
    """All of it: the groups of samples, which are the same for all weights, and what was measured of each."""

    options: UlfsOptions
    groups: tuple[Group, ...]
    measurements: tuple[LatentMeasurement, ...]


def ulfs_results(ulfs: UlfsResult) -> Results:
    """The probe, one row for each weights and scope, and the distances, one row a task.

    For CSV one row a number: weights, stage, steps, what (a field of `Probe`, or `distance`), of what, value.
    """
    options = ulfs.options
    record = {
        "data": str(options.data),
        "split": options.split,
        "size": options.size,
        "seed": options.seed,
        "images": {g.name: len(g.x) for g in ulfs.groups},
        "weights": [
            {
                "name": m.name,
                "stage": m.stage,
                "steps": m.steps,
                "probe": {scope: asdict(p) for scope, p in m.probe.items()},
                "distance": {g: defined(m.median(g)) for g in m.distances} | {"all": defined(m.median())},
            }
            for m in ulfs.measurements
        ],
    }
    head = ("weights", "stage", "steps", "measure", "of", "value")
    return Results(_tables(ulfs), record, head, tuple(_rows(ulfs)))


def _rows(ulfs: UlfsResult) -> Iterator[tuple[object, ...]]:
    for m in ulfs.measurements:
        weights = (m.name, m.stage, m.steps)
        for scope, probe in m.probe.items():
            numbers = asdict(probe)
            numbers |= {f"scale_{i}": v for i, v in enumerate(numbers.pop("scales"))}
            for key, value in numbers.items():
                yield *weights, f"probe_{key}", SCOPES[scope], value
        for group in (*m.distances, None):
            yield *weights, "distance", group or "all", str(m.median(group))  # "nan" where x = y in all of a group


def _tables(ulfs: UlfsResult) -> tuple[Table, ...]:
    """The probe, one row for each weights and scope; the distances, one row a task."""
    rows = []
    for m in ulfs.measurements:
        for scope, word in SCOPES.items():
            p = m.probe[scope]
            accuracy = f"{100 * p.accuracy:.1f} ± {100 * p.error:.1f}"
            others = (f"{100 * v:.1f}" for v in (p.nothing_done, p.prompt_alone, p.perfect, p.chance))
            scales = " / ".join(f"{100 * v:.0f}" for v in p.scales)
            rows.append((f"{m.name}: {word}", tuple(map(Cell, (str(p.tasks), accuracy, scales, *others)))))
    per_task = next(g for g in ulfs.groups if not g.real)
    title = f"Linear probe: tasks told apart, in % ({FOLDS} folds by source image, {len(per_task.x)} images a modality)"
    notes = (
        "by scale: on each scale of the latent alone, finest first. "
        "nothing done: the same images with the pseudo prompt. prompt alone: the clean images with each task's prompt, "
        "that is the mark that a prompt leaves by itself. perfect: if every latent were that of its clean image; for "
        "both modalities that stays above chance, as an infrared image is no visible one.",
    )
    head = ("weights", "tasks", "right prompt", "by scale", "nothing done", "prompt alone", "perfect", "chance")
    distances = []
    for group in (g for g in ulfs.groups if g.task != NONE):
        cells = (Cell(format_number(m.median(group.name), 2)) for m in ulfs.measurements)
        distances.append((group.name, (Cell(str(len(group.x))), *cells)))
    total = sum(len(g.x) for g in ulfs.groups if g.task != NONE)
    distances.append(("all", (Cell(str(total)), *(Cell(format_number(m.median(), 2)) for m in ulfs.measurements))))
    return (
        Table(title, head, tuple(rows), notes),
        Table(
            "Distance left to the clean image's latent, median: 1 nothing done, 0 reached",
            ("task", "images", *(m.name for m in ulfs.measurements)),
            tuple(distances),
            (),
        ),
    )
