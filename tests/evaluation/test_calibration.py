"""Calibration by hand: bins, softmax, and the temperature of a coin."""

import numpy as np
import pytest

from llmill.evaluation.statistics import calibration


def logits(*chances: float) -> np.ndarray:
    """Of two classes, so that the first has these probabilities."""
    return np.array([[np.log(p / (1 - p)), 0.0] for p in chances])


def test_the_error_is_the_distance_between_how_sure_and_how_often_right_in_each_bin():
    found = logits(0.9, 0.9, 0.9, 0.9, 0.6, 0.6)
    truth = np.array([0, 0, 0, 1, 0, 0])
    # Four at 0.9, of which 0.75 are right; two at 0.6, of which all are.
    assert calibration.expected_error(found, truth) == pytest.approx(4 / 6 * 0.15 + 2 / 6 * 0.4)


def test_who_is_sure_and_right_has_no_error():
    assert calibration.expected_error(np.array([[99.0, 0.0]]), np.array([0])) == 0.0


def test_the_temperature_makes_the_classifier_as_sure_as_it_is_often_right():
    truth = np.array([0, 0, 0, 1] * 5)
    found = logits(*[0.99] * 20)
    t = calibration.temperature(found, truth)
    assert calibration.probabilities(found, t)[0, 0] == pytest.approx(0.75, abs=1e-3)
    assert calibration.expected_error(found, truth, t) == pytest.approx(0, abs=1e-3)


def test_where_every_message_is_right_the_temperature_is_the_coldest():
    t = calibration.temperature(logits(0.9, 0.8), np.array([0, 0]))
    assert t == pytest.approx(calibration.COLDEST, rel=1e-2)


def test_large_logits_overflow_nothing():
    found = calibration.probabilities(np.array([[5000.0, 0.0, -5000.0]]))
    assert found.tolist() == [[1.0, 0.0, 0.0]]
