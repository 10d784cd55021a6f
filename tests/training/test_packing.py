"""Packing: whole documents in rows, nothing lost, nothing learnt twice, little padding."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from llmill.model.cross_entropy import IGNORE
from llmill.text.tokenization.shards import Shards
from llmill.training.batches import Rows, Windows, collate_texts, windows
from llmill.training.losses import token_loss
from llmill.training.packing import (
    Packed,
    best_fit_decreasing,
    collate_packed,
    packed,
    pieces,
    row_length,
)
from tests.model.test_transformer import BLOCKS, model

END = 0
PACKINGS = pytest.mark.parametrize("packing", [Windows, Packed])
MASKS = pytest.mark.parametrize("mask_documents", [False, True])


def made_of(lengths: list[int], split: int = 0) -> Shards:
    """Documents of these lengths in two shards, the first `split` of them in the first. Every token
    is its own number in the sequence, so that it can be told from all others; token 0 ends none.
    """
    ends = np.cumsum(lengths)
    tokens = np.arange(ends[-1], dtype=np.uint32)
    cut = int(ends[split - 1]) if split else 0
    size = int(ends[-1])
    return Shards(
        size,
        size,
        len(ends),
        size,
        [tokens[:cut], tokens[cut:]],
        ends,
        [0, cut, size],
        [""],
        ends * 0,
    )


def some_lengths(count: int, median: float, seed: int = 0) -> list[int]:
    """A mix as of real texts: many short, a few very long."""
    drawn = np.random.default_rng(seed).lognormal(np.log(median), 1.0, count)
    return np.clip(drawn, 1, 40 * median).astype(int).tolist()


def epoch(rows: Rows) -> list[tuple[list[int], list[int]]]:
    """Ids and targets of every row of an epoch, whatever the form of the batch."""
    batch = rows.get(0, rows.n)
    ids, targets = batch.inputs[0], batch.targets
    if len(batch.inputs) > 1:
        learnt = batch.inputs[1]
        targets = torch.full_like(ids, IGNORE).masked_scatter(learnt, batch.targets)
    return list(zip(ids.tolist(), targets.tolist(), strict=True))


def learnt_tokens(rows: Rows) -> list[int]:
    return sorted(t for _, targets in epoch(rows) for t in targets if t != IGNORE)


def test_a_small_plan_is_the_expected_one():
    packed = Packed(made_of([2, 4, 3, 1, 5]), block_size=5, seed=1, mask_documents=False)
    assert [packed.row(n) for n in range(packed.n)] == [
        [(9, 1), (10, 5)],  # the longest, and what fits it best
        [(0, 2), (2, 4)],
        [(6, 3)],
    ]


def test_targets_of_a_small_plan_are_the_expected_ones():
    shards = made_of([2, 4, 3, 1, 5])
    packed = Packed(shards, block_size=5, seed=1, mask_documents=False)
    found = dict((ids[0], (ids, targets)) for ids, targets in epoch(packed))
    assert found == {
        9: ([9, 10, 11, 12, 13], [10, 11, 12, 13, 14]),
        0: ([0, 1, 2, 3, 4], [1, 2, 3, 4, 5]),
        6: ([6, 7, 8, 0, 0], [7, 8, IGNORE, IGNORE, IGNORE]),
    }
    batch = packed.get(0, 3)
    assert (batch.weight, batch.tokens) == (12, 13)


def test_targets_of_a_small_masked_plan_are_the_expected_ones():
    masked = Packed(made_of([2, 4, 3, 1, 5]), block_size=5, seed=1, mask_documents=True)
    batch = masked.get(0, 3)
    ids, learnt, documents = batch.inputs
    order = ids[:, 0].argsort()
    assert ids[order].tolist() == [[0, 1, 2, 3, 4], [6, 7, 8, 0, 0], [9, 10, 11, 12, 13]]
    assert documents[order].tolist() == [[0, 0, 1, 1, 1], [2, 2, 2, -1, -1], [3, 4, 4, 4, 4]]
    assert learnt[order].int().tolist() == [[1, 0, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 1, 1, 1]]
    assert sorted(batch.targets.tolist()) == [1, 3, 4, 5, 7, 8, 11, 12, 13, 14]
    assert (batch.weight, batch.tokens) == (10, 13)


@pytest.mark.parametrize("block_size", [7, 16, 64])
def test_masked_every_token_but_each_documents_first_is_learnt_exactly_once(block_size):
    lengths = some_lengths(300, 20)
    packed = Packed(made_of(lengths, split=100), block_size, seed=1, mask_documents=True)
    firsts = {0, *np.cumsum(lengths)[:-1].tolist()}
    assert learnt_tokens(packed) == [t for t in range(sum(lengths)) if t not in firsts]


@pytest.mark.parametrize("block_size", [7, 16, 64])
def test_unmasked_the_first_tokens_behind_another_document_in_the_row_are_learnt_too(block_size):
    lengths = some_lengths(300, 20)
    packed = Packed(made_of(lengths, split=100), block_size, seed=1, mask_documents=False)
    firsts = {0, *np.cumsum(lengths)[:-1].tolist()}
    opening = {packed.row(n)[0][0] for n in range(packed.n)}
    assert learnt_tokens(packed) == [
        t for t in range(sum(lengths)) if t not in firsts or t not in opening
    ]


@MASKS
def test_a_position_predicts_the_next_token_of_its_row_or_nothing(mask_documents):
    packed = Packed(made_of(some_lengths(200, 20)), 32, seed=1, mask_documents=mask_documents)
    for ids, targets in epoch(packed):
        for following, target in zip(ids[1:], targets[:-1], strict=True):
            assert target in (following, IGNORE)


def test_a_document_longer_than_a_row_fills_rows_and_its_rest_shares_one():
    packed = Packed(made_of([10, 2]), block_size=4, seed=1, mask_documents=False)
    assert [packed.row(n) for n in range(packed.n)] == [[(0, 5)], [(4, 5)], [(8, 2), (10, 2)]]
    found = dict((ids[0], targets) for ids, targets in epoch(packed))
    assert found == {0: [1, 2, 3, 4], 4: [5, 6, 7, 8], 8: [9, 10, 11, IGNORE]}


def test_the_rest_of_a_long_document_is_not_predicted_by_the_document_before_it():
    packed = Packed(made_of([2, 10]), block_size=4, seed=1, mask_documents=False)
    assert packed.row(2) == [(0, 2), (10, 2)]
    found = dict((ids[0], targets) for ids, targets in epoch(packed))
    assert found[0] == [1, IGNORE, 11, IGNORE]  # 10 is the last target of the part before


def test_little_of_a_realistic_mix_is_padding():
    lengths = some_lengths(5000, 90)
    packed = Packed(made_of(lengths), block_size=256, seed=1, mask_documents=False)
    held = sum(count for n in range(packed.n) for _, count in packed.row(n))
    assert 1 - held / (packed.n * 257) < 0.05
    batch = packed.get(0, 64)
    assert 1 - batch.tokens / batch.inputs[0].numel() < 0.05


def test_no_row_holds_more_than_it_can_and_its_pieces_stand_in_the_order_of_the_shards():
    packed = Packed(made_of(some_lengths(500, 60)), 128, seed=1, mask_documents=False)
    for n in range(packed.n):
        row = packed.row(n)
        assert sum(count for _, count in row) <= 129
        assert all(a < b for (a, _), (b, _) in pairwise(row))


@MASKS
@PACKINGS
def test_the_same_seed_gives_the_same_rows_and_another_one_another_order(packing, mask_documents):
    shards = made_of(some_lengths(200, 40))

    def drawn(seed: int) -> list:
        rows = packing(shards, 64, seed, mask_documents)
        return rows.rows(0, 2 * rows.n)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    n = len(drawn(1)) // 2
    assert sorted(drawn(1)[:n]) == sorted(drawn(1)[n:]) == sorted(drawn(2)[:n])
    assert drawn(1)[:n] != drawn(1)[n:]


@PACKINGS
def test_a_batch_split_in_parts_holds_the_same_rows(packing):
    rows = packing(made_of(some_lengths(200, 40)), 64, 1, True)
    whole, parts = rows.get(8, 4), [rows.get(8 + i, 1) for i in range(4)]
    for i, tensor in enumerate(whole.inputs):
        assert torch.equal(tensor, torch.cat([part.inputs[i] for part in parts]))
    assert torch.equal(whole.targets, torch.cat([part.targets for part in parts]))
    assert whole.weight == sum(part.weight for part in parts)


def test_masked_windows_hold_the_same_tokens_and_learn_no_documents_first():
    shards = made_of([3, 6, 4])
    plain = Windows(shards, 6, seed=1).get(0, 2)
    masked = Windows(shards, 6, seed=1, mask_documents=True).get(0, 2)
    order = plain.inputs[0][:, 0].argsort()
    assert torch.equal(masked.inputs[0], plain.inputs[0])
    assert masked.inputs[2][order].tolist() == [[0, 0, 0, 1, 1, 1], [1, 1, 1, 2, 2, 2]]
    assert masked.inputs[1][order].int().tolist() == [[1, 1, 0, 1, 1, 1], [1, 1, 0, 1, 1, 1]]
    assert sorted(masked.targets.tolist()) == [1, 2, 4, 5, 6, 7, 8, 10, 11, 12]
    assert (masked.weight, masked.tokens) == (10, 12)
    assert (plain.weight, plain.tokens) == (12, 12)


def test_windows_learn_every_token_but_the_first_and_a_rest():
    assert learnt_tokens(Windows(made_of([3, 6, 5]), 6, seed=1)) == list(range(1, 13))
    batch = windows(made_of([3, 6, 5]), 6, [1])
    assert batch.inputs[0].tolist() == [[6, 7, 8, 9, 10, 11]]
    assert batch.targets.tolist() == [[7, 8, 9, 10, 11, 12]]


def slowly(lengths: list[int], capacity: int) -> list[int]:
    """Best-fit decreasing, item by item: how full each row is."""
    rows: list[int] = []
    for length in sorted(lengths, reverse=True):
        fits = [n for n, held in enumerate(rows) if held + length <= capacity]
        if fits:
            rows[max(fits, key=rows.__getitem__)] += length
        else:
            rows.append(length)
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_rows_are_as_full_as_best_fit_decreasing_makes_them(seed):
    rng = np.random.default_rng(seed)
    capacity = int(rng.integers(1, 60))
    lengths = rng.integers(1, capacity + 1, int(rng.integers(1, 120)))
    row = best_fit_decreasing(lengths, capacity)
    assert sorted(np.bincount(row, lengths)) == sorted(slowly(lengths.tolist(), capacity))


def test_pieces_of_a_long_document_share_the_token_where_it_is_cut():
    firsts, lengths = pieces(np.array([5, 6, 15, 24]), block_size=4)
    assert firsts.tolist() == [0, 5, 6, 10, 15, 19]
    assert lengths.tolist() == [5, 1, 5, 5, 5, 5]


def texts_of(lengths: list[int]) -> list[tuple[list[int], list[int]]]:
    """Texts of these lengths, of which every token but the first two is learnt."""
    drawn = [np.random.default_rng([7, i]).integers(0, 50, n + 1) for i, n in enumerate(lengths)]
    return [(ids[:-1].tolist(), [IGNORE, *ids[2:].tolist()]) for ids in drawn]


def test_texts_fill_rows_whole_and_each_stands_in_one():
    texts = texts_of([3, 9, 2, 12, 5, 4])
    rows = packed(texts, 12)
    assert [[len(ids) for ids, _ in row] for row in rows] == [[12], [3, 9], [2, 5, 4]]
    assert sorted(text for row in rows for text in row) == sorted(texts)
    assert [row_length(row) for row in rows] == [12, 12, 11]


def test_a_batch_of_packed_texts_is_the_expected_one():
    batch = collate_packed([[([5, 6], [IGNORE, 7]), ([8], [9])], [([1, 2], [3, 4])]])
    ids, learnt, numbers = batch.inputs
    assert ids.tolist() == [[5, 6, 8], [1, 2, 0]]
    assert learnt.int().tolist() == [[0, 1, 1], [1, 1, 0]]
    assert numbers.tolist() == [[0, 0, 1], [0, 0, -1]]
    assert batch.targets.tolist() == [7, 9, 3, 4]
    assert (batch.weight, batch.tokens) == (4, 5)


def test_texts_that_stand_alone_are_the_batch_of_before():
    texts = texts_of([3, 9])
    alone, before = collate_packed([[text] for text in texts]), collate_texts(texts)
    assert len(alone.inputs) == len(before.inputs) == 2
    assert all(map(torch.equal, alone.inputs, before.inputs))
    assert torch.equal(alone.targets, before.targets)


@BLOCKS
def test_packed_texts_have_the_loss_and_the_gradients_of_each_alone(config):
    texts, made = texts_of([3, 9, 2, 12, 5, 4]), model(config)
    loss = token_loss(made, collate_packed(packed(texts, 12)))
    loss.backward()
    grads = [p.grad.clone() for p in made.parameters()]
    made.zero_grad()
    alone = sum(token_loss(made, collate_texts([text])) for text in texts)
    alone.backward()
    assert loss.item() == pytest.approx(alone.item(), rel=1e-5)
    for packed_grad, parameter in zip(grads, made.parameters(), strict=True):
        torch.testing.assert_close(packed_grad, parameter.grad, rtol=1e-4, atol=1e-5)
