"""Batches as pure functions of the step: the order follows from seed and epoch alone, so resuming
needs only the step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from llmill.text.shards import Shards
from llmill.training.losses import IGNORE

Example = tuple[list[int], list[int]]  # token ids, and the target of each position


@dataclass(frozen=True)
class Batch:
    """What the model takes, what the loss compares with, and the weight that the summed loss is
    divided by.
    """

    inputs: tuple[Tensor, ...]
    targets: Tensor
    weight: float
    tokens: int


class Batches(Protocol):
    """The examples of a run: `n` make an epoch; `get` gives some of them, across epochs."""

    n: int

    def get(self, start: int, count: int) -> Batch: ...


class Order:
    """A permutation of `n` items per epoch: item `i` of the run is a function of seed and epoch
    alone.
    """

    def __init__(self, n: int, seed: int):
        self.n, self.seed = n, seed
        self._epoch, self._permutation = -1, np.empty(0, dtype=np.int64)

    def items(self, start: int, count: int) -> list[int]:
        """Items `start` to `start + count` of the run, across epochs."""
        return [self._item(i) for i in range(start, start + count)]

    def _item(self, index: int) -> int:
        epoch, place = divmod(index, self.n)
        if epoch != self._epoch:
            self._epoch = epoch
            self._permutation = np.random.default_rng([self.seed, epoch]).permutation(self.n)
        return int(self._permutation[place])


class Windows:
    """Fixed windows over token shards; the target of each position is the next token."""

    def __init__(self, shards: Shards, block_size: int, seed: int):
        self.shards, self.block_size = shards, block_size
        self.n = shards.n_windows(block_size)
        self.order = Order(self.n, seed)

    def get(self, start: int, count: int) -> Batch:
        return windows(self.shards, self.block_size, self.order.items(start, count))


def windows(shards: Shards, block_size: int, numbers: Sequence[int]) -> Batch:
    """These windows, (B, T) and shifted by one; window n begins at token n * block_size."""
    cut = np.stack([shards.window(n * block_size, block_size + 1) for n in numbers]).astype(
        np.int64
    )
    tokens = torch.from_numpy(cut)  # (B, T + 1)
    return Batch(
        (tokens[:, :-1],), tokens[:, 1:], weight=tokens[:, 1:].numel(), tokens=tokens[:, 1:].numel()
    )


class Examples:
    """Labelled examples of any kind, shuffled anew each epoch and collated when asked for."""

    def __init__(self, examples: Sequence, collate: Callable[[Sequence], Batch], seed: int):
        self.examples, self.collate, self.n = examples, collate, len(examples)
        self.order = Order(self.n, seed)

    def get(self, start: int, count: int) -> Batch:
        return self.collate([self.examples[n] for n in self.order.items(start, count)])


def pad(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Rows of any length as one tensor (B, T), padded on the right."""
    out = torch.full((len(rows), max(map(len, rows))), value, dtype=torch.long)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return out


def collate_texts(examples: Sequence[Example]) -> Batch:
    """(ids, targets) pairs: padding and whatever is IGNOREd are never learnt, and the model is
    asked for logits at the N other positions alone: inputs (B, T) twice, targets (N,).
    """
    targets = pad([t for _, t in examples], IGNORE)
    learnt = targets != IGNORE
    ids = pad([ids for ids, _ in examples], 0)
    return Batch((ids, learnt), targets[learnt], weight=int(learnt.sum()), tokens=ids.numel())


def collate_labels(examples: Sequence[tuple[list[int], float]], weights: Tensor | None) -> Batch:
    """(ids, label) pairs for a head. With class weights labels are classes, without they are
    scores.
    """
    idx = pad([ids for ids, _ in examples], 0)
    lengths = torch.tensor([len(ids) for ids, _ in examples])
    labels = [label for _, label in examples]
    targets = torch.tensor(labels, dtype=torch.float if weights is None else torch.long)
    weight = float(len(labels)) if weights is None else float(weights[targets].sum())
    return Batch((idx, lengths), targets, weight=weight, tokens=idx.numel())


def response_example(
    prompt: list[int], response: list[int], block_size: int, mask_prompt: bool
) -> Example:
    """Ids and next-token targets of prompt and response; a long prompt loses its left.

    `response` ends with <|endoftext|>, so that stopping is learnt. With `mask_prompt` only the
    response is; without, everything is but the first token.
    """
    ids = (prompt + response)[-(block_size + 1) :]
    targets = ids[1:]
    if mask_prompt:
        masked = max(0, len(ids) - len(response) - 1)
        targets = [IGNORE] * masked + targets[masked:]
    return ids[:-1], targets
