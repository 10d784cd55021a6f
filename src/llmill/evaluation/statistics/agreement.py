"""Agreement of raters: rank correlations, Cohen's kappa (1960), Krippendorff's alpha (2011); and
how far a judge agrees with the rules, with other raters, and with the length of what it reads.

1 is agreement, 0 what chance gives. NaN where a rater says the same of everything.
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

THRESHOLD = 50.0  # points from which on a score says right
RESAMPLES = 300
OTHERS = ("rules", "exact_match", "rouge_l")  # raters beside the judge

Level = Literal["nominal", "ordinal", "interval"]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Measure:
    """A figure of some columns, and of how few answers it hangs on."""

    of: Callable[..., float]
    columns: Sequence[Any]
    least: int


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """The correlation of the ranks, those of equal values in the middle."""
    from scipy.stats import rankdata

    middle = (len(first) + 1) / 2
    one, other = rankdata(first) - middle, rankdata(second) - middle
    spread = math.sqrt((one @ one) * (other @ other))
    return float(one @ other) / spread if spread else math.nan


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Tau-b: pairs in the same order less those in the other one, corrected for ties."""
    from scipy.stats import kendalltau

    return float(kendalltau(first, second).statistic)


def kappa(first: Sequence[Any], second: Sequence[Any]) -> float:
    """How much more often two raters say the same than their shares of each verdict would give."""
    one, other = np.asarray(first), np.asarray(second)
    n, verdicts = len(one), np.union1d(one, other)
    counts = [(int((one == said).sum()), int((other == said).sum())) for said in verdicts]
    if not n or n in (most for count in counts for most in count):
        return math.nan
    by_chance = sum(a * b for a, b in counts) / n**2
    return (int((one == other).sum()) / n - by_chance) / (1 - by_chance)


def alpha(ratings: Any, level: Level) -> float:
    """Krippendorff's alpha of ratings (units, raters), NaN where a rater said nothing. A unit that
    fewer than two rated counts for nothing.

    The differences of ordinal ratings are those of their ranks, of nominal ones 0 or 1.
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
    """The squared distances of every two points of a group, in both orders, (groups,); points
    (groups, most, dimensions), 0 for those beyond the count of a group.
    """
    squares = (points**2).sum(axis=(1, 2))
    apart: np.ndarray = 2 * (count * squares - (points.sum(axis=1) ** 2).sum(axis=1))
    return apart


def of_judge(table: Sequence[Row], confidence: float, seed: int) -> dict[str, Any]:
    """How far the judge of these answers agrees with the rules, with exact match and with ROUGE-L,
    each as scores from 0 to 100; alpha over all four; and its rank correlation with the length of
    the answers, among those that are right by the rules and among the others.

    Answers that the judge was not asked about are left out, and so is what cannot be computed.
    """
    draws: Draws = {"confidence": confidence, "resamples": RESAMPLES, "seed": seed}
    asked = [row for row in table if row["judge"] is not None]
    ratings = np.array([_ratings(row) for row in asked]).reshape(-1, 1 + len(OTHERS))
    measures: dict[str, dict[str, Measure]] = {
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
    """What the judge and the others give an answer, of 100."""
    rule = math.nan if row["rule"] is None else 100.0 * row["rule"]
    return row["judge"], rule, 100.0 * row["exact"], 100.0 * row["rouge_l"]


def _pair(judge: np.ndarray, other: np.ndarray) -> dict[str, Measure]:
    verdicts = [judge >= THRESHOLD, other >= THRESHOLD]
    return {
        "kappa": Measure(kappa, verdicts, beside_commonest(verdicts[1])),
        "spearman": Measure(spearman, [judge, other], beside_commonest(other)),
        "kendall": Measure(kendall, [judge, other], beside_commonest(other)),
    }


def _alphas(ratings: np.ndarray) -> dict[str, Measure]:
    verdicts = np.where(np.isnan(ratings), np.nan, ratings >= THRESHOLD)
    levels: dict[Level, np.ndarray] = {
        "nominal": verdicts,
        "ordinal": ratings,
        "interval": ratings,
    }
    return {
        level: Measure(partial(alpha, level=level), [given], len(given))
        for level, given in levels.items()
    }


def _length(rows: Sequence[Row]) -> Measure:
    lengths = [len(row["answer"]) for row in rows]
    return Measure(spearman, [[row["judge"] for row in rows], lengths], beside_commonest(lengths))


def _known(measures: Mapping[str, Measure], draws: Draws) -> dict[str, Interval]:
    """Those that are numbers, with intervals over answers."""
    return {
        name: bootstrap_share(each.of, each.columns, each.least, -1.0, **draws)
        for name, each in measures.items()
        if len(each.columns[0]) > 1 and not math.isnan(each.of(*each.columns))
    }
