"""Shares of infrared, visible and restoration."""

from __future__ import annotations

import pytest
import torch

from lure_cli.core.model.provenance import provenance
from tests.helpers.models import texts, tiny

MODEL = tiny()
IR, VIS = torch.rand(2, 1, 70, 93), torch.rand(2, 3, 70, 93)
NONE, HAZE, NOISE = texts(batch=2), texts("haze", batch=2), texts("noise", batch=2)


def run(*args: torch.Tensor, tile: int = 0, overlap: int | None = None, **strengths: float) -> torch.Tensor:
    with torch.no_grad():
        return provenance(MODEL, *args, tile=tile, overlap=overlap, **strengths)


@pytest.mark.parametrize("asked", [(NONE, NONE), (NONE, HAZE), (NOISE, HAZE)])
def test_shares_sum_to_one(asked: tuple[torch.Tensor, torch.Tensor]) -> None:
    shares = run(IR, VIS, *asked)
    assert shares.shape == (2, 3, 70, 93)
    assert shares.dtype == torch.float32
    assert shares.min() >= 0
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 70, 93))


def test_only_a_prompt_makes_a_share_of_restoration() -> None:
    assert run(IR, VIS, NONE, NONE)[:, 2].max() == 0
    assert run(IR, VIS, NONE, HAZE)[:, 2].min() > 0
    stronger = run(IR, VIS, NONE, HAZE, strength_vis=2.0)[:, 2].mean()
    assert stronger > run(IR, VIS, NONE, HAZE)[:, 2].mean() > run(IR, VIS, NONE, HAZE, strength_vis=0.5)[:, 2].mean()


def test_in_tiles_as_in_one_piece() -> None:
    ir, vis = torch.rand(1, 1, 150, 210), torch.rand(1, 3, 150, 210)
    asked = texts("noise"), texts("haze")
    whole = run(ir, vis, *asked)
    torch.testing.assert_close(run(ir, vis, *asked, tile=64), whole, atol=2e-4, rtol=0)
    assert (run(ir, vis, *asked, tile=64, overlap=0) - whole).abs().max() > 1e-3


@pytest.mark.parametrize(("bias", "side"), [(50.0, 0), (-50.0, 1)])
def test_what_is_chosen_is_what_is_shown(bias: float, side: int) -> None:
    """With every weight 1 all is infrared, with every weight 0 all is visible."""
    model = tiny()
    with torch.no_grad():
        for select in model.fusion.select:
            select.bias.add_(bias)
        shares = provenance(model, IR, VIS, NONE, NONE, tile=0)
    assert shares[:, side].min() > 0.9


def test_half_and_half_where_both_say_the_same() -> None:
    """At the start of training the latents of a grey pair are the same, and the weights are 1/2."""
    torch.manual_seed(0)
    model = tiny(trained=False)
    with torch.no_grad():
        for select in model.fusion.select:
            select.bias.add_(50.0)
        grey = torch.rand(1, 1, 32, 40)
        shares = provenance(model, grey, grey.expand(-1, 3, -1, -1), texts(), texts(), tile=0)
    torch.testing.assert_close(shares[:, :2], torch.full((1, 2, 32, 40), 0.5), atol=0.01, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (7, 5)])
def test_any_size(size: tuple[int, int]) -> None:
    shares = run(IR[:, :, :1, :1].expand(-1, -1, *size), VIS[:, :, :1, :1].expand(-1, -1, *size), NOISE, HAZE)
    assert shares.shape[2:] == size
    assert torch.isfinite(shares).all()
