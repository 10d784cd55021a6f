"""Evaluate the classifiers and two baselines on the test messages.

    python -m llmill accuracy

Input: the logits of each variant's classifier, and the labelled messages. Output: `metrics.json`,
`predictions.json`, and `tests.json` if there are further tests. The variant with the best
validation accuracy is compared with TF-IDF, and every two variants with each other, message by
message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmill.contract import record, runtime
from llmill.contract.errors import UserError
from llmill.contract.values import Section
from llmill.evaluation import classification as measured
from llmill.evaluation.classification import Labels, numbers
from llmill.evaluation.statistics import calibration, intervals
from llmill.stages.settings.accuracy import Accuracy
from llmill.tasks import classification

if TYPE_CHECKING:
    from llmill.contract.job import Job

TFIDF, MAJORITY = "tfidf", "majority"
LEARNT_INSTEAD = {"characters": "their characters", "nothing": "the commonest label"}

Evaluate = Callable[[Labels, Sequence[Labels]], dict[str, Any]]  # takes true and predicted labels


@dataclass(frozen=True)
class MessageColumns:
    """The messages of a split or of a further test, as columns."""

    texts: list[str]
    labels: list[str]


@dataclass(frozen=True)
class MessageSplits:
    """The labelled messages."""

    train: MessageColumns
    validate: MessageColumns
    test: MessageColumns
    tests: dict[str, MessageColumns]  # further tests by name
    labels: list[str]
    positive: str  # label of precision, recall and F1: the rarer one


@dataclass(frozen=True)
class Predicted:
    """The labels that a system predicts, one list per training of the system."""

    test: list[list[str]]
    tests: dict[str, list[list[str]]]  # by further test


@dataclass(frozen=True)
class Classifier:
    """The results of a variant's trainings: logits of the messages by seed, (N, n_class)."""

    labels: list[str]
    trainable: int  # number of trainable parameters
    validate: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    tests: dict[str, dict[str, np.ndarray]]  # by further test, then seed
    sizes: dict[str, dict[str, np.ndarray]]  # of the test split, by number of training messages

    def says(self, by_seed: Mapping[str, np.ndarray]) -> list[list[str]]:
        """Return the predicted label of each row of logits, (N, n_class), one list per seed."""
        return [[self.labels[i] for i in logits.argmax(axis=1)] for logits in by_seed.values()]

    @property
    def predicted(self) -> Predicted:
        """The labels that the trainings predict for the test messages."""
        tests = {name: self.says(by_seed) for name, by_seed in self.tests.items()}
        return Predicted(self.says(self.test), tests)


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    accuracy: Accuracy


def run(params: Parameters, job: Job) -> None:
    """Evaluate every classifier and baseline on the test split, compare them, write the results."""
    settings = params.accuracy
    data = load(job.folder("prepare") / "classification")
    truth = data.test.labels
    runtime.start(settings.seed, settings.threads)
    draws: intervals.Draws = {
        "confidence": settings.confidence,
        "resamples": settings.bootstrap,
        "seed": settings.seed,
    }
    evaluate: Evaluate = partial(
        measured.figures_of_runs, labels=data.labels, positive=data.positive, **draws
    )
    classifiers = dict(made(job, data))
    by_words, about_words = tfidf(data, settings.seed, job)
    systems = {name: each.predicted for name, each in classifiers.items()}
    systems |= {TFIDF: by_words, MAJORITY: majority(data)}
    figures = {name: evaluate(truth, each.test) for name, each in systems.items()}
    for name, classifier in classifiers.items():
        figures[name] |= figures_of_variant(classifier, data, evaluate)
    figures[TFIDF] |= about_words
    # Choose on the validation split: the best of several on the test split is partly luck.
    best = max(classifiers, key=lambda name: figures[name]["validation_accuracy"])  # first in a tie
    first = {name: each.test[0] for name, each in systems.items()}

    def compared(one: str, other: str) -> dict[str, Any]:
        return measured.compare(truth, first[one], first[other], settings.confidence)

    metrics = {
        "test_messages": len(truth),
        "labels": data.labels,
        "positive": data.positive,
        "variants": {name: figures[name] for name in classifiers},
        "baselines": {name: figures[name] for name in (TFIDF, MAJORITY)},
        "best": best,  # by validation accuracy
        "best_against_tfidf": compared(best, TFIDF),
        "between": [
            {"first": a, "second": b, **compared(a, b)} for a, b in combinations(classifiers, 2)
        ],
        "tests": figures_of_tests(data, systems, evaluate),
    }
    write(job, metrics, data, systems)


def load(folder: Path) -> MessageSplits:
    """Read the messages of each split and further test. Raise `UserError` as `read_splits` does."""
    splits = {name: columns(rows) for name, rows in classification.read_splits(folder).items()}
    train, validate, test = (splits[name] for name in classification.PARTS)
    labels = sorted(set(train.labels))
    further = classification.read_tests(folder, labels)
    tests = {name: columns(rows) for name, rows in further.items()}
    return MessageSplits(train, validate, test, tests, labels, measured.rarer(train.labels))


def columns(rows: Sequence[classification.Message]) -> MessageColumns:
    """Return the texts and the labels of messages."""
    return MessageColumns([row.text for row in rows], [row.label for row in rows])


def made(job: Job, data: MessageSplits) -> Iterator[tuple[str, Classifier]]:
    """Yield each trained variant and its classifier. Raise `UserError` if a classifier has other
    labels than the messages.
    """
    for variant in job.variants("classify"):
        file = job.folder(f"classify/{variant}") / "scores.json"
        scores = record.read_json(file)
        if not scores:  # params.yaml leaves this variant out
            continue
        if scores["labels"] != data.labels:
            raise UserError(
                f"{file}: knows the labels {scores['labels']}, the messages have {data.labels}; "
                "`dvc repro classify` makes it anew"
            )
        by_seed = scores["seeds"].items()
        yield (
            variant,
            Classifier(
                scores["labels"],
                scores["trainable_parameters"],
                {seed: np.array(logits["validate"]) for seed, logits in by_seed},
                {seed: np.array(logits["test"]) for seed, logits in by_seed},
                {
                    name: {seed: np.array(logits["tests"][name]) for seed, logits in by_seed}
                    for name in data.tests
                },
                {
                    size: {s: np.array(x) for s, x in of.items()}
                    for size, of in scores["sizes"].items()
                },
            ),
        )


def tfidf(data: MessageSplits, seed: int, job: Job) -> tuple[Predicted, dict[str, Any]]:
    """Return what TF-IDF predicts, and the settings that it chose on the validation split."""
    train, validate = ((each.texts, each.labels) for each in (data.train, data.validate))
    # All tests at once, because every call fits the baseline again.
    tests = [data.test, *data.tests.values()]
    texts = [text for each in tests for text in each.texts]
    labels, strength = measured.tfidf(train, validate, texts, seed)
    rest = iter(labels)
    test, *further = [[list(islice(rest, len(each.texts)))] for each in tests]
    pieces = measured.pieces(data.train.texts)
    if pieces != "words":
        job.say(f"{TFIDF}: no training message has a word; it learns {LEARNT_INSTEAD[pieces]}")
    predicted = Predicted(test, dict(zip(data.tests, further, strict=True)))
    return predicted, {"inverse_regularisation": strength, "pieces": pieces}


def majority(data: MessageSplits) -> Predicted:
    """Return what the most frequent training label predicts."""

    def of(messages: MessageColumns) -> list[list[str]]:
        return [measured.majority(data.train.labels, len(messages.texts))]

    return Predicted(of(data.test), {name: of(each) for name, each in data.tests.items()})


def figures_of_variant(
    classifier: Classifier, data: MessageSplits, evaluate: Evaluate
) -> dict[str, Any]:
    """Return the metrics that only a classifier has."""
    truth, held_out = data.test.labels, data.validate.labels
    runs = zip(classifier.test, classifier.says(classifier.test), strict=True)
    return {
        "validation_accuracy": accuracy(classifier, held_out),
        "trainable_parameters": classifier.trainable,
        "by_seed": {seed: share(run, truth) for seed, run in runs},
        "calibration": calibrated(classifier, held_out, truth),
        "sizes": {  # the learning curve: test accuracy by the number of training messages
            size: evaluate(truth, classifier.says(by_seed))["accuracy"]
            for size, by_seed in classifier.sizes.items()
        },
    }


def figures_of_tests(
    data: MessageSplits, systems: Mapping[str, Predicted], evaluate: Evaluate
) -> dict[str, Any]:
    """Return the number of messages and the metrics of every system, by further test."""
    return {
        name: {
            "messages": len(test.texts),
            "systems": {
                system: evaluate(test.labels, each.tests[name]) for system, each in systems.items()
            },
        }
        for name, test in data.tests.items()
    }


def accuracy(classifier: Classifier, labels: Labels) -> float:
    """Return the validation accuracy, as a mean over seeds."""
    runs = classifier.says(classifier.validate)
    return sum(share(run, labels) for run in runs) / len(runs)


def share(predicted: Labels, truth: Labels) -> float:
    """Return the share of messages with the right label."""
    return sum(a == b for a, b in zip(predicted, truth, strict=True)) / len(truth)


def calibrated(classifier: Classifier, held_out: Labels, truth: Labels) -> dict[str, float]:
    """Return the expected calibration error on the test messages as trained, the temperature that
    fits the validation messages best, and the error at this temperature; means over seeds.
    """
    known, wanted = (numbers(names, classifier.labels) for names in (held_out, truth))
    pairs = list(zip(classifier.validate.values(), classifier.test.values(), strict=True))
    heat = [calibration.temperature(validate, known) for validate, _ in pairs]
    before = [calibration.expected_error(test, wanted) for _, test in pairs]
    after = [
        calibration.expected_error(test, wanted, t)
        for t, (_, test) in zip(heat, pairs, strict=True)
    ]
    names = ("expected_error", "temperature", "expected_error_scaled")
    figures = zip(names, (before, heat, after), strict=True)
    return {name: float(np.mean(values)) for name, values in figures}


def table(messages: MessageColumns, predicted: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Return one row per message: its text, its label, and the label from each system."""
    return [
        {
            "text": text,
            "label": label,
            "predictions": {name: labels[i] for name, labels in predicted.items()},
        }
        for i, (text, label) in enumerate(zip(messages.texts, messages.labels, strict=True))
    ]


def write(
    job: Job, metrics: dict[str, Any], data: MessageSplits, systems: Mapping[str, Predicted]
) -> None:
    """Write the files, log to the tracker, and print a line for each system. The labels of a
    classifier are those of its first training.
    """
    if data.tests:
        of_tests = {
            name: table(test, {system: each.tests[name][0] for system, each in systems.items()})
            for name, test in data.tests.items()
        }
        record.write_json(job.out / "tests.json", of_tests)
    rows = table(data.test, {system: each.test[0] for system, each in systems.items()})
    record.write_json(job.out / "predictions.json", rows)
    record.write_json(job.out / "metrics.json", metrics)
    flat = [{"text": r["text"], "label": r["label"], **r["predictions"]} for r in rows]
    job.track.table("predictions", flat)
    job.track.metrics(intervals.numbers_of(metrics))
    for name, figures in {**metrics["variants"], **metrics["baselines"]}.items():
        right = figures["accuracy"]
        job.say(
            f"{name}: {right['value']:.1%} ({right['low']:.1%} to {right['high']:.1%}, "
            f"over {right['covers']})"
        )
