"""Pretraining text learnt again beside a task: when, which, and that its mean loss is added."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch.optim import AdamW

from llmill.contract.errors import Stopped, UserError
from llmill.text.tokenization import shards
from llmill.training.batches import Batch
from llmill.training.loop import fit
from llmill.training.replay import ReplayedWindows, opened
from llmill.training.settings import Replay as Section
from tests.evaluation.toys import bytes_tokenizer
from tests.training.test_loop import SETTINGS, StopsAt, Toy, ToyBatches, job, same, seeded, work


class Reversed:
    """Other text than the task's: each token is followed by the one before it."""

    def __init__(self):
        self.asked: list[tuple[int, int]] = []

    def get(self, start: int, count: int) -> Batch:
        self.asked.append((start, count))
        rows = [
            torch.randint(0, 7, (3,), generator=seeded(-i - 1)) for i in range(start, start + count)
        ]
        idx = torch.stack(rows)
        return Batch((idx,), (idx - 1) % 7, weight=3 * count, tokens=3 * count)


@pytest.mark.parametrize(
    ("share", "steps"),
    [
        (Fraction(1), [0, 1, 2, 3, 4, 5, 6, 7]),
        (Fraction(1, 2), [1, 3, 5, 7]),
        (Fraction(1, 4), [3, 7]),
        (Fraction(3, 8), [2, 5, 7]),
        (Fraction(1, 100), []),
    ],
)
def test_a_share_of_the_steps_replays_spread_evenly_and_each_new_windows(share, steps):
    text = Reversed()
    replay = ReplayedWindows(text, share, 2)
    assert [step for step in range(8) if replay.at(step)] == steps
    assert text.asked == [(2 * i, 2) for i in range(len(steps))]


def test_the_mean_loss_of_the_replayed_text_is_added_to_the_mean_loss_of_the_task(tmp_path):
    """Against the sum written out, step by step, with an optimizer of its own."""
    settings = SETTINGS.model_copy(update={"max_steps": 4})
    model, slow = Toy(), Toy()
    model.dropout.p = slow.dropout.p = 0.0
    replayed = ReplayedWindows(Reversed(), Fraction(1, 2), 2)
    curve = fit(model, replace(work(ToyBatches(), settings), replay=replayed), job(tmp_path))
    optimizer, losses = AdamW(slow.parameters(), weight_decay=0.1, betas=(0.9, 0.95)), []
    for step, rate in enumerate([0.025, 0.05, 0.05, 0.025]):
        task = ToyBatches().get(4 * step, 4)
        loss = slow(*task.inputs, task.targets) / 20
        if step % 2:
            text = Reversed().get(step - 1, 2)
            losses.append(slow(*text.inputs, text.targets) / 6)
            loss = loss + losses[-1]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(slow.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    torch.testing.assert_close(model.table.weight, slow.table.weight)
    assert [row["replay_loss"] for row in curve] == pytest.approx([float(x) for x in losses])


@pytest.mark.parametrize("step", [5, 6])
def test_a_run_that_replays_is_resumed_bit_for_bit(tmp_path, step):
    replayed = ReplayedWindows(Reversed(), Fraction(3, 8), 2)
    whole, stopped = Toy(), Toy()
    curve = fit(whole, replace(work(ToyBatches()), replay=replayed), job(tmp_path / "whole"))
    made = job(tmp_path / "stopped")
    with pytest.raises(Stopped):
        fit(stopped, replace(work(StopsAt(made.stop, step)), replay=replayed), made)
    made = job(tmp_path / "stopped")
    resumed = Toy()
    assert fit(resumed, replace(work(ToyBatches()), replay=replayed), made) == curve
    assert same(whole, resumed)


def test_nothing_is_replayed_without_a_section(tmp_path):
    assert opened(None, tmp_path / "absent", bytes_tokenizer(), 8, 1) is None


def test_replayed_documents_are_hidden_from_each_other_on_request(tmp_path):
    tokenizer = bytes_tokenizer()
    entries = [shards.write(tmp_path, "00000", ["ab", "cdef"], tokenizer)]
    shards.write_index(tmp_path, tokenizer.n_vocab, entries)
    section = Section(share=1.0, windows=1, mask_documents=True)
    replay = opened(section, tmp_path, tokenizer, 7, 1)
    assert replay
    _, _, documents = replay.windows.get(0, 1).inputs
    assert documents.tolist() == [[0, 0, 0, 1, 1, 1, 1]]
    whole = opened(section.model_copy(update={"mask_documents": False}), tmp_path, tokenizer, 7, 1)
    assert whole
    assert len(whole.windows.get(0, 1).inputs) == 1


def test_replay_without_shards_is_refused(tmp_path):
    section = Section(share=0.5, windows=1, mask_documents=False)
    with pytest.raises(UserError, match="train"):
        opened(section, tmp_path / "train", bytes_tokenizer(), 8, 1)
