"""What samples of stage I look like: as files have them, lit alike in crop and whole, degraded as is met together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lure_cli.config import TrainConfig, from_mapping
from lure_cli.core.training import weather
from lure_cli.core.training.corpus import find_corpus
from lure_cli.core.training.degradations import degrade, degrade_alike, degrade_measured
from lure_cli.core.training.fields import Scene, gaussian, marks, stored
from lure_cli.core.training.sampler import LIGHT, Sample, Sampler


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(data: Path, steps: int = 20, modality: str = "vis", **changes: object) -> list[Sample]:
    values = {"data": str(data), "batch_vis": 4, "batch_ir": 4, "crop": 32, "light_ramp": 0}
    cfg = from_mapping(TrainConfig, values | changes, "test")
    sampler = Sampler(find_corpus(data), cfg)
    return [s for step in range(steps) for m, batch in sampler.stage1(step).items() if m == modality for s in batch]


def on_the_grid(x: torch.Tensor) -> bool:
    return bool(((x * 255) - (x * 255).round()).abs().max() < 1e-3)


def test_samples_are_as_files_have_them(data: Path) -> None:
    plain, eight, jpeg = (
        samples(data, pseudo_ratio=0.2, **changes)  # type: ignore[arg-type]
        for changes in ({}, {"eight_bits": True}, {"eight_bits": True, "jpeg_ratio": 1.0})
    )
    assert not all(on_the_grid(s.x) for s in plain)
    assert all(on_the_grid(s.x) and on_the_grid(s.y) for s in (*eight, *jpeg))
    assert any(not s.names for s in jpeg)
    assert all(torch.equal(s.x, s.y) for s in jpeg if not s.names)
    changed = [not torch.equal(a.x, b.x) for a, b in zip(eight, jpeg, strict=True) if b.names]
    assert sum(changed) > 0.9 * len(changed)


def test_a_jpeg_is_near_what_it_was_and_needs_no_luck() -> None:
    x = F.interpolate(torch.rand(1, 3, 8, 8, generator=seeded(0)), (64, 64), mode="bilinear")[0]
    for planes in (x, x[:1]):
        file = stored(planes, seeded(1), 1.0, 70)
        assert torch.equal(file, stored(planes, seeded(1), 1.0, 70))
        assert 0 < (file - planes).abs().mean() < 0.05
        assert (stored(planes, seeded(1), 0.0, 70) - planes).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("name", sorted(LIGHT))
def test_a_crop_is_lit_as_its_place_in_the_whole(name: str) -> None:
    modality = "ir" if name == "lowcontrast" else "vis"
    whole = gaussian(torch.rand(3 if modality == "vis" else 1, 96, 128, generator=seeded(0)), 6.0)
    whole = ((whole - whole.min()) / (whole.max() - whole.min())).clamp(0, 1)
    shown = F.adaptive_avg_pool2d(whole, 32)
    for seed in range(12):
        part = whole[:, 24:72, 32:96]
        place = Scene(part, shown, 24 / 96, 72 / 96, 32 / 128, 96 / 128, lamp_ratio=0.5)
        mirrored = Scene(part.flip(2), shown, 24 / 96, 72 / 96, 96 / 128, 32 / 128, lamp_ratio=0.5)
        scenes = [Scene(whole, lamp_ratio=0.5), place, mirrored]
        views = [(scene, (name,)) for scene in scenes]
        of_whole, of_part, of_mirrored = degrade_alike(views, modality, seeded(seed))
        of_whole = of_whole[:, 24:72, 32:96]
        for seen in (of_part, of_mirrored.flip(2)):
            apart = F.avg_pool2d(of_whole - seen, 8).abs()
            assert apart.mean() < 0.02, seed


def test_lamps_leave_a_part_of_the_night_lit() -> None:
    x = torch.full((3, 64, 64), 0.6)
    dark, night = (
        [degrade_measured(x, ("lowlight",), "vis", seeded(i), share)[0].mean(0) for i in range(30)]
        for share in (0.0, 1.0)
    )

    def uneven(images: list[torch.Tensor]) -> float:
        return float(torch.stack([F.avg_pool2d(y[None], 8).std() for y in images]).mean())

    assert uneven(night) > 4 * uneven(dark)


def test_degradations_come_with_those_that_they_are_met_with(data: Path) -> None:
    changes = {"composite_ratio": 1.0, "partial_ratio": 0.0, "pseudo_ratio": 0.0, "ignore_ratio": 0.0}
    met = samples(data, 40, "ir", together_ratio=1.0, **changes)
    kinds = {frozenset(s.names) for s in met if "stripe" in s.names}
    assert {frozenset(("stripe", "noise")), frozenset(("stripe", "noise", "lowcontrast"))} <= kinds
    assert not any({"blur", "stripe"} <= set(s.names) for s in met)
    assert any({"blur", "stripe"} == set(s.names) for s in samples(data, 40, "ir", **changes))


def test_marks_are_where_they_were_drawn() -> None:
    layer = marks(80, 120, seeded(0), 1e-3, (8, 12), (0.5, 0.8), (0.2, 0.3), (0.5, 1.0))
    assert layer.shape == (1, 80, 120)
    assert layer.min() >= 0 and 0.4 < layer.max() <= 1
    assert 0.002 < (layer > 0.2).float().mean() < 0.05
    assert torch.equal(layer, marks(80, 120, seeded(0), 1e-3, (8, 12), (0.5, 0.8), (0.2, 0.3), (0.5, 1.0)))
    upright = (layer[:, 1:] - layer[:, :-1]).abs().mean() / (layer[:, :, 1:] - layer[:, :, :-1]).abs().mean()
    assert upright < 0.8  # drawn out downwards


def test_fog_has_about_the_colour_of_the_scenes_light() -> None:
    def warmth(colour: tuple[float, float, float]) -> float:
        x = torch.full((3, 48, 48), 0.15)
        x[:, :16] = torch.tensor(colour)[:, None, None]
        fogged = [degrade(x, ("haze",), "vis", seeded(i))[:, 24:].mean((1, 2)) for i in range(60)]
        assert torch.stack(fogged).mean() > 0.3
        return float(torch.stack([y[0] - y[2] for y in fogged]).mean())

    cold, grey, warm = warmth((0.76, 0.8, 0.84)), warmth((0.8, 0.8, 0.8)), warmth((0.84, 0.8, 0.76))
    assert cold < grey - 0.01 and grey + 0.01 < warm


def test_haze_of_a_night_is_seldom_bright() -> None:
    def fog(level: float) -> torch.Tensor:
        x = torch.full((3, 32, 32), level)
        return torch.stack([degrade(x, ("haze",), "vis", seeded(i)).amax() for i in range(60)])

    night, day = fog(0.05), fog(0.3)
    assert (night < 0.35).float().mean() > 0.25 and (day < 0.35).float().mean() < 0.15


def test_some_stripes_come_with_slow_blotches() -> None:
    x = torch.full((1, 64, 64), 0.5)
    uneven = []
    for i in range(60):
        y = degrade(x, ("stripe",), "ir", seeded(i))
        y = y - y.mean(1, keepdim=True) if y.mean(1).std() > y.mean(2).std() else y - y.mean(2, keepdim=True)
        uneven.append(float(y.std()))
    assert 0.2 < sum(u > 2e-3 for u in uneven) / 60 < 0.5


def test_flakes_hide_and_rain_brightens_little_of_a_bright_image() -> None:
    dark, bright = torch.full((3, 64, 64), 0.1), torch.full((3, 64, 64), 0.75)
    for name in ("rain", "snow"):
        on_dark, on_bright = (
            torch.stack([degrade(x, (name,), "vis", seeded(i)) - x for i in range(20)]) for x in (dark, bright)
        )
        assert on_dark.min() > -1e-6 and on_dark.amax((1, 2, 3)).median() > 0.25
        assert on_bright.abs().mean() < on_dark.abs().mean()


def test_what_haze_hides_stays_hidden_in_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target is the air where next to nothing comes through it, and the scene where enough does."""
    air, level = 0.9, 0.3
    monkeypatch.setattr(weather, "_airlight", lambda *_: torch.full((3, 1, 1), air))
    monkeypatch.setattr(weather, "chance", lambda _, share: share == 0.25)  # dense, and added in the image's values
    x = torch.full((3, 32, 32), level)
    hazy, best = (
        torch.stack([weather.haze(x, seeded(i), Scene(x, restored=restored))[0] for i in range(40)])
        for restored in (False, True)
    )
    through, kept = ((air - y) / (air - level) for y in (hazy, best))
    hidden, seen = through < weather.HIDDEN - 1e-3, through > weather.SEEN + 1e-3
    assert hidden.any() and seen.any() and not (hidden | seen).all()
    assert kept[hidden].abs().max() < 1e-4 and (kept[seen] - 1).abs().max() < 1e-4
    between = ~(through < weather.HIDDEN + 1e-3) & ~(through > weather.SEEN - 1e-3)
    assert 0 < kept[between].min() < kept[between].max() < 1


def test_haze_that_is_to_stay_stays_as_it_is(data: Path) -> None:
    cfg = from_mapping(TrainConfig, {"data": str(data), "crop": 32}, "test")
    sampler = Sampler(find_corpus(data), cfg)
    for seed in range(6):
        clean = sampler._clean_crop("vis", ("haze",), seeded(seed), 2.0)
        kept = sampler._degraded(clean, ("rain", "haze"), ("haze",), "vis", seeded(seed))
        gone = sampler._degraded(clean, ("rain", "haze"), (), "vis", seeded(seed))
        assert kept.names == ("rain",) and torch.equal(kept.x, gone.x)
        assert (kept.x - kept.y).abs().mean() < (gone.x - gone.y).abs().mean()  # but for the rain it is the input
        assert (kept.x == kept.y).float().mean() > 0.2  # between the streaks
