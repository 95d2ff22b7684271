"""Train the detector behind `--prompt auto`: `python -m lure_cli.tasks.train.detector --data DATA --out FILE`.

Clean images of a data folder (layout: `core.training.layout`) are degraded as in stage I, with none, one or two
degradations, and judged at their own resolution; real degraded images stand beside them: those of the pairs, and single
ones in `labelled/`. What a detector must not take for a fault is among the clean ones: lit streets by night, pale
skies, JPEG, resized and slightly altered pictures. Thresholds are chosen on images that the voters which judge them
have not seen (five folds); folders named `test` are never read.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from tqdm import tqdm

from lure_cli.core.detector.detector import FORMAT, LIMIT, RIVALS, decide
from lure_cli.core.detector.features import image_features
from lure_cli.core.images.picture import read_image
from lure_cli.core.pixels import CHANNELS, Modality
from lure_cli.core.records import save_record
from lure_cli.core.text.vocabulary import DEGRADATIONS
from lure_cli.core.training.corpus import Corpus, find_corpus
from lure_cli.core.training.degradations import degrade_measured
from lure_cli.core.training.fields import chance, stored, uniform
from lure_cli.core.training.layout import DataFolder, read_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

FOLDS = 5
REAL = 3.0
"""What a real image counts for, against one that was made from a clean one."""
VOTERS = 4
HIDDEN = 64
_KEPT = ("Kodak24",)
"""Sets that are kept for testing although they are not in a folder named `test`."""
_FAINT = {
    **{
        "haze": 0.15,
        "rain": 0.12,
        "snow": 0.12,
        "lowlight": 0.3,
        "overexposure": 0.2,
        "noise": 0.1,
        "blur": 0.3,
        "lowres": 0.2,
    },
    **{"lowcontrast": 0.42, "stripe": 0.14},
}
"""Below this severity a degradation counts as neither there nor missing: people would not agree either."""
BETA = 0.6
"""What a miss counts against a false alarm when thresholds are chosen: restored unasked is worse than not at all."""
_ALARMS = 0.01
"""Share of clean pictures on which one degradation may be seen, when thresholds are chosen."""
_MOST_VARIANTS = 24
"""So many images are drawn from one file at most."""
_BROAD = frozenset({"lowlight", "overexposure", "haze"})
"""What a picture still shows when it is made smaller. One is hardly put on top of another: it would hide or undo it."""
_LAMPS = 0.4
"""Share of low light that is a night with lamps."""
_LARGEST = (512, 640)
"""Height and width in pixels of the largest image that is made; larger sources are cropped or made smaller."""


@dataclass(frozen=True)
class Source:
    """One file to draw images from.

    `variants` are drawn, and the file as it is; `names` are the degradations that it really shows, `fold` is its part,
    `native` are clean images of fusion pairs and those that are labelled clean.
    """

    path: Path
    modality: Modality
    group: str
    fold: int
    variants: int
    names: tuple[str, ...] = ()
    native: bool = False


@dataclass(frozen=True)
class Table:
    """Samples of one modality, N of them, L degradations.

    features (N, F); label, known, severity and rated (N, L): what is there, where that is known, how strong it is, and
    where that is known; fold (N,); native (N,): clean images of fusion pairs and labelled ones, as the files hold them;
    group (N,).
    """

    features: NDArray[np.float32]
    label: NDArray[np.float32]
    known: NDArray[np.float32]
    severity: NDArray[np.float32]
    rated: NDArray[np.float32]
    fold: NDArray[np.int64]
    native: NDArray[np.bool_]
    group: NDArray[np.str_]

    def weight(self) -> NDArray[np.float32]:
        """(N,) more for clean pairs as they are, and for what really shows something with nothing put on top of it."""
        real = (self.label > self.rated).any(1) & ~self.rated.any(1)
        return np.where(self.native | real, REAL, 1.0).astype(np.float32)


def find_sources(data: DataFolder, corpus: Corpus, modality: Modality, images: int) -> list[Source]:
    """All files of a modality, in a fixed order. Folds are runs of neighbouring files, as those look alike.

    Of a fusion set's images, those that lie in a labelled set of the same name, too, show what that says.

    Args:
        images: about that many are drawn from each set, twice as many of fusion pairs, the files themselves included.
    """
    side = 0 if modality == "ir" else 1
    labelled = [p for p in data.parts if p.kind == "labelled" and p.modality == modality and p.use == "trained on"]
    known = {(part.set, stem) for part in labelled for stem in part.sides[0].files}
    sources: list[Source] = []

    def add(group: str, paths: Sequence[Path], names: tuple[str, ...] = (), native: bool = False) -> None:
        variants = min(_MOST_VARIANTS, max(1, round(images * (1 + native) / max(1, len(paths)))))
        for i, path in enumerate(paths):
            sources.append(Source(path, modality, group, FOLDS * i // len(paths), variants, names, native))

    for name, pairs in corpus.fusion.items():
        add(f"fusion/{name}", [p[side] for p in pairs if (name, p[side].stem) not in known], native=True)
    for name, files in corpus.clean[modality].items():
        add(f"clean/{name}", [p[0] for p in files])
    for (m, task), sets in corpus.restoration.items():
        if m == modality:
            for name, pairs in sets.items():
                add(f"real/{name}/clean", [p[1] for p in pairs])
                add(f"real/{name}/{task}", [p[0] for p in pairs], (task,))
    for part in labelled:
        what = "+".join(part.labels) or "clean"
        add(f"labelled/{part.set}/{what}", [p[0] for p in part.samples], part.labels, not part.labels)
    return sources


def draw(sources: Sequence[Source], seed: int, jobs: int) -> Table:
    """Images from all sources, and their features; the same for any number of jobs."""
    work = partial(_draw_source, seed=seed)
    rows: list[_Row] = []
    with ProcessPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for drawn in tqdm(pool.map(work, sources, chunksize=8), total=len(sources), unit="file"):
            rows += drawn
    columns: list[Any] = [np.stack(c) for c in zip(*rows, strict=True)]
    return Table(*columns)


_Row = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, int, bool, str]


def _draw_source(source: Source, seed: int) -> list[_Row]:
    x = torch.from_numpy(read_image(source.path, channels=CHANNELS[source.modality])).permute(2, 0, 1)  # type: ignore[arg-type]
    rows = [_features_and_labels(source, x, {}, source.native)]
    for variant in range(source.variants):
        key = f"{source.group}/{source.path.name}/{seed}/{variant}"
        g = torch.Generator().manual_seed(zlib.crc32(key.encode()))
        rows.append(_features_and_labels(source, *_variant(source, x, g), False))
    return rows


def _variant(source: Source, x: Tensor, g: Generator) -> tuple[Tensor, dict[str, float]]:
    """A view of the source, degraded by chance, and the severities of what was done to it."""
    y = _random_crop(x, g, resize=set(source.names) <= _BROAD)
    known = [n for n in DEGRADATIONS[source.modality] if n not in source.names]
    if source.names:
        if set(source.names) <= _BROAD and chance(g, 0.5):
            y = (uniform(g, 0.92, 1.06) * _colourful(y, uniform(g, 0.6, 1.3)) ** uniform(g, 0.92, 1.08)).clamp(0, 1)
        if chance(g, 0.5 if source.names == ("lowlight",) else 0.75):
            return stored(y, g, 0.3, 85), {}
        if source.names != ("lowlight",):  # a night may be foggy, or lit too much after all
            known = [n for n in known if n not in _BROAD]
        names: tuple[str, ...] = (known[int(torch.randint(len(known), (), generator=g))],)
    else:
        if chance(g, 0.35):
            y = _reworked(y, g)
        if chance(g, 0.25):
            y = _colourful(y, uniform(g, 0, 1.7))
        if chance(g, 0.3):
            y = (uniform(g, 0.85, 1.1) * y ** uniform(g, 0.85, 1.2)).clamp(0, 1)
        if chance(g, 0.4):
            y = (y + torch.randn(y.shape, generator=g) * uniform(g, 0, 1.5) / 255).clamp(0, 1)
        kind = uniform(g, 0, 1)
        names = ()
        if kind > 0.25:
            names = tuple(known[int(i)] for i in torch.randperm(len(known), generator=g)[: 2 if kind > 0.8 else 1])
            if any(set(names) == set(rivals) for rivals in RIVALS):
                names = names[:1]
    y, severities = degrade_measured(y, names, source.modality, g, _LAMPS)
    return stored(y, g, 0.25, 88 if names else 75), severities


def _colourful(x: Tensor, much: float) -> Tensor:
    """Saturation times `much`; 0 is grey."""
    grey = x.mean(0, keepdim=True)
    return (grey + much * (x - grey)).clamp(0, 1)


def _random_crop(x: Tensor, g: Generator, resize: bool) -> Tensor:
    """A part of the image, mirrored in half of the cases, made smaller in a third of them where that is allowed."""
    if resize and chance(g, 0.35):
        scale = uniform(g, 0.5, 1.0)
        size = [max(192, round(n * scale)) for n in x.shape[1:]]
        x = F.interpolate(x[None], size=size, mode="bilinear", antialias=True)[0].clamp(0, 1)
    size = [min(n, most) for n, most in zip(x.shape[1:], _LARGEST, strict=True)]
    if chance(g, 0.5):
        size = [int(uniform(g, min(n, 192), n)) for n in size]
    top, left = (int(uniform(g, 0, full - n + 0.99)) for full, n in zip(x.shape[1:], size, strict=True))
    x = x[:, top : top + size[0], left : left + size[1]]
    return x.flip(2) if chance(g, 0.5) else x


def _reworked(x: Tensor, g: Generator) -> Tensor:
    """Compressed once and slightly resized since, as registered pairs often are: no fault, but it leaves traces."""
    x = stored(x, g, 0.8, 50)
    size = [max(160, round(n * uniform(g, 0.8, 1.25))) for n in x.shape[1:]]
    mode = "bicubic" if chance(g, 0.5) else "bilinear"
    return F.interpolate(x[None], size=size, mode=mode, align_corners=False)[0].clamp(0, 1)


def _features_and_labels(source: Source, x: Tensor, severities: dict[str, float], native: bool) -> _Row:
    names = DEGRADATIONS[source.modality]
    label, known, severity, rated = (np.zeros(len(names), np.float32) for _ in range(4))
    known[:] = 1
    unsaid = source.names and (source.group.startswith("labelled/") or "lowlight" in source.names)  # grain or not
    for i, name in enumerate(names):
        if name in severities:
            label[i] = rated[i] = 1
            severity[i] = severities[name]
            known[i] = severities[name] >= _FAINT[name]
        elif name in source.names:
            label[i] = 1
            if any(name in rivals and set(rivals) & set(severities) for rivals in RIVALS):
                label[i] = known[i] = 0  # undone, more or less
        elif name == "noise" and unsaid:
            known[i] = 0
    if severities.get("noise", 0) > 0.25:  # grain hides what is soft below it
        for name in ("blur", "lowres"):
            known[names.index(name)] = 0
    features = image_features(np.ascontiguousarray(x.permute(1, 2, 0).numpy()))
    return features, label, known, severity, rated, source.fold, native, source.group


class Ensemble(nn.Module):
    """Several perceptrons side by side; see `core.detector.detector.Detector` for the shapes."""

    def __init__(self, table: Table, voters: int, hidden: int, g: Generator) -> None:
        super().__init__()
        labels, features = table.label.shape[1], table.features.shape[1]
        self.register_buffer("mean", torch.from_numpy(table.features.mean(0)))
        self.register_buffer("scale", torch.from_numpy(1 / (table.features.std(0) + 1e-3)))
        sizes = (features, hidden, hidden, 2 * labels)
        for i, (a, b) in enumerate(pairwise(sizes), 1):
            self.register_parameter(f"w{i}", nn.Parameter(torch.randn(voters, a, b, generator=g) * (2 / a) ** 0.5))
            self.register_parameter(f"b{i}", nn.Parameter(torch.zeros(voters, b)))

    def forward(self, x: Tensor, g: Generator | None = None) -> Tensor:
        """Features (N, F), or (M, N, F) for each voter its own -> logits (M, N, 2 L); with g: dropout."""
        x = ((x - self.mean) * self.scale).clamp(-LIMIT, LIMIT)  # type: ignore[operator]
        for i in (1, 2):
            if g is not None:
                x = x * (torch.rand(x.shape, generator=g) > 0.1) / 0.9
            x = (x @ getattr(self, f"w{i}") + getattr(self, f"b{i}")[:, None]).relu()
        return x @ self.w3 + self.b3[:, None]  # type: ignore[operator,index]


def train(table: Table, seed: int, epochs: int, batch: int) -> Ensemble:
    """Fit the voters, each to the samples in an order of its own."""
    g = torch.Generator().manual_seed(seed)
    model = Ensemble(table, VOTERS, HIDDEN, g)
    x, label, known, severity, rated = (
        torch.from_numpy(a) for a in (table.features, table.label, table.known, table.severity, table.rated)
    )
    weight = known * torch.from_numpy(table.weight())[:, None]
    steps = epochs * (len(x) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=2e-2)
    labels = label.shape[1]
    for step in range(steps):
        at = step % (len(x) // batch)
        if at == 0:
            orders = torch.stack([torch.randperm(len(x), generator=g) for _ in range(VOTERS)])
        pick = orders[:, at * batch : (at + 1) * batch]
        y = model(x[pick], g)
        seen = F.binary_cross_entropy_with_logits(
            y[..., :labels], label[pick] * 0.98 + 0.01, weight[pick], reduction="sum"
        )
        strong = (rated[pick] * (y[..., labels:].sigmoid() - severity[pick]).square()).sum()
        optimizer.zero_grad()
        ((seen + 3 * strong) / batch).backward()
        for group in optimizer.param_groups:  # a short warm-up, then a cosine down to nothing
            group["lr"] = 3e-3 * min(1.0, 10 * (step + 1) / steps) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.step()
    return model.eval()


@torch.inference_mode()
def scores_of(model: Ensemble, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, F) -> scores and severities (N, L)."""
    y = model(torch.from_numpy(features)).mean(0).sigmoid().numpy()
    n = y.shape[1] // 2
    return y[:, :n], y[:, n:]


def cross_validated_scores(table: Table, seed: int, epochs: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and severities of every sample by voters that were not trained on its fold."""
    scores, severities = np.zeros_like(table.label), np.zeros_like(table.label)
    for fold in range(FOLDS):
        held = table.fold == fold
        model = train(_rows(table, ~held), seed + 1 + fold, epochs, batch)
        scores[held], severities[held] = scores_of(model, table.features[held])
    return scores, severities


def _rows(table: Table, rows: np.ndarray) -> Table:
    return Table(*(getattr(table, k)[rows] for k in Table.__dataclass_fields__))


def choose_thresholds(table: Table, scores: np.ndarray) -> np.ndarray:
    """Per degradation: the best F score among those that few clean pictures reach; (L,). In the middle of those that
    are as good as the best, as the first of them says little of other pictures."""
    chosen = []
    weight = table.weight()
    for k in range(scores.shape[1]):
        use = table.known[:, k] > 0
        s, there, w = scores[use, k], table.label[use, k] > 0, weight[use]
        grid, b = np.linspace(0.3, 0.95, 131), BETA**2
        score = [(1 + b) * w[there & (s >= t)].sum() / (b * w[there].sum() + w[s >= t].sum()) for t in grid]
        clean = scores[table.native & use, k]
        alarms = [(clean >= t).mean() for t in grid]
        allowed = [f if a <= _ALARMS else f - 10 * a for f, a in zip(score, alarms, strict=True)]
        chosen.append(np.median(grid[np.array(allowed) >= max(allowed) - 0.004]))
    return np.array(chosen)


def measure(
    table: Table, scores: np.ndarray, severities: np.ndarray, limits: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """What the thresholds give on samples that were not trained on."""
    measured: dict[str, Any] = {}
    decided = decide(scores, limits, names)
    for k, name in enumerate(names):
        use = table.known[:, k] > 0
        s, there = decided[use, k], table.label[use, k] > 0
        rated = (table.rated[:, k] > 0) & (table.known[:, k] > 0)
        measured[name] = {
            "f1": round(float(2 * (s & there).sum() / (s.sum() + there.sum())), 3),
            "precision": round(float((s & there).sum() / max(1, s.sum())), 3),
            "recall": round(float((s & there).sum() / there.sum()), 3),
            "severity_error": round(float(np.abs(severities - table.severity)[rated, k].mean()), 3),
        }
    alarm = np.asarray(decided[table.native].any(1))
    groups = table.group[table.native]
    measured["false_alarms"] = {str(n): round(float(alarm[groups == n].mean()), 4) for n in np.unique(groups)}
    return measured


def fit(
    tables: Mapping[Modality, Table], data: Sequence[str], seed: int, out: Path, epochs: int = 20, batch: int = 256
) -> None:
    """Train both modalities' voters, choose thresholds and write the file, whole or not at all."""
    torch.set_num_threads(1)  # the matrices are small, and the sums come out the same on every machine
    tensors: dict[str, np.ndarray] = {}
    thresholds: dict[str, dict[str, float]] = {}
    measured: dict[str, Any] = {}
    for modality, table in tables.items():
        names = DEGRADATIONS[modality]
        scores, severities = cross_validated_scores(table, seed, epochs, batch)
        limits = choose_thresholds(table, scores)
        measured[modality] = measure(table, scores, severities, limits, names)
        thresholds[modality] = {n: round(float(t), 3) for n, t in zip(names, limits, strict=True)}
        log.info("%s: %d images\n%s", modality, len(table.fold), json.dumps(measured[modality], indent=1))
        for key, value in train(table, seed, epochs, batch).state_dict().items():
            half = key not in ("mean", "scale")
            tensors[f"{modality}.{key}"] = value.numpy().astype(np.float16 if half else np.float32)
    images = sum(len(t.fold) for t in tables.values())
    provenance = {"data": data, "images": images, "seed": seed, "held_out": measured}
    metadata = {"format": FORMAT, "kind": "detector", "thresholds": thresholds, "provenance": provenance}
    save_record(out, tensors, metadata)
    log.info("%s", out)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, draw, train, write; progress goes to the log."""
    summary = (__doc__ or "").split(":")[0]
    ap = argparse.ArgumentParser(prog="python -m lure_cli.tasks.train.detector", description=summary)
    ap.add_argument("--data", type=Path, required=True, help="data folder, laid out as for `lure train`")
    ap.add_argument("--out", type=Path, required=True, help="file to write, .safetensors")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--images", type=int, default=600, help="images drawn from each set, about")
    ap.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that draw")
    args = ap.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    data, corpus = read_layout(args.data, _KEPT), find_corpus(args.data, _KEPT)
    tables: dict[Modality, Table] = {
        m: draw(find_sources(data, corpus, m, args.images), args.seed, args.jobs) for m in CHANNELS
    }
    sets = {*corpus.sets(), *(p.set for p in data.parts if p.kind == "labelled" and p.use == "trained on")}
    fit(tables, sorted(sets), args.seed, args.out)


if __name__ == "__main__":
    main()
