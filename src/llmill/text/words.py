"""Words and runs of words as 64-bit hashes, so that looking for them is arithmetic on arrays."""

import hashlib
import re

import numpy as np

WORD = re.compile(r"[^\W_]+")
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit of a word is lost

WordHashes = dict[str, int]  # words that were hashed before


def hashes(text: str, table: WordHashes) -> np.ndarray:
    """One uint64 per word, without regard to case and punctuation. (words,)"""
    words = WORD.findall(text.casefold())
    values = [table.get(word) or table.setdefault(word, _hash(word)) for word in words]
    return np.array(values, dtype=np.uint64)


def runs(words: np.ndarray, length: int) -> np.ndarray:
    """One uint64 for each `length` consecutive words, in order; empty for a shorter text.

    A run's hash is a polynomial in its words' hashes, modulo 2**64.
    """
    n = len(words) - length + 1
    if n <= 0:
        return np.empty(0, dtype=np.uint64)
    total = words[:n].copy()
    for i in range(1, length):
        total *= MULTIPLIER
        total += words[i : i + n]
    return total


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
