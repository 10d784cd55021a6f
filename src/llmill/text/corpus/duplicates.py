"""Finds documents that duplicate an earlier one, exactly or nearly; their features are on disk.

Candidates come from MinHash and locality-sensitive hashing (Broder 1997; Leskovec et al., Mining of
Massive Datasets, chapter 3). They are then compared by their similarity, not by its estimate.

A table of all bands would grow with the documents. Therefore the bands are sorted on disk, which
brings equal bands together; most bands occur only once. Documents that share a band are then
compared in order.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import numpy as np
from datasketch import MinHash, MinHashLSH

from llmill.text.corpus.batches import DocumentBatch
from llmill.text.corpus.sorting import Sorted
from llmill.text.settings import NearDuplicates
from llmill.text.words import MULTIPLIER, folded, runs

MISSED, FALSE = 0.9, 0.1  # a missed pair is worse than a false candidate, which is checked again
CROWD = 100  # a kept document with this many candidates is not compared with later ones
DIGEST = 16  # bytes of the digest of a text


class Exact:
    """Documents in order, and those that duplicate an earlier one but for case and white space."""

    def __init__(self, folder: Path):
        self._rows = Sorted(folder / "digests", 3)
        self._n = 0

    def add(self, digests: np.ndarray) -> None:
        """Add the digests of the next documents. (n, 2) uint64"""
        numbers = np.arange(self._n, self._n + len(digests), dtype=np.uint64)
        self._rows.add(np.column_stack([digests, numbers]))
        self._n += len(digests)

    def repeats(self) -> Iterator[np.ndarray]:
        """Yield the numbers, from 0, of the documents that repeat one, several at a time."""
        return (repeated[~first, 2] for repeated, first in _shared(self._rows))


class Near:
    """Documents in order, and those that nearly duplicate an earlier one that was kept.

    A document without words is never a duplicate. A document that has `CROWD` candidates and
    repeats none of them is kept, but later ones are not compared with it. This bounds the work per
    document.
    """

    def __init__(self, settings: NearDuplicates, folder: Path):
        self.settings, self.folder = settings, folder
        self._rows = Sorted(folder / "bands", 2)

    def add(self, numbers: np.ndarray, words: np.ndarray, keys: np.ndarray) -> None:
        """Add documents by number, with their numbers of words and their bands. (n,), (n,),
        (n, bands) uint64
        """
        some = words > 0  # documents without words would all be alike
        each = np.repeat(numbers[some].astype(np.uint64), keys.shape[1])
        self._rows.add(np.column_stack([keys[some].ravel(), each]))

    def repeats(self, words: Callable[[int], np.ndarray]) -> Iterator[int]:
        """Yield the numbers of documents that repeat one; `words` maps a number to word hashes."""
        n, by_document = self._groups()
        # Room for every document of each group. The kept documents of a group are listed in order,
        # as places in the file of shingles, with a 0 after the last. While a document is to come,
        # there is room.
        kept = np.memmap(_room(self.folder / "kept", 8 * max(1, n)), np.int64, "r+")
        with (self.folder / "shingles").open("w+b") as file:
            for number, groups in by_document:
                features = shingles(words(number), self.settings.shingle_words)
                places = [_before_0(kept[group : group + CROWD]) for group in groups]
                candidates = set(np.concatenate(places).tolist())
                if any(self._alike(features, _read(file, at)) for at in candidates):
                    yield number
                elif len(candidates) < CROWD:
                    at = _append(file, features)
                    for group, before in zip(groups, places, strict=True):
                        kept[group + len(before)] = at

    def _groups(self) -> tuple[int, Iterator[tuple[int, list[int]]]]:
        """Return how much room groups need, and where the groups of each document begin."""
        of_documents = Sorted(self.folder / "groups", 2)
        n = group = 0
        for rows, first in _shared(self._rows):
            groups = np.maximum.accumulate(np.where(first, n + np.arange(len(rows)), group))
            of_documents.add(np.column_stack([rows[:, 1], groups.astype(np.uint64)]))
            n, group = n + len(rows), int(groups[-1])
        pairs = ((number, group) for block in of_documents for number, group in block.tolist())
        by_document = groupby(pairs, key=itemgetter(0))
        return n, ((number, [group for _, group in pairs]) for number, pairs in by_document)

    def _alike(self, one: np.ndarray, other: np.ndarray) -> bool:
        return similarity(one, other) >= self.settings.similarity


class Bands:
    """The bands of documents' MinHash signatures. Documents that share a band are candidates."""

    def __init__(self, settings: NearDuplicates):
        index = MinHashLSH(
            threshold=settings.similarity,
            num_perm=settings.permutations,
            weights=(FALSE, MISSED),
        )
        self.n, self.rows = index.b, index.r
        self.length = settings.shingle_words
        used = self.n * self.rows
        self.factors, self.summands = MinHash(num_perm=settings.permutations).permutations[:, :used]

    def keys(self, batch: DocumentBatch) -> np.ndarray:
        """Return each band of each document as a number, without meaning for a document without
        words. (documents, n)
        """
        values, begins = self._values(batch)
        values = _mixed((values >> np.uint64(32)).astype(np.uint32))
        sketches = np.empty((len(begins), self.n * self.rows), dtype=np.uint64)
        permuted = np.empty_like(values)
        for i, (factor, summand) in enumerate(zip(self.factors, self.summands, strict=True)):
            np.multiply(values, factor, out=permuted)
            permuted += summand
            sketches[:, i] = np.minimum.reduceat(permuted, begins)
        bands = sketches.reshape(-1, self.n, self.rows)
        keys = np.broadcast_to(np.arange(self.n, dtype=np.uint64), bands.shape[:2]).copy()
        for i in range(self.rows):
            keys = (keys ^ bands[:, :, i]) * MULTIPLIER
            keys ^= keys >> np.uint64(32)
        return keys

    def _values(self, batch: DocumentBatch) -> tuple[np.ndarray, np.ndarray]:
        """Return the shingles of one document after the other, and where each document's begin."""
        counts = np.maximum(batch.sizes - self.length + 1, 1)
        begins = np.cumsum(counts) - counts
        values = np.zeros(counts.sum(), dtype=np.uint64)
        long = batch.sizes >= self.length
        hashed = runs(batch.words, self.length)
        places = np.arange(len(hashed))
        document = batch.document(places)
        inside = places + self.length <= batch.ends[document]
        values[np.repeat(long, counts)] = hashed[inside]
        for i in np.flatnonzero(~long & (batch.sizes > 0)):
            words = batch.words[batch.begins[i] : batch.ends[i]]
            values[begins[i]] = runs(words, len(words))[0]
        return values, begins


def shingles(words: np.ndarray, length: int) -> np.ndarray:
    """Return the distinct runs of `length` words, sorted; for a shorter text, the whole text."""
    return np.unique(runs(words, max(1, min(length, len(words)))))


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Jaccard similarity of two sorted sets: shared elements over all elements."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


def digest(text: str) -> bytes:
    """Return `DIGEST` bytes that identify a text, ignoring case and white space."""
    return hashlib.sha256(" ".join(folded(text).split()).encode()).digest()[:DIGEST]


def _shared(rows: Sorted) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows that equal another row in all columns but the last, in order, and whether each
    is the first of them.
    """
    held, held_same = np.empty((0, 0), dtype=np.uint64), False
    for block in rows:
        block = np.concatenate([held, block]) if len(held) else block
        same = np.append(held_same, (block[1:, :-1] == block[:-1, :-1]).all(axis=1))
        first = ~same[:-1] & same[1:]
        chosen = same[:-1] | first
        if chosen.any():
            yield block[:-1][chosen], first[chosen]
        held, held_same = block[-1:], same[-1]
    if held_same:
        yield held, np.array([False])


def _mixed(values: np.ndarray) -> np.ndarray:
    """Mix values as datasketch does before permuting: the last step of MurmurHash3. (n,) uint32"""
    values = (values ^ (values >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    values = (values ^ (values >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return values ^ (values >> np.uint32(16))


def _before_0(places: np.ndarray) -> np.ndarray:
    zeros = np.flatnonzero(places == 0)
    return places[: zeros[0]] if len(zeros) else places


def _room(file: Path, size: int) -> Path:
    """Create a file of `size` zeros, and reserve its space at once where the system can.

    A full disk is then an error here. Otherwise it would kill the process while the file is mapped.
    """
    with file.open("wb") as opened:
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(opened.fileno(), 0, size)
        opened.truncate(size)
    return file


def _append(file: BinaryIO, features: np.ndarray) -> int:
    """Append features and return their place, from 1, in numbers of eight bytes."""
    at = file.seek(0, os.SEEK_END) // 8 + 1
    file.write(np.uint64(len(features)).tobytes() + features.tobytes())
    return at


def _read(file: BinaryIO, at: int) -> np.ndarray:
    file.seek(8 * (at - 1))
    (n,) = np.frombuffer(file.read(8), dtype=np.uint64)
    return np.frombuffer(file.read(8 * int(n)), dtype=np.uint64)
