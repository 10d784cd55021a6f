"""Length-controlled win rates: the win rate that answers as long as the reference's would have.

AlpacaEval 2's regression (Dubois et al. 2024, arXiv 2404.04475): the logit of a preference for the
model is `model` + `length` tanh(d) + `difficulty` g. There d is how much longer the model's answer
is than the reference's, in standard deviations of that over all instructions, and g is how hard the
instruction is. The length-controlled win rate is the mean prediction with d at zero.

Weak rows, where they are given, are preferences for answers of the reference model that was told
to be brief or to be wordy, so of the same worth: they share `length` and `difficulty`, not `model`,
and weigh `WEAK` of a row each. So a model gains little by cutting its own answers.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from llmill.evaluation.statistics import intervals, newton

PENALTIES = np.logspace(-4, 4, 10)  # inverse strengths of the penalty, one is chosen
FOLDS = 5
WEAK = 0.1
SEED = 123  # of liblinear's order of coordinates, AlpacaEval's
NEARLY_NONE = 1e-9  # a weight
RIDGE = 0.05  # of the fits of the interval


@dataclass(frozen=True)
class Rows:
    """Preferences (N,) from 0, the reference's answer, to 1, the model's; NaN for none. How much
    longer the model's answers are, in standard deviations, and how hard the instructions are.
    """

    preference: np.ndarray
    longer: np.ndarray
    difficulty: np.ndarray | None = None

    @property
    def design(self) -> np.ndarray:
        """Without the model's own column, (N, 1 or 2)."""
        columns = [np.tanh(self.longer)]
        return np.column_stack(columns + ([] if self.difficulty is None else [self.difficulty]))


@dataclass(frozen=True)
class Controlled:
    """The length-controlled win rate and its error in percent, and the terms of its logit."""

    value: float
    error: float  # of the mean prediction, as AlpacaEval gives it: it knows nothing of the terms'
    low: float  # percentiles over instructions drawn anew, with terms learnt anew, hardly penalised
    high: float
    model: float
    length: float
    difficulty: float | None
    penalty: float  # the inverse strength that was chosen


def standardised(longer: Sequence[float]) -> np.ndarray:
    """Differences in length over their standard deviation; zeros where all are the same."""
    apart = np.asarray(longer, dtype=float)
    spread = float(apart.std(ddof=1)) if len(apart) > 1 else 0.0
    return apart / spread if spread else np.zeros_like(apart)


def controlled(
    rows: Rows, weak: Rows | None, *, confidence: float, resamples: int, seed: int
) -> Controlled:
    """Fit the terms and predict; raises `ValueError` for fewer preferences than folds."""
    told = int((~np.isnan(rows.preference)).sum())
    if told < FOLDS:
        raise ValueError(f"{told} preferences; the regression needs {FOLDS}")
    design, target, weight = _learnt(rows, weak)
    penalty = _chosen(design, target, weight)
    terms = _fit(design, target, weight, penalty)
    predicted = _predicted(_own(rows), terms)
    low, high = interval(rows, weak, confidence=confidence, resamples=resamples, seed=seed)
    return Controlled(
        value=100 * float(predicted.mean()),
        error=100 * float(predicted.std(ddof=1)) / math.sqrt(len(predicted)),
        low=low,
        high=high,
        model=float(terms[-1]),
        length=float(terms[0]),
        difficulty=float(terms[1]) if rows.difficulty is not None else None,
        penalty=penalty,
    )


def interval(
    rows: Rows, weak: Rows | None, *, confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
    """Percentiles in percent over instructions drawn anew, with the terms learnt anew; weak rows
    stay as they are. Wilson's interval of a model that won nothing, or everything.
    """
    design, target, weight = _learnt(rows, weak)
    own = _own(rows)[~np.isnan(rows.preference)]
    size, won = len(own), float(np.nansum(rows.preference))
    if won in (0.0, size):  # no draw has another preference
        share = intervals.share(int(won), size, confidence)
        return 100 * share["low"], 100 * share["high"]
    times = np.random.default_rng(seed).multinomial(
        size, np.full(size, 1 / size), size=resamples
    )  # (R, N)
    weights = np.tile(weight, (resamples, 1))
    weights[:, -size:] = times
    again = _predicted(own, _unpenalised(design, target, weights))  # (R, N)
    drawn = 100 * (times * again).sum(axis=1) / size
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _own(rows: Rows) -> np.ndarray:
    """The model's rows, (N, F): length, difficulty if there is one, and the model itself."""
    return np.column_stack([rows.design, np.ones(len(rows.preference))])


def _learnt(rows: Rows, weak: Rows | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What has a preference, (M, F), with it and its weight, (M,); weak rows first, as AlpacaEval
    has them.
    """
    design, target, weight = _own(rows), rows.preference, np.ones(len(rows.preference))
    if weak is not None:
        beside = np.column_stack([weak.design, np.zeros(len(weak.preference))])
        design = np.concatenate([beside, design])
        target = np.concatenate([weak.preference, target])
        weight = np.concatenate([np.full(len(beside), WEAK), weight])
    told = ~np.isnan(target)
    return design[told], target[told], weight[told]


def _predicted(own: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """The chance of a preference for the model on each instruction at equal length, (N,) of terms
    (F,), or (R, N) of (R, F).
    """
    level = own.copy()
    level[:, 0] = 0.0
    chance: np.ndarray = expit(terms @ level.T)
    return chance


def _unpenalised(design: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Terms (R, F) for each row of weights (R, N), by Newton's method; a square penalty of `RIDGE`
    keeps one-sided ones finite, and moves others by little. With the penalty that was chosen once,
    95 % intervals held what they should 84 % of the time.
    """

    def slopes(terms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chance = expit(terms @ design.T)  # (R, N)
        gradient = (weights * (target - chance)) @ design - RIDGE * terms
        spread = weights * chance * (1 - chance)
        curvature = np.einsum("rn,nf,ng->rfg", spread, design, design, optimize=True)
        return gradient, curvature + RIDGE * np.eye(design.shape[1])

    return newton.maxima(slopes, np.zeros((len(weights), design.shape[1])))


def _fit(design: np.ndarray, target: np.ndarray, weight: np.ndarray, penalty: float) -> np.ndarray:
    """Terms (F,) of the most likely fit with an absolute penalty on each, by liblinear.

    A preference between 0 and 1 is both a win and a loss, weighed by how much of each it is.
    """
    both = np.concatenate([design, design])
    label = np.repeat([1, 0], len(target))
    weights = np.concatenate([weight * target, weight * (1 - target)])
    if not weights[label == 1].any() or not weights[label == 0].any():
        # Of rows without weight liblinear sees nothing, and takes a lone class for the wins.
        weights = np.maximum(weights, NEARLY_NONE)
    model = LogisticRegression(
        C=penalty, l1_ratio=1.0, solver="liblinear", fit_intercept=False, random_state=SEED
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # nearly unpenalised, and one-sided
        model.fit(both, label, sample_weight=weights)
    terms: np.ndarray = model.coef_[0]
    return terms


def _chosen(design: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    """The penalty whose fits on four fifths lose the fewest nats on the fifth that was left out."""
    fold = _folds(len(target))
    losses = np.zeros((FOLDS, len(PENALTIES)))
    for left_out in range(FOLDS):
        rest, here = fold != left_out, fold == left_out
        for n, penalty in enumerate(PENALTIES):
            terms = _fit(design[rest], target[rest], weight[rest], float(penalty))
            logit = design[here] @ terms
            nats = np.logaddexp(0, logit) - target[here] * logit
            losses[left_out, n] = np.mean(weight[here] * nats)
    return float(PENALTIES[losses.mean(axis=0).argmin()])


def _folds(size: int) -> np.ndarray:
    """The fold of each row (size,): dealt out from the last row on, as scikit-learn's GroupKFold
    deals groups of one size, so that they are AlpacaEval's.
    """
    return np.arange(size)[::-1] % FOLDS
