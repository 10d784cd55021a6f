"""Finds some hashes among many others.

Input: the hashes to look for, once, and then others, many at a time. Output: where one of the
hashes occurs, and which.
"""

import numpy as np


class Sieve:
    """Different 64-bit hashes in ascending order, to be found among others."""

    def __init__(self, hashes: np.ndarray):
        self.hashes = hashes
        # Most others are none of them. A table lookup by the first bits shows this faster than a
        # search.
        bits = len(hashes).bit_length() + 3
        self.shift = np.uint64(64 - bits)
        self.table = np.zeros(1 << bits, dtype=bool)
        self.table[hashes >> self.shift] = True

    def found(self, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places where one of the hashes occurs, and the index of each one found."""
        places = np.flatnonzero(self.table[others >> self.shift])
        which = np.searchsorted(self.hashes, others[places])
        which[which == len(self.hashes)] = 0
        same = self.hashes[which] == others[places]
        return places[same], which[same]
