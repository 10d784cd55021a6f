"""Newton's method, on maxima that can be written down."""

import math

import numpy as np
import pytest
from scipy.special import expit

from llmill.evaluation.statistics import newton

WON = np.array([3.0, 1.0, 2.0])  # of 4, in each of three rows


def slopes(at):
    chance = expit(at)
    return WON[:, None] - 4 * chance, (4 * chance * (1 - chance))[..., None]


@pytest.mark.parametrize("start", [0.0, -9.0, 30.0])
def test_each_row_has_its_own_maximum_from_far_away_too(start):
    """Whole steps from -9 would lead further and further away."""
    found = newton.maxima(slopes, np.full((3, 1), start))
    assert found[:, 0] == pytest.approx([math.log(3), -math.log(3), 0], abs=1e-12)


def test_directions_that_hang_together_are_solved_together_and_the_start_is_left_as_it_was():
    curvature, top = np.array([[[2.0, 1.0], [1.0, 2.0]]]), np.array([[0.5, -0.25]])
    start = np.zeros((1, 2))
    found = newton.maxima(lambda at: (((top - at) @ curvature[0]), curvature), start)
    assert found == pytest.approx(top)
    assert start.tolist() == [[0, 0]]
