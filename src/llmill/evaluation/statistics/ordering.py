"""Counts of pairs that predictions order like the truth, for many resamples of the observations.

If observation i occurs `times[i]` times in a resample, the pair of i and j does so
`times[i] * times[j]` times. Two forms count the same: from sorted predictions if truth has few
values, as a known score or a rule's decision has, else pair by pair.
"""

from collections.abc import Callable

import numpy as np

VALUES = 16  # most different values of truth for which predictions are sorted
AT_ONCE = 2**22  # pairs, or counts of observations, in memory at a time

Counter = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def counter(truth: np.ndarray, runs: np.ndarray) -> Counter:
    """Return a function that counts pairs of unequal truth, (N,), in resamples with the given
    counts of each observation, (resamples, N). It returns the number of pairs, (resamples,), and
    of those that each run's predictions, (R, N), order alike, (R, resamples); a tie counts as half.
    Raise `ValueError` if a prediction is NaN.
    """
    if np.isnan(runs).any():
        raise ValueError("a prediction is NaN, which has no order")
    return (_by_value if len(np.unique(truth)) <= VALUES else _by_pair)(truth, runs)


def resampled(count: Counter, clusters: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return the share of pairs in order, as a mean over runs, of resamples of whole clusters with
    replacement. `clusters` has the number of each observation's cluster, (N,). A resample without a
    pair of unequal truth is left out, so there may be fewer shares than resamples.
    """
    rng, n = np.random.default_rng(seed), int(clusters.max()) + 1
    rows = max(1, AT_ONCE // len(clusters))
    shares = []
    for start in range(0, resamples, rows):
        times = rng.multinomial(n, np.full(n, 1 / n), min(rows, resamples - start))
        total, right = count(times[:, clusters])
        some = total > 0
        shares.append(right.mean(axis=0)[some] / total[some])
    return np.concatenate(shares)


def behind_pairs(truth: np.ndarray, clusters: np.ndarray) -> int:
    """Return the fewest clusters that have an observation of every pair of unequal truth: no more
    of them show how much the share of pairs varies. `clusters` is as in `resampled`.

    All other clusters have the same single truth, because there would be a pair among them. So of
    clusters of one observation, the fewest are those without the most frequent truth. Of right and
    wrong answers, they are the clusters that have any of the kind that fewer clusters have.
    """
    least, most = np.full((2, clusters.max() + 1), [[np.inf], [-np.inf]])  # (clusters,) each
    np.minimum.at(least, clusters, truth)
    np.maximum.at(most, clusters, truth)
    alike = np.unique(least[least == most], return_counts=True)[1]
    return len(least) - max(alike.tolist(), default=0)


def _by_value(truth: np.ndarray, runs: np.ndarray) -> Counter:
    """Count from sorted predictions, in time of order resamples * N * values of truth."""
    levels = [[_level(truth, run, value) for value in np.unique(truth)[1:]] for run in runs]

    def count(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total, right = np.zeros(len(times)), np.zeros((len(runs), len(times)))
        for number, of_run in enumerate(levels):
            for lower, here, below, up_to in of_run:
                drawn = times[:, here]  # (resamples, observations of the value)
                sums = np.zeros((len(times), len(lower) + 1))
                np.cumsum(times[:, lower], axis=1, out=sums[:, 1:])
                right[number] += (drawn * (sums[:, below] + sums[:, up_to])).sum(axis=1) / 2
                if number == 0:  # all runs have the same pairs
                    total += drawn.sum(axis=1) * sums[:, -1]
        return total, right

    return count


def _level(truth: np.ndarray, run: np.ndarray, value: float) -> tuple[np.ndarray, ...]:
    """Return the observations with less truth than `value`, and those with just this truth, by
    prediction; for each of the latter, how many of the former are predicted below it, and how many
    not above it.
    """
    order = np.argsort(run, kind="stable")
    lower, here = order[truth[order] < value], order[truth[order] == value]
    below, up_to = (np.searchsorted(run[lower], run[here], side) for side in ("left", "right"))
    return lower, here, below, up_to


def _by_pair(truth: np.ndarray, runs: np.ndarray) -> Counter:
    """Count pair by pair, in time of order resamples * N**2 and in blocks of pairs."""
    n = len(truth)
    rows = max(1, AT_ONCE // n)

    def count(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counts = times.astype(np.float32)
        total, right = np.zeros(len(times)), np.zeros((len(runs), len(times)))
        for start in range(0, n, rows):
            these = slice(start, start + rows)
            above = (truth[these, None] > truth).astype(np.float32)  # (rows, N)
            total += _weighted(counts, these, above)
            for number, run in enumerate(runs):
                alike = 0.5 + 0.5 * np.sign(run[these, None] - run)
                right[number] += _weighted(counts, these, above * alike.astype(np.float32))
        return total, right

    return count


def _weighted(counts: np.ndarray, these: slice, pairs: np.ndarray) -> np.ndarray:
    """Return the sum of pairs of these rows, (rows, N), each times the counts of its two
    observations, (resamples,).
    """
    return (counts[:, these] * (counts @ pairs.T)).sum(axis=1, dtype=np.float64)
