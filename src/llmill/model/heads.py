"""Heads on a transformer: a class in place of the next token, or a score beside it.

Both read ids (B, T), padded on the right, and lengths (B,). Where attention is causal, padding
behind the last token cannot change what is read there; where it is not, padding is hidden.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmill.model.transformer import Transformer

TRAINABLE = ("last_layer", "last_block", "all")


class ClassModel(nn.Module):
    """A transformer with a linear head: ids (B, T), padded on the right, and lengths (B,) in; (B,
    n_class) out.

    The head reads the last token, the only one that has seen the whole text; where attention is
    not causal, so that all have, their mean.
    """

    def __init__(self, body: Transformer, n_class: int):
        super().__init__()
        self.body, self.config = body, body.config
        body.set_submodule("head", nn.Identity())
        self.head = nn.Linear(body.config.n_embd, n_class, bias=False)
        nn.init.normal_(self.head.weight, std=body.config.n_embd**-0.5)

    def forward(self, idx: Tensor, lengths: Tensor) -> Tensor:
        return self.head(self._read(idx, lengths))

    def _read(self, idx: Tensor, lengths: Tensor) -> Tensor:
        """What the head reads of the stream, (B, C)."""
        if self.config.causal:
            hidden = self.body.hidden(idx)  # (B, T, C)
            return hidden[torch.arange(idx.size(0), device=idx.device), lengths - 1]
        padding = torch.arange(idx.size(1), device=idx.device) >= lengths[:, None]  # (B, T)
        hidden = self.body.hidden(idx, documents=padding.long())  # hides one from the other
        return hidden.masked_fill(padding[..., None], 0).sum(dim=1) / lengths[:, None]


class ScoreModel(nn.Module):
    """A decoder with a score: (B, 1), from the last token and from how surprising the tokens are.

    Surprise is the loss of each token after those before it, for a frozen copy of the decoder: what
    that one knows shows there, and nowhere in the stream of a later token. It is averaged over
    positions that the head chooses.
    """

    POOLS = 4

    def __init__(self, body: Transformer):
        super().__init__()
        self.knows = copy.deepcopy(body).requires_grad_(False)
        self.body, self.config = body, body.config
        body.set_submodule("head", nn.Identity())
        self.pool = nn.Linear(body.config.n_embd, self.POOLS)
        self.head = nn.Linear(body.config.n_embd + self.POOLS, 1)
        for layer in (self.pool, self.head):
            nn.init.normal_(layer.weight, std=body.config.n_embd**-0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, idx: Tensor, lengths: Tensor) -> Tensor:
        hidden = self.body.hidden(idx)  # (B, T, C)
        beyond = torch.arange(idx.size(1), device=idx.device) >= lengths[:, None]  # (B, T)
        weights = self.pool(hidden).masked_fill(beyond[..., None], float("-inf")).softmax(dim=1)
        pooled = (weights * self._surprise(idx)[..., None]).sum(dim=1)  # (B, POOLS)
        last = hidden[torch.arange(idx.size(0), device=idx.device), lengths - 1]  # (B, C)
        return self.head(torch.cat((last, pooled), dim=-1))

    @torch.no_grad()
    def _surprise(self, idx: Tensor) -> Tensor:
        """Nats of each token after those before it, (B, T); the first has none."""
        self.knows.eval()  # no dropout, also while the rest is trained
        logits = self.knows(idx[:, :-1]).transpose(1, 2).float()  # (B, V, T - 1)
        return F.pad(F.cross_entropy(logits, idx[:, 1:], reduction="none"), (1, 0))


def freeze(model: ClassModel, trainable: str) -> None:
    """Leave trainable the head alone, the last block and final norm with it, or everything."""
    if trainable not in TRAINABLE:
        raise ValueError(f"trainable = {trainable!r}; one of {', '.join(TRAINABLE)}")
    model.body.requires_grad_(trainable == "all")
    if trainable == "last_block":
        model.body.blocks[-1].requires_grad_(True)
        model.body.norm.requires_grad_(True)
