"""Masked rows (Devlin et al. 2019, BERT): the model learns to predict hidden tokens of a row from
the text on both sides of them.

The choice of tokens depends only on the seed and on the row's place in the run.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from llmill.model import vocabulary
from llmill.text.tokenization.shards import Shards
from llmill.training.batches import (
    NOWHERE,
    Batch,
    Rows,
    Span,
    documents_of,
    laid_out,
    window,
)

CHOSEN = 0.15  # share of a row's tokens that are targets
HIDDEN, REPLACED = 0.8, 0.1  # shares of targets that become the mask token, or a random token
STREAM = 2  # random stream, separate from the one that draws the order of rows
FIXED = 0  # seed of the validation masks


class Masked(Rows):
    """The rows of a packing, in its order, with a new mask each time.

    The last token of a full row, which is only a target in next-token training, is left out. It is
    an <|endoftext|>, or another row begins with it, except at the end of all rows.
    """

    def __init__(self, packed: Rows, end_of_text: int):
        block, seed, apart = packed.block_size, packed.order.seed, packed.mask_documents
        super().__init__(packed.shards, packed.n, block, seed, apart)
        self.packed, self.padded, self.end_of_text = packed, packed.padded, end_of_text

    def row(self, number: int) -> list[Span]:
        spans, room = [], self.block_size
        for start, length in self.packed.row(number):
            spans.append((start, min(length, room)))
            room -= length
        return [span for span in spans if span[1] > 0]

    def get(self, start: int, count: int) -> Batch:
        """Return a batch as `masked` does. If there is padding, or documents do not attend to each
        other, inputs also hold the number of each position's document, (B, T); padding counts as a
        document of its own.
        """
        ids, places = laid_out(self.shards, self.rows(start, count), self.block_size)
        ids, places = ids[:, :-1], places[:, :-1]
        random = [generator(self.order.seed, place) for place in range(start, start + count)]
        batch = masked(ids, places != NOWHERE, random, self.shards.n_vocab, self.end_of_text)
        if self.mask_documents:
            documents = documents_of(self.shards, places)
        elif self.padded:
            documents = np.where(places == NOWHERE, NOWHERE, 0)
        else:
            return batch
        return replace(batch, inputs=(*batch.inputs, torch.from_numpy(documents)))


def masked_windows(
    shards: Shards, block_size: int, numbers: Sequence[int], end_of_text: int
) -> Batch:
    """Return the windows of these numbers, with masks that do not depend on the run's seed."""
    ids, _ = laid_out(shards, [[window(block_size, n)] for n in numbers], block_size)
    random = [generator(FIXED, n) for n in numbers]
    present = np.ones((len(numbers), block_size), dtype=bool)
    return masked(ids[:, :-1], present, random, shards.n_vocab, end_of_text)


def generator(seed: int, place: int) -> np.random.Generator:
    """Return the random generator of the row at this place of the run."""
    return np.random.default_rng([seed, place, STREAM])


def masked(
    ids: np.ndarray,
    present: np.ndarray,
    random: Sequence[np.random.Generator],
    n_vocab: int,
    end_of_text: int,
) -> Batch:
    """Hide some tokens of `ids`, (B, T); `present`, (B, T), marks positions with a token. Padding
    and <|endoftext|> are never chosen.

    Inputs are the changed ids and the loss mask, both (B, T); targets are the original tokens at
    the N positions of the mask, (N,).
    """
    input_ids, chosen = ids.copy(), np.zeros(ids.shape, dtype=bool)
    for row, rng in enumerate(random):
        text = np.flatnonzero(present[row] & (ids[row] != end_of_text))
        places = rng.permutation(text)[: max(1, round(CHOSEN * len(text)))]
        kind = rng.random(len(places))
        other = rng.integers(n_vocab - 1, size=len(places))
        other += other >= end_of_text  # any token except <|endoftext|>
        hidden, replaced = kind < HIDDEN, (kind >= HIDDEN) & (kind < HIDDEN + REPLACED)
        input_ids[row, places[hidden]] = vocabulary.mask_id(n_vocab)
        input_ids[row, places[replaced]] = other[replaced]
        chosen[row, places] = True
    targets, at = torch.from_numpy(ids[chosen]), torch.from_numpy(chosen)
    inputs = (torch.from_numpy(input_ids), at)
    return Batch(inputs, targets, weight=len(targets), tokens=int(present.sum()))
