"""Schedules as tables of expected factors."""

import pytest

from llmill.training.schedule import factor
from tests.training.recipe import schedule

TABLES = {
    "cosine": [0.25, 0.5, 0.75, 1.0, 1.0, 0.8682, 0.55, 0.2318, 0.1],
    "linear": [0.25, 0.5, 0.75, 1.0, 1.0, 0.775, 0.55, 0.325, 0.1],
    "constant_linear": [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 0.55, 0.1],
}


@pytest.mark.parametrize("decay", TABLES)
def test_factors_of_eight_steps_with_four_of_warm_up(decay):
    settings = schedule(decay=decay, warmup_steps=4, decay_share=0.5, min_factor=0.1)
    found = [round(factor(step, settings, 8), 4) for step in range(9)]
    assert found == TABLES[decay]


def test_no_warm_up_begins_at_the_peak():
    settings = schedule(decay="cosine", warmup_steps=0, decay_share=1.0, min_factor=0.0)
    assert factor(0, settings, 10) == 1.0
