"""The one loop: accumulation, masks, schedules, stops, resuming; with a toy model and toy batches."""

import math
import re
import resource
import signal
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llmill.contract.errors import Stopped, UserError
from llmill.contract.hardware import Runtime
from llmill.model import lora
from llmill.model.cross_entropy import IGNORE
from llmill.model.settings import Adapter
from llmill.model.transformer import Transformer
from llmill.runner.stopping import Stop
from llmill.training import resume
from llmill.training.batches import Batch, Permutation, collate_texts, learnt_example
from llmill.training.finite import Check
from llmill.training.loop import Work, fit, length, write_curve
from llmill.training.losses import token_loss
from llmill.training.settings import Optimizer, Training
from tests.jobs import Job
from tests.model.test_transformer import GPT2
from tests.model.test_transformer import model as model_of
from tests.training.recipe import schedule

CPU = Runtime(device="cpu", dtype="float32")
SETTINGS = Training(
    max_steps=12, epochs=None, batch_size=4, grad_accum_steps=1, grad_clip=1.0,
    optimizer=Optimizer(kind="adamw", lr=0.05, muon_lr=0.02, weight_decay=0.1, betas=[0.9, 0.95]),
    schedule=schedule(decay="cosine", warmup_steps=2, decay_share=1.0, min_factor=0.0),
    log_every=2, validate_every=4, checkpoint_every=5,
)  # fmt: skip


class Toy(nn.Module):
    """A table of logits with dropout, so that the random state matters."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(7, 7)
        self.dropout = nn.Dropout(0.2)

    def forward(self, idx, targets):
        logits = self.dropout(self.table(idx))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


class ToyBatches:
    n = 12

    def get(self, start: int, count: int) -> Batch:
        rows = [torch.randint(0, 7, (5,), generator=seeded(i)) for i in range(start, start + count)]
        idx = torch.stack(rows)
        return Batch((idx,), (idx + 1) % 7, weight=5 * count, tokens=5 * count)


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def job(folder: Path) -> Job:
    made = Job(folder / f"out{len(list(folder.glob('out*')))}")
    made.state = folder / "state"
    return made


def steps_as_losses(model: nn.Module, step: int) -> dict[str, float]:
    return {"validation_loss": float(step)}


def work(batches, settings: Training = SETTINGS, validate=steps_as_losses) -> Work:
    return Work(batches, token_loss, validate, settings, CPU, seed=1)


def train(
    folder: Path,
    settings: Training = SETTINGS,
    batches=None,
    model=None,
    validate=steps_as_losses,
):
    model = model or Toy()
    made = job(folder)
    return model, fit(model, work(batches or ToyBatches(), settings, validate), made), made


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_curve_has_a_row_an_interval_and_validates_in_its_turn(tmp_path):
    _, curve, made = train(tmp_path)
    assert [row["step"] for row in curve] == [2, 4, 6, 8, 10, 12]
    assert [row.get("validation_loss") for row in curve] == [None, 4.0, None, 8.0, None, 12.0]
    assert [row["tokens"] for row in curve] == [40, 80, 120, 160, 200, 240]
    assert [step for step, _ in made.track.curve] == [2, 4, 6, 8, 10, 12]
    assert all({"train_loss", "tokens_per_second"} <= set(values) for _, values in made.track.curve)


def test_a_warm_up_that_takes_all_steps_is_warned_of(tmp_path):
    long = SETTINGS.schedule.model_copy(update={"warmup_steps": 12})
    _, _, made = train(tmp_path, SETTINGS.model_copy(update={"schedule": long}))
    assert made.said[0].startswith(
        "warning: the warm-up (12 steps) takes all 12 steps, which end at 100% of the peak rate"
    )
    _, _, made = train(tmp_path / "shorter", SETTINGS)
    assert not any("warm-up" in line for line in made.said)


class UnequalBatches:
    """Row i has i % 4 + 1 targets; a batch weighs as many as it has."""

    n = 12

    def get(self, start: int, count: int) -> Batch:
        idx = torch.stack(
            [torch.randint(0, 7, (4,), generator=seeded(i)) for i in range(start, start + count)]
        )
        learnt = torch.tensor([[j <= i % 4 for j in range(4)] for i in range(start, start + count)])
        targets = torch.where(learnt, (idx + 1) % 7, -100)
        return Batch((idx,), targets, weight=int(learnt.sum()), tokens=4 * count)


def test_micro_batches_of_unequal_weight_add_up_to_the_mean_over_the_whole_batch(tmp_path):
    """A mean of the micro-batches' means would count the targets of small ones more."""

    def ending(accumulated: int) -> tuple[nn.Module, list]:
        model = Toy()
        model.dropout.p = 0.0
        settings = SETTINGS.model_copy(
            update={"batch_size": 4 // accumulated, "grad_accum_steps": accumulated}
        )
        return train(tmp_path / str(accumulated), settings, UnequalBatches(), model)[:2]

    (whole, losses), (parts, same_losses) = ending(1), ending(2)
    torch.testing.assert_close(whole.table.weight, parts.table.weight, rtol=0, atol=1e-6)
    assert [row["train_loss"] for row in same_losses] == pytest.approx(
        [row["train_loss"] for row in losses], abs=1e-6
    )


def test_a_gradient_is_cut_to_the_norm_of_the_settings(tmp_path, monkeypatch):
    """AdamW takes no notice of a gradient's size, so the gradients themselves are looked at."""
    norms = []

    def noted(self, *args: object, **named: object) -> None:
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.linalg.vector_norm(torch.stack([g.norm() for g in grads]))))

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    train(tmp_path, SETTINGS.model_copy(update={"grad_clip": 0.01}))
    steps = [norm for norm in norms if norm]  # a save steps once with none, to fill the moments
    assert steps == pytest.approx([0.01] * 12, rel=1e-3)


def test_a_step_has_the_rate_of_its_own_number(tmp_path):
    _, curve, _ = train(tmp_path)
    assert curve[0]["lr"] == 0.05  # step 1 of a warm-up of two, counted from zero
    assert curve[-1]["lr"] == pytest.approx(0.05 * 0.5 * (1 + math.cos(math.pi * 9 / 10)))


def test_each_step_draws_random_numbers_of_its_own(tmp_path):
    class Drawing(Toy):
        drawn: ClassVar[list[float]] = []

        def forward(self, idx, targets):
            self.drawn.append(float(torch.rand(1)))
            return super().forward(idx, targets)

    train(tmp_path, model=Drawing())
    assert len(set(Drawing.drawn)) == len(Drawing.drawn) == 12


def from_weights(settings: Training, batches=None) -> Work:
    return replace(work(batches or ToyBatches(), settings), begun=True)


def test_a_training_from_weights_has_a_row_before_its_first_step(tmp_path):
    made = job(tmp_path)
    curve = fit(Toy(), from_weights(SETTINGS), made)
    nothing = {"lr": None, "train_loss": None}
    assert curve[0] == {"step": 0, "tokens": 0, **nothing, "validation_loss": 0.0}
    assert curve[1:] == train(tmp_path / "anew")[1]
    assert made.track.curve[0] == (0, {"validation_loss": 0.0})


def test_a_state_that_is_not_read_back_removes_no_earlier_one(tmp_path, monkeypatch):
    whole = resume._whole
    monkeypatch.setattr(resume, "_whole", lambda state: whole(state) and state.name != "000000010")
    with pytest.raises(UserError, match="000000010 was not read back as it was written"):
        train(tmp_path)
    assert whole(tmp_path / "state/000000005")


def test_the_row_before_the_first_step_is_kept_when_stopped_and_resumed(tmp_path):
    whole = fit(Toy(), from_weights(SETTINGS), job(tmp_path / "whole"))
    stopped = job(tmp_path / "parts")
    with pytest.raises(Stopped):
        fit(Toy(), from_weights(SETTINGS, StopsAt(stopped.stop, 6)), stopped)
    assert fit(Toy(), from_weights(SETTINGS), job(tmp_path / "parts")) == whole


def test_no_steps_change_no_weight_and_leave_one_row(tmp_path):
    model = Toy()
    none = SETTINGS.model_copy(update={"max_steps": 0})
    (row,) = fit(model, from_weights(none), job(tmp_path))
    assert (row["step"], row["validation_loss"]) == (0, 0.0)
    assert same(model, Toy())
    write_curve(tmp_path / "curves.csv", [row])
    header = "step,tokens,lr,train_loss,validation_loss"
    assert (tmp_path / "curves.csv").read_text() == f"{header}\n0,0,,,0\n"


class StopsAt:
    """Batches that send the process a signal when a step is asked for."""

    n = 12

    def __init__(self, stop: Stop, step: int):
        self.stop, self.step = stop, step

    def get(self, start: int, count: int) -> Batch:
        if start == 4 * self.step:
            self.stop.signum = signal.SIGTERM
        return ToyBatches().get(start, count)


@pytest.mark.parametrize("steps", [[0], [4], [6, 7], [11]])
def test_stopped_and_resumed_is_bit_for_bit_the_same_as_never_stopped(tmp_path, steps):
    whole, curve, _ = train(tmp_path / "whole")
    for step in steps:
        stopped = job(tmp_path / "parts")
        torch.manual_seed(99)  # whatever the process did before
        with pytest.raises(Stopped):
            fit(Toy(), work(StopsAt(stopped.stop, step)), stopped)
    torch.manual_seed(98)
    parts, resumed_curve, _ = train(tmp_path / "parts")
    assert same(whole, parts)
    assert resumed_curve == curve


def adapted() -> Transformer:
    """A frozen transformer with adapters that hide half of what they read."""
    made = model_of(GPT2)
    targets = ["query", "value"]
    lora.add(made, Adapter(rank=2, alpha=4, rank_stabilised=False, targets=targets, dropout=0.5))
    return made


def test_an_adapter_is_learnt_and_resumed_bit_for_bit_and_the_rest_stays_as_it_was(tmp_path):
    whole, curve, _ = train(tmp_path / "whole", model=adapted())
    stopped = job(tmp_path / "parts")
    with pytest.raises(Stopped):
        fit(adapted(), work(StopsAt(stopped.stop, 6)), stopped)
    parts, resumed_curve, _ = train(tmp_path / "parts", model=adapted())
    assert same(whole, parts)
    assert resumed_curve == curve
    before = adapted().state_dict()
    changed = {
        name for name, now in whole.state_dict().items() if not torch.equal(now, before[name])
    }
    assert changed == {
        f"blocks.{i}.attention.qkv.adapters.{target}.{matrix}"
        for i in (0, 1)
        for target in ("query", "value")
        for matrix in "ab"
    }


def test_a_signal_during_the_last_validation_stops_and_the_next_start_trains_nothing(tmp_path):
    whole, curve, _ = train(tmp_path / "whole")
    stopped = job(tmp_path / "parts")

    def signalled(model: nn.Module, step: int) -> dict[str, float]:
        stopped.stop.signum = signal.SIGTERM if step == 12 else None
        return steps_as_losses(model, step)

    with pytest.raises(Stopped):
        fit(Toy(), work(ToyBatches(), validate=signalled), stopped)
    parts, resumed_curve, _ = train(tmp_path / "parts", batches=NoBatches())
    assert same(whole, parts)
    assert resumed_curve == curve


class NoBatches:
    """Batches that nobody may ask for."""

    n = 12

    def get(self, start: int, count: int) -> Batch:
        raise AssertionError("a step was trained again")


def test_the_state_is_saved_before_a_line_is_said_or_tracked(tmp_path):
    made = job(tmp_path)

    def fails(*values: object, **named: object) -> None:
        raise BrokenPipeError

    made.say = made.track.metrics = fails
    with pytest.raises(BrokenPipeError):
        fit(Toy(), work(ToyBatches(), SETTINGS.model_copy(update={"checkpoint_every": 2})), made)
    assert resume.newest(tmp_path / "state")[0] == tmp_path / "state/000000002"


def test_a_training_that_continues_hands_the_tracker_the_whole_curve(tmp_path):
    stopped = job(tmp_path)
    with pytest.raises(Stopped):
        fit(Toy(), work(StopsAt(stopped.stop, 6)), stopped)
    _, curve, made = train(tmp_path)
    assert [step for step, _ in made.track.curve] == [2, 4, 6, 8, 10, 12]
    assert [values["train_loss"] for _, values in made.track.curve] == [
        row["train_loss"] for row in curve
    ]


def flip(file: Path) -> None:
    """One bit of the middle byte."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def remove(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("harm", [flip, cut, remove])
@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata"])
def test_a_damaged_state_is_passed_over_for_the_one_before(tmp_path, harm, name):
    whole, curve, _ = train(tmp_path / "whole")
    train(tmp_path / "parts")
    newest = tmp_path / "parts/state/000000012"
    harm(newest / name)
    said = []
    made = job(tmp_path / "parts")
    made.say = said.append
    model = Toy()
    assert fit(model, work(ToyBatches()), made) == curve
    assert same(whole, model)
    assert said[0] == f"{newest}: damaged, passed over"
    assert said[1] == "continues at step 10"


def test_with_every_state_damaged_the_run_begins_anew_and_its_saves_count(tmp_path):
    whole, curve, _ = train(tmp_path / "whole")
    train(tmp_path / "parts")
    state = tmp_path / "parts/state"
    for step in ("000000010", "000000012"):
        flip(state / step / "__0_0.distcp")
    stopped = job(tmp_path / "parts")
    with pytest.raises(Stopped):
        fit(Toy(), work(StopsAt(stopped.stop, 6)), stopped)
    assert sorted(p.name for p in state.iterdir()) == [
        "000000005", "000000005.json", "000000007", "000000007.json",
    ]  # fmt: skip
    parts, resumed_curve, _ = train(tmp_path / "parts")
    assert same(whole, parts)
    assert resumed_curve == curve


def test_what_kills_left_beside_the_states_goes_with_the_next_save(tmp_path):
    (tmp_path / "state/000000003.tmp").mkdir(parents=True)
    (tmp_path / "state/000000004").mkdir()
    train(tmp_path)
    assert sorted(p.name for p in (tmp_path / "state").iterdir()) == [
        "000000010", "000000010.json", "000000012", "000000012.json",
    ]  # fmt: skip


def test_saves_leave_the_states_of_another_training_of_the_stage(tmp_path):
    """Stage classify has those of its sizes below those of the whole training, which saves again if
    its last state was damaged.
    """
    fit(Toy(), replace(work(ToyBatches()), name="size_100"), job(tmp_path))
    train(tmp_path)
    assert resume.newest(tmp_path / "state/size_100")[0] == tmp_path / "state/size_100/000000012"


def test_a_damaged_marker_makes_its_state_count_no_more(tmp_path):
    train(tmp_path)
    marker = tmp_path / "state/000000012.json"
    marker.write_text(marker.read_text()[:40])
    assert resume.newest(tmp_path / "state") == (
        tmp_path / "state/000000010",
        [tmp_path / "state/000000012"],
    )


def test_a_state_without_its_marker_does_not_count_and_two_are_kept(tmp_path):
    often = SETTINGS.model_copy(update={"checkpoint_every": 3})
    train(tmp_path, often)
    state = tmp_path / "state"
    assert sorted(p.name for p in state.iterdir()) == [
        "000000009", "000000009.json", "000000012", "000000012.json",
    ]  # fmt: skip
    (state / "000000012.json").unlink()
    assert resume.newest(state) == (state / "000000009", [])


def test_a_full_disk_during_a_save_leaves_the_state_before_good(tmp_path):
    whole, curve, _ = train(tmp_path / "whole")
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)

    class FillsUp(ToyBatches):
        def get(self, start: int, count: int) -> Batch:
            if start == 4 * 7:  # from here on no file may grow beyond 100 bytes
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, unlimited[1]))
            return super().get(start, count)

    folder = tmp_path / "full"
    last_good = re.escape(f"last good state {folder}/state/000000005; make room")
    try:
        with pytest.raises(UserError, match=f"could not be saved .*File too large.*{last_good}"):
            train(folder, batches=FillsUp())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert not list((folder / "state").glob("*.tmp"))
    model, resumed_curve, _ = train(folder)
    assert same(whole, model)
    assert resumed_curve == curve


def test_accumulating_micro_batches_equals_one_large_batch(tmp_path):
    class Plain(Toy):
        def __init__(self):
            super().__init__()
            self.dropout.p = 0.0

    halves = SETTINGS.model_copy(update={"batch_size": 2, "grad_accum_steps": 2})
    small, _, _ = train(tmp_path / "small", halves, model=Plain())
    large, _, _ = train(tmp_path / "large", model=Plain())
    torch.testing.assert_close(small.table.weight, large.table.weight)


def test_a_micro_batch_without_any_target_adds_nothing_and_no_nan(tmp_path):
    class Masked:
        n = 1

        def get(self, start: int, count: int) -> Batch:
            return Batch((torch.zeros(2, 3, dtype=torch.long),), torch.full((2, 3), IGNORE), 0, 6)

    frozen = SETTINGS.model_copy(
        update={"optimizer": SETTINGS.optimizer.model_copy(update={"weight_decay": 0.0})}
    )
    model, curve, _ = train(tmp_path, frozen, batches=Masked())
    assert same(model, Toy())
    assert {row["train_loss"] for row in curve} == {0.0}


def test_a_step_without_any_target_is_skipped_and_counted(tmp_path):
    """Momentum and weight decay would move the weights all the same."""

    class MaskedFromStep6(ToyBatches):
        def get(self, start: int, count: int) -> Batch:
            batch = super().get(start, count)
            masked = replace(batch, targets=torch.full_like(batch.targets, IGNORE), weight=0)
            return masked if start >= 4 * 6 else batch

    weights = {}

    def look(model, step):
        weights[step] = model.table.weight.clone()
        return {}

    every = SETTINGS.model_copy(update={"log_every": 2, "validate_every": 2})
    curve = fit(Toy(), work(MaskedFromStep6(), every, look), job(tmp_path))
    assert not torch.equal(weights[4], weights[6])
    assert torch.equal(weights[6], weights[12])
    assert [row.get("skipped_steps") for row in curve] == [None, None, None, 2, 4, 6]


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(tmp_path):
    before = []

    class Bad(ToyBatches):
        def get(self, start: int, count: int) -> Batch:
            batch = ToyBatches().get(start, count)
            if start == 4 * 7:
                before.append(model.table.weight.detach().clone())
                return replace(batch, weight=float("nan"))
            return batch

    model = Toy()
    with pytest.raises(
        UserError, match=r"step 7: loss nan.*last good state .*000000005; lower the rate"
    ):
        train(tmp_path, batches=Bad(), model=model)
    assert torch.equal(model.table.weight, before[0])
    assert [path.name for path in (tmp_path / "state").iterdir() if path.is_dir()] == ["000000005"]


def test_a_gpu_is_looked_at_a_step_later_and_at_last_before_a_state_is_saved(tmp_path):
    good, bad = torch.tensor(1.0), torch.tensor(float("nan"))
    check = Check(torch.device("cuda"), tmp_path)
    check(good, good, 1)
    check(bad, good, 2)  # its turn comes with the next one
    with pytest.raises(UserError, match="step 2: loss nan, gradient norm 1"):
        check(good, good, 3)
    check = Check(torch.device("cuda"), tmp_path)
    check(good, bad, 4)
    with pytest.raises(UserError, match=r"step 4: loss 1\.0, gradient norm nan"):
        check.all()


def test_validation_that_uses_random_numbers_of_its_own_leaves_training_alone(tmp_path):
    def noisy(model, step):
        torch.rand(3)
        return {"validation_loss": 0.0}

    assert same(train(tmp_path / "a")[0], train(tmp_path / "b", validate=noisy)[0])


def test_epochs_become_the_fewest_steps_that_read_so_many_examples():
    epochs = SETTINGS.model_copy(update={"max_steps": None, "epochs": 2.5, "grad_accum_steps": 2})
    assert SETTINGS.batch_size == 4
    assert length(epochs, 35) == 11  # 87.5 examples, 8 a step
    exact = epochs.model_copy(update={"epochs": 1.1})
    assert length(exact, 400) == 55  # 1.1 * 400 is 440.00000000000006 in floats
    assert length(SETTINGS, 35) == 12


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    order = Permutation(5, seed=1)
    first, second = order.items(0, 5), order.items(5, 5)
    assert sorted(first) == sorted(second) == [0, 1, 2, 3, 4]
    assert first != second
    assert Permutation(5, seed=1).items(3, 4) == (first + second)[3:7]
    assert Permutation(5, seed=2).items(0, 5) != first


def test_only_the_response_and_its_end_are_learnt():
    learnt = [False, False, False, True, True, True]
    ids, targets = learnt_example([1, 2, 3, 4, 5, 0], learnt, block_size=10)
    assert ids == [1, 2, 3, 4, 5]
    assert targets == [IGNORE, IGNORE, 4, 5, 0]
    _, everything = learnt_example([1, 2, 3, 4, 5, 0], [True] * 6, block_size=10)
    assert everything == [2, 3, 4, 5, 0]


def test_a_prompt_too_long_loses_its_left_and_the_response_stays():
    learnt = [False, False, False, False, True, True]
    ids, targets = learnt_example([1, 2, 3, 4, 5, 0], learnt, block_size=3)
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
