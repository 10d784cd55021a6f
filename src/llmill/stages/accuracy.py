"""Evaluate the classifiers and two baselines on the test messages.

    python -m llmill accuracy

Input: the logits of each variant's classifier, and the labelled messages. Output: `metrics.json`,
`predictions.json`, and `tests.json` if there are further tests. The variant with the best
validation accuracy is compared with TF-IDF, and every two variants with each other, message by
message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
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

Splits = dict[str, tuple[list[str], list[str]]]  # texts and labels


@dataclass(frozen=True)
class Classifier:
    """The results of a variant's trainings: logits of the messages by seed, (N, n_class)."""

    labels: list[str]
    trainable: int  # number of trainable parameters
    validate: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    tests: dict[str, dict[str, np.ndarray]]  # by further test, then seed
    sizes: dict[str, dict[str, np.ndarray]]  # of the test split, by number of training messages

    def says(self, logits: np.ndarray) -> list[str]:
        """Return the predicted label of each row of logits, (N, n_class)."""
        return [self.labels[i] for i in logits.argmax(axis=1)]


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    accuracy: Accuracy


def run(params: Parameters, job: Job) -> None:
    """Evaluate every classifier and baseline on the test split, compare them, write the results."""
    settings = params.accuracy
    folder = job.folder("prepare") / "classification"
    splits = load(folder)
    (_, learnt), (_, held_out), (texts, truth) = splits.values()
    labels, positive = sorted(set(learnt)), measured.rarer(learnt)
    tests = {
        name: columns(rows) for name, rows in classification.read_tests(folder, labels).items()
    }
    runtime.start(settings.seed, settings.threads)
    draws: intervals.Draws = {
        "confidence": settings.confidence,
        "resamples": settings.bootstrap,
        "seed": settings.seed,
    }
    classifiers = dict(made(job, labels, tests))
    predicted: dict[str, list[str]] = {}
    systems: dict[str, dict[str, Any]] = {}
    for variant, each in classifiers.items():
        runs = [each.says(logits) for logits in each.test.values()]
        predicted[variant] = runs[0]
        systems[variant] = {
            **measured.figures_of_runs(truth, runs, labels, positive, **draws),
            "validation_accuracy": accuracy(each, held_out),
            "trainable_parameters": each.trainable,
            "by_seed": {s: share(run, truth) for s, run in zip(each.test, runs, strict=True)},
            "calibration": calibrated(each, held_out, truth),
            "sizes": by_size(each, truth, labels, positive, draws),
        }
    # Choose on the validation split: the best of several on the test split is partly luck.
    best = max(systems, key=lambda name: systems[name]["validation_accuracy"])  # the first in a tie
    of_tests = [text for of_test, _ in tests.values() for text in of_test]
    by_words, strength = measured.tfidf(
        splits["train"], splits["validate"], [*texts, *of_tests], settings.seed
    )
    predicted[TFIDF], by_words = by_words[: len(texts)], by_words[len(texts) :]
    pieces = measured.pieces(splits["train"][0])
    if pieces != "words":
        job.say(f"{TFIDF}: no training message has a word; it learns {LEARNT_INSTEAD[pieces]}")
    predicted[MAJORITY] = measured.majority(learnt, len(texts))
    for name in (TFIDF, MAJORITY):
        systems[name] = measured.figures(truth, predicted[name], labels, positive, **draws)
    systems[TFIDF] |= {"inverse_regularisation": strength, "pieces": pieces}
    said = said_of_tests(tests, classifiers, by_words, learnt)
    further = {
        name: {
            "messages": len(tests[name][0]),
            "systems": {
                system: measured.figures_of_runs(tests[name][1], runs, labels, positive, **draws)
                for system, runs in of_systems.items()
            },
        }
        for name, of_systems in said.items()
    }
    metrics = {
        "test_messages": len(texts),
        "labels": labels,
        "positive": positive,  # label of precision, recall and F1: the rarer one
        "variants": {name: systems[name] for name in classifiers},
        "baselines": {name: systems[name] for name in (TFIDF, MAJORITY)},
        "best": best,  # by validation accuracy
        "best_against_tfidf": measured.compare(
            truth, predicted[best], predicted[TFIDF], settings.confidence
        ),
        "between": [
            {
                "first": a,
                "second": b,
                **measured.compare(truth, predicted[a], predicted[b], settings.confidence),
            }
            for a, b in combinations(classifiers, 2)
        ],
        "tests": further,
    }
    if tests:
        firsts = {name: {v: runs[0] for v, runs in each.items()} for name, each in said.items()}
        rows = {name: table(*tests[name], predicted) for name, predicted in firsts.items()}
        record.write_json(job.out / "tests.json", rows)
    write(job, metrics, table(texts, truth, predicted))


def load(folder: Path) -> Splits:
    """Read texts and labels of each split. Raise `UserError` as `read_splits` does."""
    splits = classification.read_splits(folder)
    return {name: columns(rows) for name, rows in splits.items()}


def columns(rows: Iterable[classification.Message]) -> tuple[list[str], list[str]]:
    """Return the texts and the labels of messages."""
    return [row.text for row in rows], [row.label for row in rows]


def made(job: Job, labels: Labels, tests: Iterable[str]) -> Iterator[tuple[str, Classifier]]:
    """Yield each trained variant and its classifier, with logits of the further tests named.
    Raise `UserError` if a classifier has other labels than the messages.
    """
    for variant in job.variants("classify"):
        file = job.folder(f"classify/{variant}") / "scores.json"
        scores = record.read_json(file)
        if not scores:  # params.yaml leaves this variant out
            continue
        if scores["labels"] != labels:
            raise UserError(
                f"{file}: knows the labels {scores['labels']}, the messages have {labels}; "
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
                    for name in tests
                },
                {
                    size: {s: np.array(x) for s, x in of.items()}
                    for size, of in scores["sizes"].items()
                },
            ),
        )


def said_of_tests(
    tests: Splits, classifiers: dict[str, Classifier], by_words: list[str], learnt: Labels
) -> dict[str, dict[str, list[list[str]]]]:
    """Return the predicted labels by further test and system, one list per training run.

    `by_words` are TF-IDF's labels for all tests, one after the other.
    """
    said: dict[str, dict[str, list[list[str]]]] = {}
    start = 0
    for name, (texts, _) in tests.items():
        said[name] = {
            **{v: [c.says(x) for x in c.tests[name].values()] for v, c in classifiers.items()},
            TFIDF: [by_words[start : start + len(texts)]],
            MAJORITY: [measured.majority(learnt, len(texts))],
        }
        start += len(texts)
    return said


def accuracy(classifier: Classifier, labels: Labels) -> float:
    """Return the validation accuracy, as a mean over seeds."""
    runs = [classifier.says(logits) for logits in classifier.validate.values()]
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


def by_size(
    classifier: Classifier,
    truth: Labels,
    labels: Labels,
    positive: str,
    draws: intervals.Draws,
) -> dict[str, intervals.Interval]:
    """Return the learning curve: test accuracy by the number of training messages."""
    return {
        size: measured.figures_of_runs(
            truth, [classifier.says(x) for x in by_seed.values()], labels, positive, **draws
        )["accuracy"]
        for size, by_seed in classifier.sizes.items()
    }


def table(
    texts: Sequence[str], truth: Sequence[str], predicted: dict[str, list[str]]
) -> list[dict[str, Any]]:
    """Return one row per message: its text, its label, and the label from each system."""
    return [
        {
            "text": text,
            "label": label,
            "predictions": {name: labels[i] for name, labels in predicted.items()},
        }
        for i, (text, label) in enumerate(zip(texts, truth, strict=True))
    ]


def write(job: Job, metrics: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write both files, log to the tracker, and print a line for each system."""
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
