"""Losses as sums over a batch; the loop divides by the weight of the whole step.

So a micro-batch without any target adds zero, and accumulation equals one large batch.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

IGNORE = -100  # a target that is not learnt: prompt and padding

Loss = Callable[[Tensor, Tensor], Tensor]


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats, summed; logits (..., V), targets (...)."""
    return F.cross_entropy(
        logits.flatten(0, -2).float(), targets.flatten(), ignore_index=IGNORE, reduction="sum"
    )


def class_loss(class_weights: Tensor) -> Loss:
    """Weighted cross-entropy, summed; logits (B, n_class), targets (B,)."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), targets, weight=class_weights, reduction="sum")

    return loss


def score_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Squared error, summed; scores (B, 1), targets (B,) in [0, 1]."""
    return (scores[:, 0].float() - targets).square().sum()
