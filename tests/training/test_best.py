"""The weights of the best validation: which are kept, when a training ends early, and that a stop in between
changes nothing.
"""

import shutil
from dataclasses import replace

import pytest
import torch

from llmill.contract.errors import Stopped, UserError
from llmill.training.best import best_row, in_vain
from llmill.training.loop import fit
from llmill.training.settings import Best
from tests.training.test_loop import SETTINGS, StopsAt, Toy, ToyBatches, job, same, work

EVERY = SETTINGS.model_copy(update={"log_every": 2, "validate_every": 2})
LOSSES = {2: 0.9, 4: 0.5, 6: 0.7, 8: 0.5, 10: 0.6, 12: 0.8}


def losses(model, step):
    return {"validation_loss": LOSSES[step]}


def trained(folder, patience, stop=None):
    """A toy trained with these validation losses; stopped at a step and begun again, where one is named."""
    made = job(folder)
    batches = ToyBatches() if stop is None else StopsAt(made.stop, stop)
    model, best = Toy(), Best(figure="validation_loss", patience=patience)
    try:
        curve = fit(model, replace(work(batches, EVERY, losses), best=best), made)
    except Stopped:
        return trained(folder, patience)
    return model, curve


def at_step(step):
    """The weights after so many steps of an undisturbed training."""
    weights = {}

    def look(model, now):
        weights[now] = model.table.weight.detach().clone()
        return {"validation_loss": 0.0}

    return weights, look


def test_the_first_of_the_best_validations_is_the_best():
    rows = [{"step": n, "loss": loss} for n, loss in enumerate([3.0, 1.0, None, 1.0, 2.0])]
    assert best_row(rows, "loss") == {"step": 1, "loss": 1.0}
    assert best_row([{"step": 0}], "loss") is None
    assert best_row([{"exact_match": 0.1}, {"exact_match": 0.3}], "exact_match") == {
        "exact_match": 0.3
    }


@pytest.mark.parametrize(
    ("values", "patience", "vain"),
    [
        ([3.0, 2.0, 1.0], 1, False),
        ([1.0, 2.0], 1, True),
        ([1.0, 2.0], 2, False),
        ([1.0, 2.0, 1.0], 2, True),
        ([1.0, 2.0, 0.5], 2, False),
        ([1.0, 2.0, 3.0], None, False),
        ([], 1, False),
    ],
)
def test_a_training_is_in_vain_after_so_many_validations_without_a_better_one(
    values, patience, vain
):
    curve = [{"step": 0}, *({"validation_loss": value} for value in values)]
    assert in_vain(curve, Best(figure="validation_loss", patience=patience)) is vain
    assert in_vain(curve, None) is False


def test_the_weights_of_the_best_validation_are_kept(tmp_path):
    weights, look = at_step(4)
    fit(Toy(), work(ToyBatches(), EVERY, look), job(tmp_path / "whole"))
    model, curve = trained(tmp_path / "best", None)
    assert [row["step"] for row in curve] == [2, 4, 6, 8, 10, 12]
    assert torch.equal(model.table.weight, weights[4])


def test_a_training_ends_early_with_the_weights_of_the_best_validation(tmp_path):
    weights, look = at_step(4)
    fit(Toy(), work(ToyBatches(), EVERY, look), job(tmp_path / "whole"))
    model, curve = trained(tmp_path / "best", 2)
    assert [row["step"] for row in curve] == [2, 4, 6, 8]
    assert torch.equal(model.table.weight, weights[4])


@pytest.mark.parametrize("step", [3, 5, 7])
@pytest.mark.parametrize("patience", [2, None])
def test_stopped_and_resumed_it_keeps_and_ends_as_it_would_have_done(tmp_path, step, patience):
    whole, curve = trained(tmp_path / "whole", patience)
    resumed, resumed_curve = trained(tmp_path / "parts", patience, stop=step)
    assert resumed_curve == curve
    assert same(whole, resumed)


def test_a_figure_that_is_not_measured_is_refused_with_those_that_are(tmp_path):
    best = Best(figure="exact_match", patience=None)
    with pytest.raises(
        UserError, match=r"exact_match: this training does not measure it; there is validation_loss"
    ):
        fit(Toy(), replace(work(ToyBatches(), EVERY, losses), best=best), job(tmp_path))


def test_where_no_step_makes_it_better_the_weights_before_the_first_are_kept(tmp_path):
    """Of a training that begins from weights, which is validated before its first step."""
    best, model = Best(figure="validation_loss", patience=None), Toy()
    rising = replace(
        work(ToyBatches(), EVERY, lambda model, step: {"validation_loss": float(step)}),
        best=best,
        begun=True,
    )
    fit(model, rising, job(tmp_path))
    assert same(model, Toy())


class Killed(Exception):
    """Ends a process that has no time to save its state."""


class KilledAt(ToyBatches):
    def __init__(self, step):
        self.step = step

    def get(self, start, count):
        if start == 4 * self.step:
            raise Killed
        return super().get(start, count)


def test_weights_of_a_killed_run_that_the_resumed_run_does_not_repeat_are_not_kept(tmp_path):
    """Another processor may round otherwise: the better validation of step 6 does not come again."""
    weights, look = at_step(2)
    fit(Toy(), work(ToyBatches(), EVERY, look), job(tmp_path / "whole"))
    best, made, model = Best(figure="validation_loss", patience=None), job(tmp_path / "best"), Toy()
    killed = work(
        KilledAt(7), EVERY, lambda model, step: {"validation_loss": {2: 0.5, 4: 0.9, 6: 0.1}[step]}
    )
    with pytest.raises(Killed):
        fit(Toy(), replace(killed, best=best), made)
    resumed = work(
        ToyBatches(), EVERY, lambda model, step: {"validation_loss": 0.5 if step == 2 else 0.9}
    )
    fit(model, replace(resumed, best=best), made)
    assert torch.equal(model.table.weight, weights[2])
    assert len(list(made.state.glob("best-*"))) == 1


def test_each_saved_state_keeps_the_weights_of_its_own_best_validation(tmp_path):
    """The newest may turn out damaged; a run that resumes from the one before needs its weights."""
    weights, look = at_step(2)
    fit(Toy(), work(ToyBatches(), EVERY, look), job(tmp_path / "whole"))
    best, made, model = Best(figure="validation_loss", patience=None), job(tmp_path / "best"), Toy()
    values = {2: 0.5, 4: 0.9, 6: 0.1, 8: 0.9, 10: 0.9}
    killed = work(KilledAt(10), EVERY, lambda model, step: {"validation_loss": values[step]})
    with pytest.raises(Killed):
        fit(Toy(), replace(killed, best=best), made)
    assert sorted(file.name for file in made.state.iterdir()) == [
        "000000005",
        "000000005.json",
        "000000010",
        "000000010.json",
        "best-000000002.safetensors",
        "best-000000006.safetensors",
    ]
    shutil.rmtree(made.state / "000000010")
    resumed = work(ToyBatches(), EVERY, lambda model, step: {"validation_loss": 0.9})
    fit(model, replace(resumed, best=best), made)
    assert torch.equal(model.table.weight, weights[2])
