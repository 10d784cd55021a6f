"""What the last part of a row of ids has in common with the part before it: figures that are hard
for a small model to learn to count, and easy to count.
"""

import math
from collections.abc import Sequence
from itertools import pairwise, takewhile
from typing import Any

import torch
from torch import Tensor

FIGURES = 11  # that `compare` gives of a row
SURPRISE = 10.0  # nats, about that of a token that nothing announces


@torch.no_grad()
def compare(idx: Tensor, lengths: Tensor, surprise: Tensor) -> Tensor:
    """Figures of each row, (B, FIGURES), about 1 in size; from ids (B, T), of so many tokens each
    (B,), and the surprise of each token in nats (B, T).

    The parts of a row end with the same id, its last. Of the last part and the one before it: are
    they the same; what share of the tokens of each is in the other, and of the pairs of neighbours;
    what share of the longer do they begin and end alike; how many tokens has each that the other
    lacks; how much longer is the last; and how surprising is its most surprising token.
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
    """The share of some things that are among others."""
    among = set(others)
    return sum(each in among for each in some) / max(1, len(some))


def _begin_alike(some: Sequence[int], others: Sequence[int]) -> float:
    """The share of the longer that both begin with."""
    pairs = zip(some, others, strict=False)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return alike / max(1, len(some), len(others))
