"""The one loop: accumulation, masks, schedules, stops, resuming; with a toy model and toy batches."""

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from llmill.contract.errors import Stopped, UserError
from llmill.contract.schema import Optimizer, Runtime, Schedule, Training
from llmill.contract.stopping import Stop
from llmill.training import resume
from llmill.training.batches import Batch, Order, collate_texts, response_example
from llmill.training.loop import fit, length, write_curve
from llmill.training.losses import IGNORE, token_loss

CPU = Runtime(device="cpu", dtype="float32")
SETTINGS = Training(
    max_steps=12, epochs=None, batch_size=4, grad_accum_steps=1, grad_clip=1.0,
    optimizer=Optimizer(kind="adamw", lr=0.05, muon_lr=0.02, weight_decay=0.1, betas=[0.9, 0.95]),
    schedule=Schedule(decay="cosine", warmup_steps=2, decay_share=1.0, min_factor=0.0),
    log_every=2, validate_every=4, checkpoint_every=5,
)  # fmt: skip


class Toy(nn.Module):
    """A table of logits with dropout, so that the random state matters."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(7, 7)
        self.dropout = nn.Dropout(0.2)

    def forward(self, idx):
        return self.dropout(self.table(idx))


class ToyBatches:
    size = 3

    def get(self, index: int) -> Batch:
        idx = torch.randint(0, 7, (4, 5), generator=torch.Generator().manual_seed(index))
        return Batch((idx,), (idx + 1) % 7, weight=20, tokens=20)


class Track:
    def __init__(self):
        self.calls = []

    def metrics(self, values, step=None):
        self.calls.append((step, values))


def job(folder: Path) -> SimpleNamespace:
    return SimpleNamespace(
        state=folder / "state", stop=Stop(), track=Track(), say=lambda text: None
    )


def train(folder: Path, settings: Training = SETTINGS, batches=None, model=None, validate=None):
    model = model or Toy()
    validate = validate or (lambda model, step: {"validation_loss": float(step)})
    made = job(folder)
    curve = fit(model, batches or ToyBatches(), token_loss, validate, settings, CPU, made)
    return model, curve, made


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_curve_has_a_row_an_interval_and_validates_in_its_turn(tmp_path):
    _, curve, made = train(tmp_path)
    assert [row["step"] for row in curve] == [2, 4, 6, 8, 10, 12]
    assert [row.get("validation_loss") for row in curve] == [None, 4.0, None, 8.0, None, 12.0]
    assert [row["tokens"] for row in curve] == [40, 80, 120, 160, 200, 240]
    losses = [step for step, values in made.track.calls if "train_loss" in values]
    assert losses == [2, 4, 6, 8, 10, 12]


class StopsAt:
    """Batches that send the process a signal when a step is asked for."""

    size = 3

    def __init__(self, stop: Stop, step: int):
        self.stop, self.step = stop, step

    def get(self, index: int) -> Batch:
        if index == self.step:
            self.stop.signum = signal.SIGTERM
        return ToyBatches().get(index)


@pytest.mark.parametrize("steps", [[0], [4], [6, 7], [11]])
def test_stopped_and_resumed_is_bit_for_bit_the_same_as_never_stopped(tmp_path, steps):
    whole, curve, _ = train(tmp_path / "whole")
    for step in steps:
        stopped = job(tmp_path / "parts")
        torch.manual_seed(99)  # whatever the process did before
        with pytest.raises(Stopped):
            fit(
                Toy(), StopsAt(stopped.stop, step), token_loss,
                lambda model, step: {"validation_loss": float(step)}, SETTINGS, CPU, stopped,
            )  # fmt: skip
    torch.manual_seed(98)
    parts, resumed_curve, _ = train(tmp_path / "parts")
    assert same(whole, parts)
    assert resumed_curve == curve


def test_a_damaged_state_is_passed_over_for_the_one_before(tmp_path):
    whole, _, _ = train(tmp_path / "whole")
    train(tmp_path / "parts")
    newest = sorted((tmp_path / "parts" / "state").glob("*.pt"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1] + b"x")
    said = []
    made = job(tmp_path / "parts")
    made.say = said.append
    model = Toy()
    fit(model, ToyBatches(), token_loss, lambda model, step: {}, SETTINGS, CPU, made)
    assert same(whole, model)
    assert said[0] == f"{newest}: damaged, passed over"
    assert said[1] == "continues at step 5"


def test_a_state_without_its_marker_does_not_count_and_two_are_kept(tmp_path):
    for step in (1, 2, 3):
        resume.save(tmp_path, step, {"step": step})
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "000000002.json", "000000002.pt", "000000003.json", "000000003.pt",
    ]  # fmt: skip
    (tmp_path / "000000003.json").unlink()
    assert resume.newest(tmp_path) == ({"step": 2}, [])


def test_accumulating_micro_batches_equals_one_large_batch(tmp_path):
    class Large:
        size = 3

        def get(self, index: int) -> Batch:
            parts = [ToyBatches().get(2 * index + i) for i in range(2)]
            idx = torch.cat([p.inputs[0] for p in parts])
            return Batch((idx,), torch.cat([p.targets for p in parts]), weight=40, tokens=40)

    class Plain(Toy):
        def forward(self, idx):
            return self.table(idx)

    halves = SETTINGS.model_copy(update={"grad_accum_steps": 2})
    small, _, _ = train(tmp_path / "small", halves, model=Plain())
    large, _, _ = train(tmp_path / "large", SETTINGS, batches=Large(), model=Plain())
    torch.testing.assert_close(small.table.weight, large.table.weight)


def test_a_micro_batch_without_any_target_adds_nothing_and_no_nan(tmp_path):
    class Masked:
        size = 1

        def get(self, index: int) -> Batch:
            return Batch((torch.zeros(2, 3, dtype=torch.long),), torch.full((2, 3), IGNORE), 0, 6)

    frozen = SETTINGS.model_copy(
        update={"optimizer": SETTINGS.optimizer.model_copy(update={"weight_decay": 0.0})}
    )
    model, curve, _ = train(tmp_path, frozen, batches=Masked())
    assert same(model, Toy())
    assert {row["train_loss"] for row in curve} == {0.0}


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(tmp_path):
    class Bad(ToyBatches):
        def get(self, index: int) -> Batch:
            batch = ToyBatches().get(index)
            if index == 7:
                model.table.weight.data[:] = float("inf")
            return batch

    model = Toy()
    with pytest.raises(UserError, match=r"step 7: loss nan.*last good state .*000000005.pt"):
        train(tmp_path, batches=Bad(), model=model)


def test_validation_that_uses_random_numbers_of_its_own_leaves_training_alone(tmp_path):
    def noisy(model, step):
        torch.rand(3, generator=torch.Generator().manual_seed(step))
        return {"validation_loss": 0.0}

    assert same(train(tmp_path / "a")[0], train(tmp_path / "b", validate=noisy)[0])


def test_epochs_become_steps_over_all_micro_batches():
    epochs = SETTINGS.model_copy(update={"max_steps": None, "epochs": 2.5, "grad_accum_steps": 2})
    assert length(epochs, 9) == 12
    assert length(SETTINGS, 9) == 12


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    order = Order(5, seed=1)
    first, second = order.items(0, 5), order.items(5, 5)
    assert sorted(first) == sorted(second) == [0, 1, 2, 3, 4]
    assert first != second
    assert Order(5, seed=1).items(3, 4) == (first + second)[3:7]
    assert Order(5, seed=2).items(0, 5) != first


def test_only_the_response_and_its_end_are_learnt():
    ids, targets = response_example([1, 2, 3], [4, 5, 0], block_size=10, mask_prompt=True)
    assert ids == [1, 2, 3, 4, 5]
    assert targets == [IGNORE, IGNORE, 4, 5, 0]
    _, everything = response_example([1, 2, 3], [4, 5, 0], block_size=10, mask_prompt=False)
    assert everything == [2, 3, 4, 5, 0]


def test_a_prompt_too_long_loses_its_left_and_the_response_stays():
    ids, targets = response_example([1, 2, 3, 4], [5, 0], block_size=3, mask_prompt=True)
    assert (ids, targets) == ([3, 4, 5], [IGNORE, 5, 0])


def test_padding_is_never_learnt():
    batch = collate_texts([([1, 2, 3], [IGNORE, 3, 0]), ([4], [0])])
    ids, learnt = batch.inputs
    assert ids.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert learnt.tolist() == [[False, True, True], [True, False, False]]
    assert batch.targets.tolist() == [3, 0, 0]
    assert batch.weight == 3


def test_a_curve_is_written_with_empty_cells_where_nothing_was_measured(tmp_path):
    write_curve(
        tmp_path / "curves.csv",
        [{"step": 1, "train_loss": 0.5}, {"step": 2, "train_loss": 0.25, "v": 1.0}],
    )
    assert (tmp_path / "curves.csv").read_text() == "step,train_loss,v\n1,0.5,\n2,0.25,1\n"
