"""Unigram and bigram models from token counts of the training text: the baselines.

A unigram knows how often each token occurs. A bigram also knows which tokens follow each token.
Neither uses any other context.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator

import numpy as np

from llmill.evaluation.inference.scoring import Ids
from llmill.text.tokenization.shards import Shards

AT_ONCE = 1 << 22  # tokens in memory at a time


class Unigram:
    """The probability of each token by its count, with add-one smoothing (Laplace)."""

    def __init__(self, counts: np.ndarray):
        """`counts` is (V,), by token."""
        self.probabilities = (counts + 1.0) / (counts.sum() + len(counts))  # (V,)
        self.logs = np.log(self.probabilities)

    @classmethod
    def of(cls, shards: Shards) -> "Unigram":
        """Count the tokens of a text."""
        counts = np.zeros(shards.n_vocab, dtype=np.int64)
        for tokens in stretches(shards):
            counts += np.bincount(tokens, minlength=shards.n_vocab)
        return cls(counts)

    def logprob(self, ids: Ids) -> float:
        """Return the log-likelihood in nats. The sum is exact, so the order does not change it."""
        return math.fsum(self.logs[list(ids)])


class Bigram:
    """The probability of each token after some tokens, by count. For smoothing, one count per
    preceding token is spread by the unigram's probabilities.
    """

    def __init__(self, pairs: dict[tuple[int, int], int], unigram: Unigram):
        """`pairs` counts how often the second token follows the first."""
        self.pairs, self.unigram = pairs, unigram
        self.of_first: Counter[int] = Counter()
        self.likeliest: dict[int, int] = {}  # ties: the smaller token
        for (first, second), n in sorted(pairs.items()):
            self.of_first[first] += n
            best = self.likeliest.get(first)
            if best is None or n > pairs[first, best]:
                self.likeliest[first] = second

    @classmethod
    def of(cls, shards: Shards, firsts: Collection[int], unigram: Unigram) -> "Bigram":
        """Count the tokens that follow any of `firsts` in a text."""
        wanted = np.zeros(shards.n_vocab, dtype=bool)
        wanted[sorted(firsts)] = True
        pairs: Counter[tuple[int, int]] = Counter()
        for tokens in stretches(shards, overlap=1):
            at = np.flatnonzero(wanted[tokens[:-1]])
            keys = tokens[at] * shards.n_vocab + tokens[at + 1]
            for key, n in zip(*np.unique(keys, return_counts=True), strict=True):
                pairs[divmod(int(key), shards.n_vocab)] += int(n)
        return cls(dict(pairs), unigram)

    def logprob(self, before: int, ids: Ids) -> float:
        """Return the log-likelihood of `ids` after the token `before`, in nats."""
        total = 0.0
        for token in ids:
            seen = self.pairs.get((before, token), 0) + self.unigram.probabilities[token]
            total += float(np.log(seen / (self.of_first[before] + 1)))
            before = token
        return total

    def guesses(self, before: int, ids: Ids) -> bool:
        """Return whether each of `ids` is the most likely token after the one before it."""
        firsts = [before, *ids[:-1]]
        return all(self.likeliest.get(a) == b for a, b in zip(firsts, ids, strict=True))


def stretches(shards: Shards, overlap: int = 0) -> Iterator[np.ndarray]:
    """Yield all tokens in order, int64 (T,), some millions at a time. Each stretch begins with the
    last `overlap` tokens of the one before.
    """
    for start in range(0, shards.tokens, AT_ONCE):
        begin = max(0, start - overlap)
        end = min(start + AT_ONCE, shards.tokens)
        yield shards.window(begin, end - begin).astype(np.int64)
