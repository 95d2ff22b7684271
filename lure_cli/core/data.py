"""Training data: a folder layout, and batches that are a pure function of (seed, step).

    fusion/<set>/train/{ir,vi}                                          registered pairs, equal names
    restoration/<visible|infrared>/<degradation>/<set>/train/{degraded,clean}   real pairs, equal names
    clean/<visible|infrared>/<set>                                      clean single images

A folder named `test` is never read. Sets named in `exclude` are left out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lure_cli.config import TrainConfig
from lure_cli.core.degradations import degrade, uniform
from lure_cli.core.images import has_image_suffix, read_image
from lure_cli.core.model import CHANNELS, Modality
from lure_cli.core.text import DEGRADATIONS
from lure_cli.errors import LureError

_FOLDERS: dict[Modality, str] = {"vis": "visible", "ir": "infrared"}
_SIDES: dict[Modality, int] = {"ir": 0, "vis": 1}
"""Where a modality stands in a fusion pair."""
_SHARES = {"noise": 3.0, "rain": 2.5, "blur": 1.5, "haze": 1.5, "stripe": 1.5}
"""How often a degradation is drawn, where not once: local detail is learnt slowly, light within minutes."""
LIGHT = frozenset(("haze", "lowlight", "overexposure", "lowcontrast"))
"""What changes the light of the whole image. These tasks come in gradually: learnt first, they close the layers to all
others, whose small gains they would spoil."""
_LIT = 0.25
"""Clean images darker than this mean show night; "low light" asks for a well-lit picture, so they are no target."""

Files = tuple[Path, ...]
"""Files of one sample: an image, a (degraded, clean) pair, or an (ir, vis) pair."""


@dataclass(frozen=True)
class Corpus:
    """What a data folder holds for training, grouped by set."""

    fusion: Mapping[str, Sequence[Files]]
    restoration: Mapping[tuple[Modality, str], Mapping[str, Sequence[Files]]]
    clean: Mapping[Modality, Mapping[str, Sequence[Files]]]

    def sets(self) -> tuple[str, ...]:
        """Names of all sets, for the record."""
        named = set(self.fusion) | {s for t in self.restoration.values() for s in t}
        return tuple(sorted(named | {s for m in self.clean.values() for s in m}))


@dataclass(frozen=True)
class Sample:
    """One crop of stage I: input x and target y (C, S, S), and the degradations that the prompt names."""

    x: Tensor
    y: Tensor
    names: tuple[str, ...]


def _images(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {p.stem: p for p in sorted(folder.iterdir()) if has_image_suffix(p) and not p.name.startswith(".")}


def _pairs(a: Path, b: Path) -> list[Files]:
    first, second = _images(a), _images(b)
    odd = sorted(first.keys() ^ second.keys())
    if odd:
        raise LureError(f"{a.parent}: '{odd[0]}' is in only one of {a.name}/ and {b.name}/", "pairs need equal names")
    return [(first[k], second[k]) for k in first]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []


def find_corpus(root: Path, exclude: Sequence[str] = ()) -> Corpus:
    """Look through a data folder of the layout above.

    Raises:
        LureError: no such folder, unpaired files, or a degradation folder with an unknown name.
    """
    if not root.is_dir():
        raise LureError(f"{root}: no such folder", "give the data folder with --data; the README shows its layout")
    fusion = {
        s.name: pairs
        for s in _subfolders(root / "fusion")
        if s.name not in exclude and (pairs := _pairs(s / "train" / "ir", s / "train" / "vi"))
    }
    restoration: dict[tuple[Modality, str], dict[str, list[Files]]] = {}
    clean: dict[Modality, dict[str, list[Files]]] = {}
    for modality, name in _FOLDERS.items():
        clean[modality] = {
            s.name: [(p,) for p in files.values()]
            for s in _subfolders(root / "clean" / name)
            if s.name not in exclude and (files := _images(s))
        }
        for task in _subfolders(root / "restoration" / name):
            if task.name not in DEGRADATIONS[modality]:
                raise LureError(f"{task}: unknown degradation", f"known: {', '.join(DEGRADATIONS[modality])}")
            sets = {
                s.name: pairs
                for s in _subfolders(task)
                if s.name not in exclude and (pairs := _pairs(s / "train" / "degraded", s / "train" / "clean"))
            }
            if sets:
                restoration[modality, task.name] = sets
    return Corpus(fusion, restoration, clean)


class Sampler:
    """Draws batches. Everything random comes from a generator seeded with (seed, step), so that a resumed run sees
    what an uninterrupted one would have seen."""

    def __init__(self, corpus: Corpus, cfg: TrainConfig) -> None:
        self.corpus, self.cfg = corpus, cfg
        self._cache: OrderedDict[tuple[Path, int], Tensor] = OrderedDict()
        self._cached_bytes = 0
        self._fusion: dict[Modality, dict[str, Sequence[Files]]] = {
            m: {f"fusion/{name}": [(pair[k],) for pair in pairs] for name, pairs in corpus.fusion.items()}
            for m, k in _SIDES.items()
        }
        self._clean = {m: {**corpus.clean[m], **self._fusion[m]} for m in _SIDES}
        if not corpus.fusion:
            raise LureError(f"{cfg.data}: no fusion pairs under fusion/<set>/train", "the README shows the layout")

    def generator(self, step: int) -> Generator:
        """The generator of one step."""
        return torch.Generator().manual_seed(self.cfg.seed * 1_000_003 + step)

    def stage1(self, step: int) -> dict[Modality, list[Sample]]:
        """Crops of both modalities for one step."""
        g = self.generator(step)
        counts: dict[Modality, int] = {"vis": self.cfg.batch_vis, "ir": self.cfg.batch_ir}
        ramp = min(1.0, step / max(1, self.cfg.light_ramp))
        return {m: [self._restoration_sample(m, g, ramp) for _ in range(n)] for m, n in counts.items()}

    def stage2(self, step: int) -> tuple[Tensor, Tensor]:
        """Clean crops of pairs: ir (B, 1, S, S), vis (B, 3, S, S)."""
        g = self.generator(step)
        drawn = [self._draw(self.corpus.fusion, (1, 3), g, 2.0) for _ in range(self.cfg.batch_vis)]
        return torch.stack([d[0] for d in drawn]), torch.stack([d[1] for d in drawn])

    def _restoration_sample(self, modality: Modality, g: Generator, ramp: float) -> Sample:
        cfg, planes = self.cfg, CHANNELS[modality]
        if cfg.pseudo_degradation and uniform(g, 0, 1) < cfg.pseudo_ratio:
            fusion_only = uniform(g, 0, 1) < 0.7  # it ties the fusion data to the latent space
            pool = self._fusion[modality] if fusion_only else self._clean[modality]
            (y,) = self._draw(pool, (planes,), g, 2.0)
            return Sample(y, y, ())
        known = DEGRADATIONS[modality]
        shares = torch.tensor([_SHARES.get(name, 1.0) * (ramp if name in LIGHT else 1.0) for name in known])
        names: tuple[str, ...] = (known[int(torch.multinomial(shares, 1, generator=g))],)
        real = self.corpus.restoration.get((modality, names[0]))
        if real and uniform(g, 0, 1) < cfg.real_ratio:
            # Light and weather look alike at any size; grain and streaks do not, so those keep their pixels.
            zoom = 3.0 if names[0] in ("lowlight", "overexposure", "haze") else 1.0
            x, y = self._draw(real, (planes, planes), g, zoom)
        else:
            if uniform(g, 0, 1) < cfg.composite_ratio:
                other = known[int(torch.randint(len(known), (), generator=g))]
                if {names[0], other} != {"lowlight", "overexposure"}:
                    names = tuple(dict.fromkeys((*names, other)))
            for _ in range(8):
                (y,) = self._draw(self._clean[modality], (planes,), g, 3.0)
                if "lowlight" not in names or y.mean() > _LIT:
                    break
            x = degrade(y, names, modality, g)
        if uniform(g, 0, 1) < cfg.ignore_ratio:
            return Sample(x, x, ())
        return Sample(x, y, names)

    def _draw(
        self, sets: Mapping[str, Sequence[Files]], planes: Sequence[int], g: Generator, zoom: float
    ) -> list[Tensor]:
        """The same random crop of all files of one sample, from a window up to `zoom` times as large, mirrored in
        half of the cases. Large sets are drawn more often, but only by the root of their size."""
        if not sets:
            raise LureError(f"{self.cfg.data}: no images for a task", "the README shows the layout of a data folder")
        groups = list(sets.values())
        weights = torch.tensor([len(s) for s in groups]).float().sqrt()
        files = groups[int(torch.multinomial(weights, 1, generator=g))]
        sample = files[int(torch.randint(len(files), (), generator=g))]
        images = [self._load(p, c) for p, c in zip(sample, planes, strict=True)]
        h, w = images[0].shape[1:]
        if any(i.shape[1:] != (h, w) for i in images):
            raise LureError(f"{sample[0]} and {sample[1]} differ in size", "pairs must be registered")
        size = self.cfg.crop
        # A third keeps its pixels; the rest is seen from further away, as whole images are at inference.
        factor = 1.0 if uniform(g, 0, 1) < 1 / 3 else uniform(g, 1.0, zoom)
        window = min(round(size * factor), h, w)
        top = int(torch.randint(h - window + 1, (), generator=g))
        left = int(torch.randint(w - window + 1, (), generator=g))
        mirror = uniform(g, 0, 1) < 0.5
        crops = []
        for image in images:
            crop = image[:, top : top + window, left : left + window].float() / 255
            if window != size:
                crop = F.interpolate(crop[None], size=(size, size), mode="bilinear", antialias=True)[0]
            crops.append(crop.flip(2) if mirror else crop)
        return crops

    def _load(self, path: Path, planes: int) -> Tensor:
        """uint8 (C, H, W), from memory where it was read before and the cache had room."""
        key = (path, planes)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        pixels = torch.from_numpy(read_image(path, channels=planes))  # type: ignore[arg-type]
        image = (pixels.permute(2, 0, 1) * 255).round().to(torch.uint8).contiguous()
        self._cache[key] = image
        self._cached_bytes += image.nbytes
        while self._cached_bytes > self.cfg.cache_gib * 2**30 and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return image
