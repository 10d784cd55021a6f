"""ROUGE-L: known values, and the longest common subsequence against a plain search."""

from functools import cache

import numpy as np
import pytest

from llmill.evaluation.matching.rouge import longest_common, rouge_l


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        # The example of Lin 2004, section 3.1; F1 of 3 words of 4 and 4, of 2 of 4 and 4.
        ("police kill the gunman", "police killed the gunman", 0.75),
        ("the gunman kill police", "police killed the gunman", 0.5),
        ("The capital is Paris.", "paris", 0.4),  # 1 of 4 words, 1 of 1
        ("Paris", "the capital is PARIS!", 0.4),
        ("Paris", "Paris", 1.0),
        ("cafe\u0301", "café", 1.0),
        ("running", "run", 0.0),  # no stemming
        ("水是冷的", "水是热的", 0.75),  # a word a character
        ("", "Paris", 0.0),
        ("Paris", "", 0.0),
        ("", "", 0.0),
        ("!", "!", 0.0),
    ],
)
def test_known_pairs_have_their_f1(answer, reference, expected):
    assert rouge_l(answer, reference) == pytest.approx(expected)


def slowly(a: list[int], b: list[int]) -> int:
    """By the definition: the last items are both used, or one of them is not."""

    @cache
    def of(n: int, m: int) -> int:
        if n == 0 or m == 0:
            return 0
        if a[n - 1] == b[m - 1]:
            return of(n - 1, m - 1) + 1
        return max(of(n - 1, m), of(n, m - 1))

    return of(len(a), len(b))


def test_the_common_part_is_as_long_as_a_plain_search_finds():
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = (rng.integers(0, 5, int(rng.integers(0, 25))) for _ in range(2))
        assert longest_common(a, b) == slowly(a.tolist(), b.tolist())
