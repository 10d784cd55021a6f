"""Figures with intervals: `{"value", "low", "high", "n", "covers"}`. Random draws come from a seed.

A share of successes gets Wilson's interval (Wilson 1927), which stays inside [0, 1] and holds for
few trials and for shares near 0 and 1; anything else the percentile bootstrap over its observations
(Efron 1979).
"""

import math
import re
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist
from typing import Any, Literal, TypedDict

import numpy as np

Covers = Literal["items", "seeds", "both"]
CONFIDENCE, RESAMPLES = 0.95, 1000  # of the figures whose stage has no parameter for it


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

    Wilson's interval for as many independent items as would be as unsure, with Student's t for the
    number of clusters (Korn and Graubard 1998): never more than there are items, and one a cluster
    where all are right or none is. Of 5 clusters and more it covers what it says, of 3 more.
    """
    n, count = len(right), len(set(clusters))
    if count < 2:  # one cluster says nothing of others
        return _interval(sum(right) / max(1, n), (0.0, 1.0), n)
    number = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    of = np.array([number[name] for name in clusters])  # (N,)
    hits = np.asarray(right, dtype=float)
    p = float(hits.mean())
    apart = np.bincount(of, hits - p)  # (clusters,)
    variance = float((apart**2).sum()) / n**2 * count / (count - 1)
    alone = min(n, p * (1 - p) / variance) if variance and 0 < p < 1 else count
    return _interval(p, _wilson(p, alone, _student(count - 1, confidence)), n)


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


def bootstrap(
    statistic: Callable[..., float],
    columns: Sequence[Any],
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> Interval:
    """`statistic(*columns)` with the percentiles of its value on rows drawn with replacement.

    Columns are parallel: a row stays together, so paired data stay paired.
    """
    arrays = [np.asarray(column) for column in columns]
    n = len(arrays[0])
    if n == 0:
        raise ValueError("a bootstrap needs at least one observation")
    rng = np.random.default_rng(seed)
    values = np.empty(resamples)
    for i in range(resamples):
        rows = rng.integers(0, n, n)
        values[i] = statistic(*(array[rows] for array in arrays))
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return _interval(float(statistic(*arrays)), (low, high), n)


def crossed(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    truth: Any,
    runs: Any,
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> Interval:
    """The mean over runs of `statistic(truth, run)`, truth (N,) and runs (R, N), with the
    percentiles of its value on runs and observations that are both drawn with replacement: what
    another seed and other messages would change (the pigeonhole bootstrap, Owen 2007).
    """
    truth, runs = np.asarray(truth), np.asarray(runs)
    rng = np.random.default_rng(seed)
    values = np.empty(resamples)
    for i in range(resamples):
        drawn = runs[rng.integers(0, len(runs), len(runs))]
        rows = rng.integers(0, len(truth), len(truth))
        values[i] = np.mean([statistic(truth[rows], run[rows]) for run in drawn])
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    value = float(np.mean([statistic(truth, run) for run in runs]))
    return _interval(value, (low, high), len(truth), "both")


def mean(values: Sequence[float], *, confidence: float, resamples: int, seed: int) -> Interval:
    """The mean, with its bootstrap interval."""
    draws: Draws = {"confidence": confidence, "resamples": resamples, "seed": seed}
    return bootstrap(np.mean, [np.asarray(values, dtype=float)], **draws)


def pairs_right(
    truth: Sequence[float],
    predicted: Sequence[float],
    *,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """The share of pairs of unequal known score that the prediction orders alike; ties are half.

    The interval draws observations, not pairs: those of one observation go together. `n` counts
    pairs.
    """
    worth, guess = np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float)  # (N,) each
    above = (worth[:, None] > worth[None, :]).astype(np.float32)  # (N, N)
    order = np.sign(guess[:, None] - guess[None, :])
    right = above * (0.5 + 0.5 * order).astype(np.float32)
    pairs = int(above.sum(dtype=np.int64))
    if pairs == 0:
        return _interval(0.0, (0.0, 1.0), 0)
    rng = np.random.default_rng(seed)
    n = len(truth)
    values = []
    for _ in range(resamples):
        times = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float32)
        total = float(times @ above @ times)
        if total:  # a draw of one known score only has no pairs
            values.append(float(times @ right @ times) / total)
    value = float(right.sum(dtype=np.float64)) / pairs
    low, high = np.quantile(values or [0.0, 1.0], [(1 - confidence) / 2, (1 + confidence) / 2])
    return _interval(value, (low, high), pairs)


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
