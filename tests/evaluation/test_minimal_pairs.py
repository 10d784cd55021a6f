"""Which of two sentences is preferred, by a model that is known exactly and by what knows no
grammar.
"""

import numpy as np

from llmill.evaluation.language.minimal_pairs import (
    Preferred,
    figures,
    preferences,
    sentences_in,
)
from llmill.evaluation.language.ngrams import Unigram
from tests.evaluation.toys import bigram, bytes_tokenizer, shards_of

FLAT = Unigram(np.ones(257))


def test_the_sentence_with_the_higher_sum_is_preferred():
    model, tokenizer = bigram({"": "a", "a": "b", "b": "c"}), bytes_tokenizer()
    pairs = [("abc", "abb"), ("abd", "abc"), ("ab", "ab"), ("abc", "abcd")]
    found = preferences(model, tokenizer, pairs, FLAT, 4)
    assert [each.model for each in found] == [1.0, 0.0, 0.5, 1.0]
    assert [each.shorter for each in found] == [0.5, 0.5, 0.5, 1.0]
    assert [each.unigram for each in found] == [0.5, 0.5, 0.5, 1.0]


def test_a_unigram_prefers_what_stands_more_often():
    counts = np.zeros(257)
    counts[ord("a")] = 100
    found = preferences(bigram({}), bytes_tokenizer(), [("a", "b"), ("b", "a")], Unigram(counts), 4)
    assert [each.unigram for each in found] == [1.0, 0.0]


def test_a_unigram_does_not_see_the_order_of_words():
    rng = np.random.default_rng(1)
    pairs = [
        tuple("".join(rng.permutation([*"the barrel moved"])) for _ in range(2)) for _ in "12345678"
    ]
    counted = Unigram(rng.integers(0, 1000, 257))
    found = preferences(bigram({}), bytes_tokenizer(), pairs, counted, 4)
    assert [each.unigram for each in found] == [0.5] * 8


def test_sentences_are_found_where_they_stand_alone(tmp_path):
    texts = ["One box is here. Two are not!", "It is so.\nA box is here.", "Is it?"]
    wanted = {
        "One box is here.",
        "box is here.",
        "A box is here.",
        "It is so",
        "Two are not!",
        "Is it?",
    }
    found = sentences_in(shards_of(tmp_path, texts), bytes_tokenizer(), wanted)
    assert found == {"One box is here.", "A box is here.", "Two are not!", "Is it?"}


def test_phenomena_weigh_the_same():
    told = [Preferred(1.0, 0.5, 0.0), Preferred(1.0, 0.5, 0.0), Preferred(0.0, 0.5, 1.0)]
    found = figures(["tense", "tense", "article"], told, 0.95)
    assert {who: found[who]["value"] for who in ("model", "unigram", "shorter")} == {
        "model": 0.5, "unigram": 0.5, "shorter": 0.5,
    }  # fmt: skip
    assert found["phenomena"]["tense"]["model"]["value"] == 1.0
    assert found["phenomena"]["article"]["model"]["n"] == 1
    assert figures([], [], 0.95) == {
        "model": None, "unigram": None, "shorter": None, "phenomena": {},
    }  # fmt: skip
