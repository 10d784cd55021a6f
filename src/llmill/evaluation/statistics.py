"""Figures with intervals: `{"value", "low", "high", "n"}`. Random draws come from a seed.

A share of successes gets Wilson's interval (Wilson 1927), which stays inside [0, 1] and holds for
few trials and for shares near 0 and 1; anything else the percentile bootstrap over its observations
(Efron 1979).
"""

import math
import re
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, TypedDict

import numpy as np

Interval = dict[str, float | int]
CONFIDENCE, RESAMPLES = 0.95, 1000  # of the figures whose stage has no parameter for it


class Draws(TypedDict):
    """How a bootstrap draws."""

    confidence: float
    resamples: int
    seed: int


def share(right: float, n: int, confidence: float) -> Interval:
    """The share of `right` among `n` trials. Of no trials: 0, somewhere between 0 and 1."""
    if n == 0:
        return {"value": 0.0, "low": 0.0, "high": 1.0, "n": 0}
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p, spread = right / n, z * z / n
    centre = (p + spread / 2) / (1 + spread)
    half = z * math.sqrt(p * (1 - p) / n + spread / (4 * n)) / (1 + spread)
    low = 0.0 if right == 0 else centre - half
    high = 1.0 if right == n else centre + half
    return {"value": p, "low": low, "high": high, "n": n}


def mean_of_shares(shares: Sequence[Interval]) -> Interval:
    """The plain mean of independent shares, each weighing the same; `n` counts their trials.

    The interval joins theirs by the distances from value to limit (MOVER, Zou and Donner 2008).
    """
    count = len(shares)
    value = sum(s["value"] for s in shares) / count
    below = math.sqrt(sum((s["value"] - s["low"]) ** 2 for s in shares)) / count
    above = math.sqrt(sum((s["high"] - s["value"]) ** 2 for s in shares)) / count
    return {
        "value": value,
        "low": max(0.0, value - below),
        "high": min(1.0, value + above),
        "n": sum(s["n"] for s in shares),
    }


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
    return {"value": float(statistic(*arrays)), "low": float(low), "high": float(high), "n": n}


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
    return {"value": value, "low": float(low), "high": float(high), "n": len(truth)}


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
        return {"value": 0.0, "low": 0.0, "high": 1.0, "n": 0}
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
    return {"value": value, "low": float(low), "high": float(high), "n": pairs}


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p-value of McNemar's exact test: that of a fair coin for the items that exactly
    one of two systems has right (McNemar 1947).
    """
    n = only_first + only_second
    ways = at_most = 1  # of n coins to show k heads, and to show k or fewer: exact, as integers
    for k in range(min(only_first, only_second)):
        ways = ways * (n - k) // (k + 1)
        at_most += ways
    return min(1.0, 2 * at_most / 2**n)


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
