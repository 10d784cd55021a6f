"""ROUGE-L (Lin 2004): how much of an answer's words stand in the reference in the same order.

It is the F1 of the longest common subsequence of words: the harmonic mean of its share of the
answer's words and of its share of the reference's. Words are those of `text/words.py`, so without
regard to case, Unicode form and punctuation; there is no stemming.
"""

import numpy as np

from llmill.text.words import hashes


def rouge_l(answer: str, reference: str) -> float:
    """In [0, 1]; 0 where one of the two has no words."""
    a, b = hashes(answer, {}), hashes(reference, {})
    common = longest_common(a, b)
    return 2 * common / max(1, len(a) + len(b))


def longest_common(a: np.ndarray, b: np.ndarray) -> int:
    """How many items the longest common subsequence of (N,) and (M,) has; a row of the table of
    dynamic programming at a time, of M numbers.
    """
    row = np.zeros(len(b) + 1, dtype=np.int64)  # of what was read of a, against each start of b
    for item in a:
        row[1:] = np.maximum(row[1:], row[:-1] + (b == item))
        row = np.maximum.accumulate(row)
    return int(row[-1])
