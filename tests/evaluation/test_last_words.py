"""The last word of a document: what it is, and guesses of a model that is known exactly."""

import math
from random import Random

import pytest
import torch

from llmill.evaluation.inference.scoring import continuations
from llmill.evaluation.inference.writing import greedy
from llmill.evaluation.language.last_words import (
    Guess,
    LastWord,
    figures,
    guesses,
    last_word,
    perplexity,
)
from tests.evaluation.toys import bigram, bytes_tokenizer, decoder


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ("The capital of Peru is Lima.", LastWord("The capital of Peru is", "Lima")),
        ("Question: Who?\nAnswer: Tim Berners-Lee", LastWord("Question: Who?\nAnswer: Tim", "Berners-Lee")),
        ('He said "yes."\n', None),  # a mark before the word
        ("8 times 9 is 72!", LastWord("8 times 9 is", "72")),
        ("Alone.", None),
        ("a line\nbreak", None),  # no space before the word
        ("two  spaces", None),
        ("a (word)", None),
        ("1.", None),
        ("", None),
        ("A key: " + "a1" * 20 + ".", LastWord("A key:", "a1" * 20)),
        ("A key: " + "a1" * 20 + "b.", None),  # longer than words are
    ],
)  # fmt: skip
def test_a_document_ends_in_a_word_behind_a_space(document, found):
    assert last_word(document) == found


def test_a_perplexity_beyond_all_floats_is_none():
    draws = {"confidence": 0.95, "resamples": 50, "seed": 1}
    assert perplexity([-800.0] * 3, draws) is None
    assert perplexity([-1500.0, -5.0, -4.0], draws) is None
    assert perplexity([-math.log(8)] * 3, draws)["value"] == pytest.approx(8)


def test_a_word_is_right_where_every_token_is_the_likeliest():
    model, tokenizer = bigram({"x": " ", " ": "c", "c": "d"}), bytes_tokenizer()
    found = guesses(model, tokenizer, [("xx", "cd"), ("xx", "cz"), ("yx", "c")], 4)
    assert [(each.text, each.right) for each in found] == [("cd", True), ("cd", False), ("c", True)]
    bits = [-each.logprob / math.log(2) for each in found]
    assert bits == pytest.approx([3, 11, 2], abs=1e-5)


def test_what_is_too_long_is_read_from_its_end():
    model, tokenizer = decoder(block_size=16), bytes_tokenizer()
    end = "fifteen letters"  # and the word behind: block_size - 3 of them are read
    shown = [(f"{'x' * n} {end}", "abc") for n in (20, 200)]
    first, second = guesses(model, tokenizer, shown, 4)
    assert first == second


def test_what_is_right_of_a_long_text_is_what_its_probability_is_of():
    """A model that knows three letters and reads 16 tokens: one more or less changes its mind."""
    model, tokenizer, random = decoder(8, block_size=16), bytes_tokenizer(), Random(1)
    with torch.no_grad():
        model.embedding.weight[[i for i in range(257) if i not in {*b" ab"}]] = 0
    shown = [("".join(random.choices("ab", k=40)), random.choice("ab")) for _ in range(60)]
    pairs = [([256, *text.encode()], [*f" {word}".encode()]) for text, word in shown]
    found = guesses(model, tokenizer, shown, 8)
    right = [each.greedy for each in continuations(model, pairs, 8)]
    assert [each.right for each in found] == right
    assert 5 <= sum(right) <= 55
    # Two tokens: the first is guessed from the last 15, and the second from all 16.
    written = [greedy(model, tokenizer, [ids[-15:]], 2)[0] for ids, _ in pairs]
    assert [each.text for each in found] == [bytes(ids).decode().strip() for ids in written]


def test_a_few_words_before_the_last_are_near():
    assert LastWord("In Poland, prices are given in the", "zloty").near == "given in the"


def test_figures_are_the_share_right_and_the_perplexity_of_a_word():
    told = [Guess("", True, -math.log(2)), Guess("", False, -math.log(32))]
    found = figures(told, {"confidence": 0.95, "resamples": 100, "seed": 1})
    assert (found["accuracy"]["value"], found["accuracy"]["n"]) == (0.5, 2)
    perplexity = [round(found["perplexity"][key], 6) for key in ("value", "low", "high")]
    assert perplexity == [8, 2, 32]
    assert figures([], {"confidence": 0.95, "resamples": 10, "seed": 1})["perplexity"] is None
