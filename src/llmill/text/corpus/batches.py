"""The words of many documents as one array of hashes, so that what is done for each document is
arithmetic on few arrays.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from llmill.text.words import hash_of, split

WORDS = 1 << 15  # in a batch, but for a document that has more
KNOWN = 1 << 18  # words whose hashes are kept in mind, some 50 MB


@dataclass(frozen=True)
class Batch:
    """Some documents, one behind the other."""

    words: np.ndarray  # (words,) hashes as those of `words.hashes`
    begins: np.ndarray  # (documents,) places of their first words
    ends: np.ndarray  # behind their last

    @property
    def sizes(self) -> np.ndarray:
        """Words of each document. (documents,)"""
        return self.ends - self.begins

    def document(self, places: np.ndarray) -> np.ndarray:
        """Which document each place is in, as its index in the batch."""
        return np.searchsorted(self.begins, places, side="right") - 1


class Hashes(dict[str, int]):
    """The hash of each word that is asked for. One that was asked for before is looked up, of as
    many as `KNOWN`.
    """

    def __missing__(self, word: str) -> int:
        if len(self) >= KNOWN:
            self.clear()
        value = self[word] = hash_of(word)
        return value

    def of(self, text: str) -> np.ndarray:
        """As `words.hashes`. (words,)"""
        words = split(text)
        return np.fromiter(map(self.__getitem__, words), np.uint64, len(words))


def batches(texts: Iterable[str], hashes: Hashes) -> Iterator[Batch]:
    """Documents by their texts, in order."""
    parts: list[np.ndarray] = []
    size = 0
    for text in texts:
        parts.append(hashes.of(text))
        size += len(parts[-1])
        if size >= WORDS:
            yield _batch(parts)
            parts, size = [], 0
    if parts:
        yield _batch(parts)


def _batch(parts: list[np.ndarray]) -> Batch:
    ends = np.cumsum([len(part) for part in parts])
    return Batch(np.concatenate(parts), np.concatenate([[0], ends[:-1]]), ends)
