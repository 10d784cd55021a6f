"""Exact tests of two systems on the same items: whether one is right about more of them."""

from collections.abc import Sequence

import numpy as np


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p-value of McNemar's exact test: that of a fair coin for the items that exactly
    one of two systems has right (McNemar 1947).
    """
    n = only_first + only_second
    ways = at_most = 1  # of n coins to show k heads, and to show k or fewer: exact, as integers
    for k in range(min(only_first, only_second)):
        ways = ways * (n - k) // (k + 1)
        at_most += ways
    return min(1.0, 2 * at_most / 2**n)


def sign_flips(gains: Sequence[int]) -> float:
    """The two-sided p-value of the exact sign-flip test: how often what clusters gained in all is
    so much, or more, if each had as well lost it (Fisher 1935). Of clusters of one, McNemar's.
    """
    odds = np.ones(1)  # of each sum, from the least on in steps of 2
    for step in (abs(gain) for gain in gains if gain):
        wider = np.zeros(len(odds) + step)
        wider[:-step] += odds / 2
        wider[step:] += odds / 2
        odds = wider
    sums = 2 * np.arange(len(odds)) - (len(odds) - 1)
    return min(1.0, float(odds[np.abs(sums) >= abs(sum(gains))].sum()))
