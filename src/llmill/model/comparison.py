"""Figures of what the last part of a row of ids has in common with the part before it. A small
model hardly learns to count them, and code counts them easily.
"""

import math
from collections.abc import Sequence
from itertools import pairwise, takewhile
from typing import Any

import torch
from torch import Tensor

FIGURES = 11  # figures that `compare` returns per row
SURPRISE = 10.0  # nats, about the loss of a token that nothing announces


@torch.no_grad()
def compare(idx: Tensor, lengths: Tensor, surprise: Tensor) -> Tensor:
    """Return figures of each row, (B, FIGURES), of a size near 1, from ids (B, T), their number of
    tokens `lengths`, (B,), and the surprise of each token in nats, (B, T).

    The parts of a row all end with the row's last id. For the last part and the one before it, the
    figures are: whether they are equal; the share of each part's tokens, and of its pairs of
    neighbours, that the other part contains; the shares of the longer part that their common
    beginning and their common end make up; the number of tokens of each part that the other lacks;
    how much longer the last part is; and the surprise of its most surprising token.
    """
    rows = zip(idx, lengths.tolist(), surprise, strict=True)
    return torch.stack([_figures(row[:n], nats[:n]) for row, n, nats in rows])


def _figures(row: Tensor, surprise: Tensor) -> Tensor:
    ends = (row == row[-1]).nonzero()[:, 0].tolist()
    begin, before = ([0, 0, *(end + 1 for end in ends)][at] for at in (-2, -3))
    last, other = row[begin:-1].tolist(), row[before : max(before, begin - 1)].tolist()
    pairs, other_pairs = list(pairwise(last)), list(pairwise(other))
    return torch.tensor(
        [
            float(last == other),
            _share(last, other),
            _share(other, last),
            _share(pairs, other_pairs),
            _share(other_pairs, pairs),
            _begin_alike(last, other),
            _begin_alike(last[::-1], other[::-1]),
            math.log1p(len({*last} - {*other})),
            math.log1p(len({*other} - {*last})),
            math.log1p(len(last)) - math.log1p(len(other)),
            float(surprise[begin:].max()) / SURPRISE,
        ],
        device=row.device,
    )


def _share(some: Sequence[Any], others: Sequence[Any]) -> float:
    """Return the share of `some` that `others` contains."""
    among = set(others)
    return sum(each in among for each in some) / max(1, len(some))


def _begin_alike(some: Sequence[int], others: Sequence[int]) -> float:
    """Return the length of the common beginning as a share of the longer sequence."""
    pairs = zip(some, others, strict=False)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return alike / max(1, len(some), len(others))
