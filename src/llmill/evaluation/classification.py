"""Classifiers against the truth: predictions, figures with intervals, baselines, comparison.

In: texts, labels, checkpoints. Out: predicted labels, and dicts of intervals.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from llmill.evaluation.inference.scoring import head_outputs
from llmill.evaluation.statistics.intervals import (
    Draws,
    bootstrap_share,
    crossed,
    paired_difference,
    share,
)
from llmill.evaluation.statistics.significance import mcnemar
from llmill.model.checkpoint import AnyModel, Checkpoint
from llmill.tasks import classification

BATCH_SIZE = 64  # of no influence on a prediction
STRENGTHS = (
    1.0,
    10.0,
    100.0,
)  # inverse regularisation tried for the baseline, on the validation split

Labels = Sequence[str]
Pieces = Literal["words", "characters", "nothing"]
ANALYZERS: dict[Pieces, str] = {"words": "word", "characters": "char"}  # scikit-learn's


def predict(classifier: Checkpoint[AnyModel], texts: Sequence[str]) -> list[tuple[str, float]]:
    """The label that a checkpoint gives each text, and its probability."""
    labels, length = classifier.labels, classifier.max_length
    assert labels is not None and length is not None, "a classifier has both"
    encoded = [classification.encode(classifier.tokenizer, text, length) for text in texts]
    outputs = head_outputs(classifier.model, encoded, BATCH_SIZE)  # (N, n_class)
    likely, best = outputs.softmax(dim=-1).max(dim=-1)
    return [(labels[i], p) for i, p in zip(best.tolist(), likely.tolist(), strict=True)]


def majority(train: Labels, n: int) -> list[str]:
    """The commonest label of the training split, `n` times; of equals the first in the alphabet."""
    counts = Counter(train)
    return [min(counts, key=lambda label: (-counts[label], label))] * n


def rarer(train: Labels) -> str:
    """The least common label of the training split; of equals the last in the alphabet."""
    counts = Counter(train)
    return max(counts, key=lambda label: (-counts[label], label))


def pieces(texts: Sequence[str]) -> Pieces:
    """What TF-IDF counts: words of two letters or digits and more, if any text has one; else
    characters, as of emoji alone.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    for kind, analyzer in ANALYZERS.items():
        analyze = TfidfVectorizer(analyzer=analyzer).build_analyzer()
        if any(analyze(text) for text in texts):
            return kind
    return "nothing"


def tfidf(
    train: tuple[Sequence[str], Labels],
    validate: tuple[Sequence[str], Labels],
    test: Sequence[str],
    seed: int,
) -> tuple[list[str], float]:
    """Logistic regression on TF-IDF of `pieces` and pairs of them: labels for `test`, and its
    strength. Where the training texts hold nothing, the majority.

    scikit-learn's defaults, but for the inverse regularisation: the one of STRENGTHS that is best
    on the validation split, since the default is far from it.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    kind = pieces(train[0])
    if kind == "nothing":
        return majority(train[1], len(test)), STRENGTHS[0]
    vectors = TfidfVectorizer(analyzer=ANALYZERS[kind], ngram_range=(1, 2))
    x = vectors.fit_transform(train[0])
    models = [LogisticRegression(C=c, max_iter=1000, random_state=seed) for c in STRENGTHS]
    held_out = vectors.transform(validate[0])
    right = [float(m.fit(x, train[1]).score(held_out, validate[1])) for m in models]
    best = right.index(max(right))
    return models[best].predict(vectors.transform(test)).tolist(), STRENGTHS[best]


def figures(
    truth: Labels,
    predicted: Labels,
    labels: Labels,
    positive: str,
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Accuracy; precision, recall and F1 of `positive`; macro F1; counts of truth by prediction."""
    rows, columns = numbers(truth, labels), numbers(predicted, labels)
    counts = _confusion(rows, columns, len(labels))
    at = labels.index(positive)
    hits = int(counts[at, at])
    draws: Draws = {"confidence": confidence, "resamples": resamples, "seed": seed}
    measures, few = _measures(rows, len(labels), at), _fewest(counts, at)
    return {
        "accuracy": share(int(counts.trace()), len(truth), confidence),
        "precision": share(hits, int(counts[:, at].sum()), confidence),
        "recall": share(hits, int(counts[at].sum()), confidence),
        "f1": bootstrap_share(measures["f1"], [rows, columns], few["f1"], **draws),
        "macro_f1": bootstrap_share(
            measures["macro_f1"], [rows, columns], few["macro_f1"], **draws
        ),
        "confusion": counts.tolist(),
    }


def figures_of_runs(
    truth: Labels,
    runs: Sequence[Labels],
    labels: Labels,
    positive: str,
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The same of several trainings: means over them, with intervals over trainings and texts; the
    counts are those of the first.
    """
    draws: Draws = {"confidence": confidence, "resamples": resamples, "seed": seed}
    first = figures(truth, runs[0], labels, positive, **draws)
    if len(runs) == 1:
        return first
    rows, columns = numbers(truth, labels), [numbers(run, labels) for run in runs]
    at = labels.index(positive)
    few = _fewest(_confusion(rows, columns[0], len(labels)), at)
    measures = _measures(rows, len(labels), at)
    return first | {
        name: crossed(each, rows, columns, few[name], **draws) for name, each in measures.items()
    }


def numbers(names: Labels, labels: Labels) -> np.ndarray:
    """The number of each label, (N,)."""
    return np.array([labels.index(name) for name in names])


def compare(
    truth: Labels,
    first: Labels,
    second: Labels,
    confidence: float,
) -> dict[str, Any]:
    """Two systems on the same texts: the difference of their accuracies, and McNemar's exact test.

    The p-value is that of a fair coin for the texts that exactly one of them has right.
    """
    right = [[p == t for p, t in zip(x, truth, strict=True)] for x in (first, second)]
    only_first = sum(a and not b for a, b in zip(*right, strict=True))
    only_second = sum(b and not a for a, b in zip(*right, strict=True))
    return {
        "difference": paired_difference(right[1], right[0], confidence=confidence),
        "only_first_right": only_first,
        "only_second_right": only_second,
        "mcnemar_p": mcnemar(only_first, only_second),
    }


def _measures(
    truth: np.ndarray, n: int, at: int
) -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    """Functions of the numbers of the true and the predicted labels, of which there are `n`, on
    texts that are drawn from those of `truth`. A draw that lacks a rare class says nothing of it.
    """
    absent = np.bincount(truth, minlength=n) == 0

    def by_label(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return _f1(_confusion(rows, columns, n))

    def macro(rows: np.ndarray, columns: np.ndarray) -> float:
        counts = _confusion(rows, columns, n)
        return float(_f1(counts)[(counts.sum(axis=0) + counts.sum(axis=1) > 0) | absent].mean())

    def hits(rows: np.ndarray, columns: np.ndarray) -> int:
        return int(((rows == at) & (columns == at)).sum())

    return {
        "accuracy": lambda rows, columns: float((rows == columns).mean()),
        "precision": lambda rows, columns: hits(rows, columns) / max(1, int((columns == at).sum())),
        "recall": lambda rows, columns: hits(rows, columns) / max(1, int((rows == at).sum())),
        "f1": lambda rows, columns: float(by_label(rows, columns)[at]),
        "macro_f1": macro,
    }


def _fewest(counts: np.ndarray, at: int) -> dict[str, int]:
    """The messages that each measure hangs on: a single one of them wrong would move it most."""
    by_label = counts.sum(axis=1)
    positive, predicted = max(1, int(by_label[at])), max(1, int(counts[:, at].sum()))
    return {
        "accuracy": int(counts.sum()),
        "precision": predicted,
        "recall": positive,
        "f1": positive,
        "macro_f1": int(by_label[by_label > 0].min()),
    }


def _confusion(truth: np.ndarray, predicted: np.ndarray, n: int) -> np.ndarray:
    return np.bincount(truth * n + predicted, minlength=n * n).reshape(n, n)


def _f1(confusion: np.ndarray) -> np.ndarray:
    """F1 of each class; 0 for one that neither occurs nor is predicted."""
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    return 2 * confusion.diagonal() / np.maximum(1, both)
