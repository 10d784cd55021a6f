"""Sorts more rows of numbers than memory holds: sorted runs on disk, merged block by block.

Input: rows of uint64, in any order. Output: the same rows in blocks, sorted by the first column,
then by the second, and so on. Memory holds `MEMORY` bytes of rows and the copies that sorting
makes.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

MEMORY = 1 << 23  # bytes


class Sorted:
    """Collects rows, and yields them sorted."""

    def __init__(self, file: Path, columns: int):
        self._file, self._columns = file, columns
        self._held: list[np.ndarray] = []  # not on disk yet
        self._n_held, self._most = 0, max(1, MEMORY // (8 * columns))
        self._ends: list[int] = []  # end of each run on disk, in rows
        file.unlink(missing_ok=True)

    def add(self, rows: np.ndarray) -> None:
        """Add rows. (n, columns)"""
        for start in range(0, len(rows), self._most):
            part = rows[start : start + self._most]
            if self._n_held + len(part) > self._most:
                self._write()
            self._held.append(part.astype(np.uint64))
            self._n_held += len(part)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield all rows in order, in blocks that are not empty."""
        if not self._ends:  # all rows fit into memory
            if self._n_held:
                yield self._take()
            return
        if self._n_held:
            self._write()
        yield from self._merged()

    def _take(self) -> np.ndarray:
        rows = _sorted(np.concatenate(self._held))
        self._held, self._n_held = [], 0
        return rows

    def _write(self) -> None:
        rows = self._take()
        with self._file.open("ab") as file:
            file.write(rows.tobytes())
        self._ends.append(len(rows) + (self._ends[-1] if self._ends else 0))

    def _merged(self) -> Iterator[np.ndarray]:
        starts = [0, *self._ends[:-1]]
        size = max(1, self._most // len(starts))
        heads = [np.empty((0, self._columns), dtype=np.uint64)] * len(starts)
        while True:
            for i, (start, end) in enumerate(zip(starts, self._ends, strict=True)):
                n = min(size - len(heads[i]), end - start)
                if n:
                    heads[i] = np.concatenate([heads[i], self._read(start, n)])
                    starts[i] += n
            if not any(map(len, heads)):
                return
            # No row is missing up to the smallest last row of a run that goes on.
            more = [i for i, end in enumerate(self._ends) if starts[i] < end]
            last = min((tuple(heads[i][-1]) for i in more), default=None)
            counts = [len(head) if last is None else _up_to(head, last) for head in heads]
            yield _sorted(np.concatenate([h[:n] for h, n in zip(heads, counts, strict=True)]))
            heads = [head[n:] for head, n in zip(heads, counts, strict=True)]

    def _read(self, start: int, n: int) -> np.ndarray:
        columns = self._columns
        rows = np.fromfile(self._file, np.uint64, n * columns, offset=8 * start * columns)
        return rows.reshape(-1, columns)


def _sorted(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T[::-1])]


def _up_to(rows: np.ndarray, last: tuple[np.uint64, ...]) -> int:
    """Return how many of the sorted rows are not greater than `last`."""
    low, high = 0, len(rows)
    for column, value in enumerate(last):
        part = rows[low:high, column]
        high = low + int(np.searchsorted(part, value, side="right"))
        low += int(np.searchsorted(part, value, side="left"))
    return high
