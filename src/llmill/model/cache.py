"""Key-value cache for texts that are generated token by token.

Rows are padded on the left, so that all of them end in the same column.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ROOM = 64  # columns to allocate beyond what is needed


class Cache:
    """Keys and values of B texts for each attention layer of a model. `first`, (B,), is the column
    in which each text begins.
    """

    def __init__(self, first: Tensor):
        self.first, self.used = first, 0
        # Keys and values, each (B, K, allocated columns, D).
        self.keys_values: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def places(self, t: int) -> Tensor:
        """Return the position of each of the next T columns in its text, (B, T); padding gets 0."""
        column = torch.arange(self.used, self.used + t, device=self.first.device)
        return (column - self.first[:, None]).clamp(min=0)

    def mask(self, t: int) -> Tensor | None:
        """Return the attention mask of the next T columns, (B, 1, T, columns with these T): each
        one attends to itself and to the earlier columns of its text. Return None if that is every
        column.
        """
        if t == 1 and not self.first.any():
            return None
        columns = torch.arange(self.used + t, device=self.first.device)
        seen = columns <= columns[self.used :, None]  # (T, columns)
        mask = seen & (columns >= self.first[:, None, None])  # (B, T, columns)
        return (mask | (columns == columns[self.used :, None]))[:, None]  # padding sees itself

    def extended(self, attention: nn.Module, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of the next T columns, each (B, K, T, D), and return those of
        all columns. The CPU stores them in float32, in which attention of one query is two to
        five times as fast as in bfloat16.
        """
        end = self.used + k.size(2)
        if k.device.type == "cpu":
            k, v = k.float(), v.float()
        stored = self.keys_values.get(attention, (k[:, :, :0], v[:, :, :0]))
        if stored[0].size(2) < end:
            k_wide, v_wide = (_wider(each, self.used, end + ROOM) for each in stored)
            stored = k_wide, v_wide
            self.keys_values[attention] = stored
        for whole, new in zip(stored, (k, v), strict=True):
            whole[:, :, self.used : end] = new
        return stored[0][:, :, :end], stored[1][:, :, :end]


def joined(parts: Sequence[tuple[Cache, list[int]]]) -> Cache:
    """Join the given rows of several caches, in this order, into one as wide as its longest row."""
    lengths = torch.cat([cache.used - cache.first[rows] for cache, rows in parts])
    used = int(lengths.max())
    result = Cache(used - lengths)
    result.used = used
    for attention, pair in parts[0][0].keys_values.items():
        sides = []
        for side, like in enumerate(pair):
            whole = like.new_zeros((len(lengths), like.size(1), used + ROOM, like.size(3)))
            row = 0
            for cache, rows in parts:
                n = min(cache.used, used)
                columns = cache.keys_values[attention][side][rows, :, cache.used - n : cache.used]
                whole[row : row + len(rows), :, used - n : used] = columns
                row += len(rows)
            sides.append(whole)
        result.keys_values[attention] = sides[0], sides[1]
    return result


def _wider(narrow: Tensor, used: int, columns: int) -> Tensor:
    """Return a copy of `narrow`, (B, K, columns, D), with `columns` allocated columns."""
    wide = narrow.new_zeros((*narrow.shape[:2], columns, narrow.size(3)))
    wide[:, :, :used] = narrow[:, :, :used]
    return wide
