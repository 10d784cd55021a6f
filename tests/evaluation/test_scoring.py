"""Likelihoods beside a slow reference; no batch, order or neighbour changes them."""

import random

import pytest
import torch

from llmill.contract.errors import UserError
from llmill.evaluation.inference.scoring import (
    continuation_logprobs,
    equal_length_batches,
    head_outputs,
)
from tests.evaluation.toys import decoder, headed


@torch.inference_mode()
def one_by_one(model, context, continuation):
    """The definition: the log-probability of each id after the window of ids before it."""
    text, total = list(context) + list(continuation), 0.0
    for i in range(len(context), len(text)):
        before = text[max(0, i - model.config.block_size) : i]
        total += float(model(torch.tensor([before]))[0, -1].double().log_softmax(-1)[text[i]])
    return total


def some_pairs(n, longest=40):
    rng = random.Random(7)
    return [
        (
            [rng.randrange(257) for _ in range(rng.randint(1, longest))],
            [rng.randrange(257) for _ in range(rng.randint(1, 12))],
        )
        for _ in range(n)
    ]


def test_the_sum_is_that_of_each_id_after_those_before_it():
    model, pairs = decoder(), some_pairs(12)
    expected = [one_by_one(model, *pair) for pair in pairs]
    assert continuation_logprobs(model, pairs, 5) == pytest.approx(expected, abs=1e-4)


def test_scores_depend_neither_on_batch_size_nor_on_order():
    model, pairs = decoder(), some_pairs(60)
    alone = continuation_logprobs(model, pairs, 1)
    assert continuation_logprobs(model, pairs, 8) == pytest.approx(alone, abs=1e-5)
    mixed = random.Random(1).sample(range(60), 60)
    again = continuation_logprobs(model, [pairs[i] for i in mixed], 8)
    assert again == pytest.approx([alone[i] for i in mixed], abs=1e-5)


def test_equal_pairs_score_equal_to_the_last_bit():
    model, pairs = decoder(), some_pairs(20)
    found = continuation_logprobs(model, pairs + pairs[::-1], 3)
    assert found[:20] == found[:19:-1]


def test_continuations_of_one_context_are_told_apart():
    model = decoder()
    pairs = [([1, 2, 3], [i]) for i in range(257)]
    found = continuation_logprobs(model, pairs, 4)
    assert torch.tensor(found).exp().sum() == pytest.approx(1.0)
    assert len(set(found)) > 250


def test_a_context_that_does_not_fit_loses_its_left():
    model, (context, end) = decoder(block_size=16), (list(range(40)), [7, 8, 9])
    kept = context[-(16 - 3 + 1) :]
    assert continuation_logprobs(model, [(context, end)], 4) == continuation_logprobs(
        model, [(kept, end)], 4
    )


def test_a_continuation_that_fills_the_window_keeps_one_id_before_it():
    model, end = decoder(block_size=16), list(range(16))
    expected = continuation_logprobs(model, [([5], end)], 1)
    assert continuation_logprobs(model, [([1, 2, 5], end)], 1) == expected


def test_a_continuation_longer_than_the_window_is_scored_whole():
    model, end = decoder(block_size=16), list(range(100, 141))
    text = [3, 4, *end]
    expected = sum(
        continuation_logprobs(model, [(text[:at][-100:], text[at : at + 8])], 1)[0]
        for at in range(2, 43, 8)
    )
    assert continuation_logprobs(model, [([3, 4], end)], 4)[0] == pytest.approx(expected)


def test_an_empty_continuation_is_certain():
    assert continuation_logprobs(decoder(), [([1, 2], [])], 4) == [0.0]


def test_a_continuation_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one id before it"):
        continuation_logprobs(decoder(), [([], [1])], 4)


def test_a_model_without_numbers_is_refused_in_one_line():
    model = decoder()
    with torch.no_grad():
        model.blocks[0].mlp.up.weight.fill_(float("nan"))
    with pytest.raises(UserError, match=r"log-likelihoods are not numbers \(NaN\)"):
        continuation_logprobs(model, [([1, 2], [3])], 4)


def test_batches_hold_rows_of_one_length_only():
    rows = ["aa", "b", "cc", "d", "ee"]
    assert list(equal_length_batches(rows, 2)) == [[1, 3], [0, 2], [4]]


def test_heads_read_the_same_alone_as_beside_longer_rows():
    model, rows = headed(3), [context for context, _ in some_pairs(40)]
    together = head_outputs(model, rows, 8)
    alone = torch.cat([head_outputs(model, [row], 1) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert together.argmax(-1).tolist() == alone.argmax(-1).tolist()


def test_heads_agree_with_the_model_on_padded_rows():
    model, rows = headed(2), [context for context, _ in some_pairs(9)]
    padded = torch.zeros(9, 64, dtype=torch.long)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.tensor(row)
    with torch.inference_mode():
        expected = model(padded, torch.tensor([len(row) for row in rows]))
    torch.testing.assert_close(head_outputs(model, rows, 4), expected, atol=1e-5, rtol=0)
