"""The optimiser of both stages: Muon for weight matrices, AdamW for the rest."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix to each of (B, M, N), roughly: all singular values brought to between 0.7 and
    1.2.

    Newton-Schulz iteration with the quintic of Jordan et al., "Muon: an optimizer for hidden layers" (2024).
    """
    a, b, c = _QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + 1e-12)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def is_matrix(p: Tensor) -> bool:
    """Whether a parameter mixes channels: linear layers and all convolutions but depthwise ones."""
    return p.ndim >= 2 and p.shape[1] > 1 and min(p.shape[0], p[0].numel()) > 1


def move_towards(tensors: list[Tensor], targets: list[Tensor], share: Tensor | float) -> None:
    """Move each tensor by a share of the way to its target, in place. A share of 0 changes nothing, whatever finite
    targets there are; as a tensor (0-d) it need not be known to the host."""
    way = torch._foreach_sub(targets, tensors)
    torch._foreach_mul_(way, share)  # type: ignore[arg-type]
    torch._foreach_add_(tensors, way)


class Muon(torch.optim.Optimizer):
    """Muon for parameters that are matrices, AdamW for all others (norms, biases, depthwise kernels).

    A convolution (C_out, C_in, k, k) counts as the matrix (C_out, C_in k k). Muon's steps are scaled to the size of
    AdamW's, 0.2 sqrt(longer side) (Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982), so that one
    learning rate serves both.

    Matrices of one shape are orthogonalised in one batch, and all else is done to lists of tensors at once: on a GPU
    the time of a step is that of starting its operations, one by one from Python.

    Elsewhere: `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`, for matrices alone and not in torch 2.6 yet;
    `timm.optim.Muon`, which takes convolutions as well and leaves the rest to AdamW.

    Args:
        params: parameters to train; all of them step together, so each must have a gradient then.
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
    def step(self, closure: Any = None, go: Tensor | None = None) -> None:  # type: ignore[override]
        """One step along the gradients.

        Args:
            closure: not used.
            go: 1 or 0 (0-d, float32, on the parameters' device); 0 changes neither parameters nor moments. The host
                does not look at it. Gradients must be finite either way.
        """
        for group in self.param_groups:
            params = group["params"]
            go = params[0].new_ones((), dtype=torch.float32) if go is None else go
            torch._foreach_mul_(params, 1 - go * (group["lr"] * group["weight_decay"]))
            if matrices := [p for p in params if is_matrix(p)]:
                self._muon(matrices, group, go)
            if others := [p for p in params if not is_matrix(p)]:
                self._adam(others, group, go)

    def _muon(self, params: list[Tensor], group: dict[str, Any], go: Tensor) -> None:
        beta = group["momentum"]
        momentum, gradients = self._moments(params, "momentum"), _gradients(params)
        move_towards(momentum, gradients, go * (1 - beta))
        ahead = torch._foreach_lerp(gradients, momentum, beta)  # Nesterov
        alike = defaultdict[tuple[int, int], list[int]](list)
        for i, p in enumerate(params):
            alike[p.shape[0], p[0].numel()].append(i)
        for shape, members in alike.items():
            update = orthogonalise(torch.stack([ahead[i].reshape(shape) for i in members]).float())
            update = update * (go * (group["lr"] * 0.2 * max(shape) ** 0.5))
            for i, change in zip(members, update, strict=True):
                params[i].sub_(change.reshape(params[i].shape))

    def _adam(self, params: list[Tensor], group: dict[str, Any], go: Tensor) -> None:
        first, second = group["betas"]
        gradients, means, squares = _gradients(params), *(self._moments(params, k) for k in ("exp_avg", "exp_avg_sq"))
        counts = self._moments(params, "step")
        torch._foreach_add_(counts, [go] * len(counts))  # a single tensor would be read by the host
        move_towards(means, gradients, go * (1 - first))
        move_towards(squares, list(torch._foreach_mul(gradients, gradients)), go * (1 - second))
        n = counts[0].clamp_min(1)  # of all: they step together
        # 1 - beta^n; as expm1, as float32 loses digits in the difference and not all devices have float64.
        left_first, left_second = (-torch.expm1(n * math.log(beta)) for beta in (first, second))
        scale = torch._foreach_mul(squares, 1 / left_second)  # type: ignore[call-overload]
        torch._foreach_sqrt_(scale)
        torch._foreach_add_(scale, 1e-8)
        update = torch._foreach_div(means, scale)
        torch._foreach_mul_(update, go * group["lr"] / left_first)
        torch._foreach_sub_(params, update)

    def _moments(self, params: list[Tensor], key: str) -> list[Tensor]:
        """This state of each parameter, zero at first: its number of steps, or a moment of its gradients."""
        for p in params:
            if key not in self.state[p]:
                self.state[p][key] = p.new_zeros(()) if key == "step" else torch.zeros_like(p)
        return [self.state[p][key] for p in params]


def _gradients(params: list[Tensor]) -> list[Tensor]:
    gradients = [p.grad for p in params if p.grad is not None]
    if len(gradients) < len(params):
        raise ValueError("parameters without a gradient cannot step")
    return gradients
