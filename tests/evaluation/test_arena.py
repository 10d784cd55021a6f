"""Who wins of two answers, and who is asked."""

import numpy as np
import pytest

from llmill.evaluation.judging import arena
from llmill.evaluation.judging.arena import Game, Known
from llmill.evaluation.statistics import ranking
from llmill.evaluation.statistics.ranking import Outcome

SUM, HI = ("Add.", "1 + 1"), ("Greet me.", "")
TASKS = {SUM: Known(("2", "two"), ("3",)), HI: Known(("Good day to you.",))}


def nobody(rows):
    assert rows == []
    return []


def test_a_rule_s_word_is_100_or_0_and_the_rest_is_asked_once():
    asked = []

    def rate(rows):
        asked.extend(rows)
        return [40.0] * len(rows)

    players = {
        "x": {SUM: "Two.", HI: "Hello."},
        "y": {SUM: "3", HI: "Hello."},
        "z": {SUM: "", HI: "good day to you", ("Other.", ""): "?"},
    }
    assert arena.scores(players, TASKS, {}, rate) == {
        "x": {SUM: 100.0, HI: 40.0},
        "y": {SUM: 0.0, HI: 40.0},
        "z": {SUM: 0.0, HI: 100.0},
    }
    row = {"instruction": "Greet me.", "input": "", "output": "Good day to you."}
    assert asked == [row | {"answer": "Hello."}]


def test_a_score_that_was_given_stands_also_above_a_rule_and_where_it_is_none():
    players = {"x": {SUM: "2", HI: "Hello."}}
    before = {(SUM, "2"): 90.0, (HI, "Hello."): None}
    assert arena.scores(players, TASKS, before, nobody) == {"x": {SUM: 90.0, HI: None}}


def test_words_in_common_are_shares_of_a_hundred():
    row = {"output": "Good day to you.", "answer": "Good day"}
    assert arena.by_words([row]) == pytest.approx([100 * 2 * 2 / 6])


@pytest.mark.parametrize(
    ("points", "margin", "score"),
    [
        ((60.0, 50.0), 10, 1.0),
        ((50.0, 60.0), 10, 0.0),
        ((59.9, 50.0), 10, 0.5),
        ((50.1, 50.0), 0, 1.0),
        ((50.0, 50.0), 0, 0.5),
    ],
)
def test_scores_nearer_than_the_margin_are_a_tie(points, margin, score):
    found = {"x": {HI: points[0]}, "y": {HI: points[1]}}
    assert arena.games(found, margin) == [Game("x", "y", HI, points, score)]


def test_each_two_players_meet_on_what_both_have_a_score_for():
    found = {"x": {SUM: 1.0, HI: 2.0}, "y": {HI: 30.0}, "z": {SUM: 50.0, HI: None}}
    played = arena.games(found, 5)
    assert [(g.first, g.second, g.task) for g in played] == [("x", "z", SUM), ("x", "y", HI)]
    assert played[0].outcome == Outcome("x", "z", 0.0, "Add.\n1 + 1")


def test_a_row_names_the_winner():
    game = Game("x", "y", SUM, (0.0, 100.0), 0.0)
    assert game.row == {
        "model_a": "x", "model_b": "y", "winner": "y",
        "instruction": "Add.", "input": "1 + 1", "points_a": 0.0, "points_b": 100.0,
    }  # fmt: skip
    assert Game("x", "y", SUM, (1.0, 1.0), 0.5).row["winner"] == "tie"


def test_intervals_over_instructions_hold_the_strengths_that_all_instructions_would_give():
    """Four players, whose one answer to an instruction is in three games: drawn as if games stood
    alone, 86 % of the intervals held them. The strengths are those of 20,000 such instructions.
    """
    strength = np.array([-1.0609, -0.4570, 0.1558, 1.3621])
    held = 0
    for seed in range(80):
        level = np.random.default_rng(seed + 1).normal([0.0, 0.4, 0.8, 1.6], size=(100, 4))
        found = {f"p{i}": {(str(n), ""): level[n, i] for n in range(100)} for i in range(4)}
        counts = ranking.count([game.outcome for game in arena.games(found, 0.5)])
        low, high, _ = ranking.intervals(counts, 100, 0.95, seed)
        held += int(((low <= strength) & (strength <= high)).sum())
    assert 0.90 <= held / 320 <= 0.99
