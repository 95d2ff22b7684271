"""`lure plot ulfs`: do the tasks merge in the latent space? Samples, latents, probe and distances; no drawing here."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lure_cli.config import MODELS, Provenance, nearest
from lure_cli.core.devices import pick_device, place
from lure_cli.core.files import write_file
from lure_cli.core.model.checkpoint import load_model, new_model
from lure_cli.core.model.latents import pool, remaining_distance
from lure_cli.core.model.lure import Lure
from lure_cli.core.pixels import pad_to_multiple
from lure_cli.core.text.encoders import TextEncoder, build_text_encoder
from lure_cli.core.text.vocabulary import NONE
from lure_cli.errors import LureError
from lure_cli.tasks.data.layout import scan_folder
from lure_cli.tasks.paths.outputs import check_folder
from lure_cli.tasks.report.plots import check_plots
from lure_cli.tasks.report.table import Cell, Table, format_number
from lure_cli.tasks.train.trainer import resolve_config
from lure_cli.tasks.ulfs_figure import draw_ulfs
from lure_cli.tasks.ulfs_samples import FOLDS, Group, UlfsOptions, draw_samples
from lure_cli.tasks.weights.find import resolve_weights, weights_label

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Probe", "Reading", "Ulfs", "UlfsOptions", "measure_ulfs", "plot_ulfs", "tables", "to_csv", "to_dict"]

INIT = "init"
"""Stands for an untrained network: `init`, or `init:MODEL`."""
_BATCH = 16
SCOPES = {"vis": "visible", "ir": "infrared", "all": "both"}


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
class Reading:
    """One weights file.

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
class Ulfs:
    """All of it: the groups of samples, which are the same for all weights, and a reading of each."""

    options: UlfsOptions
    groups: tuple[Group, ...]
    readings: tuple[Reading, ...]


def require_sklearn() -> None:
    """LureError where scikit-learn is not installed."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        message = "the probe needs scikit-learn, which is not installed"
        raise LureError(message, "pip install 'lure-cli[plot]'") from error


def measure_ulfs(options: UlfsOptions, progress: Callable[[str], None] | None = None) -> Ulfs:
    """Draw samples of every task, encode each with the right prompt by all weights, and measure.

    In each modality the same crops serve all tasks, each degraded in every way that the modality knows, and as they are
    (the pseudo task): what tells two tasks apart is the degradation alone, not the scene. Real pairs, whose scenes
    differ from task to task, are measured and drawn, but take no part in the probe.

    Args:
        options: what to do.
        progress: called with a line about what is being done.

    Raises:
        LureError: no scikit-learn, unknown weights, or a data folder without enough images.
    """
    require_sklearn()
    if options.split not in ("train", "test"):
        raise LureError(f"split '{options.split}' is not known", "give --split train or --split test")
    if options.samples < 2 * FOLDS:
        raise LureError(f"{options.samples} samples are too few for a probe", f"give --samples {2 * FOLDS} or more")
    if options.size < 32 or options.size % 8:
        raise LureError(f"crops of {options.size} pixels", "give --size 32 or more, a multiple of 8")
    device = pick_device(options.device)
    named = _named(options.weights)
    models = [(name, *_load(spec)) for name, spec in named.items()]  # all of them, before the work starts
    say = progress or (lambda line: None)
    exclude = resolve_config(1).exclude  # test sets among the clean images
    say("drawing samples")
    groups = tuple(draw_samples(scan_folder(options.data, exclude), options))
    readings = []
    for name, model, text, provenance in models:
        say(f"encoding with {name}")
        readings.append(_read(name, place(model, device).eval(), text, provenance, groups))
    return Ulfs(options, groups, tuple(readings))


def plot_ulfs(options: UlfsOptions, output: Path, progress: Callable[[str], None] | None = None) -> Ulfs:
    """As `measure_ulfs`, and the figure, written to `output`, which is replaced if it exists.

    Raises:
        LureError: as `measure_ulfs`, no matplotlib, or the figure cannot be written.
    """
    check_plots("plot")
    if output.suffix.lower() != ".png":
        raise LureError(f"{output}: the figure is a PNG file", "give a name that ends in .png")
    check_folder(output.parent)
    found = measure_ulfs(options, progress)
    if progress:
        progress("drawing")
    write_file(output, draw_ulfs(found))
    return found


def _named(weights: Sequence[str]) -> dict[str, str]:
    """Labels and weights; labels are made different where two files have one name."""
    found: dict[str, str] = {}
    for given in weights:
        label, equals, spec = given.partition("=")
        if not equals or "/" in label or Path(given).exists():
            label, spec = given if _is_init(given) else weights_label(given), given
            if label in found:
                label = given
        if not label or not spec:
            raise LureError(f"'{given}' names no weights", "give WEIGHTS or LABEL=WEIGHTS")
        if label in found:
            raise LureError(f"two weights are called '{label}'", "tell them apart: LABEL=WEIGHTS")
        found[label] = spec
    if not found:
        raise LureError("there is nothing to plot", "name weights: init, a file, or shipped ones")
    return found


def _is_init(spec: str) -> bool:
    return (spec == INIT or spec.startswith(f"{INIT}:")) and not Path(spec).exists()


def _load(spec: str) -> tuple[Lure, TextEncoder, Provenance]:
    if not _is_init(spec):
        return load_model(resolve_weights(spec))
    name = spec.partition(":")[2] or next(iter(MODELS))
    if name not in MODELS:
        raise LureError(f"{spec}: model '{name}' is not known", f"known: {nearest(name, list(MODELS))}")
    text = build_text_encoder("vocabulary", MODELS[name].text_dim)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # as a training with the seed 0 starts
        return new_model(MODELS[name], text), text, Provenance()


# --- latents, probe, distances ---------------------------------------------------------------------------------------


@torch.no_grad()
def _read(name: str, model: Lure, text: TextEncoder, provenance: Provenance, groups: Sequence[Group]) -> Reading:
    import numpy as np

    pooled: list[list[np.ndarray]] = [[], [], [], []]
    distances: dict[str, tuple[float, ...]] = {}
    for group in groups:
        asked, nothing = (text.encode([names]) for names in (() if group.task == NONE else (group.task,), ()))
        left: list[float] = []
        for i in range(0, len(group.x), _BATCH):
            x, y = (pad_to_multiple(v[i : i + _BATCH].to(_device(model)), model.multiple) for v in (group.x, group.y))
            t, p0 = (v.to(x.device).expand(len(x), -1) for v in (asked, nothing))
            m = group.modality
            right, raw, marked, clean = (model.encode(*each, m) for each in ((x, t), (x, p0), (y, t), (y, p0)))
            for into, latent in zip(pooled, (right, raw, marked, clean), strict=True):
                into.append(pool(latent).cpu().numpy())
            left += remaining_distance(right, raw, clean).tolist()
        if group.task != NONE:
            distances[group.name] = tuple(left)
    points = [np.concatenate(each).astype(np.float64) for each in pooled]
    # In units of the spread among clean images, so that no channel in which next to nothing happens is blown up.
    centre, spread = points[-1].mean(0), points[-1].std(0)
    spread = np.maximum(spread, 1e-3 * spread.max() + 1e-12)
    scaled = [(p - centre) / spread for p in points]
    return Reading(
        name, provenance.stage, provenance.steps, scaled[0], _probes(scaled, groups, model.cfg.widths), distances
    )


def _device(model: Lure) -> torch.device:
    return model.pseudo_prompt.device


def _probes(points: Sequence[np.ndarray], groups: Sequence[Group], widths: Sequence[int]) -> dict[str, Probe]:
    """points: pooled F(x, t), F(x, p0), F(y, t) and F(y, p0), of all groups. widths: channels by scale."""
    import numpy as np

    found = {}
    labels = np.concatenate([np.full(len(g.x), i) for i, g in enumerate(groups)])
    sources = np.concatenate([np.array([f"{g.modality}/{s}" for s in g.sources]) for g in groups])
    for scope in SCOPES:
        wanted = [i for i, g in enumerate(groups) if not g.real and scope in (g.modality, "all")]
        rows = np.isin(labels, wanted)
        hits = [_probe_hits(p[rows], labels[rows], sources[rows]) for p in points]
        of_source = [hits[0][sources[rows] == s].mean() for s in np.unique(sources[rows])]
        error = float(np.std(of_source, ddof=1) / np.sqrt(len(of_source)))
        right, raw, marked, clean = (float(h.mean()) for h in hits)
        ends = np.cumsum([2 * width for width in widths])[:-1]  # of means and deviations, see `pool`
        parts = np.split(points[0][rows], ends, axis=1)
        scales = tuple(float(_probe_hits(p, labels[rows], sources[rows]).mean()) for p in parts)
        _, counts = np.unique(labels[rows], return_counts=True)
        found[scope] = Probe(right, error, raw, marked, clean, float(counts.max() / counts.sum()), len(wanted), scales)
    return found


def _probe_hits(points: np.ndarray, labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Which samples a logistic regression names rightly that has seen none of their source images."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict

    probe = LogisticRegression(max_iter=2000)
    guessed: np.ndarray = cross_val_predict(probe, points, labels, groups=sources, cv=GroupKFold(FOLDS))
    hits: np.ndarray = guessed == labels
    return hits


# --- numbers for people and programs ---------------------------------------------------------------------------------


def tables(found: Ulfs) -> list[Table]:
    """The probe, one row for each weights and scope; the distances, one row a task."""
    rows = []
    for reading in found.readings:
        for scope, word in SCOPES.items():
            p = reading.probe[scope]
            accuracy = f"{100 * p.accuracy:.1f} ± {100 * p.error:.1f}"
            others = (f"{100 * v:.1f}" for v in (p.nothing_done, p.prompt_alone, p.perfect, p.chance))
            scales = " / ".join(f"{100 * v:.0f}" for v in p.scales)
            rows.append((f"{reading.name}: {word}", tuple(map(Cell, (str(p.tasks), accuracy, scales, *others)))))
    per_task = next(g for g in found.groups if not g.real)
    title = f"Linear probe: tasks told apart, in % ({FOLDS} folds by source image, {len(per_task.x)} images a modality)"
    notes = (
        "by scale: on each scale of the latent alone, finest first. "
        "nothing done: the same images with the pseudo prompt. prompt alone: the clean images with each task's prompt, "
        "that is the mark that a prompt leaves by itself. perfect: if every latent were that of its clean image; for "
        "both modalities that stays above chance, as an infrared image is no visible one.",
    )
    head = ("weights", "tasks", "right prompt", "by scale", "nothing done", "prompt alone", "perfect", "chance")
    distances = []
    for group in (g for g in found.groups if g.task != NONE):
        cells = (Cell(format_number(r.median(group.name), 2)) for r in found.readings)
        distances.append((group.name, (Cell(str(len(group.x))), *cells)))
    total = sum(len(g.x) for g in found.groups if g.task != NONE)
    distances.append(("all", (Cell(str(total)), *(Cell(format_number(r.median(), 2)) for r in found.readings))))
    return [
        Table(title, head, tuple(rows), notes),
        Table(
            "Distance left to the clean image's latent, median: 1 nothing done, 0 reached",
            ("task", "images", *(r.name for r in found.readings)),
            tuple(distances),
            (),
        ),
    ]


def to_dict(found: Ulfs) -> dict[str, Any]:
    """For JSON."""
    options = found.options
    return {
        "data": str(options.data),
        "split": options.split,
        "size": options.size,
        "seed": options.seed,
        "images": {g.name: len(g.x) for g in found.groups},
        "weights": [
            {
                "name": r.name,
                "stage": r.stage,
                "steps": r.steps,
                "probe": {scope: asdict(p) for scope, p in r.probe.items()},
                "distance": {g: _number(r.median(g)) for g in r.distances} | {"all": _number(r.median())},
            }
            for r in found.readings
        ],
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def to_csv(found: Ulfs) -> str:
    """One row a number: weights, stage, steps, what (a field of `Probe`, or `distance`), of what, value."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("weights", "stage", "steps", "measure", "of", "value"))
    for r in found.readings:
        start = (r.name, r.stage, r.steps)
        for scope, probe in r.probe.items():
            numbers = asdict(probe)
            numbers |= {f"scale_{i}": v for i, v in enumerate(numbers.pop("scales"))}
            for key, value in numbers.items():
                writer.writerow((*start, f"probe_{key}", SCOPES[scope], value))
        for group in (*r.distances, None):
            writer.writerow((*start, "distance", group or "all", r.median(group)))
    return file.getvalue()
