"""Batches of training data that are a pure function of (seed, step)."""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lure_cli.config import TrainConfig
from lure_cli.core.images.picture import read_image
from lure_cli.core.model.context import whole_view
from lure_cli.core.pixels import CHANNELS, Modality, pad_to_multiple
from lure_cli.core.text.paraphrase import paraphrase
from lure_cli.core.text.vocabulary import DEGRADATIONS
from lure_cli.core.training.corpus import Corpus
from lure_cli.core.training.degradations import degrade_alike, lifted_rain, uniform
from lure_cli.core.training.layout import Files
from lure_cli.errors import LureError

_SIDES: dict[Modality, int] = {"ir": 0, "vis": 1}
"""Where a modality stands in a fusion pair."""
_SHARES = {"noise": 3.0, "rain": 2.5, "blur": 1.5, "haze": 2.5, "stripe": 1.5, "lowres": 0.5}
"""How often a degradation is drawn, where not once: local detail is learnt slowly, light within minutes."""
LIGHT = frozenset(("haze", "lowlight", "overexposure", "lowcontrast"))
"""What changes the light of the whole image. These tasks come in gradually: learnt first, they close the layers to all
others, whose small gains they would spoil."""
LIFTED = 0.5
"""Share of the images with made rain that take it from a real pair: that of a few pairs is then seen on all scenes."""
LIT = 0.25
"""Clean images darker than this mean show night; "low light" asks for a well-lit picture, so they are no target."""

_COMPOSITES: dict[Modality, tuple[tuple[str, str], ...]] = {
    "vis": (("haze", "rain"), ("lowlight", "noise")),
    "ir": (("lowcontrast", "stripe"),),
}
"""Two degradations at once, as validation looks at them."""


@dataclass(frozen=True)
class Sample:
    """One crop of stage I: input x and target y (C, S, S), and the degradations that the prompt names."""

    x: Tensor
    y: Tensor
    whole: Tensor
    """`whole_view` (3 C, T, T) of the image that x is a part of: how dark or flat an image is shows there."""
    names: tuple[str, ...]
    text: str = ""
    """The prompt in words, where the text encoder reads words; without any, the names say it all."""


@dataclass(frozen=True)
class Crop:
    """A part of an image."""

    image: Tensor
    """The whole of it: uint8 (C, H, W)."""
    whole: Tensor
    """Its `whole_view` (3 C, T, T)."""
    window: tuple[slice, slice]
    size: int
    mirrored: bool

    @cached_property
    def pixels(self) -> Tensor:
        """(C, S, S) in [0, 1]."""
        return self.cut(self.image[:, *self.window].float() / 255)

    def cut(self, part: Tensor) -> Tensor:
        """What lies in the window, brought to the size of the crop."""
        if part.shape[1:] != (self.size, self.size):
            part = F.interpolate(part[None], size=(self.size, self.size), mode="bilinear", antialias=True)[0]
        return part.flip(2) if self.mirrored else part


def _whole(image: Tensor) -> Tensor:
    """`whole_view` of one image (C, H, W) in [0, 1]."""
    return whole_view(pad_to_multiple(image[None], 2), extremes=True)[0]


def _seen_with(whole: Tensor, part: Tensor) -> Tensor:
    """The view of an image whose extremes are those of a part (C, H, W), where that has the greater: grain and stripes,
    which only the part was given, are among what the least and the greatest value of an image show."""
    thumbnail, low, high = whole.chunk(3)
    for seen in (thumbnail, F.avg_pool2d(part, 2)):
        low = torch.minimum(low, seen.amin((1, 2), keepdim=True))
        high = torch.maximum(high, seen.amax((1, 2), keepdim=True))
    return torch.cat((thumbnail, low, high))


def _generator(*place: int | str) -> Generator:
    """The generator of one sample, from what names it: (seed, step, modality, number in the batch), say."""
    digest = hashlib.sha256(" ".join(map(str, place)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4]))  # torch's generator takes no more bits


class Sampler:
    """Draws batches. Everything random about a sample comes from a generator seeded with (seed, step, place in the
    batch), so that a resumed run sees what an uninterrupted one would have seen, and each of several processes draws
    its part of the batch alone.

    Args:
        corpus: what to draw from.
        texts: whether samples come with a prompt in words.
    """

    def __init__(self, corpus: Corpus, cfg: TrainConfig, texts: bool = False) -> None:
        self.corpus, self.cfg, self.texts = corpus, cfg, texts and cfg.wordings > 0
        self._cache: OrderedDict[tuple[Path, int], tuple[Tensor, Tensor]] = OrderedDict()
        self._cached_bytes = 0
        self._fusion: dict[Modality, dict[str, Sequence[Files]]] = {
            m: {f"fusion/{name}": [(pair[k],) for pair in pairs] for name, pairs in corpus.fusion.items()}
            for m, k in _SIDES.items()
        }
        self._clean = {m: {**corpus.clean[m], **self._fusion[m]} for m in _SIDES}

    def stage1(self, step: int, part: slice = slice(None)) -> dict[Modality, list[Sample]]:
        """Crops of both modalities for one step: the whole batch, or a part of each modality's crops."""
        counts: dict[Modality, int] = {"vis": self.cfg.batch_vis, "ir": self.cfg.batch_ir}
        ramp = min(1.0, step / max(1, self.cfg.light_ramp))
        places = {m: [_generator(self.cfg.seed, step, m, i) for i in range(n)[part]] for m, n in counts.items()}
        return {m: [self._told(m, g, ramp) for g in generators] for m, generators in places.items()}

    def stage2(self, step: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Clean crops of pairs for one step, or a part of them: ir (B, 1, S, S), vis (B, 3, S, S)."""
        return self._pairs([_generator(self.cfg.seed, step, "pair", i) for i in range(self.cfg.batch_vis)[part]])

    def _pairs(self, generators: Sequence[Generator]) -> tuple[Tensor, Tensor]:
        drawn = [self._draw(self.corpus.fusion, (1, 3), g, 2.0) for g in generators]
        return torch.stack([ir.pixels for ir, _ in drawn]), torch.stack([vis.pixels for _, vis in drawn])

    def fixed_pairs(self, count: int) -> tuple[Tensor, Tensor] | None:
        """The same clean pairs for every run, whatever its seed, as `stage2` gives them; None without any."""
        pairs = self.corpus.fusion
        return self._pairs([_generator("validation", i) for i in range(count)]) if pairs else None

    def fixed_cases(self, modality: Modality, count: int) -> dict[str, list[Sample]]:
        """The same `count` samples of each restoration task for every run, whatever its seed.

        Keys: "none" (clean, with the pseudo prompt), a degradation, several joined by "+", and, of real pairs,
        a degradation and "_real". Tasks that the corpus has no images for are left out.
        """
        planes, cases = CHANNELS[modality], {}

        def generators(*task: str) -> list[Generator]:
            return [_generator("validation", modality, *task, i) for i in range(count)]

        if any(self._clean[modality].values()):
            for names in ((), *((n,) for n in DEGRADATIONS[modality]), *_COMPOSITES[modality]):
                key = "+".join(names) or "none"
                cases[key] = [self._fixed_case(modality, names, g) for g in generators(key)]
        for (m, name), sets in self.corpus.restoration.items():
            if m == modality and any(sets.values()):
                drawn = [self._draw(sets, (planes, planes), g, 1.0) for g in generators(name, "real")]
                cases[f"{name}_real"] = [Sample(x.pixels, y.pixels, x.whole, (name,)) for x, y in drawn]
        return cases

    def _fixed_case(self, modality: Modality, names: tuple[str, ...], g: Generator) -> Sample:
        return self._degraded(self._clean_crop(modality, names, g, 2.0), names, (), modality, g)

    def _degraded(
        self, clean: Crop, names: tuple[str, ...], kept: tuple[str, ...], modality: Modality, g: Generator
    ) -> Sample:
        """A sample with these degradations; the prompt asks for all to go but for those that are kept."""
        sides: list[Sequence[str]] = [names, kept]
        crops, whole = [clean.pixels, clean.pixels], clean.whole
        if LIGHT & set(names):  # shows in the image as a whole
            image = clean.image.float() / 255
            images = degrade_alike([(image, [n for n in side if n in LIGHT]) for side in sides], modality, g)
            crops, whole = [clean.cut(each[:, *clean.window]) for each in images], _whole(images[0])
            sides = [[n for n in side if n not in LIGHT] for side in sides]
        x, y = degrade_alike(list(zip(crops, sides, strict=True)), modality, g)
        return Sample(x, y, _seen_with(whole, x), tuple(name for name in names if name not in kept))

    def _clean_crop(self, modality: Modality, names: tuple[str, ...], g: Generator, zoom: float) -> Crop:
        """What is to be degraded; well lit, if that can be had, where "low light" is among the degradations."""
        for _ in range(8):
            (view,) = self._draw(self._clean[modality], (CHANNELS[modality],), g, zoom)
            if "lowlight" not in names or view.pixels.mean() > LIT:
                break
        return view

    def _told(self, modality: Modality, g: Generator, ramp: float) -> Sample:
        """A sample, with a prompt in words where they are wanted: one of `cfg.wordings` for these degradations."""
        sample = self._restoration_sample(modality, g, ramp)
        if not self.texts or not sample.names:  # the pseudo prompt stays what it is
            return sample
        number = int(torch.randint(self.cfg.wordings, (), generator=g))
        rng = random.Random(f"{modality} {'+'.join(sample.names)} {number}")
        vis, ir = (sample.names, ()) if modality == "vis" else ((), sample.names)
        return replace(sample, text=paraphrase(rng, vis, ir))

    def _restoration_sample(self, modality: Modality, g: Generator, ramp: float) -> Sample:
        cfg, planes = self.cfg, CHANNELS[modality]
        if cfg.pseudo_degradation and uniform(g, 0, 1) < cfg.pseudo_ratio:
            fusion_only = uniform(g, 0, 1) < 0.7  # it ties the fusion data to the latent space
            pool = self._fusion[modality] if fusion_only else self._clean[modality]
            (clean,) = self._draw(pool, (planes,), g, 2.0)
            return Sample(clean.pixels, clean.pixels, clean.whole, ())
        known = DEGRADATIONS[modality]
        shares = torch.tensor([_SHARES.get(name, 1.0) * (ramp if name in LIGHT else 1.0) for name in known])
        names: tuple[str, ...] = (known[int(torch.multinomial(shares, 1, generator=g))],)
        real = self.corpus.restoration.get((modality, names[0]))
        if real and uniform(g, 0, 1) < cfg.real_ratio:
            # Light and weather look alike at any size; grain and streaks do not, so those keep their pixels.
            zoom = 3.0 if names[0] in ("lowlight", "overexposure", "haze") else 1.0
            degraded, clean = self._draw(real, (planes, planes), g, zoom)
            sample = Sample(degraded.pixels, clean.pixels, degraded.whole, names)
        else:
            if uniform(g, 0, 1) < cfg.composite_ratio:
                other = known[int(torch.randint(len(known), (), generator=g))]
                if {names[0], other} != {"lowlight", "overexposure"}:
                    names = tuple(dict.fromkeys((*names, other)))
            clean = self._clean_crop(modality, names, g, 3.0)
            if real and names == ("rain",) and uniform(g, 0, 1) < LIFTED:
                rainy, dry = self._draw(real, (planes, planes), g, 1.5)
                x = lifted_rain(clean.pixels, rainy.pixels - dry.pixels, g)
                thumbnail = clean.whole[:planes] + (x - clean.pixels).mean((1, 2), keepdim=True)
                whole = torch.cat((thumbnail.clamp(0, 1), clean.whole[planes:]))
                sample = Sample(x, clean.pixels, _seen_with(whole, x), names)
            else:
                partial = len(names) == 2 and uniform(g, 0, 1) < cfg.partial_ratio
                sample = self._degraded(clean, names, names[1:] if partial else (), modality, g)
        if uniform(g, 0, 1) < cfg.ignore_ratio:
            return replace(sample, y=sample.x, names=())
        return sample

    def _draw(
        self, sets: Mapping[str, Sequence[Files]], planes: Sequence[int], g: Generator, zoom: float
    ) -> list[Crop]:
        """The same random crop of all files of one sample, from a window up to `zoom` times as large, mirrored in
        half of the cases. Large sets are drawn more often, but only by the root of their size."""
        if not sets:
            raise LureError(f"{self.cfg.data}: no images for a task", "the README shows the layout of a data folder")
        groups = list(sets.values())
        weights = torch.tensor([len(s) for s in groups]).float().sqrt()
        files = groups[int(torch.multinomial(weights, 1, generator=g))]
        sample = files[int(torch.randint(len(files), (), generator=g))]
        images = [self._load(p, c) for p, c in zip(sample, planes, strict=True)]
        h, w = images[0][0].shape[1:]
        if any(i.shape[1:] != (h, w) for i, _ in images):
            raise LureError(f"{sample[0]} and {sample[1]} differ in size", "pairs must be registered")
        size = self.cfg.crop
        # A third keeps its pixels; the rest is seen from further away, as whole images are at inference.
        factor = 1.0 if uniform(g, 0, 1) < 1 / 3 else uniform(g, 1.0, zoom)
        window = min(round(size * factor), h, w)
        top = int(torch.randint(h - window + 1, (), generator=g))
        left = int(torch.randint(w - window + 1, (), generator=g))
        mirror = uniform(g, 0, 1) < 0.5
        place = slice(top, top + window), slice(left, left + window)
        return [Crop(image, whole, place, size, mirror) for image, whole in images]

    def _load(self, path: Path, planes: int) -> tuple[Tensor, Tensor]:
        """uint8 (C, H, W) and its view as a whole, from memory where it was read before and the cache had room."""
        key = (path, planes)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        pixels = torch.from_numpy(read_image(path, channels=planes))  # type: ignore[arg-type]
        image = (pixels.permute(2, 0, 1) * 255).round().to(torch.uint8).contiguous()
        loaded = self._cache[key] = image, _whole(image.float() / 255)
        self._cached_bytes += _bytes(loaded)
        while self._cached_bytes > self.cfg.cache_gib * 2**30 and len(self._cache) > 1:
            self._cached_bytes -= _bytes(self._cache.popitem(last=False)[1])
        return loaded


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(t.nbytes for t in tensors)
