"""Heads on a transformer: a class in place of the next token, or a score beside it.

Both read ids (B, T), padded on the right, and lengths (B,). Where attention is causal, padding
behind the last token cannot change what is read there; where it is not, padding is hidden.
"""

import copy
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmill.model.comparison import FIGURES, compare
from llmill.model.transformer import Transformer, View

Reads = Literal["last", "first", "mean"]

FROZEN_UP_TO = {"last_layer": 0, "last_block": 1, "last_two_blocks": 2}  # blocks that are trained
TRAINABLE = (*FROZEN_UP_TO, "all", "all_from_random")


class ClassModel(nn.Module):
    """A transformer with a linear head: ids (B, T), padded on the right, and lengths (B,) in; (B,
    n_class) out.

    The head reads the last token, the first, or the mean of all. By itself the last, the only one
    that has seen the whole text; where all tokens have, since attention is not causal, the mean.
    `both_ways` takes the causal mask away.
    """

    def __init__(
        self,
        body: Transformer,
        n_class: int,
        reads: Reads | None = None,
        both_ways: bool = False,
    ):
        super().__init__()
        self.body, self.config = body, body.config
        self.both_ways = both_ways or not body.causal
        self.reads: Reads = reads or ("mean" if self.both_ways else "last")
        self.frozen = 0  # so many of the first blocks, and what is below them
        if self.both_ways:
            body.look_both_ways()
        body.set_submodule("head", nn.Identity())
        self.head = nn.Linear(body.config.n_embd, n_class, bias=False)
        nn.init.normal_(self.head.weight, std=body.config.n_embd**-0.5)

    def forward(self, idx: Tensor, lengths: Tensor) -> Tensor:
        return self.above(self.below(idx, lengths), lengths)

    def below(self, idx: Tensor, lengths: Tensor) -> Tensor:
        """What the frozen part makes of the text: the stream that enters the first block that is
        trained, (B, T, C); where the head alone is, what the head reads, (B, C).
        """
        view = self._view(idx, lengths)
        x = self.body.through(self.body.enter(idx, view), view, 0, self.frozen)
        return self._read(self.body.norm(x), lengths) if self.head_alone else x

    def above(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The logits, (B, n_class), of what `below` gave."""
        if self.head_alone:
            return self.head(x)
        view = self._view(x[..., 0], lengths)
        x = self.body.through(x, view, self.frozen)
        return self.head(self._read(self.body.norm(x), lengths))

    @property
    def head_alone(self) -> bool:
        """Whether nothing but the head is trained."""
        return self.frozen == len(self.body.blocks)

    def train(self, mode: bool = True) -> "ClassModel":
        """As every module's; but the frozen part reads a text always alike, so without dropout."""
        super().train(mode)
        if self.frozen:
            self.body.dropout.eval()
            for block in self.body.blocks[: self.frozen]:
                block.eval()
        return self

    def _view(self, idx: Tensor, lengths: Tensor) -> View:
        if not self.both_ways:  # padding stands behind, where nothing that is read looks
            return self.body.view(idx)
        padding = _beyond(idx, lengths)
        return self.body.view(idx, documents=padding.long())  # hides one from the other

    def _read(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """What the head reads of the stream, (B, C)."""
        if self.reads == "first":
            return hidden[:, 0]
        if self.reads == "last":
            return hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
        beyond = _beyond(hidden[..., 0], lengths)[..., None]
        return hidden.masked_fill(beyond, 0).sum(dim=1) / lengths[:, None]


class Upper(nn.Module):
    """The part of a `ClassModel` that is trained, which reads what its frozen part made of a text.
    Both share their parameters.
    """

    def __init__(self, model: ClassModel):
        super().__init__()
        self._above = model.above
        self.blocks = model.body.blocks[model.frozen :]
        self.norm = nn.Identity() if model.head_alone else model.body.norm
        self.head = model.head

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self._above(x, lengths)


class ScoreModel(nn.Module):
    """A decoder with a score, (B, 1), of a row of parts that each end with the row's last token, of
    which the last part is compared with the one before it.

    The score is made from the last token, from how surprising the tokens are, and from what the two
    parts have in common: to count that is hard to learn, and easy to write down. Surprise is the
    loss of each token after those before it, for a frozen copy of the decoder: what that one knows
    shows there, and nowhere in the stream of a later token. It is averaged over positions that the
    head chooses.
    """

    POOLS, HIDDEN = 4, 64

    def __init__(self, body: Transformer):
        super().__init__()
        self.knows = copy.deepcopy(body).requires_grad_(False)
        self.body, self.config = body, body.config
        body.set_submodule("head", nn.Identity())
        self.pool = nn.Linear(body.config.n_embd, self.POOLS)
        self.mix = nn.Linear(body.config.n_embd + self.POOLS + FIGURES, self.HIDDEN)
        self.head = nn.Linear(self.HIDDEN, 1)
        for layer in (self.pool, self.mix, self.head):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, idx: Tensor, lengths: Tensor) -> Tensor:
        hidden = self.body.hidden(idx)  # (B, T, C)
        beyond = _beyond(idx, lengths)  # (B, T)
        surprise = self._surprise(idx)
        weights = self.pool(hidden).masked_fill(beyond[..., None], float("-inf")).softmax(dim=1)
        pooled = (weights * surprise[..., None]).sum(dim=1)  # (B, POOLS)
        last = hidden[torch.arange(idx.size(0), device=idx.device), lengths - 1]  # (B, C)
        known = torch.cat((last, pooled, compare(idx, lengths, surprise)), dim=-1)
        return self.head(F.gelu(self.mix(known)))

    @torch.no_grad()
    def _surprise(self, idx: Tensor) -> Tensor:
        """Nats of each token after those before it, (B, T); the first has none."""
        self.knows.eval()  # no dropout, also while the rest is trained
        logits = self.knows(idx[:, :-1]).transpose(1, 2).float()  # (B, V, T - 1)
        return F.pad(F.cross_entropy(logits, idx[:, 1:], reduction="none"), (1, 0))


def freeze(model: ClassModel, trainable: str) -> None:
    """Leave trainable the head alone; the last block, or two, and the final norm with it; or
    everything.
    """
    if trainable not in TRAINABLE:
        raise ValueError(f"trainable = {trainable!r}; one of {', '.join(TRAINABLE)}")
    if trainable not in FROZEN_UP_TO:
        return
    body, trained = model.body, FROZEN_UP_TO[trainable]
    model.frozen = max(0, len(body.blocks) - trained)
    body.requires_grad_(False)
    for part in body.blocks[model.frozen :]:
        part.requires_grad_(True)
    body.norm.requires_grad_(trained > 0)


def _beyond(idx: Tensor, lengths: Tensor) -> Tensor:
    """Where there is padding, (B, T)."""
    return torch.arange(idx.size(1), device=idx.device) >= lengths[:, None]
