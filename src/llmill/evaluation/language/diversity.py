"""Diversity of texts: how much they differ from each other, repeat themselves, and copy the
training text. The baseline for a model's samples is held-out text of the same lengths.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from llmill.evaluation.inference.scoring import Ids
from llmill.evaluation.statistics import intervals
from llmill.evaluation.statistics.intervals import Draws, Interval

MULTIPLIER = np.uint64(6364136223846793005)  # of the hash of a run, modulo 2**64; must be odd


def of_one_length(first: Sequence[Ids], second: Sequence[Ids]) -> tuple[list[Ids], list[Ids]]:
    """Pair the texts by length, longest first, and cut both of a pair to the shorter length."""
    pairs = zip(*(sorted(texts, key=len, reverse=True) for texts in (first, second)), strict=False)
    cut = [(a[: len(b)], b[: len(a)]) for a, b in pairs]
    return [a for a, _ in cut], [b for _, b in cut]


def distinct(texts: Sequence[Ids], n: int, confidence: float) -> Interval | None:
    """Return distinct n-grams / all n-grams (Li et al. 2016); None without n-grams.

    The interval is the jackknife's. A bootstrap repeats texts, which would lower the metric.
    """
    grams = [each for each in (ngrams(text, n) for text in texts) if each]
    of_texts = Counter(gram for each in grams for gram in set(each))
    kinds, total = len(of_texts), sum(map(len, grams))
    if not total:
        return None
    without = [
        (kinds - sum(of_texts[gram] == 1 for gram in set(each))) / (total - len(each))
        for each in grams
        if len(each) < total
    ]
    found = intervals.jackknife(kinds / total, without, confidence)
    if len(grams) < 2:  # one text does not show how others differ
        return {**found, "low": 0.0, "high": 1.0, "n": len(grams)}
    if found["low"] == found["high"]:  # another text may still vary
        return intervals.share(kinds / total * len(grams), len(grams), confidence)
    return {**found, "low": max(0.0, found["low"]), "high": min(1.0, found["high"])}


def repeated(text: Ids, n: int = 4) -> float:
    """Return the share of a text's n-grams that repeat an earlier one (Welleck et al. 2020)."""
    grams = ngrams(text, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def ngrams(text: Ids, n: int) -> list[tuple[int, ...]]:
    """Return all n-grams of a text, in order."""
    return list(zip(*(text[i:] for i in range(n)), strict=False))


def longest_runs(texts: Sequence[Ids], stretches: Iterable[np.ndarray]) -> list[int]:
    """Return the length of each text's longest run of tokens that occurs in one of the stretches,
    (T,) each.

    Runs grow by one token per step. Each step keeps the places whose runs have equal hashes.
    """
    longest = np.zeros(len(texts), dtype=np.int64)
    numbers = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    ours = np.array([token for text in texts for token in text], dtype=np.uint64)
    for stretch in stretches:
        theirs = np.append(stretch, -1).astype(np.uint64)  # the end equals no token
        left, right = np.arange(len(ours)), np.arange(len(stretch))  # where equal runs begin
        left_hash, right_hash = np.zeros_like(ours), np.zeros_like(theirs[:-1])
        length = 0
        while len(left) and len(right):
            whole = left + length < len(ours)
            whole[whole] = numbers[left[whole] + length] == numbers[left[whole]]
            left, left_hash = left[whole], left_hash[whole]
            left_hash = left_hash * MULTIPLIER + ours[left + length]
            right_hash = right_hash * MULTIPLIER + theirs[np.minimum(right + length, len(stretch))]
            kept = _among(right_hash, left_hash)
            right, right_hash = right[kept], right_hash[kept]
            kept = _among(left_hash, right_hash)
            left, left_hash = left[kept], left_hash[kept]
            length += 1
            longest[numbers[left]] = np.maximum(longest[numbers[left]], length)
    return longest.tolist()


def figures(
    texts: Sequence[Ids], longest: Sequence[int], copied: int, draws: Draws
) -> dict[str, Any]:
    """Return the metrics of texts. `longest` are their longest runs in the training text; a text is
    copied if its run has at least `copied` tokens.
    """
    copies = sum(run >= copied for run in longest)
    return {
        **{f"distinct_{n}": distinct(texts, n, draws["confidence"]) for n in (1, 2, 3)},
        "repeated_4": intervals.bounded_mean(
            [repeated(text) for text in texts], 1, draws["confidence"]
        )
        if texts
        else None,
        "copied": intervals.share(copies, len(texts), draws["confidence"]),
        "longest_run": intervals.mean(longest, **draws) if texts else None,
        "tokens": sum(map(len, texts)),
    }


def _among(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which of the values (N,) are among the others, bool (N,)."""
    known = np.unique(others)
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return known[places] == values
