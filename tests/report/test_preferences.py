"""The tables of the tuning by preferences, cell by cell, and the sentence about the chosen answers."""

from types import SimpleNamespace

import pytest

from llmill.report import preferences

SHARE = {"value": 0.887, "low": 0.845, "high": 0.919, "n": 284, "covers": "items"}
SHOWN = "88.7 % (84.5 to 91.9)"
CURVE = [
    {"step": 0.0, "validation_accuracy": 0.5, "margin": 0.0, "kl": 0.0,
     "chosen_log_probability": -1.25, "rejected_log_probability": -12.5},
    {"step": 20.0, "train_loss": 0.7},
    {"step": 60.0, "validation_accuracy": 0.75, "margin": 0.5, "kl": 0.25,
     "chosen_log_probability": -1.5, "rejected_log_probability": -15.0},
]  # fmt: skip


def of(metrics, curve=()):
    return SimpleNamespace(metrics={"prefer": metrics}, curves={"prefer": list(curve)})


def test_the_reward_stands_above_its_baselines():
    beside = {
        "longer_answer": SHARE, "shorter_answer": SHARE,
        "likelihood_before": SHARE, "likelihood_after": SHARE,
        "likelihood_per_token_before": SHARE, "likelihood_per_token_after": SHARE,
    }  # fmt: skip
    table = preferences.ahead({"accuracy": SHARE, "beside": beside})
    assert table.over == "over items"
    assert table.rows == [
        ["the higher reward, after tuning", SHOWN, "284"],
        ["the higher likelihood, before tuning", SHOWN, "284"],
        ["the higher likelihood, after tuning", SHOWN, "284"],
        ["the higher likelihood per token, before tuning", SHOWN, "284"],
        ["the higher likelihood per token, after tuning", SHOWN, "284"],
        ["more tokens", SHOWN, "284"],
        ["fewer tokens", SHOWN, "284"],
    ]


def test_a_baseline_that_was_not_measured_has_no_row():
    table = preferences.ahead({"accuracy": SHARE})
    assert table.rows == [["the higher reward, after tuning", SHOWN, "284"]]
    assert preferences.ahead({}).rows == []


def test_means_stand_before_and_after_the_tuning_by_split():
    likely = {"before": -1.25, "after": -1.375}
    found = of({"margin": 0.75, "kl": 0.25, "chosen_log_probability": likely}, CURVE)
    assert preferences.moved(found).rows == [
        ["margin of the rewards", "test", "–", "0.750", "–"],
        ["log-likelihood of the chosen answer", "test", "-1.250", "-1.375", "-0.125"],
        ["margin of the rewards", "validation", "0.000", "0.500", "+0.500"],
        ["log-likelihood of the chosen answer", "validation", "-1.250", "-1.500", "-0.250"],
        ["log-likelihood of the rejected answer", "validation", "-12.500", "-15.000", "-2.500"],
        ["drift, nats per answer", "validation", "0.000", "0.250", "+0.250"],
    ]


def test_without_a_validation_before_the_first_step_nothing_stands_before_it():
    rows = preferences.moved(of({"kl": 0.25}, CURVE[1:])).rows
    assert rows == [
        ["margin of the rewards", "validation", "–", "0.500", "–"],
        ["log-likelihood of the chosen answer", "validation", "–", "-1.500", "–"],
        ["log-likelihood of the rejected answer", "validation", "–", "-15.000", "–"],
        ["drift, nats per answer", "validation", "–", "0.250", "–"],
    ]
    assert preferences.moved(of({})).rows == []


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"chosen_fell_at_step": 1200}, "The chosen answers were first less likely than before the "
         "tuning at the validation of step 1,200."),
        ({"chosen_fell_at_step": None}, "At no validation were the chosen answers less likely than "
         "before the tuning."),
        ({}, ""),
    ],
)  # fmt: skip
def test_a_sentence_says_when_the_chosen_answers_fell_or_that_they_did_not(metrics, said):
    assert preferences.fell(metrics) == said


def test_the_curve_holds_the_validations_alone_and_none_of_other_trainings():
    assert [row["step"] for row in preferences.curve(of({}, CURVE))] == [0, 60]
    assert preferences.curve(of({}, [{"step": 1.0, "train_loss": 2.0, "kl": 0.1}])) == []
    assert preferences.curve(SimpleNamespace(metrics={}, curves={})) == []


def test_the_end_of_the_curve_is_said_to_who_does_not_see_it():
    assert preferences.ends(of({}, CURVE)) == (
        "At the end, the chosen answer has the higher reward in 75.0 % of the pairs, the margin is "
        "0.500, and the log-likelihoods are -1.500 (chosen) and -15.000 (rejected)."
    )
