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
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

PENALTIES = np.logspace(-4, 4, 10)  # inverse strengths of the penalty, one is chosen
FOLDS = 5
WEAK = 0.1
SEED = 123  # of liblinear's order of coordinates, AlpacaEval's


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
    low: float  # percentiles over instructions drawn anew, with the terms learnt anew
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
    told = ~np.isnan(rows.preference)
    if told.sum() < FOLDS:
        raise ValueError(f"{told.sum()} preferences; the regression needs {FOLDS}")
    own = np.column_stack([rows.design, np.ones(len(told))])  # (N, F): length, difficulty, model
    design, target, weight = own[told], rows.preference[told], np.ones(int(told.sum()))
    if weak is not None:  # before the model's own rows, as AlpacaEval has them
        kept = ~np.isnan(weak.preference)
        beside = np.column_stack([weak.design, np.zeros(len(kept))])[kept]
        design = np.concatenate([beside, design])
        target = np.concatenate([weak.preference[kept], target])
        weight = np.concatenate([np.full(int(kept.sum()), WEAK), weight])
    penalty = _chosen(design, target, weight)
    terms = _fit(design, target, weight, penalty)
    predicted = _predicted(own, terms)
    first = len(target) - int(told.sum())  # the model's own rows are drawn, weak ones stay
    rng, drawn = np.random.default_rng(seed), np.empty(resamples)
    size = int(told.sum())
    for n in range(resamples):
        times = np.bincount(rng.integers(0, size, size), minlength=size).astype(float)
        again = _fit(design, target, np.concatenate([weight[:first], times]), penalty)
        drawn[n] = np.average(_predicted(own[told], again), weights=times)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Controlled(
        value=100 * float(predicted.mean()),
        error=100 * float(predicted.std(ddof=1)) / math.sqrt(len(predicted)),
        low=100 * float(low),
        high=100 * float(high),
        model=float(terms[-1]),
        length=float(terms[0]),
        difficulty=float(terms[1]) if rows.difficulty is not None else None,
        penalty=penalty,
    )


def _predicted(own: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """The chance of a preference for the model on each instruction at equal length, (N,)."""
    level = own.copy()
    level[:, 0] = 0.0
    chance: np.ndarray = 1 / (1 + np.exp(-level @ terms))
    return chance


def _fit(design: np.ndarray, target: np.ndarray, weight: np.ndarray, penalty: float) -> np.ndarray:
    """Terms (F,) of the most likely fit with an absolute penalty on each, by liblinear.

    A preference between 0 and 1 is both a win and a loss, weighed by how much of each it is.
    """
    both = np.concatenate([design, design])
    label = np.repeat([1, 0], len(target))
    weights = np.concatenate([weight * target, weight * (1 - target)])
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
