"""Batches as pure functions of the step. The order depends only on the seed and the epoch, so
resuming needs only the step.
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

STRETCH = 32  # number of batches that are sorted by length together
NOWHERE = -1  # place and document of a position without a token

TOKENS = 2**14  # most tokens per forward pass when nothing is trained

Example = tuple[list[int], list[int]]  # token ids, and the target of each position
Span = tuple[int, int]  # consecutive tokens of the shards: index of the first, and their number


def at_once(most: int, length: int) -> int:
    """Return how many rows of a length to read together when nothing is trained: fewer if they are
    long, so that training that fits into memory does not fail at a validation.
    """
    return max(1, min(most, TOKENS // max(1, length)))


@dataclass(frozen=True)
class Batch:
    """Inputs of the model, targets of the loss, and the weight that divides the summed loss."""

    inputs: tuple[Tensor, ...]
    targets: Tensor
    weight: float
    tokens: int  # positions with a token, so without padding
    noise: Tensor | None = None  # (B, T): bound of the noise on the embeddings (NEFTune)

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the batch with `change` applied to every tensor."""
        inputs, targets = tuple(map(change, self.inputs)), change(self.targets)
        noise = None if self.noise is None else change(self.noise)
        return replace(self, inputs=inputs, targets=targets, noise=noise)

    def to(self, device: torch.device) -> Self:
        """Return the batch on the device."""
        return self.each(lambda tensor: tensor.to(device))


class Batches(Protocol):
    """The examples of a run, `n` per epoch. `get` returns `count` of them, from number `start` of
    the run on, across epochs.
    """

    n: int

    def get(self, start: int, count: int) -> Batch: ...


class Permutation:
    """A permutation of `n` items per epoch. Item `i` of the run depends only on the seed and the
    epoch.
    """

    def __init__(self, n: int, seed: int):
        self.n, self.seed = n, seed
        self._epoch, self._permutation = -1, np.empty(0, dtype=np.int64)

    def items(self, start: int, count: int) -> list[int]:
        """Return items `start` to `start + count` of the run, across epochs."""
        return [self._item(i) for i in range(start, start + count)]

    def permutation(self, epoch: int) -> np.ndarray:
        """Return the permutation of an epoch, (n,)."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.n)

    def _item(self, index: int) -> int:
        epoch, place = divmod(index, self.n)
        if epoch != self._epoch:
            self._epoch, self._permutation = epoch, self.permutation(epoch)
        return int(self._permutation[place])


class LengthGroups(Permutation):
    """An order whose batches hold items of nearly the same length, with little padding.

    The permutation of an epoch is cut into stretches of 32 batches. Each stretch is sorted by
    length and cut into batches, which are then shuffled. The items of a batch that spans two epochs
    stay as drawn.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        super().__init__(len(lengths), seed)
        self.lengths, self.batch_size = np.array(lengths), batch_size

    def permutation(self, epoch: int) -> np.ndarray:
        items, size = super().permutation(epoch), self.batch_size
        shuffle = np.random.default_rng([self.seed, epoch, 1])
        first = -epoch * self.n % size  # start of the first batch within this epoch
        end = self.n - (self.n - first) % size
        for start in range(first, end, STRETCH * size):
            stretch = items[start : min(start + STRETCH * size, end)]
            order = np.argsort(self.lengths[stretch], kind="stable")
            stretch[:] = shuffle.permutation(stretch[order].reshape(-1, size)).ravel()
        return items


class Rows(ABC):
    """Rows of tokens for pretraining. `row` returns the spans of a row, `get` makes batches."""

    padded = True  # whether some rows have padding

    def __init__(self, shards: Shards, n: int, block_size: int, seed: int, mask_documents: bool):
        self.shards, self.n, self.order = shards, n, Permutation(n, seed)
        self.block_size, self.mask_documents = block_size, mask_documents

    @abstractmethod
    def row(self, number: int) -> list[Span]:
        """Return the spans of a row from left to right: at most `block_size` + 1 tokens."""

    def rows(self, start: int, count: int) -> list[list[Span]]:
        """Return the spans of `count` rows of the run, from row `start` on."""
        return [self.row(n) for n in self.order.items(start, count)]

    def get(self, start: int, count: int) -> Batch:
        rows = self.rows(start, count)
        return collate_rows(self.shards, rows, self.block_size, self.mask_documents)


class Windows(Rows):
    """Fixed windows over token shards, which may cross documents."""

    padded = False

    def __init__(self, shards: Shards, block_size: int, seed: int, mask_documents: bool = False):
        super().__init__(shards, shards.n_windows(block_size), block_size, seed, mask_documents)

    def row(self, number: int) -> list[Span]:
        return [window(self.block_size, number)]


def windows(shards: Shards, block_size: int, numbers: Sequence[int]) -> Batch:
    """Return the windows of these numbers as a batch: inputs (B, T), and targets shifted by one."""
    rows = [[window(block_size, n)] for n in numbers]
    return collate_rows(shards, rows, block_size, mask_documents=False)


def window(block_size: int, number: int) -> Span:
    """Return the span of a window. Window n begins at token n * block_size; its last token is only
    a target.
    """
    return number * block_size, block_size + 1


def collate_rows(
    shards: Shards, rows: Sequence[Sequence[Span]], block_size: int, mask_documents: bool
) -> Batch:
    """Join spans in rows of T + 1 tokens, with padding at the end. The target of a position is the
    next token of its row.

    The loss mask leaves out the first token of a row, padding, and the token with which a later
    part of a document begins (it is the last target of the part before). The first token of a
    document is predicted from the <|endoftext|> before it in the row. With `mask_documents`,
    documents do not attend to each other; an <|endoftext|> is then a target, but predicts nothing.

    Inputs are ids (B, T) and targets (B, T). With `mask_documents`, inputs also hold the loss mask
    and the number of each position's document, both (B, T), and targets are those of the mask,
    (N,).
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
    """Lay out spans side by side in rows of T + 1 tokens. Return the id at each position, or 0
    without a token, and its place in the sequence, or NOWHERE without a token; (B, T + 1) each.
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
    """Return the number of each token's document, in the shape of `places`; NOWHERE stays."""
    return np.where(places == NOWHERE, NOWHERE, np.searchsorted(shards.ends, places, side="right"))


def begins_document(shards: Shards, places: np.ndarray) -> np.ndarray:
    """Return whether each token is the first of its document, in the shape of `places`."""
    return (places == 0) | (shards.ends[np.searchsorted(shards.ends, places)] == places)


def ids_length(example: tuple[list[int], Any]) -> int:
    """Return the number of tokens of an example, a pair of token ids and targets or label."""
    return len(example[0])


class Examples:
    """Labelled examples of any kind, shuffled in each epoch into batches of nearly the same length,
    and collated on demand.
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
    """Return rows of any length as one tensor (B, T), padded on the right with `value`."""
    out = torch.full((len(rows), max(map(len, rows))), value, dtype=torch.long)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return out


def collate_texts(examples: Sequence[Example]) -> Batch:
    """Collate (ids, targets) pairs. Inputs are the ids and the loss mask, both (B, T); targets are
    the N positions of the mask, (N,). The mask leaves out padding and targets that equal IGNORE.
    """
    targets = pad([t for _, t in examples], IGNORE)
    learnt = targets != IGNORE
    ids, tokens = pad([ids for ids, _ in examples], 0), sum(len(ids) for ids, _ in examples)
    return Batch((ids, learnt), targets[learnt], weight=int(learnt.sum()), tokens=tokens)


def collate_labels(examples: Sequence[tuple[list[int], float]], weights: Tensor | None) -> Batch:
    """Collate (ids, label) pairs for a head. Inputs are ids (B, T) and lengths (B,); targets are
    labels (B,). Labels are classes if class weights are given, else scores.
    """
    idx = pad([ids for ids, _ in examples], 0)
    lengths = torch.tensor([len(ids) for ids, _ in examples])
    labels = [label for _, label in examples]
    targets = torch.tensor(labels, dtype=torch.float if weights is None else torch.long)
    weight = float(len(labels)) if weights is None else float(weights[targets].sum())
    return Batch((idx, lengths), targets, weight=weight, tokens=int(lengths.sum()))


def collate_kept(examples: Sequence[tuple[Tensor, int, int]], weights: Tensor) -> Batch:
    """Collate outputs of a classifier's frozen part, each (T, C) or (C,), with their classes and
    numbers of tokens, for the trained part. Inputs are (B, T, C) or (B, C), and lengths (B,);
    targets are (B,).
    """
    kept, labels, sizes = zip(*examples, strict=True)
    x = torch.stack(kept) if kept[0].dim() == 1 else pad_sequence(list(kept), batch_first=True)
    targets, lengths = torch.tensor(labels), torch.tensor(sizes)
    weight = float(weights[targets].sum())
    return Batch((x, lengths), targets, weight=weight, tokens=int(lengths.sum()))


def learnt_example(ids: Sequence[int], learnt: Sequence[bool], block_size: int) -> Example:
    """Return ids and next-token targets of a text with a loss mask `learnt` per token. The first
    token is never a target. A text longer than the context loses its beginning.
    """
    kept = ids[-(block_size + 1) :]
    pairs = zip(kept[1:], learnt[len(ids) - len(kept) + 1 :], strict=True)
    return list(kept[:-1]), [token if is_learnt else IGNORE for token, is_learnt in pairs]
