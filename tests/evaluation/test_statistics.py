"""Intervals against published or hand-made values, and their coverage on drawn data."""

import itertools

import numpy as np
import pytest
from scipy import stats

from llmill.evaluation.statistics import intervals, ordering

DRAWN = {"confidence": 0.95, "resamples": 500, "seed": 1}


def rounded(interval):
    numbers = {key: value for key, value in interval.items() if key != "covers"}
    return {key: round(value, 4) for key, value in numbers.items()}


def test_wilson_interval_of_81_in_263_is_the_published_one():
    # Newcombe 1998, table I, method 3
    assert rounded(intervals.share(81, 263, 0.95)) == {
        "value": 0.308,
        "low": 0.2553,
        "high": 0.3662,
        "n": 263,
    }


def test_wilson_interval_agrees_with_scipy():
    for right, n, confidence in [(1, 29, 0.95), (15, 148, 0.9), (97, 100, 0.99)]:
        theirs = stats.binomtest(right, n).proportion_ci(confidence, method="wilson")
        ours = intervals.share(right, n, confidence)
        assert (ours["low"], ours["high"]) == pytest.approx((theirs.low, theirs.high))


def test_all_right_is_not_certain_and_ends_at_exactly_one():
    found = intervals.share(20, 20, 0.95)
    assert (found["value"], found["high"]) == (1.0, 1.0)
    assert 0.83 < found["low"] < 0.85


def test_none_right_begins_at_exactly_zero():
    assert intervals.share(0, 20, 0.95)["low"] == 0.0


def test_a_share_of_nothing_may_be_anything():
    nothing = {"value": 0.0, "low": 0.0, "high": 1.0, "n": 0, "covers": "items"}
    assert intervals.share(0, 0, 0.95) == nothing


def test_items_of_clusters_of_one_have_about_wilsons_interval():
    right = [True] * 180 + [False] * 20
    alone = intervals.clustered_share(right, range(200), confidence=0.95)
    assert rounded(alone) == {"value": 0.9, "low": 0.8501, "high": 0.9346, "n": 200}
    assert rounded(intervals.share(180, 200, 0.95)) == rounded(alone) | {
        "low": 0.8506,
        "high": 0.9343,
    }


def test_items_that_are_right_together_count_as_one():
    right = [False] * 50 + [True] * 150  # by fives: 10 clusters wrong, 30 right
    fives = [i // 5 for i in range(200)]
    together = intervals.clustered_share(right, fives, confidence=0.95)
    as_one = intervals.clustered_share([*right[::5]], range(40), confidence=0.95)
    assert together == as_one | {"n": 200}
    assert together["covers"] == "items"


def test_clusters_that_are_all_right_count_as_one_item_each():
    found = intervals.clustered_share([True] * 60, ["a", "b", "c"] * 20, confidence=0.95)
    t = stats.t.ppf(0.975, 2)
    assert rounded(found) == {"value": 1.0, "low": round(3 / (3 + t**2), 4), "high": 1.0, "n": 60}


@pytest.mark.parametrize("right", [[], [True], [True, False]])
def test_one_cluster_says_nothing_of_others(right):
    found = intervals.clustered_share(right, ["a"] * len(right), confidence=0.95)
    assert (found["low"], found["high"], found["n"]) == (0.0, 1.0, len(right))


def test_wilson_covers_the_truth_about_as_often_as_it_says():
    draws = np.random.default_rng(0).binomial(110, 0.9, 2000)
    found = [intervals.share(int(k), 110, 0.95) for k in draws]
    covered = np.mean([f["low"] <= 0.9 <= f["high"] for f in found])
    assert 0.93 < covered < 0.97


def test_the_mean_of_shares_weighs_each_the_same():
    shares = [intervals.share(1, 2, 0.95), intervals.share(100, 100, 0.95)]
    found = intervals.mean_of_shares(shares)
    assert found["value"] == 0.75
    assert found["n"] == 102
    assert 0.5 < found["low"] < 0.75 < found["high"] < 1.0


def test_the_mean_of_one_share_has_its_interval():
    share = intervals.share(3, 4, 0.95)
    assert intervals.mean_of_shares([share]) == pytest.approx(share)


def test_bootstrap_of_a_mean_is_near_the_normal_interval():
    values = np.random.default_rng(3).normal(50, 10, 400)
    found = intervals.mean(values, **DRAWN)
    assert found["value"] == pytest.approx(values.mean())
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 10 / 20, rel=0.15)
    assert found["n"] == 400


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    values = list(range(30))
    again = intervals.mean(values, **DRAWN)
    assert intervals.mean(values, **DRAWN) == again
    assert intervals.mean(values, **{**DRAWN, "seed": 2}) != again


def test_a_bootstrap_keeps_rows_together():
    first = np.random.default_rng(4).normal(0, 100, 50)
    found = intervals.bootstrap(lambda a, b: (a - b).mean(), [first + 1, first], **DRAWN)
    assert (found["low"], found["high"]) == pytest.approx((1.0, 1.0))


def test_scores_that_are_all_full_may_have_been_others():
    found = intervals.bounded_mean([100.0] * 20, 100, 0.95)
    t = stats.t.ppf(0.975, 19)
    assert rounded(found) == {
        "value": 100.0,
        "low": round(100 * 20 / (20 + t**2), 4),
        "high": 100.0,
        "n": 20,
    }


@pytest.mark.parametrize("values", [[], [40.0]])
def test_one_score_says_nothing_of_others(values):
    found = intervals.bounded_mean(values, 100, 0.95)
    assert (found["low"], found["high"], found["n"]) == (0.0, 100, len(values))


def test_pairs_that_are_all_in_order_are_as_sure_as_their_rarer_kind():
    found = intervals.pairs_right([1] * 5 + [0] * 100, [0.9] * 5 + [0.1] * 100)
    t = stats.t.ppf(0.975, 4)
    assert rounded(found) == {"value": 1.0, "low": round(5 / (5 + t**2), 4), "high": 1.0, "n": 500}


def test_a_bootstrap_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one observation"):
        intervals.mean([], **DRAWN)


def test_pairs_of_equal_known_score_are_not_counted_and_ties_count_half():
    # unequal pairs: (0,1) right, (0,1') tied, each for one 0: 2 pairs
    found = intervals.pairs_right([0, 1, 1], [0.2, 0.9, 0.2])
    assert (found["value"], found["n"]) == (0.75, 2)


def test_pairs_right_agrees_with_counting():
    rng = np.random.default_rng(5)
    known, predicted = rng.integers(0, 4, 40), rng.integers(0, 6, 40)
    points = [
        0.5
        if predicted[i] == predicted[j]
        else float((known[i] > known[j]) == (predicted[i] > predicted[j]))
        for i, j in itertools.combinations(range(40), 2)
        if known[i] != known[j]
    ]
    found = intervals.pairs_right(known.tolist(), predicted.tolist())
    assert found["value"] == pytest.approx(np.mean(points))
    assert found["n"] == len(points)
    assert found["low"] < found["value"] < found["high"]


FORMS = {"from sorted predictions": 16, "pair by pair": 0}  # most values of truth for sorting


def drawn_with_ties(runs: int):
    """Truth, predictions and clusters of 40 observations."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 4, 40) / 3, rng.integers(0, 9, (runs, 40)), rng.integers(0, 12, 40)


@pytest.mark.parametrize("values", FORMS.values(), ids=FORMS)
def test_pairs_are_the_same_however_many_are_in_memory(monkeypatch, values):
    monkeypatch.setattr(ordering, "VALUES", values)
    known, runs, of = drawn_with_ties(2)
    whole = intervals.pairs_right(known, *runs, clusters=of.tolist(), **DRAWN)
    monkeypatch.setattr(ordering, "AT_ONCE", 130)  # three rows of forty
    parts = intervals.pairs_right(known, *runs, clusters=of.tolist(), **DRAWN)
    assert parts == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("in_clusters", [False, True])
@pytest.mark.parametrize("runs", [1, 3])
def test_pairs_are_the_same_from_sorted_predictions_and_pair_by_pair(
    monkeypatch, runs, in_clusters
):
    known, given, of = drawn_with_ties(runs)
    clusters = of.tolist() if in_clusters else None
    found = []
    for values in FORMS.values():
        monkeypatch.setattr(ordering, "VALUES", values)
        found.append(intervals.pairs_right(known, *given, clusters=clusters, **DRAWN))
    assert found[0] == pytest.approx(found[1], abs=1e-12)


@pytest.mark.parametrize("values", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("in_clusters", [False, True])
def test_a_resample_of_clusters_has_every_observation_as_often_as_its_cluster(
    monkeypatch, values, in_clusters
):
    """The slow reference writes a resample out, and compares its pairs one by one."""
    monkeypatch.setattr(ordering, "VALUES", values)
    known, given, of = drawn_with_ties(2)
    of = np.unique(of, return_inverse=True)[1] if in_clusters else np.arange(40)
    count, n = ordering.counter(known, given), of.max() + 1
    slow = []
    for times in np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), 20):
        rows = [row for row in range(40) for _ in range(times[of[row]])]
        pairs = [(i, j) for i, j in itertools.product(rows, rows) if known[i] > known[j]]
        points = [1 + np.sign(run[i] - run[j]) for run in given for i, j in pairs]
        slow.append(np.mean(points) / 2)
    assert ordering.resampled(count, of, 20, 1) == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize("runs", [1, 3])
def test_pairs_of_clusters_of_one_are_those_of_observations(runs):
    known, given, _ = drawn_with_ties(runs)
    names = [f"task {number}" for number in range(40)]
    alone = intervals.pairs_right(known, *given, **DRAWN)
    assert intervals.pairs_right(known, *given, clusters=names, **DRAWN) == alone


def test_pairs_of_clusters_that_are_all_in_order_are_as_sure_as_their_clusters():
    known, given = [1, 1, 0, 0, 0] * 6, [0.9, 0.8, 0.1, 0.1, 0.2] * 6
    found = intervals.pairs_right(known, given, clusters=[i // 5 for i in range(30)])
    t = stats.t.ppf(0.975, 5)
    low = round(6 / (6 + t**2), 4)
    assert rounded(found) == {"value": 1.0, "low": low, "high": 1.0, "n": 12 * 18}


@pytest.mark.parametrize("runs", [1, 2])
def test_of_one_cluster_pairs_say_nothing_of_others(runs):
    given = [[0.9, 0.2, 0.4], [0.9, 0.2, 0.1]][:runs]
    found = intervals.pairs_right([1, 0, 0], *given, clusters="aaa")
    assert (found["low"], found["high"], found["n"]) == (0.0, 1.0, 2)


@pytest.mark.parametrize(
    ("truth", "clusters", "fewest"),
    [
        ([0, 0, 0, 1, 1, 2], [0, 1, 2, 3, 4, 5], 3),  # all but the most frequent
        ([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 2, 3], 1),  # all wrong ones are of one cluster
        ([0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 3, 3], 1),
        ([1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 2, 2], 3),  # each has both
        ([0, 1, 0, 0, 1, 2], [0, 0, 1, 2, 3, 4], 3),  # the one that has both, and two above 0
    ],
)
def test_as_few_clusters_as_have_an_observation_of_every_pair(truth, clusters, fewest):
    assert ordering.behind_pairs(np.array(truth, dtype=float), np.array(clusters)) == fewest
    pairs = [(a, b) for a, b in itertools.combinations(range(6), 2) if truth[a] != truth[b]]
    assert fewest == min(
        len(chosen)
        for size in range(7)
        for chosen in itertools.combinations(set(clusters), size)
        if all({clusters[a], clusters[b]} & set(chosen) for a, b in pairs)
    )


def test_a_prediction_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="a prediction is NaN"):
        intervals.pairs_right([0, 1], [0.5, float("nan")])


def test_pairs_of_several_runs_are_their_mean_and_as_unsure_as_runs_and_items_together():
    known, run = [0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6]
    one = intervals.pairs_right(known, run, **DRAWN)
    alike = intervals.pairs_right(known, run, run, **DRAWN)  # nothing varies over runs
    assert rounded(alike) == rounded(one)
    assert (one["covers"], alike["covers"]) == ("items", "both")
    ordered = [1, 2, 3, 4, 5, 6]
    found = intervals.pairs_right(known, ordered, ordered[::-1], **DRAWN)  # nothing over items
    spread = stats.t.ppf(0.975, 1) ** 2 / 1  # half right with a variance of 1/4: as of one trial
    half = np.sqrt(spread * (0.25 + spread / 4)) / (1 + spread)
    low, high = round(0.5 - half, 4), round(0.5 + half, 4)
    assert rounded(found) == {"value": 0.5, "low": low, "high": high, "n": 9}


def test_a_mean_over_runs_adds_the_variance_over_runs_to_that_over_items():
    runs = [[10.0, 20.0, 60.0], [30.0, 40.0, 80.0]]  # means 30 and 50; of items 20, 30, 70
    found = intervals.mean_over_runs(runs, 100, 0.95)
    of_runs, of_items = 0.02 / 2, 0.07 / 3
    both = of_runs + of_items
    t = stats.t.ppf(0.975, both**2 / (of_runs**2 / 1 + of_items**2 / 2))
    p, n = 0.4, 0.4 * 0.6 / both  # as many trials as would be as unsure
    centre = (p + t**2 / (2 * n)) / (1 + t**2 / n)
    half = t * np.sqrt(p * (1 - p) / n + t**2 / (4 * n**2)) / (1 + t**2 / n)
    assert rounded(found) == {
        "value": 40.0,
        "low": round(100 * (centre - half), 4),
        "high": round(100 * (centre + half), 4),
        "n": 3,
    }
    assert found["covers"] == "both"
    assert intervals.mean_over_runs(runs[:1], 100, 0.95) == intervals.bounded_mean(
        runs[0], 100, 0.95
    )


def test_of_one_item_a_mean_over_runs_says_nothing_of_others():
    found = intervals.mean_over_runs([[40.0], [60.0]], 100, 0.95)
    assert found == {"value": 50.0, "low": 0.0, "high": 100, "n": 1, "covers": "both"}


def test_of_one_item_a_figure_over_runs_that_agree_says_nothing_of_others():
    found = intervals.crossed(
        lambda truth, run: float((truth == run).mean()), [1], [[1], [1]], **DRAWN
    )
    assert found["value"] == 1.0
    assert found["low"] < 0.3


def test_no_unequal_pair_may_be_anything():
    assert intervals.pairs_right([1, 1], [0, 1])["n"] == 0


def test_the_numbers_of_nested_metrics_have_dotted_names():
    nested = {
        "all": {"value": 0.5, "low": 0.1, "high": 0.9, "n": 4},
        "by": {"a (b)": {"n": 2}},
        "counts": [1, 2],
        "backend": "grader",
    }
    assert intervals.numbers_of(nested) == {"all": 0.5, "by.a (b).n": 2}


def test_a_mean_over_runs_is_as_unsure_as_runs_and_observations_together():
    truth = np.zeros(200, dtype=int)
    half = np.array([0, 1] * 100)

    def right(truth, run):
        return float((truth == run).mean())

    def width(runs):
        found = intervals.crossed(right, truth, runs, confidence=0.95, resamples=500, seed=1)
        assert found["n"] == 200
        return found["value"], found["high"] - found["low"]

    alike = width([half, half, half])
    assert alike[0] == 0.5
    assert alike[1] == pytest.approx(2 * 1.96 * (0.25 / 200) ** 0.5, rel=0.1)
    differ = width([half * 0, half, half * 0 + 1])  # all right, half, none
    assert differ[0] == 0.5
    assert differ[1] > 5 * alike[1]


def test_a_difference_of_independent_figures_joins_their_intervals():
    first = {"value": 0.5, "low": 0.2, "high": 0.9, "n": 10, "covers": "items"}
    second = {"value": 0.25, "low": -0.05, "high": 0.65, "n": 20, "covers": "items"}
    found = intervals.difference(first, second)
    assert [found["value"], found["low"], found["high"]] == pytest.approx([0.25, -0.25, 0.75])
    assert (found["n"], found["covers"]) == (30, "items")


def test_the_interval_of_a_difference_covers_it():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        first, second = (
            intervals.share(rng.binomial(n, p), n, 0.95) for n, p in ((40, 0.1), (60, 0.3))
        )
        found = intervals.difference(first, second)
        covered += found["low"] <= -0.2 <= found["high"]
    assert 0.92 <= covered / 400 <= 0.98


def test_a_jackknife_is_that_of_the_mean():
    """Of a mean it is the usual standard error, s over the root of n."""
    values = np.array([1.0, 2.0, 4.0, 9.0])
    without = [(values.sum() - value) / 3 for value in values]
    found = intervals.jackknife(float(values.mean()), without, 0.95)
    half = 1.959964 * values.std(ddof=1) / 2
    assert [found["value"], found["low"], found["high"]] == pytest.approx([4, 4 - half, 4 + half])
    none = {"value": 1.0, "low": 1.0, "high": 1.0, "n": 0, "covers": "items"}
    assert intervals.jackknife(1.0, [], 0.95) == none


def test_a_difference_of_clusters_of_one_is_that_of_items():
    before, after = [True] * 3 + [False] * 9, [False] + [True] * 8 + [False] * 3
    alone = intervals.paired_difference(before, after, confidence=0.95)
    assert intervals.paired_difference(before, after, range(12), confidence=0.95) == alone


def test_a_difference_of_pairs_that_gain_together_is_that_of_half_as_many():
    """Of 400 items in pairs that are equal, about that of 200."""
    one = [(0, 1)] * 40 + [(1, 0)] * 20 + [(1, 1)] * 140
    before, after = ([bool(x[i]) for x in one for _ in "ab"] for i in (0, 1))
    halves = [i // 2 for i in range(400)]
    found = intervals.paired_difference(before, after, halves, confidence=0.95)
    half = intervals.paired_difference(before[::2], after[::2], confidence=0.95)
    assert (found["value"], found["n"]) == (0.1, 400)
    assert found["low"] == pytest.approx(half["low"], abs=0.002)
    assert found["high"] == pytest.approx(half["high"], abs=0.002)


def test_where_no_item_of_a_cluster_changed_clusters_are_counted():
    none, of = [False] * 100, [i // 10 for i in range(100)]
    found = intervals.paired_difference(none, none, of, confidence=0.95)
    ten = intervals.paired_difference(none[:10], none[:10], confidence=0.95)
    assert found["high"] > ten["high"] > 0.2
    one = intervals.paired_difference(none, none, [0] * 100, confidence=0.95)
    assert (one["low"], one["high"]) == (-1.0, 1.0)
