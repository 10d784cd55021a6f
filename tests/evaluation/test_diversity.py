"""Distinct and repeated runs, counted by hand; shared runs beside a slow search."""

import random

import numpy as np
import pytest

from llmill.evaluation.language.diversity import (
    distinct,
    figures,
    longest_runs,
    of_one_length,
    repeated,
)
from llmill.evaluation.statistics.intervals import share


def ids(*texts):
    return [[*text.encode()] for text in texts]


def test_distinct_runs_are_counted_over_all_texts():
    texts = ids("abab", "abc")
    assert distinct(texts, 1, 0.95)["value"] == 3 / 7
    assert distinct(texts, 2, 0.95)["value"] == 3 / 5
    none_twice = distinct(texts, 3, 0.95)  # which another text might change
    assert none_twice == {**share(2, 2, 0.95), "covers": "items"}
    assert 0.3 < none_twice["low"] < 0.4
    assert (
        distinct([*texts, *ids("x", "")], 3, 0.95) == none_twice
    )  # without a run, so no text of them
    assert distinct(ids("ab", ""), 3, 0.95) is None
    one = distinct(ids("abab", "a"), 2, 0.95)  # one text says nothing of others
    assert (one["value"], one["low"], one["high"]) == (2 / 3, 0.0, 1.0)
    assert distinct(ids("abcdefgh", "ijkk", "lmnoprst"), 1, 0.95)["high"] == 1.0


def test_the_interval_of_distinct_runs_covers_the_mean_over_other_draws():
    """Texts of ten tokens from a skewed vocabulary: about 95 of 100 intervals."""
    rng = np.random.default_rng(1)

    def draw():
        return [list(text) for text in rng.zipf(1.5, (40, 10)).clip(max=500)]

    expected = np.mean([distinct(draw(), 1, 0.95)["value"] for _ in range(150)])
    found = [distinct(draw(), 1, 0.95) for _ in range(150)]
    covered = np.mean([each["low"] <= expected <= each["high"] for each in found])
    assert 0.9 <= covered <= 0.99


def test_runs_of_four_that_stood_before_are_repeated():
    assert repeated([*b"abcdabcd"]) == pytest.approx(1 / 5)
    assert repeated([*b"aaaaaa"]) == pytest.approx(2 / 3)
    assert repeated([*b"abcdefgh"]) == 0.0
    assert repeated([*b"abc"]) == 0.0


def test_texts_are_compared_at_one_length():
    ours, theirs = of_one_length(ids("a", "abcdef", "abc"), ids("wxyz", "vw", "u"))
    assert ours == ids("abcd", "ab", "a")
    assert theirs == ids("wxyz", "vw", "u")


def slowly(text, stretches):
    """Every part of the text, looked for everywhere."""
    parts = [bytes(text[i:j]) for i in range(len(text)) for j in range(i + 1, len(text) + 1)]
    return max([len(p) for p in parts if any(p in bytes(s) for s in stretches)], default=0)


def test_the_longest_shared_run_is_that_of_a_slow_search():
    rng = random.Random(1)
    texts = [[rng.randrange(3) for _ in range(rng.randint(0, 14))] for _ in range(40)]
    stretches = [np.array([rng.randrange(3) for _ in range(60)]) for _ in range(3)]
    stretches.append(np.array(texts[5][2:] + texts[6]))
    byte_stretches = [stretch.astype(np.uint8) for stretch in stretches]
    expected = [slowly(text, byte_stretches) for text in texts]
    assert longest_runs(texts, stretches) == expected
    assert len(set(expected)) > 5


def test_a_shared_run_ends_with_its_text_and_with_the_stretch():
    assert longest_runs(ids("ab", "cd", "", "zz"), [np.array([*b"xabcdy"])]) == [2, 2, 0, 0]
    assert longest_runs(ids("cdab"), [np.array([*b"abcd"])]) == [2]
    assert longest_runs(ids("abcd"), [np.array([*b"ab"]), np.array([*b"cd"])]) == [2]
    assert longest_runs([], [np.array([1])]) == []


def test_a_sample_is_copied_whose_longest_run_is_long_enough():
    draws = {"confidence": 0.95, "resamples": 50, "seed": 1}
    found = figures(ids("abcdabcd", "abcd"), [8, 3], 4, draws)
    assert (found["copied"]["value"], found["longest_run"]["value"]) == (0.5, 5.5)
    assert (found["repeated_4"]["value"], found["tokens"]) == (pytest.approx(0.1), 12)
    assert figures([], [], 4, draws)["longest_run"] is None
