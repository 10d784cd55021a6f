"""Figures with intervals: `{"value", "low", "high", "n", "covers"}`. Random draws come from a seed.

A share of successes gets Wilson's interval (Wilson 1927), which stays inside [0, 1] and holds for
few trials and for shares near 0 and 1. Whatever else lies between two ends gets Wilson's for as
many trials as would be as unsure, with Student's t (as Korn and Graubard 1998 for clusters);
anything without ends the percentile bootstrap over its observations (Efron 1979).
`tests/evaluation/test_coverage.py` shows how often each kind holds the truth.
"""

import math
import re
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist
from typing import Any, Literal, TypedDict

import numpy as np

Covers = Literal["items", "seeds", "both"]
CONFIDENCE, RESAMPLES = 0.95, 1000  # of the figures whose stage has no parameter for it
PAIRS = 2**22  # in memory at a time


class Interval(TypedDict):
    """A figure with both ends of its interval and the number of observations; and what the interval
    covers: other test items for the same model, the same items for models of other seeds, or both.
    """

    value: float
    low: float
    high: float
    n: int
    covers: Covers


class Draws(TypedDict):
    """How a bootstrap draws."""

    confidence: float
    resamples: int
    seed: int


def share(right: float, n: int, confidence: float) -> Interval:
    """The share of `right` among `n` trials. Of no trials: 0, somewhere between 0 and 1."""
    if n == 0:
        return _interval(0.0, (0.0, 1.0), 0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    return _interval(right / n, _wilson(right / n, n, z), n)


def clustered_share(
    right: Sequence[bool], clusters: Sequence[Hashable], *, confidence: float
) -> Interval:
    """The share of right ones among items of which those of one cluster (an entity, a passage) are
    right together; `n` counts items.

    It counts no more trials than there are items, and one a cluster where all are right, or none.
    It holds what it says from 5 clusters on; of fewer it is wider.
    """
    n, hits = len(right), np.asarray(right, dtype=float)
    p = sum(right) / max(1, n)
    return clustered_sum(p, (hits - p) / max(1, n), clusters, confidence)


def clustered_sum(
    value: float, parts: np.ndarray, clusters: Sequence[Hashable], confidence: float
) -> Interval:
    """A figure between 0 and 1, by what each item adds beyond what is expected of it, (N,)."""
    n, count = len(parts), len(set(clusters))
    if count < 2:  # one cluster says nothing of others
        return _interval(value, (0.0, 1.0), n)
    variance = _clustered_variance(parts, clusters)
    return _interval(value, _as_unsure(value, variance, count, count - 1, confidence), n)


def _clustered_variance(parts: np.ndarray, clusters: Sequence[Hashable]) -> float:
    """Of the sum of what each item adds beyond what is expected of it, (N,): those of a cluster go
    together. It is no less than if each stood alone.
    """
    sums = cluster_sums(parts.tolist(), clusters)
    together = float((sums**2).sum()) * len(sums) / (len(sums) - 1)
    return max(together, float((parts**2).sum()))


def cluster_sums(values: Sequence[float], clusters: Sequence[Hashable]) -> np.ndarray:
    """The sum over each cluster, in the order of their first items. (clusters,)"""
    number = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    return np.bincount([number[name] for name in clusters], values)


def share_of_items(
    right: Sequence[bool], clusters: Sequence[Hashable], confidence: float
) -> Interval:
    """The share of right ones: `clustered_share` if some items share a cluster, else `share`."""
    if len(set(clusters)) == len(right):
        return share(sum(right), len(right), confidence)
    return clustered_share(right, clusters, confidence=confidence)


def bounded_mean(values: Sequence[float], most: float, confidence: float) -> Interval:
    """The mean of values from 0 to `most`, such as scores.

    Of values that are nearly all near one end it holds less than it says: 90 % of 20, for 95 %.
    """
    n = len(values)
    if n < 2:
        return _interval(sum(values), (0.0, most), n)
    value = float(np.mean(values))
    variance = float(np.var(values, ddof=1)) / n / most**2
    low, high = _as_unsure(value / most, variance, n, n - 1, confidence)
    return _interval(value, (most * low, most * high), n)


def mean_over_runs(runs: Sequence[Sequence[float]], most: float, confidence: float) -> Interval:
    """The mean of values from 0 to `most` that several runs give the same items, (R, N), such as
    the scores of several judges: what another seed and other items would change, as of `crossed`.
    Of one run as of `bounded_mean`.
    """
    if len(runs) == 1:
        return bounded_mean(runs[0], most, confidence)
    table = np.asarray(runs, dtype=float)  # (R, N)
    n, value = table.shape[1], float(table.mean()) if table.size else 0.0
    if n < 2:
        return _interval(value, (0.0, most), n, "both")
    of_items = float(np.var(table.mean(axis=0), ddof=1)) / n / most**2
    low, high = _over_both(table.mean(axis=1) / most, of_items, n, n - 1, confidence)
    return _interval(value, (most * low, most * high), n, "both")


def paired_difference(
    before: Sequence[bool],
    after: Sequence[bool],
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float,
) -> Interval:
    """The share right after less that before, of the same items: Bonett and Price's adjusted Wald
    interval (2012), which takes one more item to be gained and one to be lost. Where items share
    clusters it is theirs for as many items as would be as unsure, with Student's t.
    """
    n = len(before)
    gains = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    gained, lost = float((gains > 0).sum()), float((gains < 0).sum())
    value = (gained - lost) / max(1, n)
    items, z = float(n), NormalDist().inv_cdf(0.5 + confidence / 2)
    if clusters is not None and len(set(clusters)) < n:
        count = len(set(clusters))
        if count < 2:  # one cluster says nothing of others
            return _interval(value, (-1.0, 1.0), n)
        apart = (gains - value) / n
        alone = float((apart**2).sum())
        items = n * alone / _clustered_variance(apart, clusters) if alone > 1e-20 else count
        z = _student(count - 1, confidence)
    more = (gained * items / max(1, n) + 1) / (items + 2)
    less = (lost * items / max(1, n) + 1) / (items + 2)
    half = z * math.sqrt((more + less - (more - less) ** 2) / (items + 2))
    ends = max(-1.0, more - less - half), min(1.0, more - less + half)
    return _interval(value, ends, n)


def _as_unsure(
    p: float, variance: float, least: int, freedom: float, confidence: float
) -> tuple[float, float]:
    """Both ends for a figure between 0 and 1, of which a variance is estimated with so many degrees
    of freedom; where it shows none, as if of `least` trials.
    """
    p = round(p, 12)  # the correlation of equal ranks is not exactly 1
    trials = p * (1 - p) / variance if variance > 1e-20 and 0 < p < 1 else least
    return _wilson(p, trials, _student(freedom, confidence))


def _over_both(
    each: np.ndarray, of_items: float, least: int, freedom: float, confidence: float
) -> tuple[float, float]:
    """Both ends for the mean of a figure of several runs, (R,), of which the items alone give a
    variance with so many degrees of freedom. The variance over runs is added, and the degrees of
    freedom are joined (Satterthwaite 1946).
    """
    of_runs = float(each.var(ddof=1)) / len(each)
    both = of_runs + of_items
    joined = of_runs**2 / (len(each) - 1) + of_items**2 / max(1, freedom)
    freedom = both**2 / joined if joined else freedom
    return _as_unsure(float(each.mean()), both, least, freedom, confidence)


def _student(freedom: float, confidence: float) -> float:
    """Standard errors of a two-sided interval by Student's t."""
    from scipy.special import stdtrit  # a third of a second, for those who need it

    return float(stdtrit(freedom, 0.5 + confidence / 2))


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    """Both ends for a share of `n` trials, at so many standard errors."""
    spread = z * z / n
    centre = (p + spread / 2) / (1 + spread)
    half = z * math.sqrt(p * (1 - p) / n + spread / (4 * n)) / (1 + spread)
    return 0.0 if p == 0 else centre - half, 1.0 if p == 1 else centre + half


def _interval(
    value: float, ends: tuple[float, float], n: int, covers: Covers = "items"
) -> Interval:
    low, high = ends
    return {"value": value, "low": float(low), "high": float(high), "n": n, "covers": covers}


def mean_of_shares(shares: Sequence[Interval]) -> Interval:
    """The plain mean of independent shares, each weighing the same; `n` counts their trials.

    The interval joins theirs by the distances from value to limit (MOVER, Zou and Donner 2008).
    """
    count = len(shares)
    value = sum(s["value"] for s in shares) / count
    below = math.sqrt(sum((s["value"] - s["low"]) ** 2 for s in shares)) / count
    above = math.sqrt(sum((s["high"] - s["value"]) ** 2 for s in shares)) / count
    ends = max(0.0, value - below), min(1.0, value + above)
    return _interval(value, ends, sum(s["n"] for s in shares))


def difference(first: Interval, second: Interval) -> Interval:
    """The first figure less the second, of independent observations; `n` counts both.

    The interval joins theirs by the distances from value to limit (MOVER, Zou and Donner 2008).
    """
    value = first["value"] - second["value"]
    below = math.hypot(first["value"] - first["low"], second["high"] - second["value"])
    above = math.hypot(first["high"] - first["value"], second["value"] - second["low"])
    n = first["n"] + second["n"]
    return _interval(value, (value - below, value + above), n)


def jackknife(value: float, without: Sequence[float], confidence: float) -> Interval:
    """A figure by its values where one observation after the other is left out (Tukey 1958): for
    what counts kinds, of which draws with replacement have fewer.
    """
    n, values = len(without), np.asarray(without, dtype=float)
    spread = (n - 1) * float(values.var()) if n else 0.0
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(spread)
    return _interval(value, (value - half, value + half), n)


def bootstrap(
    statistic: Callable[..., float],
    columns: Sequence[Any],
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> Interval:
    """`statistic(*columns)` with the percentiles of its value on rows drawn with replacement.

    Columns are parallel: a row stays together, so paired data stay paired. The percentiles are
    those that make it as wide as Student's t would (Hesterberg 2015): so it holds what it says from
    12 rows on, of very skewed ones from 40.
    """
    values = _resampled(statistic, columns, resamples, seed)
    n = len(columns[0])
    outside = (1 - confidence) / 2
    if n > 1:
        wider = math.sqrt(n / (n - 1)) * _student(n - 1, confidence)
        outside = NormalDist().cdf(-wider)
    low, high = np.quantile(values, [outside, 1 - outside])
    return _interval(float(statistic(*map(np.asarray, columns))), (low, high), n)


def bootstrap_share(
    statistic: Callable[..., float],
    columns: Sequence[Any],
    least: int,
    bottom: float = 0.0,
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> Interval:
    """A `statistic(*columns)` between 0 (`bottom`: -1 of a correlation) and 1 that is no plain
    share, such as F1. Its variance is that of its value on rows drawn with replacement; where
    nothing varies, it is as unsure as a share of `least` trials.
    """
    values = _resampled(statistic, columns, resamples, seed)
    value, whole = float(statistic(*map(np.asarray, columns))), 1.0 - bottom
    variance = float(values[np.isfinite(values)].var()) / whole**2
    p = (value - bottom) / whole
    low, high = _as_unsure(p, variance, least, max(1, least - 1), confidence)
    return _interval(value, (bottom + whole * low, bottom + whole * high), len(columns[0]))


def _resampled(
    statistic: Callable[..., float], columns: Sequence[Any], resamples: int, seed: int
) -> np.ndarray:
    """The statistic on rows drawn with replacement, so many times."""
    arrays = [np.asarray(column) for column in columns]
    n = len(arrays[0])
    if n == 0:
        raise ValueError("a bootstrap needs at least one observation")
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(0, n, n) for _ in range(resamples))
    return np.array([statistic(*(array[rows] for array in arrays)) for rows in drawn])


def crossed(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    truth: Any,
    runs: Any,
    least: int | None = None,
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> Interval:
    """The mean over runs of `statistic(truth, run)`, between 0 and 1; truth (N,) and runs (R, N).
    What another seed and other items would change; where nothing varies, as of `least` trials (all
    items).

    It holds what it says from 3 runs on; of 2 that differ much, 85 % for 95.
    """
    truth, runs = np.asarray(truth), np.asarray(runs)

    def over_runs(truth: np.ndarray, *runs: np.ndarray) -> float:
        return float(np.mean([statistic(truth, run) for run in runs]))

    n = len(truth)
    each = np.array([statistic(truth, run) for run in runs])  # (R,)
    of_items = float(_resampled(over_runs, [truth, *runs], resamples, seed).var())
    ends = _over_both(each, of_items, least or n, max(1, n - 1), confidence)
    return _interval(float(each.mean()), ends, n, "both")


def beside_commonest(values: Sequence[Any] | np.ndarray) -> int:
    """How many are other than the commonest one."""
    return len(values) - max(np.unique(values, return_counts=True)[1].tolist(), default=0)


def mean(values: Sequence[float], *, confidence: float, resamples: int, seed: int) -> Interval:
    """The mean of values that have no ends, with its bootstrap interval."""
    draws: Draws = {"confidence": confidence, "resamples": resamples, "seed": seed}
    return bootstrap(np.mean, [np.asarray(values, dtype=float)], **draws)


def pairs_right(
    truth: Sequence[float],
    *runs: Sequence[float],
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """The share of pairs of unequal known score that the prediction orders alike; ties are half.
    Of the predictions of several runs the mean, and what another seed would change as well.

    The interval draws observations, not pairs: those of one observation go together. `n` counts
    pairs. It is as unsure as the observations beside those of the commonest score: of 3 right
    answers among many not even all pairs say much.
    """
    worth, n = np.asarray(truth, dtype=float), len(truth)  # (N,)
    if not len(set(worth)) > 1:
        return _interval(0.0, (0.0, 1.0), 0, "both" if len(runs) > 1 else "items")
    guesses = [np.asarray(run, dtype=float) for run in runs]  # (N,) each
    rng = np.random.default_rng(seed)
    times = rng.multinomial(n, np.full(n, 1 / n), resamples).astype(np.float32)  # (resamples, N)
    pairs, in_order = 0, np.zeros(len(runs))
    total, right = np.zeros(resamples), np.zeros(resamples)
    rows = max(1, PAIRS // n)
    for start in range(0, n, rows):  # every pair at once would take memory with the square of N
        these = slice(start, start + rows)
        above = (worth[these, None] > worth[None, :]).astype(np.float32)  # (rows, N)
        pairs += int(above.sum(dtype=np.int64))
        of_runs = np.zeros_like(above)
        for i, guess in enumerate(guesses):
            order = np.sign(guess[these, None] - guess[None, :])
            of_run = above * (0.5 + 0.5 * order).astype(np.float32)
            in_order[i] += of_run.sum(dtype=np.float64)
            of_runs += of_run / np.float32(len(runs))
        total += (times[:, these] * (times @ above.T)).sum(axis=1, dtype=np.float64)
        right += (times[:, these] * (times @ of_runs.T)).sum(axis=1, dtype=np.float64)
    each = [float(count) / pairs for count in in_order]
    some = total > 0  # a draw of one known score only has no pairs
    values = right[some] / total[some]
    of_items, fewer = float(values.var()), beside_commonest(worth)
    freedom = max(1, fewer - 1)
    if len(runs) > 1:
        ends = _over_both(np.array(each), of_items, fewer, freedom, confidence)
        return _interval(float(np.mean(each)), ends, pairs, "both")
    return _interval(each[0], _as_unsure(each[0], of_items, fewer, freedom, confidence), pairs)


def flat(metrics: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a nested metrics dict under dotted names; an interval gives its value."""
    numbers: dict[str, float] = {}
    for key, item in metrics.items():
        name = prefix + re.sub(r"[^\w. -]", "_", key)  # what MLflow takes
        if isinstance(item, dict) and set(item) >= {"value", "low", "high"}:
            numbers[name] = item["value"]
        elif isinstance(item, dict):
            numbers |= flat(item, f"{name}.")
        elif isinstance(item, int | float):
            numbers[name] = item
    return numbers
