"""Length-controlled win rates: the win rate if the model's answers were as long as the reference's.

AlpacaEval 2's regression (Dubois et al. 2024, arXiv 2404.04475): the logit of a preference for the
model is `model` + `length` tanh(d) + `difficulty` g. Here d is how much longer the model's answer
is than the reference's, in standard deviations over all instructions, and g is the difficulty of
the instruction. The length-controlled win rate is the mean prediction with d at zero.

Optional weak rows are preferences for answers of the reference model when it was told to be brief
or wordy. Their quality is the same, so they share `length` and `difficulty`, but not `model`. Each
has the weight `WEAK`. With them, a model gains little by shortening its own answers.
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

PENALTIES = np.logspace(-4, 4, 10)  # candidates for the inverse strength of the penalty
FOLDS = 5
WEAK = 0.1
SEED = 123  # AlpacaEval's, for liblinear's order of coordinates
NEARLY_NONE = 1e-9  # a weight
RIDGE = 0.05  # penalty of the fits for the interval


@dataclass(frozen=True)
class Compared:
    """Preferences (N,) from 0 (the reference's answer) to 1 (the model's), NaN if missing; how much
    longer the model's answers are, (N,), in standard deviations; the difficulty, (N,).
    """

    preference: np.ndarray
    longer: np.ndarray
    difficulty: np.ndarray | None = None

    @property
    def design(self) -> np.ndarray:
        """The design matrix without the model's own column, (N, 1 or 2)."""
        columns = [np.tanh(self.longer)]
        return np.column_stack(columns + ([] if self.difficulty is None else [self.difficulty]))


@dataclass(frozen=True)
class Controlled:
    """The length-controlled win rate, its error and its interval, in percent; and the terms of the
    logit.
    """

    value: float
    error: float  # standard error of the mean prediction, as AlpacaEval's: for fixed terms
    low: float  # percentiles over resampled instructions, with terms refit almost unpenalised
    high: float
    model: float
    length: float
    difficulty: float | None
    penalty: float  # the chosen inverse strength


def standardised(longer: Sequence[float]) -> np.ndarray:
    """Return differences in length (N,) / their standard deviation; zeros if all are equal."""
    apart = np.asarray(longer, dtype=float)
    spread = float(apart.std(ddof=1)) if len(apart) > 1 else 0.0
    return apart / spread if spread else np.zeros_like(apart)


def controlled(
    rows: Compared, weak: Compared | None, *, confidence: float, resamples: int, seed: int
) -> Controlled:
    """Fit the terms and predict. Raise `ValueError` for fewer preferences than folds."""
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
    rows: Compared, weak: Compared | None, *, confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
    """Return percentiles, in percent, over resamples of the instructions, with the terms refit on
    each; weak rows are not resampled. If a model won nothing or everything, use Wilson's interval.
    """
    design, target, weight = _learnt(rows, weak)
    own = _own(rows)[~np.isnan(rows.preference)]
    size, won = len(own), float(np.nansum(rows.preference))
    if won in (0.0, size):  # all resamples would be equal
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


def _own(rows: Compared) -> np.ndarray:
    """Return the model's rows, (N, F): length, difficulty if there is one, and the model itself."""
    return np.column_stack([rows.design, np.ones(len(rows.preference))])


def _learnt(rows: Compared, weak: Compared | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows that have a preference, (M, F), their preferences and their weights, (M,)
    each. Weak rows come first, as in AlpacaEval.
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
    """Return the probability of a preference for the model on each instruction at equal length:
    (N,) from terms (F,), or (R, N) from terms (R, F).
    """
    level = own.copy()
    level[:, 0] = 0.0
    chance: np.ndarray = expit(terms @ level.T)
    return chance


def _unpenalised(design: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Fit terms (R, F) for each row of weights (R, M), by Newton's method. A squared penalty of
    `RIDGE` keeps one-sided resamples finite and changes others little. With the chosen absolute
    penalty instead, the coverage of 95 % intervals was 84 %.
    """

    def slopes(terms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chance = expit(terms @ design.T)  # (R, N)
        gradient = (weights * (target - chance)) @ design - RIDGE * terms
        spread = weights * chance * (1 - chance)
        curvature = np.einsum("rn,nf,ng->rfg", spread, design, design, optimize=True)
        return gradient, curvature + RIDGE * np.eye(design.shape[1])

    return newton.maxima(slopes, np.zeros((len(weights), design.shape[1])))


def _fit(design: np.ndarray, target: np.ndarray, weight: np.ndarray, penalty: float) -> np.ndarray:
    """Fit terms (F,) by logistic regression with an absolute penalty (L1), with liblinear.

    A preference between 0 and 1 becomes a win and a loss, weighted by its share of each.
    """
    both = np.concatenate([design, design])
    label = np.repeat([1, 0], len(target))
    weights = np.concatenate([weight * target, weight * (1 - target)])
    if not weights[label == 1].any() or not weights[label == 0].any():
        # liblinear ignores rows without weight, and takes a lone class for the wins.
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
    """Return the penalty with the lowest held-out loss in cross-validation, in nats."""
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
    """Return the fold of each row, (size,), assigned in turn from the last row, as scikit-learn's
    GroupKFold assigns groups of equal size. These are AlpacaEval's folds.
    """
    return np.arange(size)[::-1] % FOLDS
