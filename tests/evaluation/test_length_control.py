"""Length-controlled win rates: beside AlpacaEval's own, and what can be written down."""

import math

import numpy as np
import pytest

from llmill.evaluation.statistics import length_control
from llmill.evaluation.statistics.length_control import Compared, controlled, interval, standardised

DRAWS = {"confidence": 0.95, "resamples": 20, "seed": 1}
PREFERENCE = np.array([0.1, 1, 0, 0.5, 0.9, 0.2, math.nan, 1, 0.05, 0.7, 0, 0.3])
REFERENCE = np.array([40, 120, 60, 80, 30, 200, 55, 90, 150, 70, 110, 65])
MODEL = np.array([60, 150, 45, 95, 80, 150, 70, 160, 120, 75, 60, 66])
HARD = np.array([0.5, 1.2, -1.0, 0.1, 0.9, -0.4, 0.0, 1.5, -1.3, 0.3, -0.8, -0.2])
SHORT = np.array([0.2, 0.45, 0.1, 0.3, 0.4, 0.15, math.nan, 0.5, 0.05, 0.35, 0.1, 0.2])
APART = np.array([0.6, 1.4, 0.8, 1.0, 0.3, 2.0, 0.7, 1.1, 1.7, 0.9, 1.3, 0.8])


def test_figures_and_terms_are_those_of_alpaca_eval():
    """What `get_length_controlled_winrate` of alpaca_eval 0.6.6 gives for these rows, with such a
    `df_gamed.csv`; its length is the reference's less the model's, so that its term has the other
    sign.
    """
    rows = Compared(PREFERENCE, standardised(MODEL - REFERENCE), HARD)
    found = controlled(rows, Compared(SHORT, -APART, HARD), **DRAWS)
    assert found.value == pytest.approx(39.62317831655981, abs=1e-6)
    assert found.error == pytest.approx(7.365462953319381, abs=1e-6)
    terms = (found.length, found.difficulty, found.model)
    assert terms == pytest.approx((1.07671953, 1.49165375, -0.65352987), abs=1e-6)
    assert found.penalty == pytest.approx(21.5443469, abs=1e-6)


def simulated(model: float, length: float, size: int, seed: int) -> Compared:
    rng = np.random.default_rng(seed)
    longer = standardised(rng.normal(1.0, 1.0, size))
    chance = 1 / (1 + np.exp(-(model + length * np.tanh(longer))))
    return Compared((rng.random(size) < chance).astype(float), longer)


def test_a_model_preferred_for_its_length_alone_is_no_better_at_equal_length():
    """Drawn with a term of 2 for length and none for the model: it wins most, as it is longer."""
    rows = simulated(model=0.0, length=2.0, size=3000, seed=1)
    assert rows.preference.mean() > 0.7
    found = controlled(rows, None, **DRAWS)
    assert found.value == pytest.approx(50, abs=4)
    assert found.length == pytest.approx(2.0, abs=0.2)
    assert found.low < found.value < found.high


def test_intervals_hold_the_rate_that_all_instructions_would_give():
    """Of 100 instructions drawn with difficulty; all would give 41.23 %."""
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        longer, hard = standardised(rng.normal(1, 1, 100)), rng.normal(0, 1.5, 100)
        chance = 1 / (1 + np.exp(-(-0.5 + 1.5 * np.tanh(longer) + hard)))
        rows = Compared((rng.random(100) < chance).astype(float), longer, hard)
        low, high = interval(rows, None, confidence=0.95, resamples=200, seed=seed)
        held += low <= 41.23 <= high
    assert 0.90 <= held / 200 <= 0.99


def test_without_difficulty_all_predictions_are_one_and_their_error_is_none():
    found = controlled(simulated(model=1.0, length=0.0, size=400, seed=2), None, **DRAWS)
    assert found.value == pytest.approx(100 / (1 + math.exp(-found.model)))
    assert found.error == pytest.approx(0, abs=1e-9)
    assert found.difficulty is None
    assert found.high - found.low > 4  # of 400 coins, 44 to 54 in a hundred draws


def test_answers_of_equal_length_leave_the_win_rate_as_it_is():
    preference = np.tile([1.0, 1.0, 1.0, 0.0], 25)
    found = controlled(Compared(preference, standardised(np.zeros(100))), None, **DRAWS)
    assert found.length == 0
    assert found.value == pytest.approx(75, abs=0.5)


def test_a_model_that_always_wins_has_a_finite_term():
    found = controlled(Compared(np.ones(50), standardised(np.arange(50))), None, **DRAWS)
    assert 90 < found.value <= 100
    assert math.isfinite(found.model)


@pytest.mark.parametrize("wins", [0, 1])
def test_a_model_that_hardly_ever_wins_has_a_rate_near_none(wins, capfd):
    preference = np.array([1.0] * wins + [0.0] * (50 - wins))
    found = controlled(Compared(preference, np.zeros(50)), None, **DRAWS)
    assert found.value < 5
    assert found.model < 0
    if not wins:
        assert (found.low, found.high) == pytest.approx((0.0, 7.134759), abs=1e-6)  # Wilson's
    assert capfd.readouterr().err == ""  # liblinear warns of classes that have no weight


def test_fewer_preferences_than_folds_are_refused():
    with pytest.raises(ValueError, match="4 preferences; the regression needs 5"):
        controlled(Compared(np.array([1, 0, 1, 0, math.nan]), np.zeros(5)), None, **DRAWS)


def test_every_fifth_row_from_the_last_is_a_fold():
    assert length_control._folds(7).tolist() == [1, 0, 4, 3, 2, 1, 0]
