"""How often a 95 % interval of each kind holds the truth, on data drawn where the truth is known."""

from collections.abc import Callable, Iterator
from statistics import NormalDist
from zlib import crc32

import numpy as np
import pytest

from llmill.evaluation.classification import compare, figures
from llmill.evaluation.language.diversity import distinct
from llmill.evaluation.multiple_choice.counting import mean_over_groups
from llmill.evaluation.statistics import intervals
from llmill.evaluation.statistics.agreement import kappa, spearman
from llmill.evaluation.statistics.intervals import Interval

DATA_SETS = 300
DRAWN = {"confidence": 0.95, "resamples": 100, "seed": 1}

FEW = {**DRAWN, "resamples": 40}

Drawn = Iterator[tuple[Interval, float]]  # an interval of each data set, and the truth


def logistic(x):
    return 1 / (1 + np.exp(-x))


def shares(rng: np.random.Generator, right: float, n: int) -> Drawn:
    for hits in rng.binomial(n, right, DATA_SETS):
        yield intervals.share(int(hits), n, 0.95), right


def means_of_shares(rng: np.random.Generator, *rights: float) -> Drawn:
    """Of subjects of 5, 10, 15... questions."""
    sizes = [5 * (i + 1) for i in range(len(rights))]
    for hits in rng.binomial(sizes, rights, (DATA_SETS, len(rights))):
        each = [intervals.share(int(k), n, 0.95) for k, n in zip(hits, sizes, strict=True)]
        yield intervals.mean_of_shares(each), float(np.mean(rights))


def clustered(rng: np.random.Generator, right: float, clusters: int, alike: float) -> Drawn:
    """Of 1 to 8 items a cluster; `alike`: how much those of one are, from 0 to 1."""
    shape = 1 / alike - 1
    for _ in range(DATA_SETS):
        of = np.repeat(np.arange(clusters), rng.integers(1, 9, clusters))
        easy = rng.beta(right * shape, (1 - right) * shape, clusters)
        hits = rng.random(len(of)) < easy[of]
        yield intervals.clustered_share(hits.tolist(), of.tolist(), confidence=0.95), right


def clustered_differences(
    rng: np.random.Generator, clusters: int, gained: float, lost: float, alike: float
) -> Drawn:
    """Of 1 to 8 items a cluster: so many clusters gain or lose, and so alike are their items."""
    for _ in range(DATA_SETS):
        of = np.repeat(np.arange(clusters), rng.integers(1, 9, clusters))
        odds = [gained, lost, 1 - gained - lost]
        together, alone = (rng.choice(3, size, p=odds) for size in (clusters, len(of)))
        outcome = np.where(rng.random(len(of)) < alike, together[of], alone)
        before, after = (outcome == 1).tolist(), (outcome == 0).tolist()
        found = intervals.paired_difference(before, after, of.tolist(), confidence=0.95)
        yield found, gained - lost


def means_over_subjects(rng: np.random.Generator, entities: int, *rights: float) -> Drawn:
    """Of subjects that ask about the same entities, of which some are known better in all; of some
    entities a subject asks twice, of others nothing.
    """
    for _ in range(DATA_SETS):
        times = rng.integers(0, 3, (len(rights), entities))
        subject = np.repeat(np.arange(len(rights)), times.sum(axis=1))
        entity = np.concatenate([np.repeat(np.arange(entities), each) for each in times])
        known = rng.beta(1, 1, entities)  # a share of what a subject is right about
        hits = rng.random(len(subject)) < np.array(rights)[subject] * 2 * known[entity]
        found = mean_over_groups(hits.tolist(), subject.tolist(), entity.tolist(), confidence=0.95)
        yield found, float(np.mean(rights))


def scores(rng: np.random.Generator, n: int, full: float) -> Drawn:
    """Judged answers: so many right by rule, at 100, and the others low."""
    truth = 100 * (full + (1 - full) * 0.1)
    for _ in range(DATA_SETS):
        values = np.where(rng.random(n) < full, 100.0, 100 * rng.beta(1, 9, n))
        yield intervals.bounded_mean(values.tolist(), 100, 0.95), truth


def gains(rng: np.random.Generator, n: int) -> Drawn:
    """Differences of two scores: most none, some of all the points."""
    for _ in range(DATA_SETS):
        values = rng.choice([0.0, -100.0, 100.0, 30.0], n, p=[0.6, 0.05, 0.25, 0.1])
        yield intervals.mean(values.tolist(), **DRAWN), 23.0


def differences(rng: np.random.Generator, n: int, gained: float, lost: float) -> Drawn:
    outcomes = [(False, True), (True, False), (True, True), (False, False)]
    left = (1 - gained - lost) / 2
    for _ in range(DATA_SETS):
        drawn = rng.choice(4, n, p=[gained, lost, left, left])
        before, after = zip(*(outcomes[i] for i in drawn), strict=True)
        yield intervals.paired_difference(before, after, confidence=0.95), gained - lost


def differences_apart(rng: np.random.Generator, first: float, second: float) -> Drawn:
    """Of the shares of two samples of 60 and 40."""
    for hits in rng.binomial((60, 40), (first, second), (DATA_SETS, 2)):
        each = [intervals.share(int(k), n, 0.95) for k, n in zip(hits, (60, 40), strict=True)]
        yield intervals.difference(*each), first - second


def distinct_tokens(rng: np.random.Generator, texts: int) -> Drawn:
    """Of texts of 20 tokens, each of one of nine subjects, and written with few words or many."""

    def drawn(data_sets: int) -> np.ndarray:
        subject, wealth = rng.integers(0, 9, (2, data_sets, texts, 1))
        few_or_many = np.where(wealth < 5, 0.03, 0.3)
        return rng.geometric(few_or_many, (data_sets, texts, 20)) + 300 * subject

    # It depends on the number of texts. Counted of other texts, and without what is tested.
    truth = float(np.mean([len(np.unique(each)) for each in drawn(10_000)])) / (20 * texts)
    for each in drawn(DATA_SETS):
        found = distinct(each.tolist(), 1, 0.95)
        assert found is not None
        yield found, truth


def areas(rng: np.random.Generator, right: int, others: int, apart: float) -> Drawn:
    """Normal scores of right and other answers, so many standard deviations apart."""
    truth = NormalDist().cdf(apart / 2**0.5)
    known = [1.0] * right + [0.0] * others
    for seed in range(DATA_SETS):
        given = rng.normal(0, 1, right + others) + apart * np.array(known)
        yield intervals.pairs_right(known, given.tolist(), **{**DRAWN, "seed": seed}), truth


def areas_of_clusters(
    rng: np.random.Generator, clusters: int, right: int, others: int, apart: float, unlike: float
) -> Drawn:
    """So many right and other answers to each instruction: normal scores, of which those to an easy
    instruction are further apart.
    """
    of_two, of_one = 2 + 2 * unlike**2, 2 + 4 * unlike**2  # variances of a pair's difference
    within = 1 / clusters  # the share of pairs that are of one instruction
    truth = (1 - within) * NormalDist().cdf(apart / of_two**0.5)
    truth += within * NormalDist().cdf(apart / of_one**0.5)
    known = np.tile([1.0] * right + [0.0] * others, clusters)
    of = np.repeat(np.arange(clusters), right + others)
    for seed in range(DATA_SETS):
        easy = rng.normal(0, unlike, clusters)[of]
        given = rng.normal(0, 1, len(of)) + (2 * known - 1) * (apart / 2 + easy)
        draws = {**DRAWN, "seed": seed}
        yield intervals.pairs_right(known, given, clusters=of.tolist(), **draws), truth


def areas_of_apart_clusters(
    rng: np.random.Generator, right: int, others: int, each: int, apart: float
) -> Drawn:
    """Right answers to so many instructions, two each, and `each` other answers to others; the
    answers to one instruction score alike.
    """
    truth = NormalDist().cdf(apart / 2)  # a difference has a variance of 4
    of = np.repeat(np.arange(right + others), [2] * right + [each] * others)
    known = (of < right).astype(float)
    for seed in range(DATA_SETS):
        kind = rng.normal(0, 1, right + others)[of]
        given = rng.normal(0, 1, len(of)) + kind + apart * known
        draws = {**DRAWN, "seed": seed}
        yield intervals.pairs_right(known, given, clusters=of.tolist(), **draws), truth


def labels(rng: np.random.Generator, n: int, recall: float, false: float) -> Drawn:
    """F1 of a label that a third of the messages have."""
    truth = 2 * recall / (recall + 1 + 2 * false)  # of the expected counts
    for _ in range(DATA_SETS):
        spam = np.arange(n) < n / 3
        said = rng.random(n) < np.where(spam, recall, false)
        names = [["ham", "spam"][i] for i in spam.astype(int)]
        guesses = [["ham", "spam"][i] for i in said.astype(int)]
        yield figures(names, guesses, ["ham", "spam"], "spam", **DRAWN)["f1"], truth


def right_share(truth: np.ndarray, run: np.ndarray) -> float:
    return float((truth == run).mean())


def seeds(rng: np.random.Generator, runs: int, n: int, easy: float, apart: float) -> Drawn:
    """Accuracy of trainings whose seeds, and messages, are not equally good."""
    both = rng.normal(0, (1 + apart**2) ** 0.5, 10**6)
    truth = float(logistic(easy + both).mean())
    ones = np.ones(n, dtype=bool)
    for _ in range(DATA_SETS):
        skill = easy + rng.normal(0, apart, (runs, 1)) + rng.normal(0, 1, (1, n))
        right = rng.random((runs, n)) < logistic(skill)
        yield intervals.crossed(right_share, ones, right, **DRAWN), truth


def judges(rng: np.random.Generator, n: int, apart: float) -> Drawn:
    """Mean scores by three judges of unequal kindness, of answers that are not equally good."""
    both = rng.normal(0, (1 + apart**2 + 0.5**2) ** 0.5, 10**6)
    truth = 100 * float(logistic(1 + both).mean())
    for _ in range(DATA_SETS):
        good, kind = rng.normal(0, 1, n), rng.normal(0, apart, (3, 1))
        given = 100 * logistic(1 + good + kind + rng.normal(0, 0.5, (3, n)))
        yield intervals.mean_over_runs(given.tolist(), 100, 0.95), truth


def areas_of_judges(rng: np.random.Generator, right: int, others: int, apart: float) -> Drawn:
    """Pairs in order by three judges, of which each sees the same answers so far apart, more or
    less, and in a noise of its own.
    """
    noise = 0.7
    width = (2 * (1 + noise**2)) ** 0.5
    skills = apart + rng.normal(0, 0.3, 20_000)
    truth = float(np.mean([NormalDist().cdf(x / width) for x in skills]))
    known = np.array([1.0] * right + [0.0] * others)
    for seed in range(DATA_SETS):
        answers = rng.normal(0, 1, len(known))
        skill = apart + rng.normal(0, 0.3, (3, 1))
        given = answers + skill * known + rng.normal(0, noise, (3, len(known)))
        draws = {**DRAWN, "seed": seed}
        yield intervals.pairs_right(known.tolist(), *given.tolist(), **draws), truth


def rank_correlations(rng: np.random.Generator, n: int, correlation: float) -> Drawn:
    """Of two normal variables (Pearson 1907)."""
    truth = 6 / np.pi * np.arcsin(correlation / 2)
    apart = (1 - correlation**2) ** 0.5
    for _ in range(DATA_SETS):
        first, second = rng.normal(0, 1, (2, n))
        columns = [first, correlation * first + apart * second]
        yield intervals.bootstrap_share(spearman, columns, n, -1.0, **FEW), truth


def kappas(rng: np.random.Generator, n: int, alike: float) -> Drawn:
    """Of a rater who copies another's verdict so often, and else says one as often as that one."""
    for _ in range(DATA_SETS):
        first, second = rng.random((2, n)) < 0.7
        columns = [first, np.where(rng.random(n) < alike, first, second)]
        least = intervals.beside_commonest(columns[1])
        yield intervals.bootstrap_share(kappa, columns, least, -1.0, **FEW), alike


KINDS: dict[str, tuple[Callable[..., Drawn], tuple[float, ...]]] = {
    "a share": (shares, (0.7, 40)),
    "a share near 1": (shares, (0.97, 60)),
    "a mean of shares": (means_of_shares, (0.3, 0.9, 0.6, 0.97)),
    "a share of few clusters": (clustered, (0.6, 5, 0.3)),
    "a share of clusters": (clustered, (0.25, 40, 0.5)),
    "a share near 1 of clusters": (clustered, (0.95, 20, 0.2)),
    "a mean over subjects about the same": (means_over_subjects, (40, *[0.5, 0.3, 0.4] * 4)),
    "a mean over subjects about few": (means_over_subjects, (10, 0.5, 0.3, 0.4, 0.2)),
    "a mean of scores": (scores, (300, 0.7)),
    "a mean of few scores": (scores, (12, 0.6)),
    "a mean of scores that are nearly all full": (scores, (20, 0.9)),
    "a mean gain": (gains, (300,)),
    "a mean gain of few answers": (gains, (15,)),
    "a difference in pairs": (differences, (200, 0.1, 0.2)),
    "a difference in few pairs": (differences, (12, 0.3, 0.05)),
    "a difference in pairs of which few differ": (differences, (100, 0.06, 0.03)),
    "a difference in pairs of clusters": (clustered_differences, (40, 0.3, 0.1, 0.8)),
    "a difference in pairs of few clusters": (clustered_differences, (8, 0.3, 0.3, 0.6)),
    "a difference in pairs of clusters of which few differ": (
        clustered_differences,
        (60, 0.06, 0.03, 0.9),
    ),
    "a difference of two samples": (differences_apart, (0.9, 0.6)),
    "distinct tokens": (distinct_tokens, (20,)),
    "pairs in order": (areas, (20, 40, 1.5)),
    "pairs in order, of few right ones": (areas, (5, 40, 1.0)),
    "pairs that are nearly all in order": (areas, (20, 40, 3.0)),
    "pairs in order of clusters": (areas_of_clusters, (40, 2, 3, 2.0, 1.0)),
    "pairs in order of few clusters": (areas_of_clusters, (12, 2, 3, 1.0, 1.0)),
    "pairs of clusters that are nearly all in order": (areas_of_clusters, (60, 2, 3, 3.5, 0.8)),
    "pairs in order, of few clusters of others": (areas_of_apart_clusters, (30, 4, 30, 3.0)),
    "F1": (labels, (150, 0.8, 0.1)),
    "F1 near 1": (labels, (90, 0.98, 0.01)),
    "a rank correlation": (rank_correlations, (40, 0.6)),
    "kappa": (kappas, (60, 0.5)),
    "kappa near 1": (kappas, (60, 0.97)),
    "accuracy over three seeds": (seeds, (3, 200, 1.0, 0.3)),
    "accuracy over three seeds that differ much": (seeds, (3, 200, 1.0, 0.7)),
    "accuracy near 1 over three seeds": (seeds, (3, 200, 4.0, 0.7)),
    "a mean of scores by three judges": (judges, (60, 0.2)),
    "pairs in order by three judges": (areas_of_judges, (20, 40, 1.5)),
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[tuple[Interval, float]]]:
    return {
        name: list(kind(np.random.default_rng(crc32(name.encode())), *told))
        for name, (kind, told) in KINDS.items()
    }


def coverage(drawn: list[tuple[Interval, float]], width: float = 1.0) -> float:
    """The share of intervals that hold the truth, when each is so many times as wide."""
    found = []
    for interval, truth in drawn:
        value = interval["value"]
        low, high = (value + width * (interval[end] - value) for end in ("low", "high"))
        found.append(low - 1e-9 <= truth <= high + 1e-9)
    return float(np.mean(found))


@pytest.mark.parametrize("name", KINDS)
def test_an_interval_holds_the_truth_as_often_as_it_says(name, drawn):
    assert 0.90 <= coverage(drawn[name]) <= 0.99


@pytest.mark.parametrize("name", KINDS)
def test_an_interval_half_as_wide_would_be_noticed(name, drawn):
    assert coverage(drawn[name], 0.5) < 0.90


def test_what_interval_says_that_it_covers(drawn):
    covers = {name: {each["covers"] for each, _ in found} for name, found in drawn.items()}
    over_seeds = {name for name, said in covers.items() if said == {"both"}}
    of_runs = (seeds, judges, areas_of_judges)
    assert over_seeds == {name for name, (kind, _) in KINDS.items() if kind in of_runs}
    assert all(covers[name] == {"items"} for name in KINDS if name not in over_seeds)


def test_mcnemars_test_is_wrong_as_often_as_it_says():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(DATA_SETS):
        truth = ["a"] * 100
        pairs = rng.choice(3, 100, p=[0.2, 0.2, 0.6])  # one right, the other, both
        first = ["b" if which == 0 else "a" for which in pairs]
        second = ["b" if which == 1 else "a" for which in pairs]
        found.append(compare(truth, first, second, 0.95)["mcnemar_p"] < 0.05)
    assert 0.005 < np.mean(found) <= 0.06
