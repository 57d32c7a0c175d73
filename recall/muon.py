"""Muon (Jordan et al., 2024), matrices of one shape together: momentum whose steps are orthogonalised.

`torch.optim.Muon` walks the matrices one by one, in bfloat16.  A small transformer has many small matrices, so that
launching the products costs more than the products: here they are stacked, and stay in their own precision.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# Jordan's quintic: it lifts small singular values fastest and leaves all of them between about 0.7 and 1.2
A, B, C = 3.4445, -4.7750, 2.0315
ITERATIONS = 5
LEAST_NORM = 1e-7  # of a step: below, it is divided by this


def orthogonalised(X: Tensor) -> Tensor:
    """Matrices [K, m, n] with m <= n, about U V' of each one's U S V': five Newton-Schulz iterations
    X <- A X + (B G + C G G) X with G = X X', from X / |X|."""
    X = X / X.norm(dim=(1, 2), keepdim=True).clamp(min=LEAST_NORM)
    for _ in range(ITERATIONS):
        G = X @ X.mT  # [K, m, m]
        X = torch.baddbmm(X, torch.baddbmm(G, G, G, beta=B, alpha=C), X, beta=A)
    return X


class Muon(torch.optim.Optimizer):
    """For matrices: M <- momentum M + (1 - momentum) grad, then W <- W - lr sqrt(max(1, rows / columns)) O, where O is
    the orthogonalised look ahead, momentum M + (1 - momentum) grad (Nesterov's).

    The law, the order of its operations and the coefficients are `torch.optim.Muon`'s.  ValueError for a parameter
    that is no matrix.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float):
        super().__init__(params, dict(lr=lr, momentum=momentum))
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"params must be matrices, not of shape {tuple(p.shape)}")

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            alike: dict[tuple, list[Tensor]] = {}  # wide shape -> matrices, tall ones among them
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault((min(p.shape), max(p.shape)), []).append(p)
            for matrices in alike.values():
                self._step(matrices, group["lr"], group["momentum"])

    def _step(self, matrices: list[Tensor], lr: float, momentum: float) -> None:
        gradients = [p.grad for p in matrices]
        for p in matrices:
            if "momentum_buffer" not in self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        buffers = [self.state[p]["momentum_buffer"] for p in matrices]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, buffers, momentum)
        steps = orthogonalised(torch.stack([_wide(step) for step in ahead]))
        for p, step in zip(matrices, steps.unbind()):
            step = step.mT if p.shape[0] > p.shape[1] else step
            p.add_(step, alpha=-lr * max(1, p.shape[0] / p.shape[1]) ** 0.5)


def _wide(matrix: Tensor) -> Tensor:
    return matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
