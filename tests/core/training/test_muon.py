"""The optimiser: Muon for matrices, AdamW for the rest."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lure_cli.core.training.gradients import Gradients
from lure_cli.core.training.muon import Muon, is_matrix, orthogonalise


def test_singular_values_come_near_one() -> None:
    g = torch.Generator().manual_seed(0)
    for shape in ((8, 40), (40, 8), (16, 16)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn((3, *shape), generator=g)))
        assert values.max() < 1.3
        assert values.median(-1).values.min() > 0.6


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


def parameters() -> list[nn.Parameter]:
    """Of all kinds and shapes, some alike, and as convolutions lie in memory."""
    g = torch.Generator().manual_seed(1)
    shapes = [(8, 6), (6, 8), (8, 6), (8, 4, 3, 3), (8, 4, 3, 3), (8, 1, 3, 3), (6,), (8,), (12, 8, 1, 1), (4, 8, 2, 2)]
    tensors = [torch.randn(s, generator=g) for s in shapes]
    return [nn.Parameter(t.to(memory_format=torch.channels_last) if t.ndim == 4 else t) for t in tensors]


def one_by_one(params: list[nn.Parameter], states: dict[Tensor, dict[str, Tensor]], lr: float, decay: float) -> None:
    """The same step, a parameter at a time, as the formulas stand in the literature."""
    for p in params:
        assert p.grad is not None
        state = states.setdefault(p, {k: torch.zeros_like(p) for k in ("m", "v")} | {"n": torch.zeros(())})
        state["n"] += 1
        p.mul_(1 - lr * decay)
        if is_matrix(p):
            state["m"].mul_(0.95).add_(0.05 * p.grad)
            x = (0.95 * state["m"] + 0.05 * p.grad).reshape(len(p), -1)
            tall = x.shape[0] > x.shape[1]
            x = x.T if tall else x
            x = x / x.norm()
            for _ in range(5):
                gram = x @ x.T
                x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
            p.sub_(lr * 0.2 * max(x.shape) ** 0.5 * (x.T if tall else x).reshape(p.shape))
        else:
            state["m"].mul_(0.9).add_(0.1 * p.grad)
            state["v"].mul_(0.99).add_(0.01 * p.grad**2)
            m, v = state["m"] / (1 - 0.9 ** state["n"]), state["v"] / (1 - 0.99 ** state["n"])
            p.sub_(lr * m / (v.sqrt() + 1e-8))


@torch.no_grad()
def test_all_at_once_is_one_by_one() -> None:
    ours, plain = parameters(), parameters()
    optimizer, states = Muon(ours, 1e-2, 0.1), dict[Tensor, dict[str, Tensor]]()
    g = torch.Generator().manual_seed(2)
    for _ in range(4):
        for a, b in zip(ours, plain, strict=True):
            b.grad = torch.randn(b.shape, generator=g)
            a.grad = b.grad.clone()
        optimizer.step()
        one_by_one(plain, states, 1e-2, 0.1)
    for start, a, b in zip(parameters(), ours, plain, strict=True):
        torch.testing.assert_close(a - start, b - start, atol=1e-5, rtol=1e-4)
    assert all(float(optimizer.state[p]["step"]) == 4 for p in ours if not is_matrix(p))


def test_a_step_that_must_not_be_changes_nothing() -> None:
    ours, plain = parameters(), parameters()
    a, b = Muon(ours, 1e-2, 0.1), Muon(plain, 1e-2, 0.1)
    for go in (0.0, 1.0, 0.0, 1.0):
        for p, q in zip(ours, plain, strict=True):
            p.grad = torch.full_like(p, 0.3 if go else 7.0) * torch.arange(p.numel()).view(p.shape).cos()
            q.grad = p.grad.clone()
        a.step(go=torch.tensor(go))
        if go:
            b.step()
    for p, q in zip(ours, plain, strict=True):
        assert torch.equal(p, q)
        assert all(torch.equal(a.state[p][k], b.state[q][k]) for k in b.state[q])


def test_parameters_without_a_gradient_are_refused() -> None:
    params = parameters()
    params[0].grad = torch.zeros_like(params[0])
    with pytest.raises(ValueError, match="without a gradient"):
        Muon(params, 1e-2).step()


def test_gradients_of_shards_are_summed_and_clipped() -> None:
    params = parameters()
    g = torch.Generator().manual_seed(3)
    found = [[torch.randn(p.shape, generator=g) for p in params] for _ in range(2)]
    gradients = Gradients(params, 2)
    for shard, (each, share) in enumerate(zip(found, (0.25, 0.75), strict=True)):
        gradients.put(shard, torch.tensor(4.0 * shard), each, share)
    gradients.sum()
    loss, norm, finite = gradients.clip(1.0)
    whole = [0.25 * a + 0.75 * b for a, b in zip(*found, strict=True)]
    expected = torch.cat([w.flatten() for w in whole]).norm()
    assert (float(loss), float(finite)) == (3.0, 1.0)
    assert float(norm) == pytest.approx(float(expected), rel=1e-5)
    for p, view, w in zip(params, gradients.views[0], whole, strict=True):
        assert view.stride() == p.stride()
        torch.testing.assert_close(view, w / expected)
    for at, value in ((2, float("inf")), (4, float("nan"))):
        found[1][at].view(-1)[3] = value
        gradients.put(0, torch.tensor(1.0), found[0], 0.5)
        gradients.put(1, torch.tensor(1.0), found[1], 0.5)
        gradients.sum()
        assert float(gradients.clip(1.0)[2]) == 0
        assert all(not view.any() for view in gradients.views[0])
        found[1][at].view(-1)[3] = 0.0
    gradients.put(0, torch.tensor(float("nan")), found[0], 1.0)
    gradients.put(1, torch.tensor(1.0), found[1], 1.0)
    gradients.sum()
    assert float(gradients.clip(1.0)[2]) == 0 and not gradients.views[0][0].any()
