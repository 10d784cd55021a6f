"""Weights between two models: where they lie, and that the best on validation is left in the model."""

import pytest
import torch
from torch import nn

from llmill.training.best import weights_of
from llmill.training.interpolation import load_best_between


@pytest.fixture
def tuned():
    """A model of one weight, 1 before and 3 after, and its weights before."""
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
        before = weights_of(model)
        model.weight.fill_(3.0)
    return model, before


def test_each_share_is_measured_and_the_best_one_left_in_the_model(tuned):
    model, before = tuned
    rows = load_best_between(
        model,
        before,
        [0.25, 0.5, 1.0],
        lambda m: {"validation_loss": abs(float(m.weight.detach()) - 2.2)},
        "validation_loss",
    )
    assert [row["share"] for row in rows] == [0.25, 0.5, 1.0]
    assert [row["validation_loss"] for row in rows] == pytest.approx([0.7, 0.2, 0.8])
    assert float(model.weight.detach()) == 2.0


def test_of_a_figure_that_rises_the_highest_is_the_best(tuned):
    model, before = tuned
    load_best_between(
        model,
        before,
        [0.5, 1.0],
        lambda m: {"exact_match": float(m.weight.detach())},
        "exact_match",
    )
    assert float(model.weight.detach()) == 3.0
