"""Metrics with intervals: `{"value", "low", "high", "n", "covers"}`. A seed fixes all resamples.

A share of successes gets Wilson's interval (Wilson 1927), which stays inside [0, 1] and holds for
few trials and for shares near 0 and 1. Any other bounded metric gets Wilson's interval for the
number of trials that has the same variance, with Student's t (as Korn and Graubard 1998 for
clusters). An unbounded metric gets the percentile bootstrap over observations (Efron 1979).
`tests/evaluation/test_coverage.py` measures the coverage of each kind.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist
from typing import Any, Literal, TypedDict

import numpy as np

from llmill.evaluation.statistics import ordering

Covers = Literal["items", "seeds", "both"]
CONFIDENCE, RESAMPLES = 0.95, 1000  # for metrics whose stage has no parameter for them


class Interval(TypedDict):
    """A metric with its interval, its number of observations, and what the interval covers: other
    test items for the same model, other seeds for the same items, or both.
    """

    value: float
    low: float
    high: float
    n: int
    covers: Covers


class Draws(TypedDict):
    """Arguments of a bootstrap."""

    confidence: float
    resamples: int
    seed: int


def share(right: float, n: int, confidence: float) -> Interval:
    """Return right / n with Wilson's interval. Without trials, return 0 with [0, 1]."""
    if n == 0:
        return _interval(0.0, (0.0, 1.0), 0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    return _interval(right / n, _wilson(right / n, n, z), n)


def clustered_share(
    right: Sequence[float], clusters: Sequence[Hashable], *, confidence: float
) -> Interval:
    """Return the share of right items, (N,), if items of a cluster (an entity, a passage) tend to
    be right together. `n` counts items.

    The effective number of trials is at most the number of items; it is that of clusters if all or
    no items are right. The coverage is correct from 5 clusters on; fewer give a wider interval.
    """
    n, hits = len(right), np.asarray(right, dtype=float)
    p = sum(right) / max(1, n)
    return clustered_sum(p, (hits - p) / max(1, n), clusters, confidence)


def clustered_sum(
    value: float, parts: np.ndarray, clusters: Sequence[Hashable], confidence: float
) -> Interval:
    """Return the interval of a metric in [0, 1] from the deviations of its items' parts, (N,)."""
    n, count = len(parts), len(set(clusters))
    if count < 2:  # one cluster does not show how others differ
        return _interval(value, (0.0, 1.0), n)
    variance = _clustered_variance(parts, clusters)
    return _interval(value, _as_unsure(value, variance, count, count - 1, confidence), n)


def _clustered_variance(parts: np.ndarray, clusters: Sequence[Hashable]) -> float:
    """Return the variance of the sum of the items' deviations, (N,), by cluster; at least the
    variance of independent items.
    """
    sums = cluster_sums(parts.tolist(), clusters)
    together = float((sums**2).sum()) * len(sums) / (len(sums) - 1)
    return max(together, float((parts**2).sum()))


def cluster_sums(values: Sequence[float], clusters: Sequence[Hashable]) -> np.ndarray:
    """Sum the values (N,) of each cluster, in the order of their first items, (clusters,)."""
    return np.bincount(_numbers(clusters), values)


def _numbers(clusters: Sequence[Hashable]) -> np.ndarray:
    """Number the clusters in the order of their first items; return the number of each, (N,)."""
    number = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    return np.array([number[name] for name in clusters], dtype=int)


def share_of_items(
    right: Sequence[float], clusters: Sequence[Hashable], confidence: float
) -> Interval:
    """Return `clustered_share` if some items share a cluster, else `share`. An item may be right in
    part; the interval of `share` is then a little too wide.
    """
    if len(set(clusters)) == len(right):
        return share(sum(right), len(right), confidence)
    return clustered_share(right, clusters, confidence=confidence)


def bounded_mean(values: Sequence[float], most: float, confidence: float) -> Interval:
    """Return the mean of values (N,) from 0 to `most`, such as scores.

    If nearly all values are near one end, the coverage is too low: 90 % for 20 values, not 95 %.
    """
    n = len(values)
    if n < 2:
        return _interval(sum(values), (0.0, most), n)
    value = float(np.mean(values))
    variance = float(np.var(values, ddof=1)) / n / most**2
    low, high = _as_unsure(value / most, variance, n, n - 1, confidence)
    return _interval(value, (most * low, most * high), n)


def mean_over_runs(runs: Sequence[Sequence[float]], most: float, confidence: float) -> Interval:
    """Return the mean of values from 0 to `most` that several runs give the same items, (R, N),
    such as scores of several judges. The interval covers seeds and items, as `crossed` does; for
    one run it is that of `bounded_mean`.
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
    """Return the share right after minus the share right before, on the same items (N,), with
    Bonett and Price's adjusted Wald interval (2012), which adds one gained and one lost item. If
    items share clusters, it uses the number of items with the same variance, and Student's t.
    """
    n = len(before)
    gains = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    gained, lost = float((gains > 0).sum()), float((gains < 0).sum())
    value = (gained - lost) / max(1, n)
    items, z = float(n), NormalDist().inv_cdf(0.5 + confidence / 2)
    if clusters is not None and len(set(clusters)) < n:
        count = len(set(clusters))
        if count < 2:  # one cluster does not show how others differ
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
    """Return the limits of a metric p in [0, 1] from its variance, estimated with `freedom` degrees
    of freedom; if the variance is 0, as for a share of `least` trials.
    """
    p = round(p, 12)  # the correlation of equal ranks is not exactly 1
    trials = p * (1 - p) / variance if variance > 1e-20 and 0 < p < 1 else least
    return _wilson(p, trials, _student(freedom, confidence))


def _over_both(
    each: np.ndarray, of_items: float, least: int, freedom: float, confidence: float
) -> tuple[float, float]:
    """Return the limits of the mean of a metric over runs, (R,): the variance over items, with
    `freedom` degrees of freedom, plus the variance over runs, with joint degrees of freedom
    (Satterthwaite 1946).
    """
    of_runs = float(each.var(ddof=1)) / len(each)
    both = of_runs + of_items
    joined = of_runs**2 / (len(each) - 1) + of_items**2 / max(1, freedom)
    freedom = both**2 / joined if joined else freedom
    return _as_unsure(float(each.mean()), both, least, freedom, confidence)


def _student(freedom: float, confidence: float) -> float:
    """Return the number of standard errors in half a two-sided interval, by Student's t."""
    from scipy.special import stdtrit  # slow: a third of a second

    return float(stdtrit(freedom, 0.5 + confidence / 2))


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    """Return Wilson's limits of a share p of `n` trials, at z standard errors."""
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
    """Return the unweighted mean of independent shares; `n` counts their trials.

    The interval combines theirs by the distances from value to limit (MOVER, Zou and Donner 2008).
    """
    count = len(shares)
    value = sum(s["value"] for s in shares) / count
    below = math.sqrt(sum((s["value"] - s["low"]) ** 2 for s in shares)) / count
    above = math.sqrt(sum((s["high"] - s["value"]) ** 2 for s in shares)) / count
    ends = max(0.0, value - below), min(1.0, value + above)
    return _interval(value, ends, sum(s["n"] for s in shares))


def difference(first: Interval, second: Interval) -> Interval:
    """Return the first metric minus the second, from independent observations; `n` counts both.

    The interval combines theirs by the distances from value to limit (MOVER, Zou and Donner 2008).
    """
    value = first["value"] - second["value"]
    below = math.hypot(first["value"] - first["low"], second["high"] - second["value"])
    above = math.hypot(first["high"] - first["value"], second["value"] - second["low"])
    n = first["n"] + second["n"]
    return _interval(value, (value - below, value + above), n)


def jackknife(value: float, without: Sequence[float], confidence: float) -> Interval:
    """Return the jackknife interval (Tukey 1958) from the values without one observation each,
    (N,). Use it to count distinct things, of which bootstrap resamples have fewer.
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
    """Return `statistic(*columns)` with its percentile bootstrap interval over rows.

    Columns are parallel, (N, ...) each: a row stays together, so paired data stay paired. The
    percentiles are widened to match Student's t (Hesterberg 2015), so the coverage is correct from
    12 rows on, or from 40 rows of very skewed data.
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
    """Return a `statistic(*columns)` in [bottom, 1] that is not a plain share, such as F1 or a
    correlation (`bottom` -1). Its variance is that over bootstrap resamples; if nothing varies, the
    interval is that of a share of `least` trials.
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
    """Return the statistic of each resample of rows with replacement, (resamples,)."""
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
    """Return the mean over runs of `statistic(truth, run)` in [0, 1]; truth is (N,), runs (R, N).
    The interval covers seeds and items. If nothing varies, it is that of a share of `least` trials
    (default: all items).

    The coverage is correct from 3 runs on. For 2 runs that differ much, it is 85 %, not 95 %.
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
    """Return how many of the values (N,) differ from the most frequent one."""
    return len(values) - max(np.unique(values, return_counts=True)[1].tolist(), default=0)


def mean(values: Sequence[float], *, confidence: float, resamples: int, seed: int) -> Interval:
    """Return the mean of unbounded values (N,), with its bootstrap interval."""
    draws: Draws = {"confidence": confidence, "resamples": resamples, "seed": seed}
    return bootstrap(np.mean, [np.asarray(values, dtype=float)], **draws)


def pairs_right(
    truth: Sequence[float],
    *runs: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the share of pairs with unequal truth (N,) that the predictions (N,) order alike; a
    tie counts as half. For several runs, return the mean; the interval then covers seeds, too.
    Raise `ValueError` if a prediction is NaN.

    The interval resamples observations, not pairs, or whole clusters of them (N,), such as the
    answers to one instruction; `n` counts pairs. Its degrees of freedom come from
    `ordering.behind_pairs`: 3 right answers among many wrong ones show little, even if all pairs
    are in order.
    """
    worth, several = np.asarray(truth, dtype=float), len(runs) > 1
    if not len(set(worth)) > 1:
        return _interval(0.0, (0.0, 1.0), 0, "both" if several else "items")
    of = _numbers(range(len(worth)) if clusters is None else clusters)
    count = ordering.counter(worth, np.asarray(runs, dtype=float))
    total, right = count(np.ones((1, len(worth))))
    pairs, each = int(total[0]), right[:, 0] / total  # (R,)
    of_items = float(ordering.resampled(count, of, resamples, seed).var())
    fewest = ordering.behind_pairs(worth, of)
    if of.max() == 0:  # one cluster does not show how others differ
        ends = 0.0, 1.0
    elif several:
        ends = _over_both(each, of_items, fewest, max(1, fewest - 1), confidence)
    else:
        ends = _as_unsure(float(each[0]), of_items, fewest, max(1, fewest - 1), confidence)
    return _interval(float(each.mean()), ends, pairs, "both" if several else "items")


def numbers_of(metrics: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested metrics under dotted names; for an interval, its value."""
    numbers: dict[str, float] = {}
    for key, item in metrics.items():
        name = prefix + key
        if isinstance(item, dict) and set(item) >= {"value", "low", "high"}:
            numbers[name] = item["value"]
        elif isinstance(item, dict):
            numbers |= numbers_of(item, f"{name}.")
        elif isinstance(item, int | float):
            numbers[name] = item
    return numbers
