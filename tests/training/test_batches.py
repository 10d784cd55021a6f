"""Batches of nearly one length: the same examples, less padding, a function of seed and epoch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from llmill.model.cross_entropy import IGNORE
from llmill.training.batches import (
    Examples,
    LengthGroups,
    Permutation,
    at_once,
    collate_kept,
    collate_labels,
    collate_texts,
)
from llmill.training.losses import class_loss


def some_examples(count: int, seed: int = 0) -> list[tuple[list[int], float]]:
    """As long as real instructions: many short, some long."""
    drawn = np.random.default_rng(seed).lognormal(np.log(60), 0.6, count)
    return [([1] * int(length), 0.5) for length in np.clip(drawn, 5, 256)]


def padding(examples: list, order: Permutation, batch_size: int) -> float:
    """The share of padding in an epoch, in batches of so many."""
    held, positions = 0, 0
    for start in range(0, len(examples), batch_size):
        items = order.items(start, min(batch_size, len(examples) - start))
        lengths = [len(examples[n][0]) for n in items]
        held, positions = held + sum(lengths), positions + len(lengths) * max(lengths)
    return 1 - held / positions


def test_an_epoch_is_its_permutation_sorted_cut_and_shuffled_by_stretches():
    lengths = [5, 1, 4, 2, 3, 9, 7]
    plain, grouped = Permutation(7, seed=1), LengthGroups(lengths, batch_size=2, seed=1)
    assert plain.items(0, 7) == [5, 0, 1, 4, 2, 6, 3]
    assert grouped.items(0, 7) == [6, 5, 1, 4, 2, 0, 3]  # lengths 7 9, 1 3, 4 5, and one left
    assert plain.items(7, 7) == [6, 1, 4, 0, 3, 2, 5]
    assert grouped.items(7, 7) == [6, 4, 2, 0, 5, 1, 3]  # fills that batch, then 3 4, 5 9, 1 2


@pytest.mark.parametrize(("n", "batch_size"), [(7, 2), (1, 4), (3, 16), (100, 3), (96, 1), (64, 2)])
def test_every_example_comes_exactly_once_an_epoch(n, batch_size):
    lengths = np.random.default_rng(0).integers(1, 50, n).tolist()
    order = LengthGroups(lengths, batch_size, seed=3)
    epochs = [order.items(e * n, n) for e in range(5)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    lengths = [len(ids) for ids, _ in some_examples(500)]
    whole = LengthGroups(lengths, 8, seed=1).items(0, 1500)
    assert LengthGroups(lengths, 8, seed=1).items(1234, 40) == whole[1234:1274]
    assert LengthGroups(lengths, 8, seed=2).items(0, 500) != whole[:500]
    assert whole[:500] != whole[500:1000]


def test_batches_of_a_stretch_are_sorted_by_length_inside_and_shuffled_among_each_other():
    lengths = list(range(256))
    items = LengthGroups(lengths, 8, seed=1).items(0, 256)
    batches = [items[i : i + 8] for i in range(0, 256, 8)]
    assert sorted(batches) == [list(range(i, i + 8)) for i in range(0, 256, 8)]
    assert batches != sorted(batches)


@pytest.mark.parametrize(("n", "batch_size"), [(3000, 8), (3001, 16), (1000, 32)])
def test_far_less_than_half_of_the_padding_is_left(n, batch_size):
    examples = some_examples(n)
    lengths = [len(ids) for ids, _ in examples]
    before = padding(examples, Permutation(n, seed=1), batch_size)
    after = padding(examples, LengthGroups(lengths, batch_size, seed=1), batch_size)
    assert before > 0.3
    assert after < 0.2 * before


def test_later_epochs_pad_as_little_when_the_examples_are_no_multiple_of_the_batch():
    examples = some_examples(1001)
    order = LengthGroups([len(ids) for ids, _ in examples], 8, seed=1)
    held, positions = 0, 0
    for start in range(1008, 2000, 8):
        lengths = [len(examples[n][0]) for n in order.items(start, 8)]
        held, positions = held + sum(lengths), positions + 8 * max(lengths)
    assert 1 - held / positions < 0.1


def test_a_batch_split_in_parts_holds_the_same_examples():
    examples = [([n] * (n % 9 + 1), float(n)) for n in range(50)]
    batches = Examples(examples, lambda part: collate_labels(part, None), batch_size=8, seed=1)
    whole = batches.get(16, 8).targets.tolist()
    assert whole == batches.get(16, 4).targets.tolist() + batches.get(20, 4).targets.tolist()


def test_any_measure_of_length_can_be_given():
    batches = Examples([3, 1, 2, 4], collate=list, batch_size=2, seed=1, length=lambda n: n)
    assert sorted([batches.get(0, 2), batches.get(2, 2)]) == [[1, 2], [3, 4]]


def test_the_tokens_of_a_batch_are_counted_without_padding():
    texts = collate_texts([([1, 2, 3], [IGNORE, 3, 0]), ([4], [0])])
    labels = collate_labels([([1, 2, 3], 1.0), ([4], 0.0)], None)
    assert (texts.tokens, labels.tokens) == (4, 4)


def test_padding_is_neither_learnt_nor_weighed():
    batch = collate_texts([([5, 6, 7], [IGNORE, 7, 8]), ([9], [4])])
    ids, learnt = batch.inputs
    assert ids.tolist() == [[5, 6, 7], [9, 0, 0]]
    assert learnt.tolist() == [[False, True, True], [True, False, False]]
    assert batch.targets.tolist() == [7, 8, 4]
    assert (batch.weight, batch.tokens) == (3, 4)


def test_the_loss_of_a_batch_of_classes_is_torchs_mean_weighted_by_class():
    weights, labels = torch.tensor([0.5, 2.0]), [0, 1, 1]
    logits = torch.tensor([[1.0, 0.0], [2.0, -1.0], [0.0, 0.5]])
    read = collate_labels([([n] * (n + 1), label) for n, label in enumerate(labels)], weights)
    kept = collate_kept([(logits[n], label, n + 1) for n, label in enumerate(labels)], weights)
    models = (lambda ids, lengths: logits[ids[:, 0]], read), (lambda x, lengths: x, kept)
    expected = F.cross_entropy(logits, torch.tensor(labels), weight=weights)
    for model, batch in models:
        torch.testing.assert_close(class_loss(weights)(model, batch) / batch.weight, expected)
        assert batch.weight == 4.5


@pytest.mark.parametrize(
    ("most", "length", "rows"),
    [(16, 256, 16), (16, 1024, 16), (16, 8192, 2), (32, 10**6, 1), (32, 0, 32)],
)
def test_fewer_of_long_rows_are_read_together(most, length, rows):
    assert at_once(most, length) == rows
