"""`lure plot ulfs`: do the tasks merge in the latent space? Samples, latents, probe and distances; no drawing here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lure_cli.config import MODELS, Provenance, nearest
from lure_cli.core.devices import pick_device, place
from lure_cli.core.files import write_file
from lure_cli.core.model.checkpoint import load_model, new_model
from lure_cli.core.model.latents import pool, remaining_distance
from lure_cli.core.model.lure import Lure
from lure_cli.core.pixels import pad_to_multiple
from lure_cli.core.text.encoders import TextEncoder, build_text_encoder
from lure_cli.core.text.vocabulary import ALL, NONE, known_names
from lure_cli.core.training.layout import read_layout
from lure_cli.errors import LureError
from lure_cli.tasks.paths.outputs import check_folder
from lure_cli.tasks.report.plots import check_plots
from lure_cli.tasks.train.config import resolve_config
from lure_cli.tasks.ulfs.figure import draw_ulfs
from lure_cli.tasks.ulfs.result import INIT, SCOPES, LatentMeasurement, Probe, UlfsResult
from lure_cli.tasks.ulfs.samples import FOLDS, Group, UlfsOptions, draw_samples
from lure_cli.tasks.weights.find import resolve_weights, weights_label

if TYPE_CHECKING:
    import numpy as np


_BATCH = 16


def require_sklearn() -> None:
    """LureError where scikit-learn is not installed."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        message = "the probe needs scikit-learn, which is not installed"
        raise LureError(message, "pip install 'lure-cli[plot]'") from error


def measure_ulfs(options: UlfsOptions, progress: Callable[[str], None] | None = None) -> UlfsResult:
    """Draw samples of every task, encode each with the right prompt by all weights, and measure.

    In each modality the same crops serve all tasks, each degraded in every way that all of the weights were trained on,
    and as they are (the pseudo task): what tells two tasks apart is the degradation alone, not the scene. Real pairs,
    whose scenes differ from task to task, are measured and drawn, but take no part in the probe.

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
    notify = progress or (lambda line: None)
    exclude = resolve_config(1).exclude  # test sets among the clean images
    notify("drawing samples")
    known = [name for name in ALL if all(name in known_names(p.degradations) for *_, p in models)]
    groups = tuple(draw_samples(read_layout(options.data, exclude), options, known))
    measurements = []
    for name, model, text, provenance in models:
        notify(f"encoding with {name}")
        measurements.append(_measure(name, place(model, device).eval(), text, provenance, groups))
    return UlfsResult(options, groups, tuple(measurements))


def plot_ulfs(options: UlfsOptions, output: Path, progress: Callable[[str], None] | None = None) -> UlfsResult:
    """As `measure_ulfs`, and the figure, written to `output`, which is replaced if it exists.

    Raises:
        LureError: as `measure_ulfs`, no matplotlib, or the figure cannot be written.
    """
    check_plots("plot")
    if output.suffix.lower() != ".png":
        raise LureError(f"{output}: the figure is a PNG file", "give a name that ends in .png")
    check_folder(output.parent)
    ulfs = measure_ulfs(options, progress)
    if progress:
        progress("drawing")
    write_file(output, draw_ulfs(ulfs))
    return ulfs


def _named(weights: Sequence[str]) -> dict[str, str]:
    """Labels and weights; labels are made different where two files have one name."""
    by_label: dict[str, str] = {}
    for given in weights:
        label, equals, spec = given.partition("=")
        if not equals or "/" in label or Path(given).exists():
            label, spec = given if _is_init(given) else weights_label(given), given
            if label in by_label:
                label = given
        if not label or not spec:
            raise LureError(f"'{given}' names no weights", "give WEIGHTS or LABEL=WEIGHTS")
        if label in by_label:
            raise LureError(f"two weights are called '{label}'", "tell them apart: LABEL=WEIGHTS")
        by_label[label] = spec
    if not by_label:
        raise LureError("there is nothing to plot", "name weights: init, a file, or shipped ones")
    return by_label


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
        return new_model(MODELS[name], text), text, Provenance(degradations=ALL)


@torch.no_grad()
def _measure(
    name: str, model: Lure, text: TextEncoder, provenance: Provenance, groups: Sequence[Group]
) -> LatentMeasurement:
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
    return LatentMeasurement(
        name=name,
        stage=provenance.stage,
        steps=provenance.steps,
        points=scaled[0],
        probe=fit_probes(scaled, groups, model.cfg.widths),
        distances=distances,
    )


def _device(model: Lure) -> torch.device:
    return model.pseudo_prompt.device


def fit_probes(points: Sequence[np.ndarray], groups: Sequence[Group], widths: Sequence[int]) -> dict[str, Probe]:
    """A linear probe for each scope, cross-validated over source images.

    Args:
        points: pooled F(x, t), F(x, p0), F(y, t) and F(y, p0), each (N, K), of all groups, one after the other.
        groups: what the points are of.
        widths: channels of the latent by scale, finest first; K is twice their sum.
    """
    import numpy as np

    probes = {}
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
        probes[scope] = Probe(
            accuracy=right,
            error=error,
            nothing_done=raw,
            prompt_alone=marked,
            perfect=clean,
            chance=float(counts.max() / counts.sum()),
            tasks=len(wanted),
            scales=scales,
        )
    return probes


def _probe_hits(points: np.ndarray, labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Which samples a logistic regression names rightly that has seen none of their source images."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict

    probe = LogisticRegression(max_iter=2000)
    guessed: np.ndarray = cross_val_predict(probe, points, labels, groups=sources, cv=GroupKFold(FOLDS))
    hits: np.ndarray = guessed == labels
    return hits
