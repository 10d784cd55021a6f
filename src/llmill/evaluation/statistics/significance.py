"""Exact tests of whether one of two systems is right on more of the same items."""

from collections.abc import Sequence

import numpy as np


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test (McNemar 1947): a fair coin for the
    items on which exactly one of two systems is right.
    """
    n = only_first + only_second
    ways = at_most = 1  # ways to k heads in n tosses, and to k or fewer; exact integers
    for k in range(min(only_first, only_second)):
        ways = ways * (n - k) // (k + 1)
        at_most += ways
    return min(1.0, 2 * at_most / 2**n)


def sign_flips(gains: Sequence[int]) -> float:
    """Return the two-sided p-value of the exact sign-flip test (Fisher 1935): the probability of a
    total gain at least as large if each cluster's gain had a random sign. For clusters of one item
    it is McNemar's test.
    """
    odds = np.ones(1)  # probability of each sum, from the lowest in steps of 2
    for step in (abs(gain) for gain in gains if gain):
        wider = np.zeros(len(odds) + step)
        wider[:-step] += odds / 2
        wider[step:] += odds / 2
        odds = wider
    sums = 2 * np.arange(len(odds)) - (len(odds) - 1)
    return min(1.0, float(odds[np.abs(sums) >= abs(sum(gains))].sum()))
