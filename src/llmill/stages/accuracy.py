"""Measure the classifiers on the test messages, beside two baselines.

    python -m llmill accuracy

In: the classifier of each variant, and the messages. Out: `metrics.json`, `predictions.json`.
The variant that is best on the validation split is compared with TF-IDF, message by message.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmill.contract import record, runtime
from llmill.contract.errors import UserError
from llmill.contract.values import Section
from llmill.evaluation import classification as measured
from llmill.evaluation import statistics
from llmill.model import checkpoint
from llmill.model.checkpoint import AnyModel, Checkpoint
from llmill.stages.settings.accuracy import Accuracy
from llmill.tasks import classification

if TYPE_CHECKING:
    from llmill.contract.job import Job

SPLITS = ("train", "validate", "test")
TFIDF, MAJORITY = "tfidf", "majority"
LEARNT_INSTEAD = {"characters": "their characters", "nothing": "the commonest label"}

Splits = dict[str, tuple[list[str], list[str]]]  # texts and labels


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    accuracy: Accuracy


def run(params: Parameters, job: Job) -> None:
    """Let every classifier and baseline label the test split; count, compare, write."""
    settings = params.accuracy
    splits = load(job.folder("prepare") / "classification")
    (_, learnt), (texts, truth) = splits["train"], splits["test"]
    labels, positive = sorted(set(learnt)), measured.rarer(learnt)
    runtime.start(settings.seed, settings.threads)
    predicted: dict[str, list[str]] = {}
    validated: dict[str, float] = {}
    for variant in job.variants("classify"):
        classifier = load_classifier(job.folder(f"classify/{variant}") / "checkpoint", labels)
        predicted[variant] = measured.predict(classifier, texts, job.progress("messages"))
        validated[variant] = accuracy(classifier, *splits["validate"])
    # Chosen on the validation split: the best of several on the test split is partly luck.
    best = max(validated, key=validated.__getitem__)  # of equals the first in dvc.yaml
    predicted[TFIDF], strength = measured.tfidf(
        splits["train"], splits["validate"], texts, settings.seed
    )
    pieces = measured.pieces(splits["train"][0])
    if pieces != "words":
        job.say(f"{TFIDF}: no training message has a word; it learns {LEARNT_INSTEAD[pieces]}")
    predicted[MAJORITY] = measured.majority(learnt, len(texts))
    draws: statistics.Draws = {
        "confidence": settings.confidence,
        "resamples": settings.bootstrap,
        "seed": settings.seed,
    }
    systems = {
        name: measured.figures(truth, predictions, labels, positive, **draws)
        for name, predictions in predicted.items()
    }
    for variant, share in validated.items():
        systems[variant]["validation_accuracy"] = share
    systems[TFIDF] |= {"inverse_regularisation": strength, "pieces": pieces}
    metrics = {
        "test_messages": len(texts),
        "labels": labels,
        "positive": positive,  # of precision, recall and F1: the rarer label
        "variants": {name: systems[name] for name in validated},
        "baselines": {name: systems[name] for name in (TFIDF, MAJORITY)},
        "best": best,  # by validation accuracy
        "best_against_tfidf": measured.compare(truth, predicted[best], predicted[TFIDF], **draws),
    }
    write(job, metrics, table(texts, truth, predicted))


def load(folder: Path) -> Splits:
    """Texts and labels of each split; `UserError` for an empty one or a label never learnt."""
    splits: Splits = {}
    for name in SPLITS:
        path = folder / f"{name}.jsonl"
        rows = classification.read(path)
        texts, labels = [row.text for row in rows], [row.label for row in rows]
        if not texts:
            raise UserError(f"{path}: no messages; raise prepare.classification.{name}_share")
        splits[name] = texts, labels
        strange = sorted(set(labels) - set(splits["train"][1]))
        if strange:
            raise UserError(f"{path}: label '{strange[0]}' stands in no training message")
    return splits


def load_classifier(folder: Path, labels: Sequence[str]) -> Checkpoint[AnyModel]:
    """A classifier; `UserError` if it was made for other labels than the messages have."""
    loaded = checkpoint.load(folder)
    if loaded.labels != labels:
        raise UserError(
            f"{folder}: knows the labels {loaded.labels}, the messages have {labels}; "
            "`dvc repro classify` makes it anew"
        )
    return loaded


def accuracy(
    classifier: Checkpoint[AnyModel], texts: Sequence[str], labels: Sequence[str]
) -> float:
    """The share of texts that get their label."""
    predictions = measured.predict(classifier, texts)
    return sum(a == b for a, b in zip(predictions, labels, strict=True)) / len(labels)


def table(
    texts: Sequence[str], truth: Sequence[str], predicted: dict[str, list[str]]
) -> list[dict[str, Any]]:
    """One row a message: its text, its label, and the label of each system."""
    return [
        {
            "text": text,
            "label": label,
            "predictions": {name: labels[i] for name, labels in predicted.items()},
        }
        for i, (text, label) in enumerate(zip(texts, truth, strict=True))
    ]


def write(job: Job, metrics: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """The two files, the tracker, and a line for each system."""
    record.write_json(job.out / "predictions.json", rows)
    record.write_json(job.out / "metrics.json", metrics)
    flat = [{"text": r["text"], "label": r["label"], **r["predictions"]} for r in rows]
    job.track.table("predictions", flat)
    job.track.metrics(statistics.flat(metrics))
    for name, figures in {**metrics["variants"], **metrics["baselines"]}.items():
        right = figures["accuracy"]
        job.say(f"{name}: {right['value']:.1%} ({right['low']:.1%} to {right['high']:.1%})")
