"""Finds documents that repeat an earlier one, exactly or nearly.

Candidates come from MinHash and locality-sensitive hashing (Broder 1997; Leskovec et al., Mining of
Massive Datasets, chapter 3); what counts is then their similarity itself, not its estimate.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from datasketch import MinHash, MinHashLSH

from llmill.contract.record import sha256_text
from llmill.text.identity import normal
from llmill.text.settings import NearDuplicates
from llmill.text.words import runs

MISSED, FALSE = 0.9, 0.1  # a missed pair is worse than a false candidate, which is looked at again
CROWD = 100  # of more documents that are alike and yet no duplicates, the later are not looked at


def exact(texts: Iterable[str]) -> Iterator[bool]:
    """Whether each text is, but for case and white space, an earlier one."""
    seen: set[str] = set()
    for text in texts:
        key = sha256_text(normal(text))
        yield key in seen
        seen.add(key)


def near(documents: Iterable[np.ndarray], settings: NearDuplicates) -> Iterator[bool]:
    """Whether each document, given as its words' hashes, is nearly an earlier one that was kept.

    One without words is none. A document that is like `CROWD` others and repeats none of them is
    kept, and later ones are not compared with it: the work for each document has a bound.
    """
    index = MinHashLSH(
        threshold=settings.similarity,
        num_perm=settings.permutations,
        weights=(FALSE, MISSED),
    )
    empty = MinHash(num_perm=settings.permutations, hashfunc=int)
    originals: list[np.ndarray] = []
    for words in documents:
        if not len(words):  # all of them would be candidates of each other
            yield False
            continue
        features = shingles(words, settings.shingle_words)
        sketch = empty.copy()
        sketch.update_batch((features >> np.uint64(32)).tolist())
        candidates = index.query(sketch)
        repeats = any(similarity(features, originals[i]) >= settings.similarity for i in candidates)
        if not repeats and len(candidates) < CROWD:
            index.insert(len(originals), sketch, check_duplication=False)
            originals.append(features)
        yield repeats


def shingles(words: np.ndarray, length: int) -> np.ndarray:
    """The different runs of `length` words, sorted; the whole of a shorter text."""
    return np.unique(runs(words, max(1, min(length, len(words)))))


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Jaccard similarity of two sorted sets: shared over all."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)
