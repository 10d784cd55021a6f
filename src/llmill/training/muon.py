"""Muon (Jordan 2024): each matrix moves along its momentum, with all singular values moved towards
one. All matrices of the same shape form a batch.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from llmill.training import parallel

A, B, C = 3.4445, -4.7750, 2.0315  # Jordan 2024: s -> As + Bs^3 + Cs^5 lifts small s the most
EPS = 1e-7
MOMENTUM = "momentum_buffer"
BATCH_NUMBERS = 2**24  # limit of a batch of matrices, to save memory; a batch of one may exceed it


class Muon(Optimizer):
    """Muon over matrices, plain tensors or DTensors. It computes as `torch.optim.Muon` with its
    default settings, but in float32 on the CPU and in bfloat16 on a GPU.

    A matrix (rows, cols) moves by lr * sqrt(max(1, rows / cols)), and decays by lr * weight_decay.
    Raises `ValueError` for a parameter that is not a matrix.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        nesterov: bool = True,
        steps: int = 5,
    ) -> None:
        settings = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "steps": steps,
        }
        super().__init__(params, settings)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, of matrices only."""
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if p.dim() != 2:
                raise ValueError(
                    f"Muon takes matrices only, no parameter of shape {tuple(p.shape)}"
                )

    @torch.no_grad()
    def step(  # type: ignore[override]  # torch writes two overloads
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Update every parameter that has a gradient, and return the result of the closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for params in _batches([p for p in group["params"] if p.grad is not None]):
                self._move(params, group)
        return loss

    def _move(self, params: list[Tensor], group: dict[str, Any]) -> None:
        directions = self._directions(params, group["momentum"], group["nesterov"])
        whole = torch.stack([parallel.gathered(d) for d in directions])
        updates = orthogonalised(whole, group["steps"])
        rows, cols = params[0].shape
        rate = group["lr"] * math.sqrt(max(1, rows / cols))
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        parts = [parallel.parted(update, p) for update, p in zip(updates, params, strict=True)]
        torch._foreach_add_(params, parts, alpha=-rate)

    def _directions(self, params: list[Tensor], momentum: float, nesterov: bool) -> list[Tensor]:
        grads = [p.grad for p in params if p.grad is not None]  # all of them have one
        for p, grad in zip(params, grads, strict=True):
            if MOMENTUM not in self.state[p]:
                self.state[p][MOMENTUM] = torch.zeros_like(grad)
        buffers = [self.state[p][MOMENTUM] for p in params]
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        return list(torch._foreach_lerp(grads, buffers, momentum)) if nesterov else buffers


def orthogonalised(batch: Tensor, steps: int) -> Tensor:
    """Return matrices (N, rows, cols) with their singular values moved towards one: after five
    steps most lie in [0.5, 1.3]. Computes in float32 on the CPU, in bfloat16 on a GPU.
    """
    rows, cols = batch.shape[1:]
    if rows > cols:
        return orthogonalised(batch.mT, steps).mT
    number_type = torch.bfloat16 if batch.is_cuda else torch.float32
    small = number_type == torch.float32 and 2 * cols > 3 * rows
    norms = torch.linalg.vector_norm(batch, dim=(1, 2), keepdim=True)
    x = (batch / norms.clamp(min=EPS)).to(number_type)
    return _newton_schulz_small(x, steps) if small else _newton_schulz(x, steps)


def _newton_schulz(x: Tensor, steps: int) -> Tensor:
    """Apply X -> AX + B(XX')X + C(XX')(XX')X to X, (N, rows, cols), `steps` times."""
    for _ in range(steps):
        gram = torch.bmm(x, x.mT)
        polynomial = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        x = torch.baddbmm(x, polynomial, x, beta=A)
    return x


def _newton_schulz_small(x: Tensor, steps: int) -> Tensor:
    """Compute the same with products of (rows, rows) matrices in between. All factors to the left
    of X are polynomials P of XX', which a step thus changes to P(XX')P.

    This takes fewer operations if 2 cols > 3 rows, for any number of steps. It loses one digit more
    than `_newton_schulz`, which float32 can afford and bfloat16 cannot.
    """
    gram = torch.bmm(x, x.mT)
    start = A * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    factor: Tensor | None = None
    for step in range(steps):
        polynomial = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        if factor is None:
            factor = start + polynomial
        else:
            factor = torch.baddbmm(factor, polynomial, factor, beta=A)
        if step < steps - 1:
            gram = torch.baddbmm(gram, polynomial, gram, beta=A)
            gram = torch.baddbmm(gram, gram, polynomial, beta=A)
    return x if factor is None else torch.bmm(factor, x)


def _batches(params: list[Tensor]) -> Iterator[list[Tensor]]:
    """Group parameters by shape, into batches of at most BATCH_NUMBERS numbers."""
    shapes = defaultdict(list)
    for p in params:
        shapes[p.shape].append(p)
    for shape, same in shapes.items():
        size = max(1, BATCH_NUMBERS // shape.numel())
        for first in range(0, len(same), size):
            yield same[first : first + size]
