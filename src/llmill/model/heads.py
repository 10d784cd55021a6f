"""Heads on a transformer that predict a class or a score in place of the next token.

Both take ids (B, T), padded on the right, and lengths (B,). With causal attention, padding after
the last token cannot change the output at that token; without it, padding is masked.
"""

import copy
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmill.model.comparison import FIGURES, compare
from llmill.model.transformer import Transformer, View

Reads = Literal["last", "first", "mean"]

FROZEN_UP_TO = {"last_layer": 0, "last_block": 1, "last_two_blocks": 2}  # number of trained blocks
LOGITS = 2**26  # numbers that the judge's surprise holds at once
TRAINABLE = (*FROZEN_UP_TO, "all", "all_from_random")


class ClassModel(nn.Module):
    """Transformer with a linear head that maps ids (B, T), padded on the right, and lengths (B,) to
    logits (B, n_class).

    The head reads the last token, the first token, or the mean of all tokens. The default is the
    last token with causal attention, because only this token attends to the whole text, and
    otherwise the mean. `both_ways` removes the causal mask.
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
        self.frozen = 0  # number of frozen first blocks; the layers below them are frozen too
        if self.both_ways:
            body.look_both_ways()
        body.set_submodule("head", nn.Identity())
        self.head = nn.Linear(body.config.n_embd, n_class, bias=False)
        nn.init.normal_(self.head.weight, std=body.config.n_embd**-0.5)

    def forward(self, idx: Tensor, lengths: Tensor) -> Tensor:
        return self.above(self.below(idx, lengths), lengths)

    def below(self, idx: Tensor, lengths: Tensor) -> Tensor:
        """Return the output of the frozen part for ids (B, T) and lengths (B,): the input of the
        first trained block, (B, T, C), or, if only the head is trained, its input, (B, C).
        """
        view = self._view(idx, lengths)
        x = self.body.through(self.body.enter(idx, view), view, 0, self.frozen)
        return self._read(self.body.norm(x), lengths) if self.head_alone else x

    def above(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the logits, (B, n_class), of an output of `below`."""
        if self.head_alone:
            return self.head(x)
        view = self._view(x[..., 0], lengths)
        x = self.body.through(x, view, self.frozen)
        return self.head(self._read(self.body.norm(x), lengths))

    @property
    def head_alone(self) -> bool:
        """Whether only the head is trained."""
        return self.frozen == len(self.body.blocks)

    def train(self, mode: bool = True) -> "ClassModel":
        """Set the training mode of all but the frozen part, which never uses dropout: its output
        for a text is always the same.
        """
        super().train(mode)
        if self.frozen:
            self.body.dropout.eval()
            for block in self.body.blocks[: self.frozen]:
                block.eval()
        return self

    def _view(self, idx: Tensor, lengths: Tensor) -> View:
        if not self.both_ways:  # padding follows the text, which does not attend to it
            return self.body.view(idx)
        padding = _beyond(idx, lengths)
        return self.body.view(idx, documents=padding.long())  # padding as a document of its own

    def _read(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Return the input of the head, (B, C), from the stream `hidden`, (B, T, C)."""
        if self.reads == "first":
            return hidden[:, 0]
        if self.reads == "last":
            return hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
        beyond = _beyond(hidden[..., 0], lengths)[..., None]
        return hidden.masked_fill(beyond, 0).sum(dim=1) / lengths[:, None]


class Upper(nn.Module):
    """The trained part of a `ClassModel`. It takes the output of the frozen part and lengths (B,),
    returns logits (B, n_class), and shares its parameters with the `ClassModel`.
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
    """Decoder that maps ids (B, T), padded on the right, and lengths (B,) to a score (B, 1). A row
    has parts that each end with the row's last id; the score compares the last part with the one
    before it.

    The score depends on the state of the last token, on the surprise of the tokens, and on figures
    of what the two parts have in common (`compare`), which are hard to learn and easy to compute.
    The surprise of a token is its loss, given the tokens before it, under a frozen copy of the
    decoder. It shows what this copy knows, which the state of a later token does not show. The head
    chooses the positions over which the surprise is averaged.
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
        """Return the loss of each token of ids (B, T) in nats, (B, T); the first token gets 0."""
        self.knows.eval()  # without dropout even while the rest is trained
        at_once = max(1, LOGITS // (idx.size(1) * self.knows.vocab_size))
        parts = []
        for rows in idx.split(at_once):
            logits = self.knows(rows[:, :-1]).transpose(1, 2).float()  # (B, V, T - 1)
            parts.append(F.cross_entropy(logits, rows[:, 1:], reduction="none"))
        return F.pad(torch.cat(parts), (1, 0))


def freeze(model: ClassModel, trainable: str) -> None:
    """Freeze all of the model but its head, with `trainable` also its last block or two and the
    final norm, or freeze nothing. Raises ValueError for a `trainable` that is not in TRAINABLE.
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
    """Return the mask of the padding, (B, T), from ids (B, T) and lengths (B,)."""
    return torch.arange(idx.size(1), device=idx.device) >= lengths[:, None]
