"""Measures how much of each of many short texts occurs in a long one, which is read once.

Input: items, each optionally with a right and a wrong answer; then documents, in parts. Output: for
each item, how many of its runs of words (n-grams) occur, the longest run and its place, and which
of the two answers follows the item. Words are those of `words.py`, so case, punctuation and Unicode
form hide nothing. Memory grows with the items. Of the documents, it holds one batch at a time and a
bounded number of hashes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from llmill.text.corpus.sieve import Sieve
from llmill.text.words import WordHashes, hashes, runs, split

BATCH = 1 << 16  # words searched together
PAIRS = 1 << 20  # places in items and documents compared together
REPEATS = 16  # places considered for one run in an item that repeats itself
SEEN = 1 << 16  # stretches of one length that are remembered, some 5 MB
STRANGE = 0  # stands for a word of no item, and separates documents


@dataclass(frozen=True)
class Item:
    """A text to look for, with its right and its wrong answer, if it has any."""

    text: str
    right: str = ""
    wrong: str = ""


@dataclass(frozen=True)
class SearchedText:
    """A text to search, its source and number, and its label, if it has one."""

    text: str
    source: str
    number: int
    label: str | None = None


@dataclass(frozen=True)
class Place:
    """The place where the longest run of an item first occurs."""

    part: str
    source: str
    number: int
    label: str | None
    first: int  # index of the run's first word in the item


@dataclass(frozen=True)
class _Batch:
    """Documents one after the other, each followed by `STRANGE`."""

    words: np.ndarray  # (words,) hashes
    begins: np.ndarray  # (documents,) place of each first word
    ends: np.ndarray  # (documents,) place after each last word
    documents: Sequence[SearchedText]

    def document(self, places: np.ndarray) -> np.ndarray:
        """Return the index of the document at each place."""
        return np.searchsorted(self.begins, places, side="right") - 1


class _Runs:
    """The runs of one length, of the items measured with this length."""

    def __init__(self, length: int, items: np.ndarray, of_items: Sequence[np.ndarray]):
        self.length = length
        counts = [len(each) for each in of_items]
        self.item = np.repeat(items, counts)  # (N,) item of each run
        self.offset = np.concatenate([np.arange(n) for n in counts])  # (N,) places in the items
        different, self.which = np.unique(np.concatenate(of_items), return_inverse=True)
        self.sieve = Sieve(different)
        n = len(different)
        self.parts = np.zeros(n, dtype=np.uint8)  # where each occurs, as bits
        self.by_run = _Groups(self.which, _first(self.which, self.item, REPEATS), n)
        self.by_last = _Groups(self.which, np.cumsum(counts) - 1, n)  # runs that end an item
        self.seen: set[bytes] = set()  # stretches of documents that were compared recently


class _Groups:
    """Rows grouped by key, which is a number below `n`."""

    def __init__(self, keys: np.ndarray, rows: np.ndarray, n: int):
        self.rows = rows[np.argsort(keys[rows], kind="stable")]
        self.begins = np.searchsorted(keys[self.rows], np.arange(n + 1))

    def count(self, keys: np.ndarray) -> np.ndarray:
        """Return the number of rows of each key."""
        return self.begins[keys + 1] - self.begins[keys]

    def pairs(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each of the rows of each key, as the index of the key in `keys`, and the row."""
        counts = self.count(keys)
        before = np.cumsum(counts) - counts
        which = np.repeat(np.arange(len(keys)), counts)
        return which, self.rows[np.arange(len(which)) + (self.begins[keys] - before)[which]]


class _Answers:
    """The beginnings of the items' right or wrong answers."""

    def __init__(self, of_items: Sequence[np.ndarray], most: int):
        cut = [words[:most] for words in of_items]
        self.length = np.array([len(words) for words in cut])
        self.hash = np.array([runs(w, len(w))[0] if len(w) else STRANGE for w in cut], np.uint64)
        self.parts = np.zeros(len(cut), dtype=np.uint8)  # parts where each follows its item


class Overlap:
    """How much of the items occurs in the documents read so far, by part."""

    def __init__(self, items: Sequence[Item], words: int, shortest: int, reach: int):
        self.shortest, self.reach, self.names = shortest, reach, list[str]()
        self.table: WordHashes = {}
        hashed = [hashes(item.text, self.table) for item in items]
        self.words = np.array([len(each) for each in hashed], dtype=np.int64)  # (items,)
        self.length = np.minimum(self.words, words)  # words in each run of an item
        self.runs = self.words - self.length + (self.words > 0)  # number of runs of each item
        self.longest = np.zeros(len(items), dtype=np.int64)  # words in the longest run
        self.places: dict[int, Place] = {}
        self.right = _Answers([hashes(item.right, self.table) for item in items], words)
        self.wrong = _Answers([hashes(item.wrong, self.table) for item in items], words)
        # Items with two answers that can be told apart.
        self.answered = (self.right.hash != STRANGE) & (self.wrong.hash != STRANGE)
        self.answered &= self.right.hash != self.wrong.hash
        self.by_length = [
            _Runs(int(n), numbers, [runs(hashed[i], int(n)) for i in numbers])
            for n in np.unique(self.length)
            if n and len(numbers := np.flatnonzero(self.length == n))
        ]

    def read(self, part: str, documents: Iterable[SearchedText]) -> None:
        """Search one part of the documents. There are at most eight parts."""
        assert len(self.names) < 8, "a part is a bit of a byte"
        bit = 1 << len(self.names)
        self.names.append(part)
        for batch in self._batches(documents):
            for of_length in self.by_length:
                places, which = of_length.sieve.found(runs(batch.words, of_length.length))
                if of_length.length < self.shortest:
                    document = batch.document(places)
                    size = batch.ends[document] - batch.begins[document]
                    whole = size == of_length.length
                    places, which = places[whole], which[whole]
                if not len(places):
                    continue
                of_length.parts[which] |= bit
                self._lengthen(of_length, places, which, batch, part)
                self._answer(of_length, places, which, batch, bit)

    def bits(self, parts: Iterable[str]) -> int:
        """Return the parts as bits; parts that were not read have none."""
        return sum(1 << self.names.index(part) for part in set(parts) if part in self.names)

    def counts(self, bits: int) -> np.ndarray:
        """Return how many runs of each item occur in any of the parts. (items,)"""
        counts = np.zeros(len(self.words), dtype=np.int64)
        for each in self.by_length:
            there = (each.parts[each.which] & bits) > 0
            counts += np.bincount(each.item[there], minlength=len(counts))
        return counts

    def _batches(self, documents: Iterable[SearchedText]) -> Iterator[_Batch]:
        words: list[int] = []
        begins: list[int] = []
        read: list[SearchedText] = []
        for document in documents:
            begins.append(len(words))
            read.append(document)
            words.extend(map(self.table.get, split(document.text), repeat(STRANGE)))
            words.append(STRANGE)
            if len(words) >= BATCH:
                yield _batch(words, begins, read)
                words, begins, read = [], [], []
        if read:
            yield _batch(words, begins, read)

    def _lengthen(
        self, of: _Runs, places: np.ndarray, which: np.ndarray, batch: _Batch, part: str
    ) -> None:
        """Join runs that follow each other both in a document and in an item."""
        for chosen in _stretches(of, places, which):
            at, run = of.by_run.pairs(which[chosen])
            at = places[chosen][at]
            order = np.lexsort((at, run - at))  # the runs of an item are consecutive
            at, run = at[order], run[order]
            follows = (np.diff(at) == 1) & (np.diff(run) == 1)
            follows &= np.diff(of.item[run]) == 0
            heads = np.flatnonzero(np.append(True, ~follows))
            size = np.diff(np.append(heads, len(run)))
            at, run = at[heads], run[heads]
            best = np.lexsort((at, -size, of.item[run]))
            best = best[np.diff(of.item[run][best], prepend=-1) != 0]
            words = of.length + size[best] - 1
            better = words > self.longest[of.item[run[best]]]
            best, words = best[better], words[better]
            self.longest[of.item[run[best]]] = words
            items, firsts = of.item[run[best]].tolist(), of.offset[run[best]].tolist()
            documents = batch.document(at[best]).tolist()
            for item, first, number in zip(items, firsts, documents, strict=True):
                named = batch.documents[number]
                self.places[item] = Place(part, named.source, named.number, named.label, first)

    def _answer(
        self, of: _Runs, places: np.ndarray, which: np.ndarray, batch: _Batch, bit: int
    ) -> None:
        """Look for both answers after each place where an item ends."""
        pairs = np.cumsum(of.by_last.count(which)) // max(1, PAIRS // (self.reach + 1))
        for chosen in np.split(np.arange(len(which)), np.flatnonzero(np.diff(pairs)) + 1):
            at, run = of.by_last.pairs(which[chosen])
            item = of.item[run]
            at, item = places[chosen][at][self.answered[item]], item[self.answered[item]]
            last = batch.ends[batch.document(at)]
            for answers in (self.right, self.wrong):
                there = self._behind(at + of.length, last, item, answers, batch)
                answers.parts[item[there]] |= bit

    def _behind(
        self,
        behind: np.ndarray,
        last: np.ndarray,
        item: np.ndarray,
        answers: _Answers,
        batch: _Batch,
    ) -> np.ndarray:
        """Return whether an answer begins at most `reach` words after each place. (places,)"""
        there = np.zeros(len(item), dtype=bool)
        for length in np.unique(answers.length[item]):
            rows = np.flatnonzero(answers.length[item] == length)
            hashed = runs(batch.words, int(length))
            if not len(hashed):
                continue
            at = behind[rows, None] + np.arange(self.reach + 1)  # (rows, reach + 1)
            inside = at + length <= last[rows, None]
            equal = hashed[np.where(inside, at, 0)] == answers.hash[item[rows], None]
            there[rows] = (equal & inside).any(axis=1)
        return there


def _batch(words: list[int], begins: list[int], documents: list[SearchedText]) -> _Batch:
    return _Batch(
        np.array(words, dtype=np.uint64),
        np.array(begins),
        np.array([*begins[1:], len(words)]) - 1,
        documents,
    )


def _first(which: np.ndarray, item: np.ndarray, most: int) -> np.ndarray:
    """Return the rows that are among the first `most` of their run and item."""
    order = np.lexsort((item, which))
    same = (np.diff(which[order]) == 0) & (np.diff(item[order]) == 0)
    rows = np.arange(len(order))
    begins = np.maximum.accumulate(np.where(np.append(False, same), 0, rows))
    return np.sort(order[rows - begins < most])


def _stretches(of: _Runs, places: np.ndarray, which: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the indices of places in consecutive stretches that were not seen recently, several
    stretches at a time.

    A prompt that begins every document is thus compared with the items only once.
    """
    begins = np.flatnonzero(np.diff(places, prepend=-2) != 1)
    counts = of.by_run.count(which)
    pairs = np.cumsum(counts)
    before = np.repeat((pairs - counts)[begins], np.diff(begins, append=len(places)))
    # Cut a stretch with more pairs than are compared together.
    cuts = np.flatnonzero(np.diff((pairs - before) // PAIRS, prepend=0))
    begins = np.union1d(begins, cuts)
    fresh: list[np.ndarray] = []
    size = 0
    for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(places)], strict=True):
        stretch = which[begin:end]
        key = hashlib.blake2b(stretch.tobytes(), digest_size=16).digest()
        if key in of.seen:
            continue
        if len(of.seen) >= SEEN:
            of.seen.clear()  # comparing a stretch again changes nothing
        of.seen.add(key)
        fresh.append(np.arange(begin, end))
        size += int(counts[begin:end].sum())
        if size >= PAIRS:
            yield np.concatenate(fresh)
            fresh, size = [], 0
    if fresh:
        yield np.concatenate(fresh)
