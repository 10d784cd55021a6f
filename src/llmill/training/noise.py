"""NEFTune (Jain et al. 2023, arXiv 2310.05914): noise on the embeddings in training, so that a
model does not learn a few instructions by heart.

The model draws the noise in each step, as it draws dropout. This module gives its bounds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from llmill.training.batches import Batch, Example

Rows = Sequence[Sequence[Example]]  # the texts of each row
Collate = Callable[[Rows], Batch]


def noisy(collate: Collate, alpha: float, width: int) -> Collate:
    """Wrap `collate` to add the noise of `bounds` to its batches; `width` is the model's n_embd."""

    def collated(rows: Rows) -> Batch:
        return replace(collate(rows), noise=bounds(rows, alpha, width))

    return collated


def bounds(rows: Rows, alpha: float, width: int) -> Tensor:
    """Return the largest noise at each position, (B, T): alpha / sqrt(L * width), where L is the
    number of tokens of the position's own text; 0 in padding.
    """
    each = [[alpha / math.sqrt(len(ids) * width) for ids, _ in row for _ in ids] for row in rows]
    return pad_sequence([torch.tensor(row) for row in each], batch_first=True)
