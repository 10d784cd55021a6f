"""The words of many documents as one array of hashes, so that work on each document becomes
arithmetic on a few arrays.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from llmill.text.words import hash_of, split

WORDS = 1 << 15  # words that complete a batch
KNOWN = 1 << 18  # words whose hashes are cached, some 50 MB


@dataclass(frozen=True)
class DocumentBatch:
    """Several documents, one after the other."""

    words: np.ndarray  # (words,) hashes as in `words.hashes`
    begins: np.ndarray  # (documents,) place of each first word
    ends: np.ndarray  # (documents,) place after each last word

    @property
    def sizes(self) -> np.ndarray:
        """Number of words of each document. (documents,)"""
        return self.ends - self.begins

    def document(self, places: np.ndarray) -> np.ndarray:
        """Return the index in the batch of the document at each place."""
        return np.searchsorted(self.begins, places, side="right") - 1


class Hashes(dict[str, int]):
    """A cache of word hashes, each computed on first use. It is emptied at `KNOWN` words."""

    def __missing__(self, word: str) -> int:
        if len(self) >= KNOWN:
            self.clear()
        value = self[word] = hash_of(word)
        return value

    def of(self, text: str) -> np.ndarray:
        """Return the same as `words.hashes`. (words,)"""
        words = split(text)
        return np.fromiter(map(self.__getitem__, words), np.uint64, len(words))


def batches(texts: Iterable[str], hashes: Hashes) -> Iterator[DocumentBatch]:
    """Yield batches of documents, given by their texts, in order."""
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


def _batch(parts: list[np.ndarray]) -> DocumentBatch:
    ends = np.cumsum([len(part) for part in parts])
    return DocumentBatch(np.concatenate(parts), np.concatenate([[0], ends[:-1]]), ends)
