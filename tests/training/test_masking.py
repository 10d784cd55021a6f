"""Masked rows: which tokens are hidden, which never, and that the same ones are wherever a row is
made.
"""

import numpy as np
import pytest
import torch

from llmill.training.batches import NOWHERE, Batch, Rows, Windows
from llmill.training.masking import Masked, generator, masked, masked_windows
from llmill.training.packing import Packed
from llmill.training.prefetch import Feed
from tests.training.test_packing import made_of, some_lengths

VOCAB, END, MASK = 1000, 999, 1000
PACKINGS = pytest.mark.parametrize("packing", [Windows, Packed])
APART = pytest.mark.parametrize("mask_documents", [False, True])


def some_rows(count: int, length: int = 200) -> np.ndarray:
    """Rows of text with an <|endoftext|> at every tenth position."""
    ids = np.random.default_rng(0).integers(0, END, (count, length))
    ids[:, 9::10] = END
    return ids


def hidden(ids: np.ndarray, held: np.ndarray | None = None, seed: int = 1) -> Batch:
    held = np.ones(ids.shape, dtype=bool) if held is None else held
    random = [generator(seed, place) for place in range(len(ids))]
    return masked(ids, held, random, VOCAB, END)


def test_fifteen_of_a_hundred_tokens_of_every_row_are_chosen_and_no_other_changes():
    ids = some_rows(50)
    batch = hidden(ids)
    read, at = (tensor.numpy() for tensor in batch.inputs)
    assert at.sum(axis=1).tolist() == [27] * 50  # of 180 tokens that are no <|endoftext|>
    assert not at[ids == END].any()
    assert (read[~at] == ids[~at]).all()
    assert batch.targets.tolist() == ids[at].tolist()
    assert (batch.weight, batch.tokens) == (50 * 27, 50 * 200)


def test_of_the_chosen_eight_tenths_are_hidden_a_tenth_replaced_and_a_tenth_stays():
    ids = some_rows(400)
    batch = hidden(ids)
    read, at = (tensor.numpy() for tensor in batch.inputs)
    before, after = ids[at], read[at]
    n = len(before)
    assert n == 400 * 27
    assert (after == MASK).sum() / n == pytest.approx(0.8, abs=0.015)
    assert (after == before).sum() / n == pytest.approx(0.1, abs=0.015)
    others = after[(after != MASK) & (after != before)]
    assert len(others) / n == pytest.approx(0.1, abs=0.015)
    assert others.max() < END
    assert len(set(others.tolist())) > 0.6 * min(END, len(others))  # any token, not a few


def test_every_position_of_a_row_is_chosen_equally_often():
    batch = hidden(np.zeros((3000, 20), dtype=np.int64))
    shares = batch.inputs[1].float().mean(dim=0)
    torch.testing.assert_close(shares, torch.full((20,), 0.15), atol=0.03, rtol=0)


def test_padding_is_never_chosen_and_a_short_row_learns_one_token():
    ids, held = np.zeros((30, 12), dtype=np.int64), np.zeros((30, 12), dtype=bool)
    held[:, :3] = True
    batch = hidden(ids, held)
    assert batch.inputs[1].sum(dim=1).tolist() == [1] * 30
    assert not batch.inputs[1][:, 3:].any()
    assert (batch.weight, batch.tokens) == (30, 90)


def test_a_row_of_nothing_but_ends_learns_nothing():
    batch = hidden(np.full((2, 5), END))
    assert not batch.inputs[1].any()
    assert (batch.targets.numel(), batch.weight) == (0, 0)


def rows_of(packing: type[Rows], mask_documents: bool, seed: int = 1) -> Masked:
    """Rows over documents in which every token is its own number, 0 ending none."""
    shards = made_of(some_lengths(200, 20))
    return Masked(packing(shards, 32, seed, mask_documents), end_of_text=0)


def original(batch: Batch) -> torch.Tensor:
    """The ids before any was hidden."""
    return batch.inputs[0].masked_scatter(batch.inputs[1], batch.targets)


@APART
@PACKINGS
def test_parts_of_a_batch_give_the_same_tensors_in_any_order(packing, mask_documents):
    rows = rows_of(packing, mask_documents)
    start = rows.n - 2  # across epochs
    whole = rows.get(start, 4)
    for size in (1, 2):
        parts = [rows.get(start + i, size) for i in reversed(range(0, 4, size))][::-1]
        for i, tensor in enumerate(whole.inputs):
            assert torch.equal(tensor, torch.cat([part.inputs[i] for part in parts]))
        assert torch.equal(whole.targets, torch.cat([part.targets for part in parts]))
        assert whole.weight == sum(part.weight for part in parts)
    again = rows_of(packing, mask_documents).get(start, 4)
    assert all(torch.equal(a, b) for a, b in zip(whole.inputs, again.inputs, strict=True))


@PACKINGS
def test_a_row_is_masked_anew_in_every_epoch_and_by_every_seed(packing):
    rows = rows_of(packing, False)
    epochs = [rows.get(epoch * rows.n, rows.n) for epoch in (0, 1)]
    of_row = [
        {tuple(row): at for row, at in zip(original(b).tolist(), b.inputs[1].tolist(), strict=True)}
        for b in (*epochs, rows_of(packing, False, seed=2).get(0, rows.n))
    ]
    first, second, other = of_row
    assert first.keys() == second.keys() == other.keys()
    for one, two in ((first, second), (first, other)):
        assert sum(one[row] == two[row] for row in one) < 0.1 * len(one)


@APART
@PACKINGS
def test_the_rows_are_those_of_the_packing_in_its_order(packing, mask_documents):
    rows = rows_of(packing, mask_documents)
    plain = packing(rows.shards, 32, 1, mask_documents).get(0, rows.n)
    assert torch.equal(original(rows.get(0, rows.n)), plain.inputs[0])


def test_packed_rows_hold_every_token_once_but_for_ends():
    rows = rows_of(Packed, False)
    held = [t for n in range(rows.n) for start, count in rows.row(n) for t in range(start, start + count)]  # fmt: skip
    assert len(held) == len(set(held))
    lost = set(range(rows.shards.tokens)) - set(held)
    assert lost <= {end - 1 for end in rows.shards.ends.tolist()}
    assert all(sum(count for _, count in rows.row(n)) <= 32 for n in range(rows.n))


def test_padding_is_a_document_of_its_own_which_no_token_sees():
    shards = made_of([2, 4, 3, 1, 5])
    for apart, numbers in (
        (False, [[0, 0, 0, 0, 0], [0, 0, 0, -1, -1], [0, 0, 0, 0, 0]]),
        (True, [[0, 0, 1, 1, 1], [2, 2, 2, -1, -1], [3, 4, 4, 4, 4]]),
    ):
        rows = Masked(Packed(shards, 5, 1, apart), end_of_text=0)
        batch = rows.get(0, 3)
        order = original(batch)[:, 0].argsort()
        assert batch.inputs[2][order].tolist() == numbers
        assert not batch.inputs[1][batch.inputs[2] == NOWHERE].any()


def test_windows_need_no_numbers_unless_documents_are_hidden_from_each_other():
    assert len(rows_of(Windows, False).get(0, 2).inputs) == 2
    batch = rows_of(Windows, True).get(0, 2)
    rows = rows_of(Windows, True).rows(0, 2)
    ends = made_of(some_lengths(200, 20)).ends
    for found, ((start, count),) in zip(batch.inputs[2].tolist(), rows, strict=True):
        assert found == [int((ends <= place).sum()) for place in range(start, start + count)]


def test_a_window_to_validate_on_is_masked_the_same_way_in_any_company():
    shards = made_of(some_lengths(200, 20))
    some, one = masked_windows(shards, 32, [7, 3, 11], 0), masked_windows(shards, 32, [3], 0)
    for a, b in zip(some.inputs, one.inputs, strict=True):
        assert torch.equal(a[1:2], b)
    assert original(one).tolist() == [list(range(96, 128))]
    assert (one.weight, one.tokens) == (5, 32)
    assert one.inputs[1].nonzero()[:, 1].tolist() == [3, 15, 25, 26, 28]


@pytest.mark.parametrize("count", [2, 4])
def test_any_number_of_processes_reads_the_same_masks(monkeypatch, count):
    rows = rows_of(Packed, True)

    def step() -> Batch:
        (batch,) = next(Feed(rows, 8, 1, torch.device("cpu")).steps(5, 6))
        return batch

    alone, parts = step(), []
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", str(count))
    for rank in range(count):
        monkeypatch.setenv("RANK", str(rank))
        parts.append(step())
    for i, tensor in enumerate(alone.inputs):
        assert torch.equal(tensor, torch.cat([part.inputs[i] for part in parts]))
    assert torch.equal(alone.targets, torch.cat([part.targets for part in parts]))
