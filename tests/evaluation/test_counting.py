"""Shares right with intervals, of questions that stand alone and of those that share something."""

import pytest

from llmill.evaluation.multiple_choice.choices import Scores
from llmill.evaluation.multiple_choice.counting import Counting, mean_over_groups
from llmill.evaluation.statistics import intervals
from llmill.tasks.clusters import clusters_of
from llmill.tasks.multiple_choice import Question

PASSAGE = "This is about the following.\nLong ago there was a king.\n"


def asked(text, answer=0, subject="s"):
    return Question(subject, text, ["a", "b"], answer)


def test_questions_share_a_passage_an_entity_or_nothing():
    questions = [
        asked(PASSAGE + "Who was there?"),
        asked("Capital of France?"),
        asked(PASSAGE + "When?"),
        asked("Currency of France?"),
        asked("Which of these is true?"),
        asked("Which of these is true?"),
    ]
    entities = {"Capital of France?": "France", "Currency of France?": "France"}
    assert clusters_of(questions, entities) == [0, 1, 0, 1, 4, 5]


def test_without_clusters_the_interval_is_wilsons():
    questions = [asked(str(i), 0) for i in range(10)]
    counting = Counting(questions, {"s": "easy"}, range(10), 0.95)
    found = counting.of([0] * 7 + [1] * 3)
    assert found["all"] == intervals.share(7, 10, 0.95)
    assert found["levels"] == {"easy": intervals.share(7, 10, 0.95)}


def test_of_choices_that_tie_a_baseline_guesses_one():
    """With the first of them, it would measure how often the first choice is right."""
    questions = [asked(str(i), 0) for i in range(10)]
    counting = Counting(questions, {}, range(10), 0.95)
    assert counting.baseline([[0, 1]] * 10) == intervals.share(5, 10, 0.95)
    assert counting.baseline([[0]] * 3 + [[1]] * 7)["value"] == 0.3


def test_ten_questions_of_two_passages_say_little():
    questions = [asked(str(i), 0) for i in range(10)]
    counting = Counting(questions, {}, [0] * 5 + [1] * 5, 0.95)
    found = counting.of([0] * 5 + [1] * 5)["all"]
    assert found["value"] == 0.5
    assert found["high"] - found["low"] > 0.9


def test_the_mean_over_subjects_weighs_each_the_same():
    questions = [asked(str(i)) for i in range(4)] + [asked("5", subject="t")]
    ones = [[1] * 2] * 5
    scores = Scores(
        [[0.0, -1.0]] * 4 + [[-1.0, 0.0]],
        {"sum": ones, "token": ones, "byte": ones, "character": ones},
        0,
        0,
    )
    found = Counting(questions, {}, range(5), 0.95).figures(scores, scores, "byte")
    assert (found["all"]["value"], found["subject_mean"]["value"]) == (0.8, 0.5)


def test_a_mean_over_subjects_that_ask_about_the_same_is_no_surer_than_one_subject():
    subjects = ["a"] * 30 + ["b"] * 30 + ["c"] * 30
    questions = [asked(str(i), 0, subject) for i, subject in enumerate(subjects)]
    likely = [[0.0, -1.0], [-1.0, 0.0]] * 15 * 3
    ones = [[1] * 2] * 90
    scores = Scores(likely, {"sum": ones, "token": ones, "byte": ones, "character": ones}, 0, 0)
    counting = Counting(questions, {}, [*range(30)] * 3, 0.95)
    found = counting.figures(scores, scores, "byte")
    mean, one = found["subject_mean"], found["subjects"]["a"]
    assert mean["value"] == one["value"] == 0.5
    assert mean["high"] - mean["low"] > 0.95 * (one["high"] - one["low"])


def test_a_mean_over_subjects_that_share_no_entity_joins_their_intervals():
    right, subjects = [True, False, True, True], ["a", "a", "b", "b"]
    found = mean_over_groups(right, subjects, range(4), confidence=0.95)
    each = [intervals.share(1, 2, 0.95), intervals.share(2, 2, 0.95)]
    assert found == intervals.mean_of_shares(each)


def test_a_mean_over_subjects_about_the_same_is_as_unsure_as_one_of_them():
    """Three subjects ask of the same 50 entities and are right about the same half."""
    right = [i % 2 == 0 for i in range(50)] * 3
    subjects = ["a"] * 50 + ["b"] * 50 + ["c"] * 50
    found = mean_over_groups(right, subjects, [*range(50)] * 3, confidence=0.95)
    one = intervals.clustered_share(right[:50], range(50), confidence=0.95)
    assert (found["value"], found["n"]) == (0.5, 150)
    assert found["low"] == pytest.approx(one["low"], abs=0.005)
    assert found["high"] == pytest.approx(one["high"], abs=0.005)


def test_a_subject_of_one_question_adds_to_what_is_unsure():
    right, subjects, of = [True, False, True], ["a", "a", "b"], ["x", "y", "x"]
    found = mean_over_groups(right, subjects, of, confidence=0.95)
    assert found["value"] == 0.75
    assert found["low"] < 0.1
    one = mean_over_groups(right, subjects, ["x"] * 3, confidence=0.95)
    assert (one["low"], one["high"]) == (0.0, 1.0)
