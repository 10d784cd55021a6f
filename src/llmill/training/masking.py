"""Masked rows (Devlin et al. 2019, BERT): some tokens of a row are hidden, and these are learnt
from the text on both sides of them.

Which ones is a function of the seed and of the row's place in the run alone.
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

CHOSEN = 0.15  # of the tokens of a row are learnt
HIDDEN, REPLACED = 0.8, 0.1  # of these become the mask token, or any token; the others stay
STREAM = 2  # of random numbers, apart from those that the order of rows is drawn from
FIXED = 0  # the seed of what is validated on


class Masked(Rows):
    """The rows of a packing in its order, each masked anew whenever it comes.

    The last token of a full row, elsewhere a target only, is left out: it is an <|endoftext|>, or
    another row begins with it, save at the end of all rows.
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
        """Inputs as of `masked`; and where there is padding or documents are hidden from each other
        the number of each position's document, (B, T), padding being one of its own.
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
    """These windows, each masked the same way every time, whatever the seed of the run."""
    ids, _ = laid_out(shards, [[window(block_size, n)] for n in numbers], block_size)
    random = [generator(FIXED, n) for n in numbers]
    present = np.ones((len(numbers), block_size), dtype=bool)
    return masked(ids[:, :-1], present, random, shards.n_vocab, end_of_text)


def generator(seed: int, place: int) -> np.random.Generator:
    """The random numbers of a row at this place of the run."""
    return np.random.default_rng([seed, place, STREAM])


def masked(
    ids: np.ndarray,
    present: np.ndarray,
    random: Sequence[np.random.Generator],
    n_vocab: int,
    end_of_text: int,
) -> Batch:
    """Rows of ids with some of their tokens hidden; `present` says which positions have one.
    Never chosen: <|endoftext|> and padding.

    Inputs are the ids to read and where logits are asked for, (B, T) both; targets the tokens that
    stood there, (N,).
    """
    input_ids, chosen = ids.copy(), np.zeros(ids.shape, dtype=bool)
    for row, rng in enumerate(random):
        text = np.flatnonzero(present[row] & (ids[row] != end_of_text))
        places = rng.permutation(text)[: max(1, round(CHOSEN * len(text)))]
        kind = rng.random(len(places))
        other = rng.integers(n_vocab - 1, size=len(places))
        other += other >= end_of_text  # any token but that one
        hidden, replaced = kind < HIDDEN, (kind >= HIDDEN) & (kind < HIDDEN + REPLACED)
        input_ids[row, places[hidden]] = vocabulary.mask_id(n_vocab)
        input_ids[row, places[replaced]] = other[replaced]
        chosen[row, places] = True
    targets, at = torch.from_numpy(ids[chosen]), torch.from_numpy(chosen)
    inputs = (torch.from_numpy(input_ids), at)
    return Batch(inputs, targets, weight=len(targets), tokens=int(present.sum()))
