"""Tests of two systems on the same items, by hand and against each other."""

import itertools

import pytest
from scipy import stats

from llmill.evaluation.statistics.significance import mcnemar, sign_flips


def test_flips_of_clusters_of_one_are_mcnemars_test():
    for gained, lost in ((0, 0), (1, 9), (7, 4), (30, 12)):
        gains = [1] * gained + [-1] * lost + [0] * 5
        assert sign_flips(gains) == pytest.approx(mcnemar(gained, lost))


def test_what_clusters_gained_is_flipped_whole():
    """Of 3, 1 and -1 the sum is 3 or more away from 0 unless the 3 stands against both others."""
    assert sign_flips([3, 1, -1]) == 6 / 8
    assert sign_flips([8]) == 1.0


def test_mcnemars_test_is_that_of_a_fair_coin():
    assert mcnemar(0, 0) == mcnemar(5, 5) == 1.0
    assert mcnemar(1, 9) == mcnemar(9, 1) == 22 / 1024
    for first, second in itertools.product((0, 1, 7, 300), (0, 3, 240)):
        coin = stats.binomtest(first, first + second).pvalue if first + second else 1.0
        assert mcnemar(first, second) == pytest.approx(coin, rel=1e-9)
    assert 0 < mcnemar(4700, 5300) < 1e-8  # of ten thousand that one side alone has
