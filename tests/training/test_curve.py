"""The rows of the curve: each is about its own steps, and validated without dropout."""

import torch

from llmill.training.batches import Batch
from llmill.training.loop import Work, fit
from tests.training.test_loop import CPU, SETTINGS, Toy, ToyBatches, job, steps_as_losses, train


class NumberedBatches(ToyBatches):
    """The target of a step is its number, from 0."""

    def get(self, start: int, count: int) -> Batch:
        step = torch.tensor(start / SETTINGS.batch_size)
        return Batch((), step, weight=1.0, tokens=count)


def test_a_row_has_the_mean_loss_of_the_steps_since_the_row_before(tmp_path):
    model = Toy()
    settings = SETTINGS.model_copy(update={"max_steps": 11, "log_every": 3})

    def number_of_step(called, batch):
        return batch.targets + 0 * model.table.weight.sum()

    work = Work(NumberedBatches(), number_of_step, steps_as_losses, settings, CPU, seed=1)
    rows = {row["step"]: row["train_loss"] for row in fit(model, work, job(tmp_path))}
    assert rows == {3: 1.0, 6: 4.0, 9: 7.0, 11: 9.5}  # of the steps 0 to 2, 3 to 5, ...


def test_the_model_is_validated_in_evaluation_mode(tmp_path):
    def validate(model, step):
        return {"validation_loss": float(model.training)}

    _, curve, _ = train(tmp_path, validate=validate)
    assert [row.get("validation_loss") for row in curve] == [None, 0.0] * 3
