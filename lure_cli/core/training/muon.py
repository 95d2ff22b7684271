"""The optimiser of both stages: Muon for weight matrices, AdamW for the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix to (M, N), roughly: all singular values brought to between 0.7 and 1.2.

    Newton-Schulz iteration with the quintic of Jordan et al., "Muon: an optimizer for hidden layers" (2024).
    """
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-12)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if tall else x


def is_matrix(p: Tensor) -> bool:
    """Whether a parameter mixes channels: linear layers and all convolutions but depthwise ones."""
    return p.ndim >= 2 and p.shape[1] > 1 and min(p.shape[0], p[0].numel()) > 1


class Muon(torch.optim.Optimizer):
    """Muon for parameters that are matrices, AdamW for all others (norms, biases, depthwise kernels).

    A convolution (C_out, C_in, k, k) counts as the matrix (C_out, C_in k k). Muon's steps are scaled to the size of
    AdamW's, 0.2 sqrt(longer side) (Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982), so that one
    learning rate serves both.

    Elsewhere: `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`, for matrices alone and not in torch 2.6 yet;
    `timm.optim.Muon`, which takes convolutions as well and leaves the rest to AdamW.

    Args:
        params: parameters to train.
        lr: learning rate.
        weight_decay: decoupled, as AdamW's.
        momentum: of Muon; betas: of AdamW.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step along the gradients; parameters without one stay."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.mul_(1 - group["lr"] * group["weight_decay"])
                state = self.state[p]
                if is_matrix(p):
                    self._muon(p, state, group)
                else:
                    self._adam(p, state, group)

    def _muon(self, p: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        beta = group["momentum"]
        m = state.setdefault("momentum", torch.zeros_like(p))
        m.lerp_(p.grad, 1 - beta)  # type: ignore[arg-type]
        ahead = p.grad.lerp(m, beta)  # type: ignore[union-attr]  # Nesterov
        update = orthogonalise(ahead.reshape(p.shape[0], -1).float())
        p.add_(update.view(p.shape).to(p.dtype), alpha=-group["lr"] * 0.2 * max(update.shape) ** 0.5)

    def _adam(self, p: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        first, second = group["betas"]
        count = state.setdefault("step", torch.zeros(()))
        m, v = state.setdefault("exp_avg", torch.zeros_like(p)), state.setdefault("exp_avg_sq", torch.zeros_like(p))
        count += 1
        m.lerp_(p.grad, 1 - first)  # type: ignore[arg-type]
        v.lerp_(p.grad.square(), 1 - second)  # type: ignore[union-attr]
        n = float(count)
        scale = (v / (1 - second**n)).sqrt_().add_(1e-8)
        p.addcdiv_(m, scale, value=-group["lr"] / (1 - first**n))
