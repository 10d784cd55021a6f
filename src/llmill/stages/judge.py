"""Score a model's answers to the test instructions from 0 to 100.

    python -m llmill judge instruct

In: the answers of the named model, and the grader (or a server with the OpenAI interface).
Out: `metrics.json`, `scores.json`. Beside the judge's mean: how many answers are the reference,
and how much of its words the others have (ROUGE-L).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmill.contract import record, runtime
from llmill.contract.errors import UserError
from llmill.contract.values import Section
from llmill.evaluation import judge, judge_client, statistics
from llmill.evaluation.exact_match import same
from llmill.evaluation.rouge import rouge_l
from llmill.evaluation.scoring import Progress
from llmill.model import checkpoint
from llmill.stages.settings.judge import Judge

if TYPE_CHECKING:
    from llmill.contract.job import Job

CACHE = record.SCRATCH / "judge_cache"
BIN = 10  # points


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    judge: Judge


def run(params: Parameters, job: Job) -> None:
    """Score every answer, and summarise over all and by kind."""
    assert job.variant is not None, "a matrix stage"
    settings = params.judge
    # Stage instruct has the foundation model answer, too.
    by = "instruct" if job.variant == "pretrain" else job.variant
    path = job.folder(by) / "answers" / f"{job.variant}.json"
    rows = record.read_json(path)
    if not rows:
        raise UserError(f"{path}: no answers to judge; raise prepare.instruction.test_share")
    job.say(f"{len(rows)} answers, judged by {settings.backend}")
    grader = job.folder("grader") / "checkpoint"
    scores = scored(rows, settings, grader, job.progress("answers"))
    # Some replies may be no number; if none is, the model cannot judge.
    if all(score is None for score in scores):
        raise UserError(
            f"judge.openai: none of {len(rows)} replies of model '{settings.openai.model}' is an "
            f"integer from 0 to 100; they are kept in {CACHE}, look at one and take another model"
        )
    metrics = {
        "backend": settings.backend,
        "model": settings.openai.model if settings.backend == "openai" else "grader",
        **figures(rows, scores, settings),
        "unparseable": sum(score is None for score in scores),
        "empty": sum(not row["answer"].strip() for row in rows),
        "histogram": histogram([score for score in scores if score is not None]),
        "by_kind": by_kind(rows, scores, settings),
    }
    table = [judged(row, score) for row, score in zip(rows, scores, strict=True)]
    record.write_json(job.out / "scores.json", table)
    record.write_json(job.out / "metrics.json", metrics)
    job.track.table("scores", table)
    job.track.metrics(statistics.flat(metrics))
    job.say(
        f"mean {metrics['mean']['value']:.1f} of 100, {metrics['exact_match']['value']:.1%} exact"
    )


def scored(
    rows: Sequence[dict[str, Any]], settings: Judge, grader: Path, progress: Progress
) -> Sequence[float | None]:
    """A score for each row by the backend of the settings; None where the judge gave none."""
    if settings.backend == "openai":
        return judge_client.score(settings.openai, rows, CACHE, progress)
    runtime.start(settings.seed, settings.threads)
    return judge.grade(checkpoint.load(grader), rows, progress)


def figures(
    rows: Sequence[dict[str, Any]], scores: Sequence[float | None], settings: Judge
) -> dict[str, Any]:
    """Mean of what could be scored (left out, if nothing could), exact matches, ROUGE-L, count."""
    numbers = [score for score in scores if score is not None]
    exact = sum(same(row["answer"], row["output"]) for row in rows)
    draws: statistics.Draws = {
        "confidence": settings.confidence,
        "resamples": settings.bootstrap,
        "seed": settings.seed,
    }
    overlaps = [rouge_l(row["answer"], row["output"]) for row in rows]
    return {
        **({"mean": statistics.mean(numbers, **draws)} if numbers else {}),
        "exact_match": statistics.share(exact, len(rows), settings.confidence),
        "rouge_l": statistics.mean(overlaps, **draws),
        "n": len(rows),
    }


def by_kind(
    rows: Sequence[dict[str, Any]], scores: Sequence[float | None], settings: Judge
) -> dict[str, Any]:
    """The figures of each kind of instruction, where the data names kinds."""
    kinds = {}
    for kind in sorted({row["kind"] for row in rows if row["kind"]}):
        numbers = [i for i, row in enumerate(rows) if row["kind"] == kind]
        kinds[kind] = figures([rows[i] for i in numbers], [scores[i] for i in numbers], settings)
    return kinds


def histogram(scores: Sequence[float]) -> dict[str, list[int]]:
    """Counts of scores between the edges; the last bin holds 100."""
    edges = list(range(0, 101, BIN))
    counts, _ = np.histogram(scores, bins=edges)
    return {"edges": edges, "counts": counts.tolist()}


def judged(row: dict[str, Any], score: float | None) -> dict[str, Any]:
    """What is written about one answer."""
    return {
        "instruction": row["instruction"],
        "input": row["input"],
        "reference": row["output"],
        "answer": row["answer"],
        "kind": row["kind"],
        "score": score,
        "exact": same(row["answer"], row["output"]),
        "rouge_l": rouge_l(row["answer"], row["output"]),
    }
