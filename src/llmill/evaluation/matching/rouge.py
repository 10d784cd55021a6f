"""ROUGE-L (Lin 2004): how many words an answer shares with the reference in the same order.

It is the F1 of the longest common subsequence of words: the harmonic mean of its share of the
answer's words and its share of the reference's words. Words are those of `text/words.py`, which
ignores case, Unicode form and punctuation. Words are not stemmed.
"""

import numpy as np

from llmill.text.words import hashes


def rouge_l(answer: str, reference: str) -> float:
    """Return ROUGE-L in [0, 1]; 0 if one of the texts has no words."""
    a, b = hashes(answer, {}), hashes(reference, {})
    common = longest_common(a, b)
    return 2 * common / max(1, len(a) + len(b))


def longest_common(a: np.ndarray, b: np.ndarray) -> int:
    """Return the length of the longest common subsequence of (N,) and (M,). The dynamic programming
    keeps one row of M + 1 numbers.
    """
    row = np.zeros(len(b) + 1, dtype=np.int64)  # of the items of a so far, and each prefix of b
    for item in a:
        row[1:] = np.maximum(row[1:], row[:-1] + (b == item))
        row = np.maximum.accumulate(row)
    return int(row[-1])
