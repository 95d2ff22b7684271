"""The samples of `lure plot ulfs`: crops of every task, degraded and clean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from lure_cli.core.images.picture import read_image
from lure_cli.core.pixels import CHANNELS, MODALITY_NAMES, Modality
from lure_cli.core.text.vocabulary import ALL, DEGRADATIONS, NONE
from lure_cli.core.training.degradations import degrade
from lure_cli.core.training.layout import DataFolder
from lure_cli.core.training.sampler import LIT
from lure_cli.errors import LureError

FOLDS = 5
"""Of the probe's cross-validation; each needs two source images."""
_TRIES = 20
"""Images that are drawn for each one that is wanted, at most: small and, for the visible, dark ones are passed over."""


@dataclass(frozen=True)
class UlfsOptions:
    """What `lure plot ulfs` was asked to do.

    weights: names, files or models on a hub, `init` or `init:MODEL` for an untrained network; `LABEL=...` names one.
    data: folder of training data. split: `train` or `test`, whose images are taken. samples: source images a modality,
    and real pairs a task at most. size: side of the crops in pixels, a multiple of 8.
    """

    weights: tuple[str, ...]
    data: Path
    _: KW_ONLY
    split: str = "train"
    samples: int = 60
    size: int = 128
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class Group:
    """Crops of one task: x, y (N, C, S, S); the source images that they come from; whether they are real pairs."""

    modality: Modality
    task: str
    real: bool
    x: Tensor
    y: Tensor
    sources: tuple[str, ...]

    @property
    def name(self) -> str:
        """For tables: `visible haze (real)`."""
        return f"{MODALITY_NAMES[self.modality]} {self.task}{' (real)' * self.real}"


def draw_samples(folder: DataFolder, options: UlfsOptions, known: Sequence[str] = ALL) -> Iterator[Group]:
    """The groups of both modalities, from the parts that training reads or from the test parts.

    Each draw depends on the seed, its source image and the task's place among the `known` degradations alone.

    Raises:
        LureError: fewer clean images of a modality than the probe needs.
    """
    use = "trained on" if options.split == "train" else "never trained on"
    parts = [p for p in folder.parts if p.use == use]
    for modality in CHANNELS:
        clean: dict[str, list[Path]] = {}
        for part in parts:
            for side in part.sides:
                if side.modality == modality and part.kind != "restoration" and side.files:
                    clean[part.name] = list(side.files.values())
        crops = _clean_crops(clean, modality, options)
        if len(crops) < 2 * FOLDS:
            kind = f"{'well-lit ' if modality == 'vis' else ''}{MODALITY_NAMES[modality]} images"
            raise LureError(
                f"{options.data}: {len(crops)} {kind} of {options.size} pixels or more for {options.split}, of which "
                f"the probe needs {2 * FOLDS}",
                "name a folder with more images, or lower --size",
            )
        sources = tuple(path.relative_to(options.data).as_posix() for path, _ in crops)
        y = torch.stack([crop for _, crop in crops])
        tasks = [name for name in DEGRADATIONS[modality] if name in known]
        for t, task in enumerate((NONE, *tasks)):
            degraded = [
                degrade(crop, () if task == NONE else (task,), modality, _generator(options.seed, 1 + t, i))
                for i, crop in enumerate(y)
            ]
            yield Group(modality, task, False, torch.stack(degraded), y, sources)
        for t, task in enumerate(tasks):
            pairs = [
                pair
                for part in parts
                if part.modality == modality and part.degradation == task
                for pair in part.samples
            ]
            if real := _real_crops(pairs, modality, options, t):
                paths, xs, ys = zip(*real, strict=True)
                names = tuple(path.relative_to(options.data).as_posix() for path in paths)
                yield Group(modality, task, True, torch.stack(xs), torch.stack(ys), names)


def _generator(*key: int) -> Generator:
    seed = 0
    for part in key:
        seed = (seed * 1_000_003 + part) % 2**62
    return Generator().manual_seed(seed)


def _image(path: Path, modality: Modality) -> Tensor:
    return torch.from_numpy(read_image(path, channels=CHANNELS[modality])).permute(2, 0, 1)  # type: ignore[arg-type]


def _window(image: Tensor, size: int, g: Generator) -> tuple[slice, slice]:
    top, left = (int(torch.randint(side - size + 1, (), generator=g)) for side in image.shape[1:])
    return slice(top, top + size), slice(left, left + size)


def _clean_crops(sets: dict[str, list[Path]], modality: Modality, options: UlfsOptions) -> list[tuple[Path, Tensor]]:
    """One crop an image, from all sets, large ones more often by the root of their size; visible ones are well lit, as
    "low light" asks for a well-lit picture."""
    g = _generator(options.seed, 0, list(CHANNELS).index(modality))
    left = {name: [paths[int(i)] for i in torch.randperm(len(paths), generator=g)] for name, paths in sets.items()}
    crops: list[tuple[Path, Tensor]] = []
    for _ in range(_TRIES * options.samples):
        names = [name for name, paths in left.items() if paths]
        if not names or len(crops) == options.samples:
            break
        shares = torch.tensor([float(len(sets[name])) for name in names]).sqrt()
        path = left[names[int(torch.multinomial(shares, 1, generator=g))]].pop()
        image = _image(path, modality)
        if min(image.shape[1:]) < options.size:
            continue
        rows, columns = _window(image, options.size, g)
        crop = image[:, rows, columns]
        if modality == "ir" or crop.mean() > LIT:
            crops.append((path, crop))
    return crops


def _real_crops(
    pairs: Sequence[tuple[Path, ...]], modality: Modality, options: UlfsOptions, task: int
) -> list[tuple[Path, Tensor, Tensor]]:
    g = _generator(options.seed, 100, list(CHANNELS).index(modality), task)
    crops = []
    for i in torch.randperm(len(pairs), generator=g)[: options.samples]:
        degraded, clean = pairs[int(i)]
        x, y = _image(degraded, modality), _image(clean, modality)
        if x.shape != y.shape:
            raise LureError(f"{degraded} and {clean} differ in size", "`lure data check` lists all such pairs")
        if min(x.shape[1:]) >= options.size:
            rows, columns = _window(x, options.size, g)
            crops.append((clean, x[:, rows, columns], y[:, rows, columns]))
    return crops
