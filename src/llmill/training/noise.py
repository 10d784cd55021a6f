"""NEFTune (Jain et al. 2023, arXiv 2310.05914): noise on the embeddings of what is learnt, so that
a few instructions are not learnt by heart.

The numbers are drawn as those of dropout are, by the model and for each step anew; here is how
large they may be.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from llmill.training.batches import Batch, Example

Rows = Sequence[Sequence[Example]]  # of texts side by side
Collate = Callable[[Rows], Batch]


def noisy(collate: Collate, alpha: float, width: int) -> Collate:
    """The same batches with the noise that `bounds` says, of a model `width` numbers wide."""

    def collated(rows: Rows) -> Batch:
        return replace(collate(rows), noise=bounds(rows, alpha, width))

    return collated


def bounds(rows: Rows, alpha: float, width: int) -> Tensor:
    """The largest number that is added at each position, (B, T): alpha / sqrt(L * width), where L
    is the tokens of the position's own text, whatever stands beside it; 0 in padding.
    """
    each = [[alpha / math.sqrt(len(ids) * width) for ids, _ in row for _ in ids] for row in rows]
    return pad_sequence([torch.tensor(row) for row in each], batch_first=True)
