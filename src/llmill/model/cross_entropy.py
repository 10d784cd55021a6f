"""Cross-entropy of a linear head, one chunk of positions at a time. The logits of all positions are
never in memory together; the gradient of each chunk is computed while its logits are there.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORE = -100  # target of a position outside the loss: prompt and padding
CHUNK = {"cpu": 2**20, "cuda": 2**27}  # logits per chunk: fit a CPU's cache, keep a GPU busy
LEAST = 256  # positions per chunk in training: each chunk adds to the head's whole gradient
ROUND = {"cpu": 1, "cuda": 64}  # GPUs multiply fastest if the vocabulary is a multiple of 64


def cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Return the summed cross-entropy in nats of the head `weight`, (V, C); targets that equal
    IGNORE do not count.

    `hidden` is (..., C), `targets` (...). Under autocast the matrix products use its number type;
    the rest is float32.
    """
    learning = torch.is_grad_enabled()  # gradients are always off inside `forward`
    return _InChunks.apply(hidden.flatten(0, -2), weight, targets.flatten(), learning)


@torch.no_grad()
def cross_entropy_by_group(
    hidden: Tensor, weight: Tensor, targets: Tensor, groups: Tensor, n_groups: int
) -> Tensor:
    """Return the summed cross-entropy in nats of each group, (n_groups,), without gradients.
    `groups`, (...), gives the group of each position, from 0; the rest is as in `cross_entropy`.

    The sum of a group is, to the bit, `cross_entropy` without gradients and with all other targets
    ignored, but the head is computed only once.
    """
    states, head = _for_products(hidden.flatten(0, -2), weight)
    sums = torch.zeros(n_groups, device=hidden.device)
    size = _chunk_size(head, learning=False)
    chunks = (x.split(size) for x in (states, targets.flatten(), groups.flatten()))
    with torch.autocast(hidden.device.type, enabled=False):
        for chunk, target, group in zip(*chunks, strict=True):
            nats = _log_probabilities(chunk, head, len(weight))
            of_targets = nats.gather(1, torch.where(target != IGNORE, target, 0)[:, None])[:, 0]
            for each in group.unique().tolist():
                counts = (target != IGNORE) & (group == each)
                sums[each] -= torch.where(counts, of_targets, 0.0).sum()
    return sums


class _InChunks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, learning: bool
    ) -> Tensor:
        states, head = _for_products(hidden, weight)
        with torch.autocast(hidden.device.type, enabled=False):
            loss, gradients = _loss_and_gradients(
                states,
                head,
                targets,
                len(weight),
                learning and any(ctx.needs_input_grad),
                of_head=ctx.needs_input_grad[1],
            )
        if gradients:
            of_hidden, of_weight = gradients
            ctx.save_for_backward(
                of_hidden.to(hidden.dtype),
                of_weight if of_weight is None else of_weight.to(weight.dtype),
            )
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        of_hidden, of_weight = ctx.saved_tensors
        return of_hidden * upstream, None if of_weight is None else of_weight * upstream, None, None


def _loss_and_gradients(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    vocab_size: int,
    learning: bool,
    of_head: bool,
) -> tuple[Tensor, tuple[Tensor, Tensor | None] | None]:
    """Return the summed loss and, if `learning`, its gradients with respect to `hidden`, (N, C),
    and to `weight`, (V, C). The latter is computed only with `of_head`: an adapter does not train
    the head.
    """
    loss = torch.zeros((), device=hidden.device)
    gradients = None
    if learning:
        zeros = torch.zeros(weight.shape, device=weight.device) if of_head else None
        gradients = torch.empty_like(hidden), zeros
    size = _chunk_size(weight, learning)
    for start in range(0, len(hidden), size):
        chunk, target = hidden[start : start + size], targets[start : start + size]
        learnt = target != IGNORE
        at = torch.where(learnt, target, 0)[:, None]  # (n, 1)
        nats = _log_probabilities(chunk, weight, vocab_size)  # (n, V)
        loss -= torch.where(learnt, nats.gather(1, at)[:, 0], 0.0).sum()
        if gradients is not None:
            of_hidden, of_weight = gradients
            gradient = nats.exp_()
            gradient.scatter_add_(1, at, -torch.ones_like(at, dtype=gradient.dtype))
            gradient = gradient.mul_(learnt[:, None]).to(weight.dtype)
            torch.mm(gradient, weight, out=of_hidden[start : start + size])
            if of_weight is not None:
                _add_product(of_weight, gradient.mT, chunk)
    if gradients is None:
        return loss, None
    of_hidden, of_weight = gradients
    return loss, (of_hidden, None if of_weight is None else of_weight[:vocab_size])


def _for_products(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in the number type of autocast if it is on, and the head with more rows."""
    device = hidden.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    head = _rounded_up(weight.to(kind or weight.dtype), ROUND[device])
    return hidden.to(kind or hidden.dtype), head


def _chunk_size(weight: Tensor, learning: bool) -> int:
    """Return the number of positions in a chunk."""
    return max(LEAST if learning else 1, CHUNK[weight.device.type] // len(weight))


def _log_probabilities(hidden: Tensor, weight: Tensor, vocab_size: int) -> Tensor:
    """Return the log-probabilities of all tokens, (n, V), for `hidden`, (n, C). Rows that round up
    the head have none.
    """
    logits = (hidden @ weight.mT).float()
    logits[:, vocab_size:] = float("-inf")
    return logits.log_softmax(dim=-1)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add a @ b to `total` in place; if number types are equal, without a temporary matrix."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b


def _rounded_up(weight: Tensor, multiple: int) -> Tensor:
    """Append rows of zeros until the number of rows is a multiple of `multiple`."""
    missing = -len(weight) % multiple
    return torch.nn.functional.pad(weight, (0, 0, 0, missing)) if missing else weight
