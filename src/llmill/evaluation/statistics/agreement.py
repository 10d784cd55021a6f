"""Agreement of raters: rank correlations, Cohen's kappa (1960), Krippendorff's alpha (2011); and
how far a judge agrees with the rules, with other raters, and with the length of the answers.

1 is perfect agreement, 0 is chance. The value is NaN if a rater gives everything the same rating.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from llmill.evaluation.statistics.intervals import (
    Draws,
    Interval,
    beside_commonest,
    bootstrap_share,
)

THRESHOLD = 50.0  # a score of at least so many points counts as "right"
RESAMPLES = 300
OTHERS = ("rules", "exact_match", "rouge_l")  # raters that the judge is compared with

Level = Literal["nominal", "ordinal", "interval"]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """A metric of columns (N,), and the smallest number of answers that it depends on."""

    of: Callable[..., float]
    columns: Sequence[Any]
    least: int


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation of (N,) and (N,); equal values get their mean rank."""
    from scipy.stats import rankdata

    middle = (len(first) + 1) / 2
    one, other = rankdata(first) - middle, rankdata(second) - middle
    spread = math.sqrt((one @ one) * (other @ other))
    return float(one @ other) / spread if spread else math.nan


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Kendall's tau-b of (N,) and (N,): concordant minus discordant pairs, corrected for
    ties.
    """
    from scipy.stats import kendalltau

    return float(kendalltau(first, second).statistic)


def kappa(first: Sequence[Any], second: Sequence[Any]) -> float:
    """Return Cohen's kappa of two raters' verdicts, (N,) each: agreement beyond chance."""
    one, other = np.asarray(first), np.asarray(second)
    n, verdicts = len(one), np.union1d(one, other)
    counts = [(int((one == said).sum()), int((other == said).sum())) for said in verdicts]
    if not n or n in (most for count in counts for most in count):
        return math.nan
    by_chance = sum(a * b for a, b in counts) / n**2
    return (int((one == other).sum()) / n - by_chance) / (1 - by_chance)


def alpha(ratings: Any, level: Level) -> float:
    """Return Krippendorff's alpha of ratings (units, raters); a missing rating is NaN. Units with
    fewer than two ratings are ignored.

    The difference of two ordinal ratings is that of their ranks; of nominal ones it is 0 or 1.
    """
    from scipy.stats import rankdata

    table = np.asarray(ratings, dtype=float)
    table = table[(~np.isnan(table)).sum(axis=1) > 1]
    there = ~np.isnan(table)
    values = table[there]  # (N,)
    known = np.unique(values)
    if len(known) < 2:
        return math.nan
    if level == "ordinal":
        values = rankdata(values)
    points = values[:, None]  # (N, 1)
    if level == "nominal":
        points = (points == known).astype(float)  # (N, values)
    placed = np.zeros((*table.shape, points.shape[1]))  # (units, raters, 1 or values)
    placed[there] = points
    count = there.sum(axis=1)  # of ratings, (units,)
    observed = (_apart(placed, count) / (count - 1)).sum() / len(values)
    expected = _apart(points[None], len(values))[0] / (len(values) - 1) / len(values)
    return float(1 - observed / expected)


def _apart(points: np.ndarray, count: np.ndarray | int) -> np.ndarray:
    """Return the sum of squared distances over all ordered pairs of points of a group, (groups,).

    `points` is (groups, most, dimensions), with zeros beyond the count of a group.
    """
    squares = (points**2).sum(axis=(1, 2))
    apart: np.ndarray = 2 * (count * squares - (points.sum(axis=1) ** 2).sum(axis=1))
    return apart


def of_judge(table: Sequence[Row], confidence: float, seed: int) -> dict[str, Any]:
    """Return how far the judge agrees with the rules, exact match and ROUGE-L, each as scores from
    0 to 100; alpha over all four; and the judge's rank correlation with the length of the answers,
    for those that are right by the rules and for the others.

    Answers that the judge did not score are left out, and so are metrics that are NaN.
    """
    draws: Draws = {"confidence": confidence, "resamples": RESAMPLES, "seed": seed}
    asked = [row for row in table if row["judge"] is not None]
    ratings = np.array([_ratings(row) for row in asked]).reshape(-1, 1 + len(OTHERS))
    measures: dict[str, dict[str, Metric]] = {
        name: _pair(*ratings[~np.isnan(ratings[:, column])][:, [0, column]].T)
        for column, name in enumerate(OTHERS, 1)
    }
    measures["alpha"] = _alphas(ratings)
    measures["length"] = {
        "right": _length([row for row in asked if row["rule"] is True]),
        "others": _length([row for row in asked if row["rule"] is not True]),
    }
    found = {name: _known(each, draws) for name, each in measures.items()}
    return {name: figures for name, figures in found.items() if figures}


def _ratings(row: Row) -> tuple[float, ...]:
    """Return the scores of the judge and of OTHERS for an answer, from 0 to 100 or NaN."""
    rule = math.nan if row["rule"] is None else 100.0 * row["rule"]
    return row["judge"], rule, 100.0 * row["exact"], 100.0 * row["rouge_l"]


def _pair(judge: np.ndarray, other: np.ndarray) -> dict[str, Metric]:
    verdicts = [judge >= THRESHOLD, other >= THRESHOLD]
    return {
        "kappa": Metric(kappa, verdicts, beside_commonest(verdicts[1])),
        "spearman": Metric(spearman, [judge, other], beside_commonest(other)),
        "kendall": Metric(kendall, [judge, other], beside_commonest(other)),
    }


def _alphas(ratings: np.ndarray) -> dict[str, Metric]:
    verdicts = np.where(np.isnan(ratings), np.nan, ratings >= THRESHOLD)
    levels: dict[Level, np.ndarray] = {
        "nominal": verdicts,
        "ordinal": ratings,
        "interval": ratings,
    }
    return {
        level: Metric(partial(alpha, level=level), [given], len(given))
        for level, given in levels.items()
    }


def _length(rows: Sequence[Row]) -> Metric:
    lengths = [len(row["answer"]) for row in rows]
    return Metric(spearman, [[row["judge"] for row in rows], lengths], beside_commonest(lengths))


def _known(measures: Mapping[str, Metric], draws: Draws) -> dict[str, Interval]:
    """Compute the measures that are not NaN, with intervals over answers."""
    return {
        name: bootstrap_share(each.of, each.columns, each.least, -1.0, **draws)
        for name, each in measures.items()
        if len(each.columns[0]) > 1 and not math.isnan(each.of(*each.columns))
    }
