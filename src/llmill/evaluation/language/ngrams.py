"""What counting tokens in the training text tells of a text: the baseline of models that read.

A unigram knows how often each token stands there, a bigram also what stands behind each; neither
knows more of what came before.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator

import numpy as np

from llmill.evaluation.inference.scoring import Ids
from llmill.text.tokenization.shards import Shards

AT_ONCE = 1 << 22  # tokens in memory


class Unigram:
    """How likely each token is by its count, each seen once more than it was (Laplace)."""

    def __init__(self, counts: np.ndarray):
        """`counts`: (V,), by token."""
        self.probabilities = (counts + 1.0) / (counts.sum() + len(counts))  # (V,)
        self.logs = np.log(self.probabilities)

    @classmethod
    def of(cls, shards: Shards) -> "Unigram":
        """That of a text."""
        counts = np.zeros(shards.n_vocab, dtype=np.int64)
        for tokens in stretches(shards):
            counts += np.bincount(tokens, minlength=shards.n_vocab)
        return cls(counts)

    def logprob(self, ids: Ids) -> float:
        """The sum of the tokens' log-probabilities, in nats; exact, so the same in any order."""
        return math.fsum(self.logs[list(ids)])


class Bigram:
    """How likely each token is behind some others, by count; each pair is seen as often more as
    the unigram says, once in all.
    """

    def __init__(self, pairs: dict[tuple[int, int], int], unigram: Unigram):
        """`pairs`: how often the second token stands behind the first."""
        self.pairs, self.unigram = pairs, unigram
        self.of_first: Counter[int] = Counter()
        self.likeliest: dict[int, int] = {}  # of equals the smaller token
        for (first, second), n in sorted(pairs.items()):
            self.of_first[first] += n
            best = self.likeliest.get(first)
            if best is None or n > pairs[first, best]:
                self.likeliest[first] = second

    @classmethod
    def of(cls, shards: Shards, firsts: Collection[int], unigram: Unigram) -> "Bigram":
        """That of a text, behind these tokens alone."""
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
        """The sum of log-probabilities, each behind the token before it, in nats."""
        total = 0.0
        for token in ids:
            seen = self.pairs.get((before, token), 0) + self.unigram.probabilities[token]
            total += float(np.log(seen / (self.of_first[before] + 1)))
            before = token
        return total

    def guesses(self, before: int, ids: Ids) -> bool:
        """Whether the likeliest token behind each is the one that stands there."""
        firsts = [before, *ids[:-1]]
        return all(self.likeliest.get(a) == b for a, b in zip(firsts, ids, strict=True))


def stretches(shards: Shards, overlap: int = 0) -> Iterator[np.ndarray]:
    """All tokens in order as int64, some millions at a time; each stretch begins with the last
    `overlap` of the one before.
    """
    for start in range(0, shards.tokens, AT_ONCE):
        begin = max(0, start - overlap)
        end = min(start + AT_ONCE, shards.tokens)
        yield shards.window(begin, end - begin).astype(np.int64)
