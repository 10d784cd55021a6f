"""Classification metrics: predictions, metrics with intervals, baselines and comparisons.

Input: texts, labels and checkpoints. Output: predicted labels, and dicts of intervals.
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

BATCH_SIZE = 64  # does not change a prediction
STRENGTHS = (
    1.0,
    10.0,
    100.0,
)  # candidates for the baseline's inverse regularisation; the validation split chooses

Labels = Sequence[str]
Pieces = Literal["words", "characters", "nothing"]
ANALYZERS: dict[Pieces, str] = {"words": "word", "characters": "char"}  # scikit-learn's names


def predict(classifier: Checkpoint[AnyModel], texts: Sequence[str]) -> list[tuple[str, float]]:
    """Return the predicted label of each text and its probability."""
    labels, length = classifier.labels, classifier.max_length
    assert labels is not None and length is not None, "a classifier has both"
    encoded = [classification.encode(classifier.tokenizer, text, length) for text in texts]
    outputs = head_outputs(classifier.model, encoded, BATCH_SIZE)  # (N, n_class)
    likely, best = outputs.softmax(dim=-1).max(dim=-1)
    return [(labels[i], p) for i, p in zip(best.tolist(), likely.tolist(), strict=True)]


def majority(train: Labels, n: int) -> list[str]:
    """Return the most frequent training label `n` times; ties go to the first in the alphabet."""
    counts = Counter(train)
    return [min(counts, key=lambda label: (-counts[label], label))] * n


def rarer(train: Labels) -> str:
    """Return the least frequent training label; ties go to the last in the alphabet."""
    counts = Counter(train)
    return max(counts, key=lambda label: (-counts[label], label))


def pieces(texts: Sequence[str]) -> Pieces:
    """Return what TF-IDF counts: words of at least two letters or digits if any text has one,
    otherwise characters (for example in texts of emoji alone).
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
    """Fit logistic regression on TF-IDF of `pieces` and pairs of them; return the labels of `test`
    and the inverse regularisation. If the training texts hold nothing, predict the majority label.

    All settings are scikit-learn's defaults except the inverse regularisation, which is the one of
    STRENGTHS with the best validation accuracy. The default is far from the best.
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
    """Return accuracy, macro F1, the confusion counts (rows are the true labels), and precision,
    recall and F1 of the label `positive`.
    """
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
    """Return the metrics of `figures` as means over several trainings, with intervals that cover
    trainings and texts. The confusion counts are those of the first training.
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
    """Return the index of each name in `labels`, (N,)."""
    return np.array([labels.index(name) for name in names])


def compare(
    truth: Labels,
    first: Labels,
    second: Labels,
    confidence: float,
) -> dict[str, Any]:
    """Compare two systems on the same texts: the difference of their accuracies (first minus
    second), and McNemar's exact test.

    The p-value is that of a fair coin for the texts that exactly one system labels correctly.
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
    """Return each metric as a function of true and predicted label numbers, (N,) each, in [0, n).

    The texts of a call are a resample of those of `truth`. Macro F1 ignores a class that a
    resample happens to lack.
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
    """Return the number of messages that each metric depends on most: the smallest group in which
    one error moves the metric most.
    """
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
    """Return the F1 of each class, (n_class,); 0 for one that neither occurs nor is predicted."""
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    return 2 * confusion.diagonal() / np.maximum(1, both)
