"""Batches of training data that are a pure function of (seed, step)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Generator, Tensor

from lure_cli.config import TrainConfig
from lure_cli.core.pixels import CHANNELS, Modality
from lure_cli.core.text.paraphrase import paraphrase
from lure_cli.core.text.vocabulary import DEGRADATIONS
from lure_cli.core.training.corpus import Corpus
from lure_cli.core.training.crops import Crop, CropReader, view_of_copies, view_with
from lure_cli.core.training.degradations import degrade_alike
from lure_cli.core.training.fields import Scene, chance, stored
from lure_cli.core.training.layout import Files
from lure_cli.core.training.weather import lifted_rain
from lure_cli.errors import LureError

_SIDES: dict[Modality, int] = {"ir": 0, "vis": 1}
"""Where a modality stands in a fusion pair."""
_SHARES = {"noise": 3.0, "rain": 2.5, "snow": 1.5, "blur": 1.5, "haze": 2.5, "stripe": 1.5, "lowres": 0.5}
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
_TOGETHER: dict[Modality, dict[tuple[str, ...], float]] = {
    "vis": {
        ("haze", "rain"): 2.0,
        ("lowlight", "noise"): 2.0,
        ("haze", "snow"): 1.5,
        ("rain", "noise"): 1.0,
        ("haze", "noise"): 1.0,
        ("lowlight", "rain"): 0.5,
        ("lowlight", "haze"): 0.5,
        ("snow", "noise"): 0.5,
        ("blur", "noise"): 0.5,
        ("lowlight", "blur"): 0.5,
    },
    "ir": {
        ("stripe", "noise"): 3.0,
        ("stripe", "lowcontrast"): 2.0,
        ("stripe", "noise", "lowcontrast"): 2.0,
        ("noise", "lowcontrast"): 1.0,
        ("blur", "noise"): 0.5,
    },
}
"""What is met together, and how often."""
_DAYLIGHT = 0.65
"""Share of the nights that are drawn again where haze is made: fog is mostly seen by day."""
JPEG = 70
"""Least quality of the JPEGs that samples pass through."""


@dataclass(frozen=True)
class Sample:
    """One crop of stage I: input x and target y (C, S, S), and the degradations that the prompt names."""

    x: Tensor
    y: Tensor
    whole: Tensor
    """`context_view` (3 C, T, T) of the image that x is a part of: how dark or flat an image is shows there."""
    names: tuple[str, ...]
    text: str = ""
    """The prompt in words, where the text encoder reads words; without any, the names say it all."""


def _generator(*place: int | str) -> Generator:
    """The generator of one sample, from what names it: (seed, step, modality, number in the batch), say."""
    digest = hashlib.sha256(" ".join(map(str, place)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4]))  # torch's generator takes no more bits


def _white_balance(g: Generator) -> Tensor:
    """Gains (3, 1, 1) from cold to warm: the colour of the light, which scene and haze share, varies with hour, weather
    and camera."""
    warm, green = (torch.randn(2, generator=g) * torch.tensor([0.05, 0.015]) - torch.tensor([0.03, 0.0])).tolist()
    return torch.tensor([1 + warm, 1 + green, 1 - warm]).clamp(0.8, 1.2)[:, None, None]


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
        self.reader = CropReader(cfg.crop, cfg.cache_gib)
        self._fusion: dict[Modality, dict[str, Sequence[Files]]] = {
            m: {f"fusion/{name}": [(pair[k],) for pair in pairs] for name, pairs in corpus.fusion.items()}
            for m, k in _SIDES.items()
        }
        self._clean = {m: {**corpus.clean[m], **self._fusion[m]} for m in _SIDES}

    def preload(self, threads: int) -> None:
        """Decode the images that training draws from while the cache has room, those of fusion pairs first; see
        `CropReader.preload`."""
        files: dict[tuple[Path, int], None] = {}  # in order, each once
        for m, k in _SIDES.items():
            files |= dict.fromkeys((pair[k], CHANNELS[m]) for pairs in self.corpus.fusion.values() for pair in pairs)
        if self.cfg.stage == 1:
            for (m, _), sets in self.corpus.restoration.items():
                every = [path for pairs in sets.values() for pair in pairs for path in pair]
                files |= dict.fromkeys((path, CHANNELS[m]) for path in every)
            for m, sets in self.corpus.clean.items():
                files |= dict.fromkeys((path, CHANNELS[m]) for images in sets.values() for (path,) in images)
        self.reader.preload(list(files), threads)

    def stage1(self, step: int, part: slice = slice(None)) -> dict[Modality, list[Sample]]:
        """Crops of both modalities for one step: the whole batch, or a part of each modality's crops."""
        counts: dict[Modality, int] = {"vis": self.cfg.batch_vis, "ir": self.cfg.batch_ir}
        ramp = min(1.0, step / max(1, self.cfg.light_ramp))
        places = {m: [_generator(self.cfg.seed, step, m, i) for i in range(n)[part]] for m, n in counts.items()}
        return {m: [self._worded(m, g, ramp) for g in generators] for m, generators in places.items()}

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
        scene, whole = clean.scene(self.cfg.lamp_ratio), clean.whole
        degraded, wanted = scene, scene
        if LIGHT & set(names):  # shows in the image as a whole
            light = [[n for n in side if n in LIGHT] for side in sides]
            balance = _white_balance(g) if "haze" in names else torch.ones(1, 1, 1)
            small, shown = ((v * balance).clamp(0, 1) for v in (clean.small.float() / 255, scene.thumbnail))
            scene = replace(scene, pixels=(scene.pixels * balance).clamp(0, 1), shown=shown)
            copies = [Scene(copy, shown, grain=0.5, lamp_ratio=scene.lamp_ratio) for copy in small]
            gone = {"haze"} & set(names) - set(kept)  # what it hides altogether stays hidden; kept haze stays as it is
            best = replace(scene, restored=bool(gone)), [*light[1], *gone]
            views = [(scene, light[0]), best, *((copy, light[0]) for copy in copies)]
            x, y, *copies_of_x = degrade_alike(views, modality, g)
            degraded, wanted, whole = replace(scene, pixels=x), replace(scene, pixels=y), view_of_copies(*copies_of_x)
            sides = [[n for n in side if n not in LIGHT] for side in sides]
        x, y = degrade_alike([(degraded, sides[0]), (wanted, sides[1])], modality, g)
        return Sample(x, y, view_with(whole, x), tuple(name for name in names if name not in kept))

    def _clean_crop(self, modality: Modality, names: tuple[str, ...], g: Generator, zoom: float) -> Crop:
        """What is to be degraded; well lit, if that can be had, where "low light" is among the degradations, and mostly
        so where haze is."""
        for _ in range(8):
            (crop,) = self._draw(self._clean[modality], (CHANNELS[modality],), g, zoom)
            lit = float(crop.whole.chunk(3)[0].mean()) > LIT
            if ("lowlight" not in names or crop.pixels.mean() > LIT) and (
                "haze" not in names or lit or not chance(g, _DAYLIGHT)
            ):
                break
        return crop

    def _worded(self, modality: Modality, g: Generator, ramp: float) -> Sample:
        """A sample, with a prompt in words where they are wanted: one of `cfg.wordings` for these degradations."""
        sample = self._restoration_sample(modality, g, ramp)
        if not self.texts or not sample.names:  # the pseudo prompt stays what it is
            return sample
        number = int(torch.randint(self.cfg.wordings, (), generator=g))
        rng = random.Random(f"{modality} {'+'.join(sample.names)} {number}")
        vis, ir = (sample.names, ()) if modality == "vis" else ((), sample.names)
        return replace(sample, text=paraphrase(rng, vis, ir))

    def _restoration_sample(self, modality: Modality, g: Generator, ramp: float) -> Sample:
        """Of one task drawn by chance: a clean image under the pseudo prompt, a real pair, or a synthetic one."""
        cfg = self.cfg
        if cfg.pseudo_degradation and chance(g, cfg.pseudo_ratio):
            return self._pseudo_sample(modality, g)
        known = DEGRADATIONS[modality]
        shares = torch.tensor([_SHARES.get(name, 1.0) * (ramp if name in LIGHT else 1.0) for name in known])
        name = known[int(torch.multinomial(shares, 1, generator=g))]
        if (modality, name) in self.corpus.restoration and chance(g, cfg.real_ratio):
            sample = self._real_sample(name, modality, g)
        else:
            sample = self._synthetic_sample(name, modality, g)
        if cfg.eight_bits:
            share = cfg.jpeg_ratio * (1.0 if modality == "vis" else 0.5)
            sample = replace(sample, x=stored(sample.x, g, share, JPEG), y=stored(sample.y, g, 0.0, JPEG))
        if chance(g, cfg.ignore_ratio):
            return replace(sample, y=sample.x, names=())
        return sample

    def _pseudo_sample(self, modality: Modality, g: Generator) -> Sample:
        fusion_only = chance(g, 0.7)  # it ties the fusion data to the latent space
        pool = self._fusion[modality] if fusion_only else self._clean[modality]
        (clean,) = self._draw(pool, (CHANNELS[modality],), g, 2.0)
        return Sample(clean.pixels, clean.pixels, clean.whole, ())

    def _real_sample(self, name: str, modality: Modality, g: Generator) -> Sample:
        # Light and weather look alike at any size; grain and streaks do not, so those keep their pixels.
        zoom = 3.0 if name in ("lowlight", "overexposure", "haze") else 1.0
        degraded, clean = self._draw(self.corpus.restoration[modality, name], (CHANNELS[modality],) * 2, g, zoom)
        return Sample(degraded.pixels, clean.pixels, degraded.whole, (name,))

    def _synthetic_sample(self, name: str, modality: Modality, g: Generator) -> Sample:
        """With one degradation or more; the rain of a real pair where there are some."""
        names: tuple[str, ...] = (name,)
        if chance(g, self.cfg.composite_ratio):
            names = self._composite(name, modality, g)
        clean = self._clean_crop(modality, names, g, 3.0)
        if names == ("rain",) and ("vis", "rain") in self.corpus.restoration and chance(g, LIFTED):
            return self._lifted_rain_sample(clean, g)
        partial = len(names) > 1 and chance(g, self.cfg.partial_ratio)
        return self._degraded(clean, names, names[1:] if partial else (), modality, g)

    def _composite(self, name: str, modality: Modality, g: Generator) -> tuple[str, ...]:
        """This degradation and others: those met together with it, or any one."""
        together = {names: share for names, share in _TOGETHER[modality].items() if name in names}
        if together and chance(g, self.cfg.together_ratio):
            names = list(together)[int(torch.multinomial(torch.tensor(list(together.values())), 1, generator=g))]
            return (name, *(n for n in names if n != name))
        known = DEGRADATIONS[modality]
        other = known[int(torch.randint(len(known), (), generator=g))]
        return (name,) if {name, other} == {"lowlight", "overexposure"} else tuple(dict.fromkeys((name, other)))

    def _lifted_rain_sample(self, clean: Crop, g: Generator) -> Sample:
        rainy, dry = self._draw(self.corpus.restoration["vis", "rain"], (3, 3), g, 1.5)
        x = lifted_rain(clean.pixels, rainy.pixels - dry.pixels, g)
        thumbnail = clean.whole[:3] + (x - clean.pixels).mean((1, 2), keepdim=True)
        whole = torch.cat((thumbnail.clamp(0, 1), clean.whole[3:]))
        return Sample(x, clean.pixels, view_with(whole, x), ("rain",))

    def _draw(
        self, sets: Mapping[str, Sequence[Files]], planes: Sequence[int], g: Generator, zoom: float
    ) -> list[Crop]:
        """Crops of all files of one sample; large sets are drawn more often, but only by the root of their size."""
        if not sets:
            raise LureError(
                f"{self.cfg.data}: no images for a task", "the training guide shows the layout of a data folder"
            )
        groups = list(sets.values())
        weights = torch.tensor([len(s) for s in groups]).float().sqrt()
        samples = groups[int(torch.multinomial(weights, 1, generator=g))]
        return self.reader.draw(samples[int(torch.randint(len(samples), (), generator=g))], planes, g, zoom)
