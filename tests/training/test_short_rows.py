"""Rows that are shorter early in a training hold the same tokens and targets, and see less."""

import pytest
import torch

from llmill.model.cross_entropy import IGNORE
from llmill.training.batches import Batch, Windows, collate_texts
from llmill.training.losses import token_loss
from llmill.training.masking import Masked
from llmill.training.packing import Packed
from llmill.training.short_rows import ShortRows, shortened
from tests.evaluation.toys import bytes_tokenizer, decoder, masked, shards_of

TEXTS = ["Gold is a metal.", "Rain", "An oak is a tree, and a rose is none.", "Two and two."]


def test_a_row_becomes_several_that_predict_each_others_first_tokens():
    ids, targets = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]), torch.tensor([[2, 3, 4, 9]] * 2)
    short = shortened(Batch((ids,), targets, weight=8, tokens=8), 2)
    assert short.inputs[0].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert short.targets.tolist() == [[2, 3], [4, 9], [2, 3], [4, 9]]
    assert (short.weight, short.tokens) == (8, 8)


def test_targets_of_a_loss_mask_stay_with_their_positions():
    whole = collate_texts([([1, 2, 3, 4], [2, IGNORE, 4, 5]), ([6, 7], [IGNORE, 8])])
    short = shortened(whole, 2)
    ids, learnt = short.inputs
    assert ids.tolist() == [[1, 2], [3, 4], [6, 7], [0, 0]]
    assert learnt.tolist() == [[True, False], [True, True], [False, True], [False, False]]
    assert short.targets.tolist() == [2, 4, 5, 8]


@pytest.mark.parametrize(
    ("start", "times"),
    [(0, 4), (5, 4), (6, 4), (11, 4), (12, 2), (23, 2), (24, 1), (35, 1), (36, 1), (99, 1)],
)
def test_each_phase_has_as_many_steps_and_all_rows_of_a_step_are_of_one_length(
    tmp_path, start, times
):
    """Six steps of six rows: two steps a phase. A step after the last has the rows of the last."""
    windows = Windows(shards_of(tmp_path, TEXTS), 8, seed=0)
    short = ShortRows(windows, [4, 2, 1], steps=6, per_step=6)
    assert short.n == windows.n
    assert short.get(start, 3).inputs[0].shape == (3 * times, 8 // times)
    whole = windows.get(start, 3)
    assert torch.equal(short.get(start, 3).inputs[0].flatten(), whole.inputs[0].flatten())


def masked_windows(shards):
    return Masked(Windows(shards, 16, 0), bytes_tokenizer().end_of_text)


@pytest.mark.parametrize("make", [
    lambda shards: Windows(shards, 16, 0),
    lambda shards: Windows(shards, 16, 0, mask_documents=True),
    lambda shards: Packed(shards, 16, 0, mask_documents=True),
    masked_windows,
], ids=["windows", "masked documents", "packed", "masked tokens"])  # fmt: skip
def test_the_loss_of_short_rows_is_that_of_a_model_that_sees_no_further(tmp_path, make):
    """The slow way: each short row in a batch of its own."""
    whole = make(shards_of(tmp_path, TEXTS)).get(0, 3)
    model = masked() if make is masked_windows else decoder()
    slow, at = 0.0, 0
    for row in range(3):
        for part in (slice(0, 4), slice(4, 8), slice(8, 12), slice(12, 16)):
            inputs = tuple(t[row : row + 1, part] for t in whole.inputs)
            targets = whole.targets[row : row + 1, part] if whole.targets.dim() == 2 else None
            if targets is None:
                n = int(inputs[1].sum())
                targets, at = whole.targets[at : at + n], at + n
                if n == 0:
                    continue
            slow += token_loss(model, Batch(inputs, targets, 1, 1)).item()
    assert token_loss(model, shortened(whole, 4)).item() == pytest.approx(slow, rel=1e-5)
