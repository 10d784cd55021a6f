"""Keys and values of what was read so far, for texts that go on token by token.

Rows are padded on the left, so that all end in the same column.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ROOM = 64  # columns that are added at a time


class Cache:
    """What each attention of a model has read of B texts; `first`, (B,), is where each begins."""

    def __init__(self, first: Tensor):
        self.first, self.used = first, 0
        # (B, K, columns and room, D) each
        self.keys_values: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def places(self, t: int) -> Tensor:
        """The position of each of the next T columns in its row, (B, T); of padding, zero."""
        column = torch.arange(self.used, self.used + t, device=self.first.device)
        return (column - self.first[:, None]).clamp(min=0)

    def mask(self, t: int) -> Tensor | None:
        """What each of the next T columns may look at, (B, 1, T, columns so far): itself and what
        stands before it in its row. None where that is everything.
        """
        if t == 1 and not self.first.any():
            return None
        columns = torch.arange(self.used + t, device=self.first.device)
        seen = columns <= columns[self.used :, None]  # (T, columns)
        mask = seen & (columns >= self.first[:, None, None])  # (B, T, columns)
        return (mask | (columns == columns[self.used :, None]))[:, None]  # padding sees itself

    def extended(self, attention: nn.Module, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of all columns so far, with those of the next T, (B, K, T, D). On the CPU
        in float32: attention of one query is there two to five times as fast as in bfloat16.
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
    """One cache of some rows of others, in this order, as narrow as its longest row."""
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
    """The same columns with room behind them."""
    wide = narrow.new_zeros((*narrow.shape[:2], columns, narrow.size(3)))
    wide[:, :, :used] = narrow[:, :, :used]
    return wide
