"""Conversations of two turns from instructions of one turn.

A model that only ever learnt one turn may not answer, or end, a second one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from llmill.tasks.instruction import Instruction

STREAM = 3  # random stream of the pairs


def paired(
    entries: Sequence[Instruction], share: float, seed: int, fits: Callable[[Instruction], bool]
) -> list[Instruction]:
    """Join a share of the entries at random in pairs: the second becomes the turn after the first,
    whose place the pair takes. The others stay in order.

    Entries that already have several turns, or a system message, are not joined. Two copies of one
    task stay apart, because the second answer would only repeat the first, and so does a pair that
    does not fit.
    """
    single = [n for n, entry in enumerate(entries) if not entry.earlier]
    order = np.random.default_rng([seed, STREAM]).permutation(single)
    count = min(round(share * len(single) / 2), len(single) // 2)
    kept: dict[int, Instruction] = dict(enumerate(entries))
    for one, two in order[: 2 * count].reshape(-1, 2).tolist():
        pair = replace(entries[two], earlier=entries[one].messages)
        if entries[one].task != entries[two].task and fits(pair):
            kept[one] = pair
            del kept[two]
    return list(kept.values())
