"""Batches as pure functions of the step: the order follows from seed and epoch alone, so resuming
needs only the step.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from llmill.model.cross_entropy import IGNORE
from llmill.text.tokenization.shards import Shards

STRETCH = 32  # batches that are sorted by length together
NOWHERE = -1  # the place, and the document, of a position that holds no token

TOKENS = 2**14  # read together where nothing is learnt

Example = tuple[list[int], list[int]]  # token ids, and the target of each position
Span = tuple[int, int]  # consecutive tokens of the shards: the first, and how many


def at_once(most: int, length: int) -> int:
    """How many rows of a length to read together where nothing is learnt: fewer of long ones, so
    that a training that fits into memory does not end at a validation.
    """
    return max(1, min(most, TOKENS // max(1, length)))


@dataclass(frozen=True)
class Batch:
    """What the model takes, what the loss compares with, and the weight that the summed loss is
    divided by.
    """

    inputs: tuple[Tensor, ...]
    targets: Tensor
    weight: float
    tokens: int  # positions that hold one, so without padding
    noise: Tensor | None = None  # (B, T): how far a training moves the embeddings (NEFTune)

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with every tensor changed."""
        inputs, targets = tuple(map(change, self.inputs)), change(self.targets)
        noise = None if self.noise is None else change(self.noise)
        return replace(self, inputs=inputs, targets=targets, noise=noise)

    def to(self, device: torch.device) -> Self:
        """The same on the device."""
        return self.each(lambda tensor: tensor.to(device))


class Batches(Protocol):
    """The examples of a run: `n` make an epoch; `get` gives some of them, across epochs."""

    n: int

    def get(self, start: int, count: int) -> Batch: ...


class Permutation:
    """A permutation of `n` items per epoch: item `i` of the run is a function of seed and epoch
    alone.
    """

    def __init__(self, n: int, seed: int):
        self.n, self.seed = n, seed
        self._epoch, self._permutation = -1, np.empty(0, dtype=np.int64)

    def items(self, start: int, count: int) -> list[int]:
        """Items `start` to `start + count` of the run, across epochs."""
        return [self._item(i) for i in range(start, start + count)]

    def permutation(self, epoch: int) -> np.ndarray:
        """The permutation of an epoch, (n,)."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.n)

    def _item(self, index: int) -> int:
        epoch, place = divmod(index, self.n)
        if epoch != self._epoch:
            self._epoch, self._permutation = epoch, self.permutation(epoch)
        return int(self._permutation[place])


class LengthGroups(Permutation):
    """An order whose batches hold items of nearly one length, so that little of them is padding.

    The permutation of an epoch is cut into stretches of 32 batches; each is sorted by length, cut
    into batches, and these are shuffled. The items of a batch that two epochs share stay as drawn.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        super().__init__(len(lengths), seed)
        self.lengths, self.batch_size = np.array(lengths), batch_size

    def permutation(self, epoch: int) -> np.ndarray:
        items, size = super().permutation(epoch), self.batch_size
        shuffle = np.random.default_rng([self.seed, epoch, 1])
        first = -epoch * self.n % size  # where the epoch's first batch of its own begins
        end = self.n - (self.n - first) % size
        for start in range(first, end, STRETCH * size):
            stretch = items[start : min(start + STRETCH * size, end)]
            order = np.argsort(self.lengths[stretch], kind="stable")
            stretch[:] = shuffle.permutation(stretch[order].reshape(-1, size)).ravel()
        return items


class Rows(ABC):
    """Rows of tokens to pretrain on: `row` says what each holds, `get` makes batches of them."""

    padded = True  # whether some hold less than fits

    def __init__(self, shards: Shards, n: int, block_size: int, seed: int, mask_documents: bool):
        self.shards, self.n, self.order = shards, n, Permutation(n, seed)
        self.block_size, self.mask_documents = block_size, mask_documents

    @abstractmethod
    def row(self, number: int) -> list[Span]:
        """What a row holds, from left to right: at most `block_size` + 1 tokens."""

    def rows(self, start: int, count: int) -> list[list[Span]]:
        """What each of so many rows of the run holds."""
        return [self.row(n) for n in self.order.items(start, count)]

    def get(self, start: int, count: int) -> Batch:
        rows = self.rows(start, count)
        return collate_rows(self.shards, rows, self.block_size, self.mask_documents)


class Windows(Rows):
    """Fixed windows over token shards, across documents."""

    padded = False

    def __init__(self, shards: Shards, block_size: int, seed: int, mask_documents: bool = False):
        super().__init__(shards, shards.n_windows(block_size), block_size, seed, mask_documents)

    def row(self, number: int) -> list[Span]:
        return [window(self.block_size, number)]


def windows(shards: Shards, block_size: int, numbers: Sequence[int]) -> Batch:
    """These windows, (B, T) and shifted by one."""
    rows = [[window(block_size, n)] for n in numbers]
    return collate_rows(shards, rows, block_size, mask_documents=False)


def window(block_size: int, number: int) -> Span:
    """Window n begins at token n * block_size; its last token is only a target."""
    return number * block_size, block_size + 1


def collate_rows(
    shards: Shards, rows: Sequence[Sequence[Span]], block_size: int, mask_documents: bool
) -> Batch:
    """Spans side by side in rows of T + 1 tokens, then padding: the target of a position is the
    next token of its row.

    Never learnt: the first token of a row, padding, and the token that a later part of a document
    begins with (the part before ends with it, and teaches it). The first token of a document is
    learnt from the <|endoftext|> beside it in the row; not so with `mask_documents`, which hides
    documents from each other: nothing is then learnt from an <|endoftext|>, only to write it.

    Inputs are ids (B, T); with `mask_documents` also where logits are asked for and the number of
    each position's document, both (B, T), and the targets are those asked for, (N,).
    """
    ids, places = laid_out(shards, rows, block_size)
    tokens = torch.from_numpy(ids)  # (B, T + 1)
    n_tokens = int((places[:, :-1] != NOWHERE).sum())
    learnt = places[:, 1:] != NOWHERE
    if mask_documents:
        documents = documents_of(shards, places)
        learnt = torch.from_numpy(learnt & (documents[:, 1:] == documents[:, :-1]))
        targets = tokens[:, 1:][learnt]
        inputs = (tokens[:, :-1], learnt, torch.from_numpy(documents[:, :-1]))
        return Batch(inputs, targets, weight=len(targets), tokens=n_tokens)
    joints = learnt & (places[:, 1:] != places[:, :-1] + 1)
    learnt[joints] = begins_document(shards, places[:, 1:][joints])
    targets = tokens[:, 1:].masked_fill(torch.from_numpy(~learnt), IGNORE)
    return Batch((tokens[:, :-1],), targets, weight=int(learnt.sum()), tokens=n_tokens)


def laid_out(
    shards: Shards, rows: Sequence[Sequence[Span]], block_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Spans side by side in rows of T + 1 tokens: the id at each position, 0 where there is none,
    and its place in the sequence, NOWHERE where there is none. (B, T + 1) each.
    """
    shape = (len(rows), block_size + 1)
    ids, places = np.zeros(shape, dtype=np.int64), np.full(shape, NOWHERE)
    for i, row in enumerate(rows):
        column = 0
        for start, length in row:
            ids[i, column : column + length] = shards.window(start, length)
            places[i, column : column + length] = np.arange(start, start + length)
            column += length
    return ids, places


def documents_of(shards: Shards, places: np.ndarray) -> np.ndarray:
    """The number of the document that holds each of these tokens of the sequence; NOWHERE, too."""
    return np.where(places == NOWHERE, NOWHERE, np.searchsorted(shards.ends, places, side="right"))


def begins_document(shards: Shards, places: np.ndarray) -> np.ndarray:
    """Whether each of these tokens of the sequence is the first of its document."""
    return (places == 0) | (shards.ends[np.searchsorted(shards.ends, places)] == places)


def ids_length(example: tuple[list[int], Any]) -> int:
    """Tokens of an example that is a pair of token ids and what is learnt of them."""
    return len(example[0])


class Examples:
    """Labelled examples of any kind, shuffled anew each epoch into batches of nearly one length,
    and collated when asked for.
    """

    def __init__(
        self,
        examples: Sequence,
        collate: Callable[[Sequence], Batch],
        batch_size: int,
        seed: int,
        length: Callable[[Any], int] = ids_length,
    ):
        self.examples, self.collate, self.n = examples, collate, len(examples)
        self.order = LengthGroups([length(example) for example in examples], batch_size, seed)

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
    ids, tokens = pad([ids for ids, _ in examples], 0), sum(len(ids) for ids, _ in examples)
    return Batch((ids, learnt), targets[learnt], weight=int(learnt.sum()), tokens=tokens)


def collate_labels(examples: Sequence[tuple[list[int], float]], weights: Tensor | None) -> Batch:
    """(ids, label) pairs for a head. With class weights labels are classes, without they are
    scores.
    """
    idx = pad([ids for ids, _ in examples], 0)
    lengths = torch.tensor([len(ids) for ids, _ in examples])
    labels = [label for _, label in examples]
    targets = torch.tensor(labels, dtype=torch.float if weights is None else torch.long)
    weight = float(len(labels)) if weights is None else float(weights[targets].sum())
    return Batch((idx, lengths), targets, weight=weight, tokens=int(lengths.sum()))


def collate_kept(examples: Sequence[tuple[Tensor, int, int]], weights: Tensor) -> Batch:
    """What a classifier's frozen part made of texts, (T, C) or (C,) each, their classes and their
    tokens, for the part that is trained.
    """
    kept, labels, sizes = zip(*examples, strict=True)
    x = torch.stack(kept) if kept[0].dim() == 1 else pad_sequence(list(kept), batch_first=True)
    targets, lengths = torch.tensor(labels), torch.tensor(sizes)
    weight = float(weights[targets].sum())
    return Batch((x, lengths), targets, weight=weight, tokens=int(lengths.sum()))


def learnt_example(ids: Sequence[int], learnt: Sequence[bool], block_size: int) -> Example:
    """Ids and next-token targets of a text of which some tokens are learnt, never the first; a long
    one loses its left.
    """
    kept = ids[-(block_size + 1) :]
    pairs = zip(kept[1:], learnt[len(ids) - len(kept) + 1 :], strict=True)
    return list(kept[:-1]), [token if is_learnt else IGNORE for token, is_learnt in pairs]
