"""Metrics of the overlap of test items with the training text: how many items overlap, whether
their answers occur there too, and what models score with and without them.

An item overlaps if at least one of its runs of words occurs in the text. It is above the threshold
if the share of its runs that occur is larger than the threshold.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from llmill.evaluation.items import Asked
from llmill.evaluation.statistics import intervals
from llmill.text.corpus.overlap import Overlap
from llmill.text.words import split

SHOWN = 40  # words in an example


def figures(
    found: Overlap, asked: Asked, numbers: np.ndarray, threshold: float, confidence: float
) -> dict[str, Any]:
    """Return how many of the items `numbers` (N,) overlap, in total and by part of the text.

    For items that overlap and have an answer, also return with how many of them the right answer
    and a wrong answer are found.
    """
    shares = share_of_runs(found, found.names)[numbers]
    answers = list(answered(found, asked, numbers).values())

    def share(right: Iterable[bool]) -> intervals.Interval:
        hits = np.fromiter(right, dtype=bool)
        return intervals.share(int(hits.sum()), len(hits), confidence)

    return {
        "items": len(numbers),
        "whole": int((found.runs[numbers] == 1).sum()),  # the only run is the whole item
        "without_words": int((found.words[numbers] == 0).sum()),
        "overlapping": share(shares > 0),
        "above_threshold": share(shares > threshold),
        "by_part": {part: share(share_of_runs(found, [part])[numbers] > 0) for part in found.names},
        "longest": int(found.longest[numbers].max()),
        "right_answer": share(right for right, _ in answers),
        "wrong_answer": share(wrong for _, wrong in answers),
    }


def answered(found: Overlap, asked: Asked, numbers: np.ndarray) -> dict[int, tuple[bool, bool]]:
    """Return, for each item that overlaps and has an answer, whether the right answer and whether
    a wrong one is found with it: after it in the text, or as the label of the message that
    contains its longest run.
    """
    if not asked.labels:
        return {
            number: (bool(found.right.parts[number]), bool(found.wrong.parts[number]))
            for number in numbers.tolist()
            if found.longest[number] and found.answered[number]
        }
    labels = zip(numbers.tolist(), asked.labels, strict=True)
    return {
        number: (place.label == right, place.label == wrong)
        for number, (right, wrong) in labels
        if (place := found.places.get(number)) and place.label is not None
    }


def share_of_runs(found: Overlap, parts: Iterable[str]) -> np.ndarray:
    """Return the share of each item's runs that occur in any of the parts, (items,); 0 for an item
    without runs.
    """
    return found.counts(found.bits(parts)) / np.maximum(found.runs, 1)


def with_and_without(
    right: np.ndarray,
    shares: np.ndarray,
    clusters: Sequence[Hashable],
    threshold: float,
    confidence: float,
) -> dict[str, intervals.Interval]:
    """Return the accuracy on all items, on those that overlap, on those that do not, and on those
    that are not above the threshold.

    Per item, (N,): `right` is whether it is answered correctly, `shares` the share of its runs that
    occur, `clusters` what it shares with other items.
    """
    chosen = {
        "all": shares >= 0,
        "overlapping": shares > 0,
        "without": shares == 0,
        "below_threshold": shares <= threshold,
    }
    return {
        name: intervals.share_of_items(
            right[rows].tolist(), [clusters[i] for i in np.flatnonzero(rows).tolist()], confidence
        )
        for name, rows in chosen.items()
    }


def matched(keys: Iterable[Hashable], items: Mapping[Hashable, Sequence[int]]) -> list[int]:
    """Return the item of each key, or -1. Several items with one key are used in turn."""
    seen: Counter[Hashable] = Counter()
    numbers = []
    for key in keys:
        of_key = items.get(key, ())
        numbers.append(of_key[seen[key] % len(of_key)] if of_key else -1)
        seen[key] += 1
    return numbers


def described(found: Overlap, asked: Asked, numbers: np.ndarray) -> list[dict[str, Any]]:
    """Return one row for each item that overlaps. Its example is the longest run (at most its first
    SHOWN words) and the first document that contains it.
    """
    counts = {part: found.counts(found.bits([part])) for part in found.names}
    shares, answers = share_of_runs(found, found.names), answered(found, asked, numbers)
    rows = []
    for number, item, name in zip(numbers.tolist(), asked.items, asked.names, strict=True):
        if number not in found.places:
            continue
        place, longest = found.places[number], int(found.longest[number])
        words = split(item.text)[place.first :][:longest]
        right, wrong = answers.get(number, (None, None))
        rows.append(
            {
                "kind": asked.kind,
                **name,
                "text": item.text,
                "words": int(found.words[number]),
                "run": int(found.length[number]),  # words in each run
                "runs": int(found.runs[number]),
                "found": {part: int(each[number]) for part, each in counts.items() if each[number]},
                "share": round(float(shares[number]), 4),
                "longest": longest,
                "right_answer": right,
                "wrong_answer": wrong,
                "example": {
                    "part": place.part,
                    "source": place.source,
                    "number": place.number,
                    "shared": " ".join(words[:SHOWN]) + " …" * (len(words) > SHOWN),
                },
            }
        )
    return rows
