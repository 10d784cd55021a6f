"""Measures of agreement against published values, other libraries and slow references; what of a judge is measured."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from llmill.evaluation.statistics.agreement import alpha, kappa, kendall, of_judge, spearman

NAN = math.nan
PUBLISHED = [  # Krippendorff 2011, section D: 4 observers, 12 units
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]


@pytest.mark.parametrize(
    ("level", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_is_the_published_one_where_ratings_are_missing(level, value):
    assert round(alpha(np.transpose(PUBLISHED), level), 3) == value


def by_coincidences(table, level):
    """Alpha as Krippendorff writes it: from the matrix of coincidences."""
    values = sorted({v for row in table for v in row if not math.isnan(v)})
    o = {(c, k): 0.0 for c in values for k in values}
    for row in table:
        there = [v for v in row if not math.isnan(v)]
        for i, c in enumerate(there):
            for j, k in enumerate(there):
                if i != j:
                    o[c, k] += 1 / (len(there) - 1)
    n = {c: sum(o[c, k] for k in values) for c in values}
    total = sum(n.values())

    def apart(c, k):
        if level == "nominal":
            return float(c != k)
        if level == "interval":
            return (c - k) ** 2
        between = [g for g in values if min(c, k) <= g <= max(c, k)]
        return (sum(n[g] for g in between) - (n[c] + n[k]) / 2) ** 2

    observed = sum(o[c, k] * apart(c, k) for c in values for k in values)
    expected = sum(n[c] * n[k] * apart(c, k) for c in values for k in values)
    return 1 - (total - 1) * observed / expected


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_agrees_with_the_matrix_of_coincidences(level):
    rng = np.random.default_rng(1)
    for _ in range(20):
        table = rng.choice([0.0, 1.5, 2.0, 7.0, NAN], (9, 3))
        assert alpha(table, level) == pytest.approx(by_coincidences(table.tolist(), level))


def test_kappa_agrees_with_scikit_learn():
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 3, (2, 40))
    assert kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))
    assert kappa([True, True, False], [True, True, False]) == 1.0


def test_rank_correlations_with_ties():
    first, second = [1, 2, 2, 3, 4], [1, 3, 2, 2, 5]
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    # 7 pairs in one order, 1 in the other, a tie in each of two more
    assert kendall(first, second) == pytest.approx((7 - 1) / math.sqrt(9 * 9))


@pytest.mark.parametrize("measure", [spearman, kendall, kappa])
def test_raters_that_say_the_same_of_everything_neither_agree_nor_differ(measure):
    assert math.isnan(measure([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]))


def test_alpha_of_one_value_is_unknown():
    assert math.isnan(alpha([[0.1, 0.1, 0.1], [0.1, NAN, 0.1], [0.7, NAN, NAN]], "interval"))


def row(judge, rule, answer="four", exact=False, rouge_l=0.0):
    return {"judge": judge, "rule": rule, "answer": answer, "exact": exact, "rouge_l": rouge_l}


def test_a_judge_is_compared_with_the_rules_where_they_decide_and_with_others_on_all():
    table = [
        row(90.0, True, exact=True, rouge_l=1.0),
        row(80.0, True, rouge_l=0.6),
        row(70.0, False, rouge_l=0.2),
        row(10.0, False),
        row(60.0, None, rouge_l=0.7),
        row(20.0, None, rouge_l=0.1),
        row(None, True, exact=True, rouge_l=1.0),
    ]
    found = of_judge(table, 0.95, 1)
    values = {
        f"{other} {name}": round(figure["value"], 4)
        for other in ("rules", "exact_match", "rouge_l")
        for name, figure in found[other].items()
    }
    assert values == {
        "rules kappa": 0.5,  # 3 of 4 alike, 2 of 4 by chance
        "rules spearman": 0.8944,
        "rules kendall": 0.8165,
        "exact_match kappa": 0.1818,  # (18 - 14) of (36 - 14)
        "exact_match spearman": 0.6547,
        "exact_match kendall": 0.5774,
        "rouge_l kappa": 0.6667,
        "rouge_l spearman": 0.8286,
        "rouge_l kendall": 0.7333,
    }
    assert {found[name]["kappa"]["n"] for name in ("exact_match", "rouge_l")} == {6}
    assert found["rules"]["kappa"]["n"] == 4
    scores = [
        [90, 100, 100, 100],
        [80, 100, 0, 60],
        [70, 0, 0, 20],
        [10, 0, 0, 0],
        [60, NAN, 0, 70],
        [20, NAN, 0, 10],
    ]
    for level in ("ordinal", "interval"):
        assert found["alpha"][level]["value"] == pytest.approx(by_coincidences(scores, level))
    verdicts = [[v if math.isnan(v) else float(v >= 50) for v in each] for each in scores]
    assert found["alpha"]["nominal"]["value"] == pytest.approx(by_coincidences(verdicts, "nominal"))


def test_a_judge_that_likes_length_is_seen_among_right_and_other_answers_alone():
    words = ["a", "bb", "ccc", "dddd"]
    right = [row(100.0 - len(word), True, word) for word in words]
    others = [
        row(10.0 * len(word), rule, word)
        for word, rule in zip(words, [False, None] * 2, strict=True)
    ]
    found = of_judge(right + others, 0.95, 1)["length"]
    assert {name: figure["value"] for name, figure in found.items()} == pytest.approx(
        {"right": -1.0, "others": 1.0}
    )
    assert all(-1 <= f["low"] <= f["value"] <= f["high"] <= 1 for f in found.values())


def test_what_cannot_be_computed_is_left_out():
    assert of_judge([], 0.95, 1) == {}
    assert of_judge([row(50.0, None)], 0.95, 1) == {}
    asked = [row(50.0, None, "a", rouge_l=0.1), row(60.0, None, "b", rouge_l=0.2), row(None, True)]
    assert set(of_judge(asked, 0.95, 1)) == {"rouge_l", "alpha"}
