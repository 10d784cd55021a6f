"""Losses of a model over a batch, as sums; the loop divides them by the weight of the whole step.

A micro-batch without targets thus adds zero, and gradient accumulation equals one large batch.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from llmill.training.batches import Batch

Called = Callable[..., Tensor]  # a model, or the compiled or wrapped model
Loss = Callable[[Called, Batch], Tensor]


def token_loss(model: Called, batch: Batch) -> Tensor:
    """Return the summed cross-entropy in nats, which the model computes from targets, (B, T) or
    (N,).
    """
    noise = {} if batch.noise is None else {"noise": batch.noise}
    return model(*batch.inputs, targets=batch.targets, **noise)


def class_loss(class_weights: Tensor) -> Loss:
    """Return a loss: the summed weighted cross-entropy of logits (B, n_class) and targets (B,)."""

    def loss(model: Called, batch: Batch) -> Tensor:
        logits = model(*batch.inputs).float()
        return F.cross_entropy(logits, batch.targets, weight=class_weights, reduction="sum")

    return loss


def score_loss(model: Called, batch: Batch) -> Tensor:
    """Return the summed squared error of scores (B, 1) and targets (B,) in [0, 1]."""
    return (model(*batch.inputs)[:, 0].float() - batch.targets).square().sum()
