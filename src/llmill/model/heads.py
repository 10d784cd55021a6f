"""Heads in place of the output layer: a class or a score, read at the last token that is not
padding.
"""

import torch
from torch import Tensor, nn

from llmill.model.transformer import Transformer

TRAINABLE = ("last_layer", "last_block", "all")


class ClassModel(nn.Module):
    """A decoder with a linear head: ids (B, T), padded on the right, and lengths (B,) in; (B,
    n_class) out.

    Attention is causal, so padding behind the last token cannot change what is read there.
    """

    def __init__(self, body: Transformer, n_class: int):
        super().__init__()
        self.body, self.config = body, body.config
        body.head = nn.Identity()
        self.head = nn.Linear(body.config.n_embd, n_class)
        nn.init.normal_(self.head.weight, std=body.config.n_embd**-0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, idx: Tensor, lengths: Tensor) -> Tensor:
        hidden = self.body.hidden(idx)  # (B, T, C)
        last = hidden[torch.arange(idx.size(0), device=idx.device), lengths - 1]  # (B, C)
        return self.head(last)


def freeze(model: ClassModel, trainable: str) -> None:
    """Leave trainable the head alone, the last block and final norm with it, or everything."""
    if trainable not in TRAINABLE:
        raise ValueError(f"trainable = {trainable!r}; one of {', '.join(TRAINABLE)}")
    model.body.requires_grad_(trainable == "all")
    if trainable == "last_block":
        model.body.blocks[-1].requires_grad_(True)
        model.body.norm.requires_grad_(True)
