"""Unigrams and bigrams of a text, counted by hand."""

import math

import pytest

from llmill.evaluation.language import ngrams
from llmill.evaluation.language.ngrams import Bigram, Unigram
from tests.evaluation.toys import shards_of


@pytest.fixture
def text(tmp_path):
    """Nine tokens: abab and its end, bc and its end, and one more end."""
    return shards_of(tmp_path, ["abab", "bc", ""])


def test_each_token_counts_once_more_than_it_stands_there(text):
    unigram = Unigram.of(text)
    assert unigram.logprob(b"a") == pytest.approx(math.log(3 / (9 + 257)))
    assert unigram.logprob(b"bz") == pytest.approx(math.log(4 / 266) + math.log(1 / 266))
    assert unigram.logprob([256]) == pytest.approx(math.log(4 / 266))


@pytest.mark.parametrize("at_once", [2, 3, 1000])
def test_pairs_are_counted_across_stretches_and_leave_one_to_the_unigram(
    text, at_once, monkeypatch
):
    monkeypatch.setattr(ngrams, "AT_ONCE", at_once)
    bigram = Bigram.of(text, [*b"ab"], Unigram.of(text))
    assert bigram.pairs == {(97, 98): 2, (98, 97): 1, (98, 99): 1, (98, 256): 1}
    assert bigram.logprob(97, b"b") == pytest.approx(math.log((2 + 4 / 266) / 3))
    assert bigram.logprob(97, b"bc") == pytest.approx(
        math.log((2 + 4 / 266) / 3) + math.log((1 + 2 / 266) / 4)
    )
    assert bigram.logprob(122, b"a") == pytest.approx(math.log(3 / 266))  # never seen


def test_the_likeliest_token_is_guessed_and_of_equals_the_smaller(text):
    bigram = Bigram.of(text, [*b"ab"], Unigram.of(text))
    assert bigram.guesses(97, [*b"b"]) is True
    assert bigram.guesses(97, [*b"ba"]) is True
    assert bigram.guesses(97, [*b"bc"]) is False
    assert bigram.guesses(122, [*b"a"]) is False
