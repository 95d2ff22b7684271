"""The optimiser: Muon for matrices, AdamW for the rest."""

import torch
from torch import nn

from lure_cli.core.training.muon import Muon, is_matrix, orthogonalise


def test_singular_values_come_near_one() -> None:
    g = torch.Generator().manual_seed(0)
    for shape in ((8, 40), (40, 8), (16, 16)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape, generator=g)))
        assert values.max() < 1.3
        assert values.median() > 0.6


def test_what_counts_as_a_matrix() -> None:
    assert is_matrix(nn.Linear(4, 3).weight)
    assert is_matrix(nn.Conv2d(4, 8, 3).weight)
    assert not is_matrix(nn.Conv2d(8, 8, 3, groups=8).weight)  # depthwise: nothing is mixed
    assert not is_matrix(nn.Linear(4, 3).bias)


def test_other_parameters_step_as_adamw_does() -> None:
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    a = Muon([ours], 1e-2, 0.1)
    b = torch.optim.AdamW([theirs], 1e-2, (0.9, 0.99), weight_decay=0.1)
    for step in range(5):
        gradient = torch.sin(torch.arange(7.0) + step)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        a.step()
        b.step()
    torch.testing.assert_close(ours, theirs)


def test_a_badly_scaled_problem_is_solved() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(256, 12, generator=g) * torch.logspace(0, -2, 12)
    target = x @ torch.randn(12, 5, generator=g)

    def left(optimizer: type[torch.optim.Optimizer]) -> float:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layer = nn.Linear(12, 5)
        steps = optimizer(layer.parameters(), lr=0.03)  # type: ignore[call-arg]
        for _ in range(150):
            steps.zero_grad()
            loss = (layer(x) - target).square().mean()
            loss.backward()
            steps.step()
        return float(loss.detach())

    assert left(Muon) < float(target.square().mean()) / 10
