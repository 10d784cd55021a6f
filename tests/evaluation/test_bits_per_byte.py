"""Bits per byte: a model that is known exactly, windows beside a slow reference, what is no figure."""

import math
import random

import pytest
import torch

from llmill.evaluation.inference.scoring import continuation_logprobs
from llmill.evaluation.language import bits_per_byte
from llmill.evaluation.language.bits_per_byte import TextLoss, nats, stretches
from tests.evaluation.toys import bigram, decoder

DRAWS = {"confidence": 0.95, "resamples": 50, "seed": 1}


def bits(model, text, window=64):
    return nats(model, [[256, *text.encode()]], window, 4)[0] / math.log(2)


def test_a_text_costs_what_the_model_says_of_its_bytes():
    model = bigram({"": "a", "a": "b", "b": "c"})
    assert bits(model, "abc") == pytest.approx(3.0, abs=1e-5)
    assert bits(model, "aba") == pytest.approx(1 + 1 + 9, abs=1e-5)
    assert bits(model, "abca") == pytest.approx(3 + math.log2(257), abs=1e-5)
    assert bits(model, "") == 0.0
    assert bits(model, "abc" + "ab" * 100, 8) == pytest.approx(
        3 + math.log2(257) + 100 * 1 + 99 * 9, abs=1e-3
    )


def test_a_long_text_is_cut_into_stretches_of_half_a_window():
    assert stretches(range(5), 4) == [(range(1), range(1, 5))]
    assert [(list(a), list(b)) for a, b in stretches(range(8), 4)] == [
        ([0], [1, 2]),
        ([0, 1, 2], [3, 4]),
        ([2, 3, 4], [5, 6]),
        ([3, 4, 5, 6], [7]),
    ]


@torch.inference_mode()
def one_by_one(model, ids, window):
    """The definition: each token behind what the stretch that it is in reads."""
    total, half = 0.0, window // 2
    for i in range(1, len(ids)):
        end = min(1 + ((i - 1) // half + 1) * half, len(ids)) if len(ids) > window + 1 else len(ids)
        before = ids[max(0, end - 1 - window) : i]
        total -= float(model(torch.tensor([before]))[0, -1].double().log_softmax(-1)[ids[i]])
    return total


@pytest.mark.parametrize("length", [1, 2, 16, 17, 18, 50])
def test_the_sum_is_that_of_each_token_in_its_window(length):
    rng = random.Random(length)
    ids = [rng.randrange(257) for _ in range(length)]
    expected = one_by_one(decoder(), ids, 16)
    assert nats(decoder(), [ids], 16, 3)[0] == pytest.approx(expected, abs=1e-3)


def test_a_window_of_the_whole_context_scores_as_continuations_are_scored():
    rng = random.Random(1)
    texts = [[rng.randrange(257) for _ in range(n)] for n in (30, 64, 65, 66, 200)]
    expected = continuation_logprobs(decoder(), [(ids[:1], ids[1:]) for ids in texts], 4)
    found = nats(decoder(), texts, 64, 4)
    assert found == pytest.approx([-value for value in expected], abs=1e-3)


def test_a_window_beyond_the_context_is_refused():
    with pytest.raises(ValueError, match="a window of 65 in a context of 64"):
        nats(decoder(), [[1, 2]], 65, 1)


def test_figures_are_of_all_texts_together():
    texts = [
        TextLoss(8 * math.log(2), 5, 4, 2),
        TextLoss(4 * math.log(2), 1, 4, 1),
        TextLoss(1.0, 1, 0, 0),
    ]
    found = bits_per_byte.of(texts, DRAWS)
    assert (found["value"], found["low"], found["high"], found["n"]) == (1.5, 1.0, 2.0, 2)
    assert bits_per_byte.nats_per_token(texts[:2]) == pytest.approx(2 * math.log(2))
    assert bits_per_byte.word_perplexity(texts[:2]) == pytest.approx(16.0)


def test_what_has_no_bytes_or_words_has_no_figure():
    assert bits_per_byte.of([TextLoss(1.0, 1, 0, 0)], DRAWS) is None
    assert bits_per_byte.word_perplexity([TextLoss(1.0, 1, 2, 0)]) is None
    assert bits_per_byte.word_perplexity([TextLoss(1e6, 1, 2, 1)]) is None


def test_a_text_is_sized_in_bytes_and_words():
    assert bits_per_byte.text_loss("ä  b\nc", 1.5, 7) == TextLoss(1.5, 7, 7, 3)


def test_gzip_knows_what_repeats_itself_and_nothing_else():
    rng = random.Random(1)
    noise = "".join(rng.choice("0123456789abcdef") for _ in range(4000))
    assert bits_per_byte.of_gzip(["ab" * 2000]) < 0.2
    assert 4 < bits_per_byte.of_gzip([noise]) < 5
