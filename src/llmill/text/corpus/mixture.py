"""Mixes sources by weight: how many times each document is seen, and in which order.

Both follow from the document alone, so a new source does not add or remove documents of another.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

from llmill.contract.progress import Progress, in_silence
from llmill.text.corpus.documents import Document
from llmill.text.corpus.sorting import Sorted
from llmill.text.identity import fraction

Row = TypeVar("Row")
TOGETHER = 4096  # ranks passed to the sorter together
RANK = 16  # bytes of the hash that orders copies


def copies(identity: str, weight: float) -> int:
    """Return how many times a document is seen. A weight of 1.5 means once for every document, and
    once more for half of them, chosen by hash.
    """
    whole = int(weight)
    return whole + (fraction(identity, "weight") < weight - whole)


class Mixture(Sequence[Document]):
    """Every copy of every document, in an order that depends on its hash and number.

    Memory holds none of them: `document` returns a document by its number.
    """

    def __init__(
        self, file: Path, document: Callable[[int], Document], progress: Progress = in_silence
    ):
        """`file` is written, and also other files whose names begin with its name. `progress` is
        for a reader that begins at the beginning.
        """
        self._progress = progress
        self._file, self._document, self._n = file, document, 0
        self._rows = Sorted(file.with_name(file.name + "_ranks"), 3)
        self._ranks: list[bytes] = []
        self._numbers: list[int] = []

    def add(self, number: int, identity: str, weight: float) -> None:
        """Add the copies of a document that is identified by a hash."""
        for copy in range(copies(identity, weight)):
            self._ranks.append(hashlib.sha256(f"{copy}:{identity}".encode()).digest()[:RANK])
            self._numbers.append(number)
        if len(self._numbers) >= TOGETHER:
            self._hand_on()

    def close(self) -> None:
        """Sort the copies, after the last was added."""
        self._hand_on()
        with self._file.open("wb") as file:
            for block in self._rows:
                file.write(block[:, 2].tobytes())
                self._n += len(block)

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        if isinstance(index, int):
            return self[index : index + 1][0]
        start, stop, _ = index.indices(len(self))
        numbers = np.fromfile(
            self._file, dtype=np.uint64, offset=8 * start, count=max(0, stop - start)
        )
        documents = [self._document(number) for number in numbers.tolist()]
        self._progress(stop, len(self))
        return documents

    def _hand_on(self) -> None:
        ranks = np.frombuffer(b"".join(self._ranks), dtype=">u8").reshape(-1, 2)
        numbers = np.array(self._numbers, dtype=np.uint64)
        self._rows.add(np.column_stack([ranks.astype(np.uint64), numbers]))
        self._ranks, self._numbers = [], []


def repeated(
    rows: Iterable[tuple[Row, str]], identity: Callable[[Row], str], weights: dict[str, float]
) -> list[Row]:
    """Return the rows of these sources, each as often as it is seen, in their own order."""
    return [row for row, source in rows for _ in range(copies(identity(row), weights[source]))]
