"""Strengths from outcomes: published fits, simulated players, and records that have none."""

import math
import tracemalloc

import numpy as np
import pytest

from llmill.evaluation.statistics import ranking
from llmill.evaluation.statistics.ranking import Outcome

# The American League's East Division of 1987 (Agresti, Categorical Data Analysis, 2002, table
# 10.10): how often the team of the row beat that of the column, of 13 games each.
TEAMS = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"]
WINS = [
    [0, 7, 9, 7, 7, 9, 11],
    [6, 0, 7, 5, 11, 9, 9],
    [4, 6, 0, 7, 7, 8, 12],
    [6, 8, 6, 0, 6, 7, 10],
    [6, 2, 6, 7, 0, 7, 12],
    [4, 4, 5, 6, 6, 0, 6],
    [2, 4, 1, 3, 1, 7, 0],
]
BASEBALL = [
    Outcome(TEAMS[i], TEAMS[j], 1.0)
    for i, row in enumerate(WINS) for j, wins in enumerate(row) for _ in range(wins)
]  # fmt: skip


def test_the_baseball_teams_have_the_published_strengths():
    """As R's BradleyTerry2 prints them, less Baltimore's."""
    counts = ranking.count(BASEBALL)
    found, nu = ranking.strengths(counts)
    less = dict(zip(counts.players, found - found[counts.players.index("Baltimore")], strict=True))
    published = {
        "Boston": 1.1077, "Cleveland": 0.6839, "Detroit": 1.4364, "Milwaukee": 1.5814,
        "New York": 1.2476, "Toronto": 1.2945, "Baltimore": 0.0,
    }  # fmt: skip
    assert less == pytest.approx(published, abs=1e-4)
    assert nu == 0


def test_two_players_with_ties_have_the_strengths_that_can_be_written_down():
    outcomes = 6 * [Outcome("a", "b", 1.0)] + 2 * [Outcome("b", "a", 1.0)]
    outcomes += 4 * [Outcome("b", "a", 0.5)]
    found, nu = ranking.strengths(ranking.count(outcomes))
    assert found[0] - found[1] == pytest.approx(math.log(6 / 2))
    assert nu == pytest.approx(4 / math.sqrt(6 * 2))  # ties / sqrt(wins * losses)


def test_the_order_of_outcomes_and_of_the_two_in_one_changes_nothing():
    turned = [Outcome(each.second, each.first, 1.0 - each.score) for each in BASEBALL[::-1]]
    assert np.allclose(
        *(ranking.strengths(ranking.count(outcomes))[0] for outcomes in (BASEBALL, turned)),
        atol=1e-9,
    )


def played(strength: np.ndarray, nu: float, games: int, rng: np.random.Generator) -> list[Outcome]:
    """So many games of every pair."""
    outcomes = []
    for i in range(len(strength)):
        for j in range(i):
            weights = np.exp([strength[i], strength[j], (strength[i] + strength[j]) / 2])
            weights[2] *= nu
            drawn = rng.choice([1.0, 0.0, 0.5], size=games, p=weights / weights.sum())
            outcomes += [Outcome(f"p{i}", f"p{j}", float(score)) for score in drawn]
    return outcomes


def test_intervals_hold_the_strengths_that_the_outcomes_were_drawn_with():
    """95 % intervals of five players over 200 simulations with ties."""
    strength, rng = np.array([-1.0, -0.3, 0.0, 0.5, 0.8]), np.random.default_rng(1)
    strength -= strength.mean()
    held, distance = 0, []
    for seed in range(200):
        counts = ranking.count(played(strength, 0.7, 30, rng))
        low, high, _ = ranking.intervals(counts, 200, 0.95, seed)
        held += int(((low <= strength) & (strength <= high)).sum())
        distance.append(ranking.strengths(counts)[0] - strength)
    assert 0.90 <= held / 1000 <= 0.99
    assert abs(np.mean(distance, axis=0)).max() < 0.05


def test_a_resample_has_as_many_outcomes_and_of_the_same_pairs_and_kinds_alone():
    counts = ranking.count(BASEBALL[:50])
    (drawn,) = ranking.resample(counts, 20, seed=1)
    assert drawn.shape == (20, *counts.won.shape)
    assert drawn.sum(axis=(1, 2)).tolist() == [50] * 20
    assert not drawn[:, counts.won == 0].any()


def test_outcomes_about_one_thing_are_drawn_together():
    """Of three things with two outcomes each, a draw has each thing's two, or neither."""
    outcomes = [Outcome("a", "b", 1.0, "x"), Outcome("a", "c", 1.0, "x")]
    outcomes += [Outcome("a", "b", 0.5, "y"), Outcome("a", "c", 0.0, "y")]
    outcomes += [Outcome("b", "a", 1.0, "z"), Outcome("c", "a", 0.5, "z")]
    counts = ranking.count(outcomes)
    assert counts.pairs.tolist() == [[0, 1], [0, 2]]
    assert counts.won.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert counts.parts.toarray().tolist() == [
        [1, 0, 0, 1, 0, 0], [0, 0, 1, 0, 1, 0], [0, 1, 0, 0, 0, 1],
    ]  # fmt: skip
    (drawn,) = ranking.resample(counts, 50, seed=1)
    assert drawn.sum(axis=(1, 2)).tolist() == [6] * 50
    times = drawn[:, 0, [0, 2, 1]]  # of x, y and z, by what a and b did
    assert (drawn[:, 1] == times).all()
    assert set(times.sum(axis=1)) == {3}


def test_a_comparison_told_twice_makes_no_interval_narrower():
    """Every outcome stands there two times, about the same thing."""
    once = [Outcome("a", "b", float(n % 3 > 0), str(n)) for n in range(60)]
    alone = [Outcome(each.first, each.second, each.score) for each in once]
    width = [
        (high - low)[0]
        for outcomes in (alone, 2 * alone, 2 * once)
        for low, high, _ in [ranking.intervals(ranking.count(outcomes), 1000, 0.95, seed=1)]
    ]
    assert width[1] < 0.8 * width[0]
    assert width[2] == pytest.approx(width[0], rel=0.1)


def about_twenty() -> list[Outcome]:
    """Sixty outcomes of three players about twenty things."""
    pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "c"), ("b", "a"), ("c", "b")]
    scores = [1.0, 0.0, 0.5, 1.0]
    return [
        Outcome(*pairs[n % 6], scores[n % 4] if n % 5 else 0.5, f"thing {n % 20}")
        for n in range(60)
    ]


def test_intervals_over_things_and_over_outcomes_are_these():
    together = about_twenty()
    alone = [Outcome(each.first, each.second, each.score) for each in together]
    low, high, left_out = ranking.intervals(ranking.count(together), 200, 0.95, seed=1)
    assert low.tolist() == pytest.approx(
        [-0.5951864819869089, -0.1906145775463165, -0.1677328408933916], abs=1e-12
    )
    assert high.tolist() == pytest.approx(
        [0.1677328408933917, 0.0540877364105164, 0.7993357291535178], abs=1e-12
    )
    assert left_out == 0
    low, high, left_out = ranking.intervals(ranking.count(alone), 200, 0.95, seed=1)
    assert low.tolist() == pytest.approx(
        [-0.7039671702813983, -0.5456731626223296, -0.4407531773046026], abs=1e-12
    )
    assert high.tolist() == pytest.approx(
        [0.2336646108378007, 0.4848398601333609, 0.9583715540605369], abs=1e-12
    )
    assert left_out == 0


@pytest.mark.parametrize("together", [True, False])
def test_resamples_do_not_depend_on_how_many_are_drawn_together(together, monkeypatch):
    outcomes = about_twenty()
    if not together:
        outcomes = [Outcome(each.first, each.second, each.score) for each in outcomes]
    counts = ranking.count(outcomes)
    (whole,) = ranking.resample(counts, 10, seed=1)
    intervals = ranking.intervals(counts, 10, 0.95, seed=1)
    monkeypatch.setattr(ranking, "CELLS", 100)
    blocks = list(ranking.resample(counts, 10, seed=1))
    assert [len(block) for block in blocks] == [3, 3, 3, 1]
    assert (np.concatenate(blocks) == whole).all()
    for found, expected in zip(ranking.intervals(counts, 10, 0.95, seed=1), intervals, strict=True):
        assert found == pytest.approx(expected, abs=1e-12)


def test_the_outcomes_of_drawn_things_are_those_of_a_slow_sum():
    counts = ranking.count(about_twenty())
    (drawn,) = ranking.resample(counts, 10, seed=1)
    times = np.random.default_rng(1).multinomial(20, [1 / 20] * 20, size=10)
    parts = counts.parts.toarray().reshape(20, 3, 3)
    expected = [sum(n * part for n, part in zip(row, parts, strict=True)) for row in times]
    assert (drawn == expected).all()


def test_memory_grows_with_the_outcomes_and_not_with_things_times_pairs():
    """20,000 things and 435 pairs have 26 million counts, of which 40,000 are not 0."""
    rng = np.random.default_rng(1)
    first = rng.integers(30, size=40_000)
    second = (first + rng.integers(1, 30, size=40_000)) % 30
    scores = rng.choice([1.0, 0.5, 0.0], size=40_000)
    outcomes = [
        Outcome(f"model {one}", f"model {two}", float(score), f"question {n % 20_000}")
        for n, (one, two, score) in enumerate(zip(first, second, scores, strict=True))
    ]
    tracemalloc.start()
    try:
        counts = ranking.count(outcomes)
        ranking.intervals(counts, 100, 0.95, seed=1)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()
    assert len(counts.pairs) == 435


def test_players_who_never_met_are_groups_of_their_own():
    outcomes = [Outcome("a", "b", 0.5), Outcome("d", "c", 0.5), Outcome("c", "e", 0.5)]
    counts = ranking.count(outcomes)
    assert ranking.groups(counts, strong=False) == [["c", "d", "e"], ["a", "b"]]


def test_who_only_won_stands_in_no_strong_group_with_the_others():
    outcomes = [Outcome("best", "a", 1.0), Outcome("a", "b", 1.0), Outcome("b", "a", 1.0)]
    counts = ranking.count(outcomes)
    assert ranking.groups(counts, strong=False) == [["a", "b", "best"]]
    assert ranking.groups(counts, strong=True) == [["a", "b"], ["best"]]


def test_ties_alone_make_no_strong_group():
    """Of wins and ties of one side, the chance of a loss is best taken to be none."""
    for outcomes in ([Outcome("a", "b", 0.5)], [Outcome("a", "b", 1.0), Outcome("a", "b", 0.5)]):
        counts = ranking.count(outcomes)
        assert ranking.groups(counts, strong=False) == [["a", "b"]]
        assert ranking.groups(counts, strong=True) == [["a"], ["b"]]


def test_a_tie_joins_two_players_once_wins_go_both_ways_somewhere():
    """Then the tie parameter is finite, and so is who is neither better nor worse without end."""
    both = (
        [Outcome("a", "b", 1.0)] * 30 + [Outcome("b", "a", 1.0)] * 20 + [Outcome("a", "b", 0.5)] * 5
    )
    mostly = [Outcome("c", "a", 0.5)] * 60 + [Outcome("c", "a", 1.0)] * 2
    assert ranking.rateable([*both, *mostly]) == [["a", "b", "c"]]
    counts = ranking.count([*both, *mostly])
    (a, b, c), nu = ranking.strengths(counts)

    def likelihood(a, b, c, nu):
        def shares(x, y):
            sizes = np.array([np.exp(x), np.exp(y), nu * np.exp((x + y) / 2)])
            return np.log(sizes / sizes.sum())

        one, other = shares(a, b), shares(c, a)
        return 30 * one[0] + 20 * one[1] + 5 * one[2] + 2 * other[0] + 60 * other[2]

    best = likelihood(a, b, c, nu)
    for step in (0.01, -0.01):
        assert best > likelihood(a + step, b, c, nu)
        assert best > likelihood(a, b, c + step, nu)
        assert best > likelihood(a, b, c, nu * np.exp(step))
    assert ranking.intervals(counts, 200, 0.95, 1)[2] == 0


def test_a_part_is_rated_by_the_outcomes_within_it():
    """Those of x and y are ties; the wins that go both ways are elsewhere."""
    met = [Outcome("a", "b", 1.0), Outcome("b", "a", 1.0), Outcome("x", "y", 0.5)]
    above = [Outcome("a", "x", 1.0), Outcome("b", "y", 1.0)]
    assert ranking.groups(ranking.count([*met, *above]), strong=True) == [["a", "b"], ["x", "y"]]
    assert ranking.rateable([*met, *above]) == [["a", "b"]]


def test_a_unit_of_strength_is_174_points_and_ten_to_one_are_400():
    assert ranking.rating(np.array([0.0, 1.0])) == pytest.approx([1000.0, 1173.7178])
    assert ranking.rating(np.array([math.log(10)])) == pytest.approx([1400.0])


@pytest.mark.parametrize(
    ("games", "published"),
    [
        # Its tests: Team A beats B, then C, then B beats C.
        ("A>B A>C B>C", {"A": 1519.712, "B": 1500.008, "C": 1480.279}),
        # Its page elo.run.helpers, data set `tournament`, after three weeks; who met whom in the
        # last two games, which the page cuts off, follows from the points that they moved.
        (
            "A>B D>C F>E G>H C>A B>D E>G H>F D>A C>B H>E G>F",
            {"A": 1489.425, "B": 1490.575, "C": 1510.575, "D": 1509.425,
             "E": 1490.575, "F": 1489.425, "G": 1509.425, "H": 1510.575},
        ),
    ],
)  # fmt: skip
def test_plain_elo_is_that_of_r_s_package_elo_to_three_decimals(games, published):
    """With its k of 20; its players begin at 1500."""
    outcomes = [Outcome(each[0], each[2], 1.0) for each in games.split()]
    found = {name: 500 + rating for name, rating in ranking.elo(outcomes, k=20).items()}
    assert found == pytest.approx(published, abs=5.01e-4)


def test_plain_elo_moves_by_what_was_not_expected():
    """Worked by hand: 1000 and 1000, then 1002 and 998."""
    outcomes = [Outcome("a", "b", 1.0), Outcome("b", "a", 0.5)]
    found = ranking.elo(outcomes)
    expected = 1 / (1 + 10 ** (4 / 400))
    assert found["b"] == pytest.approx(998 + 4 * (0.5 - expected))
    assert found["a"] + found["b"] == 2000
    assert ranking.elo(outcomes, k=32)["a"] == pytest.approx(
        1016 - 32 * (0.5 - 1 / (1 + 10 ** (32 / 400)))
    )
