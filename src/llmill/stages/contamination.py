"""Count the test items that occur in the training text.

    python -m llmill contamination

Input: the prepared data, and the models' answers to test questions, instructions and messages.
Output: `metrics.json`, and `items.json` with a row for each item that overlaps. If an item has a
right answer, the stage also searches for this answer after the item in the text. The control is a
wrong answer: if it is found as often, the overlap does not reveal the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmill.contract import record, skipped
from llmill.contract.values import Section
from llmill.evaluation import contamination as measured
from llmill.evaluation import items
from llmill.evaluation.items import (
    DOCUMENTS,
    INSTRUCTIONS,
    MESSAGES,
    PREFERENCES,
    QUESTIONS,
    Asked,
)
from llmill.evaluation.statistics import intervals
from llmill.stages.settings.contamination import Contamination
from llmill.text.corpus import parquet
from llmill.text.corpus.overlap import Overlap, SearchedText

if TYPE_CHECKING:
    from llmill.contract.job import Job

ROLES = ("mmlu", "instruction", "classification")  # with items
ASKED = {  # by kind of item: stage, file, fields that identify an item, keys by metric
    QUESTIONS: (
        "mmlu",
        "questions.json",
        ("subject", "question"),
        {"letter": "letter_right", "cloze": "cloze_right"},
    ),
    INSTRUCTIONS: (
        "judge",
        "scores.json",
        ("instruction", "input"),
        {"exact_match": "exact"},
    ),
}
LEARNT = {  # parts of the text by the model trained on them; any other classifier: FOUNDED
    "pretrain": (DOCUMENTS,),
    "instruct": (DOCUMENTS, INSTRUCTIONS),
    "prefer": (DOCUMENTS, INSTRUCTIONS, PREFERENCES),
    "all_from_random": (MESSAGES,),
    "tfidf": (MESSAGES,),
    "majority": (MESSAGES,),
}
FOUNDED = (DOCUMENTS, MESSAGES)


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    contamination: Contamination


def run(params: Parameters, job: Job) -> None:
    """Search for every item in the text, then join the result with the models' answers."""
    settings, prepared = params.contamination, job.folder("prepare")
    kinds = [kind for kind in items.asked(prepared, settings.shortest) if kind.items]
    # One null role does not skip the stage, because the other roles still have items.
    if not kinds:
        skip(job)
        return
    # The items of all kinds together, so that the text is read only once.
    every = [item for kind in kinds for item in kind.items]
    found = Overlap(every, settings.words, settings.shortest, settings.reach)
    parts = items.learnt(prepared)
    parts[DOCUMENTS] = counted(parts[DOCUMENTS], prepared / "text" / "train", job)
    for part, documents in parts.items():
        found.read(part, documents)
    ends = np.cumsum([len(kind.items) for kind in kinds])
    numbers = [np.arange(end - len(kind.items), end) for kind, end in zip(kinds, ends, strict=True)]
    limits = (settings.threshold, settings.confidence)
    metrics: dict[str, Any] = {
        "items": len(every),
        "overlapping": len(found.places),
        **{name: getattr(settings, name) for name in ("words", "threshold", "reach")},
        "kinds": {},
        "scores": {},
    }
    rows: list[dict[str, Any]] = []
    for kind, each in zip(kinds, numbers, strict=True):
        metrics["kinds"][kind.kind] = measured.figures(found, kind, each, *limits)
        # Scores without the items that overlap show whether a model gained from the overlap.
        if scores := scored(kind, each, found, settings, job):
            metrics["scores"][kind.kind] = scores
        rows += measured.described(found, kind, each)
    record.write_json(job.out / "items.json", rows)
    record.write_json(job.out / "metrics.json", metrics)
    flat = [{**row, **row["example"], "found": str(row["found"])} for row in rows]
    job.track.table("items", [{k: v for k, v in row.items() if k != "example"} for row in flat])
    job.track.metrics(intervals.numbers_of(metrics))
    for name, each in metrics["kinds"].items():
        share = each["overlapping"]
        job.say(f"{name}: {share['value']:.1%} of {share['n']} overlap")


def counted(documents: Iterator[SearchedText], folder: Path, job: Job) -> Iterator[SearchedText]:
    """Yield the documents, which are those of the folder's shards, and count them."""
    total = sum(len(parquet.sources(shard)) for shard in parquet.shards(folder))
    progress = job.progress("documents searched")
    for number, document in enumerate(documents, 1):
        yield document
        progress(number, total)


def skip(job: Job) -> None:
    """Write the reason for skipping: every role with items is null."""
    marks = (skipped.reason(job.folder("prepare") / role) for role in ROLES)
    why = ", ".join(filter(None, marks))
    skipped.write(job.out, why)
    record.write_json(job.out / "metrics.json", {skipped.KEY: why})
    job.say(f"skipped: {why}")


def scored(
    kind: Asked, numbers: np.ndarray, found: Overlap, settings: Contamination, job: Job
) -> dict[str, dict[str, Any]]:
    """Return, by model and metric, the accuracy on all items, and on those with and without overlap
    with the model's training text.
    """
    by_key: dict[Any, list[int]] = {}
    for number, key in zip(numbers.tolist(), kind.keys, strict=True):
        by_key.setdefault(key, []).append(number)
    scores: dict[str, dict[str, Any]] = {}
    for model, keys, measures in said(kind.kind, job):
        shares = measured.share_of_runs(found, LEARNT.get(model, FOUNDED))
        rows = np.array(measured.matched(keys, by_key), dtype=int)
        known = rows >= 0
        scores[model] = {
            name: measured.with_and_without(
                np.asarray(right, dtype=bool)[known],
                shares[rows[known]],
                [kind.clusters[i] for i in (rows[known] - numbers[0]).tolist()],
                settings.threshold,
                settings.confidence,
            )
            for name, right in measures.items()
        }
    return scores


def said(kind: str, job: Job) -> list[tuple[str, list[Any], dict[str, list[bool]]]]:
    """Return (model, keys of its items, by metric whether it was right) of each trained model."""
    if kind in ASKED:
        stage, file, names, measures = ASKED[kind]
        by_model = {
            model: record.read_json(job.folder(f"{stage}/{model}") / file)
            for model in job.variants(stage)
        }
        return [
            (
                model,
                [tuple(row[name] for name in names) for row in rows],
                {m: [row[key] for row in rows] for m, key in measures.items() if key in rows[0]},
            )
            for model, rows in by_model.items()
            if rows
        ]
    if kind != MESSAGES:
        return []
    rows = record.read_json(job.folder("accuracy") / "predictions.json")
    texts = [row["text"] for row in rows]
    return [
        (name, texts, {"accuracy": [row["predictions"][name] == row["label"] for row in rows]})
        for name in (rows[0]["predictions"] if rows else ())
    ]
