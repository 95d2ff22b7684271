"""Steadiness: the views of whole images are smoothed over a stream, and begin anew where the scene does."""

from __future__ import annotations

import math

import pytest
import torch

from lure_cli.core.engine.steady import FRAMES, SteadyViews
from lure_cli.core.engine.tiling import fuse_tiled
from lure_cli.core.model.context import context_view, extremes_of
from tests.helpers.models import texts, tiny


def picture(channels: int, seed: int = 0, size: int = 96) -> torch.Tensor:
    """Smooth patches between 0.2 and 0.8, (1, C, size, size)."""
    coarse = torch.rand((1, channels, 6, 6), generator=torch.Generator().manual_seed(seed))
    return 0.2 + 0.6 * torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")


def view(x: torch.Tensor) -> torch.Tensor:
    return context_view(x, extremes=True)


def both(light: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The views of a pair in this light."""
    return view(light * picture(1)), view(light * picture(3))


def speck(x: torch.Tensor, value: float = 0.0) -> torch.Tensor:
    """With one black spot, as noise and coding make them: another least value, the same thumbnail but for a cell."""
    y = x.clone()
    y[..., 40:42, 40:42] = value
    return y


def test_the_first_views_stay_and_still_ones_do() -> None:
    steady, views = SteadyViews(), both(1.0)
    for _ in range(50):
        assert all(map(torch.equal, steady.step(views), views))


def test_a_lasting_change_is_followed_within_the_time_constant() -> None:
    steady, before, after = SteadyViews(), both(1.0), both(0.97)
    steady.step(before)
    for _ in range(round(FRAMES)):
        now = steady.step(after)
    for s, a, b in zip(now, before, after, strict=True):
        torch.testing.assert_close(s, a + (1 - math.exp(-1)) * (b - a))
    for _ in range(10 * round(FRAMES)):
        now = steady.step(after)
    torch.testing.assert_close(now, after)


def test_what_comes_and_goes_hardly_shows() -> None:
    steady, x = SteadyViews(), picture(3)
    ir, clear, marked = view(picture(1)), view(x), view(speck(x))
    low = [extremes_of(steady.step((ir, marked if i % 2 else clear))[1])[0].min() for i in range(60)]
    assert extremes_of(marked)[0].min() == 0
    assert extremes_of(clear)[0].min() > 0.2
    assert 0 < torch.stack(low).diff().abs().max() < 0.1 * 0.2


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("change", ["scene", "light", "flat"])
def test_a_cut_in_either_begins_both_anew(side: int, change: str) -> None:
    steady, channels = SteadyViews(), (1, 3)[side]
    x = picture(channels)
    cut = {"scene": picture(channels, 1), "light": (1.5 * x).clamp(0, 1), "flat": torch.ones_like(x)}[change]
    after = list(both(0.97))
    after[side] = view(cut)
    for _ in range(5):
        steady.step(both(1.0))
    for _ in range(2):
        assert all(map(torch.equal, steady.step((after[0], after[1])), after))


def test_no_cut_without_one() -> None:
    """A slow pan over a large scene, a fade of its light to a half, a dark picture's noise, fog that flickers."""
    scene, generator = picture(3, size=192), torch.Generator().manual_seed(0)
    ir = view(picture(1))
    pan = [scene[..., 10 : 10 + 96, i : i + 96] for i in range(40)]
    fade = [(1 - i / 80) * scene[..., :96, :96] for i in range(41)]
    noise = [0.03 + 0.04 * torch.rand((1, 3, 96, 96), generator=generator) for _ in range(10)]
    fog = [torch.full((1, 3, 96, 96), 0.5 + 0.01 * (i % 2)) for i in range(10)]
    for frames in (pan, fade, noise, fog):
        steady = SteadyViews()
        steady.step((ir, view(frames[0])))
        for x in frames[1:]:
            assert not torch.equal(steady.step((ir, view(x)))[1], view(x))


def test_again_is_no_step() -> None:
    steady = SteadyViews()
    steady.step(both(1.0))
    now = steady.step(both(0.97))
    assert all(map(torch.equal, steady.again(both(0.97)), now))
    assert all(map(torch.equal, steady.again(both(0.97)), now))


@torch.inference_mode()
@pytest.mark.parametrize("names", [(("lowcontrast",), ("haze",)), ((), ("lowlight",)), (("lowcontrast",), ())])
@pytest.mark.parametrize("tile", [0, 64])
def test_what_is_drawn_from_the_whole_pair_is_steady(names: tuple[tuple[str, ...], tuple[str, ...]], tile: int) -> None:
    """Frames that differ by one spot: alone the whole picture jumps, as a stream it does not. Tiles change nothing."""
    model, steady = tiny(), SteadyViews()
    t_ir, t_vis = texts(*names[0]), texts(*names[1])
    ir, vis = picture(1), picture(3)
    frames = [(speck(ir), speck(vis)) if i % 2 else (ir, vis) for i in range(6)]
    alone = [fuse_tiled(model, *frame, t_ir, t_vis, tile=tile) for frame in frames]
    stream = [fuse_tiled(model, *frame, t_ir, t_vis, tile=tile, steady=steady.step) for frame in frames]
    assert torch.equal(stream[0], alone[0])

    def jump(pictures: list[torch.Tensor]) -> float:
        """In a corner that the spot reaches by the whole picture; of the median pixel."""
        corner = torch.stack([p[..., -8:, -8:] for p in pictures])
        return float(corner.diff(dim=0).abs().amax(0).median())

    assert jump(alone) > 1e-3
    assert jump(stream) < 0.2 * jump(alone)
