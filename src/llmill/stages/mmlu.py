"""Ask a language model multiple-choice questions.

    python -m llmill mmlu pretrain

In: the model of the named stage, and the questions. Out: `metrics.json`, `questions.json`.
In MMLU's letter format with worked examples, and in the cloze format without any.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmill.contract import record, runtime
from llmill.contract.errors import UserError
from llmill.contract.values import Section
from llmill.evaluation import statistics
from llmill.evaluation.multiple_choice import (
    at_most,
    chance,
    cloze_picks,
    letter_picks,
    of_subjects,
    shots_by_subject,
)
from llmill.model import checkpoint
from llmill.stages.settings.mmlu import Mmlu
from llmill.tasks.multiple_choice import LETTERS, Question, read

if TYPE_CHECKING:
    from llmill.contract.job import Job


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    mmlu: Mmlu


def run(params: Parameters, job: Job) -> None:
    """Pick an answer to every question in both formats and count the right ones."""
    assert job.variant is not None, "a matrix stage"
    settings = params.mmlu
    folder = job.folder("prepare") / "mmlu"
    questions = of_subjects(read(folder / "test.jsonl"), settings.subjects)
    questions = at_most(questions, settings.max_questions)
    if not questions:
        raise UserError(f"{folder / 'test.jsonl'}: no questions; `dvc repro prepare`")
    levels = record.read_json(folder / "levels.json")
    dev = read(folder / "dev.jsonl")
    shots = shots_by_subject(dev, (q.subject for q in questions), settings.shots)
    loaded = checkpoint.load_language_model(job.folder(job.variant) / "checkpoint")
    runtime.start(0, settings.threads)
    job.say(f"{len(questions)} questions of {len(shots)} subjects")
    model, tokenizer, batch_size = loaded.model, loaded.tokenizer, settings.batch_size
    # Both: in letters a small model stays at chance even where it prefers the right text.
    picks = {
        "letter": letter_picks(
            model, tokenizer, questions, shots, batch_size, job.progress("prompts with letters")
        ),
        "cloze": cloze_picks(
            model, tokenizer, questions, batch_size, job.progress("questions with answers")
        ),
    }
    guessed = chance(questions)
    metrics: dict[str, Any] = {
        name: figures(questions, result.picks, levels, settings.confidence)
        for name, result in picks.items()
    }
    metrics |= {
        "chance": guessed,
        "questions": len(questions),
        "shots": {"letter": settings.shots, "cloze": 0},
        "shots_dropped": picks["letter"].shots_dropped,
        "prompts_cut": {name: result.prompts_cut for name, result in picks.items()},
    }
    rows = answers(questions, picks["letter"].picks, picks["cloze"].picks, levels)
    record.write_json(job.out / "questions.json", rows)
    record.write_json(job.out / "metrics.json", metrics)
    job.track.table("questions", rows)
    job.track.metrics(statistics.flat(metrics))
    for name in picks:
        job.say(f"{name}: {metrics[name]['all']['value']:.1%} right (chance {guessed:.0%})")


def figures(
    questions: Sequence[Question], picks: Sequence[int], levels: dict[str, str], confidence: float
) -> dict[str, Any]:
    """The share right over all, the mean over subjects, and the shares by level and by subject."""
    right = [pick == question.answer for question, pick in zip(questions, picks, strict=True)]
    by_subject, by_level = defaultdict(list), defaultdict(list)
    for question, hit in zip(questions, right, strict=True):
        by_subject[question.subject].append(hit)
        if question.subject in levels:
            by_level[levels[question.subject]].append(hit)

    def shares(groups: dict[str, list[bool]]) -> dict[str, statistics.Interval]:
        return {
            name: statistics.share(sum(hits), len(hits), confidence)
            for name, hits in sorted(groups.items())
        }

    subjects = shares(by_subject)
    return {
        "all": statistics.share(sum(right), len(right), confidence),
        "subject_mean": statistics.mean_of_shares(list(subjects.values())),
        "levels": shares(by_level),
        "subjects": subjects,
    }


def answers(
    questions: Sequence[Question],
    letter: Sequence[int],
    cloze: Sequence[int],
    levels: dict[str, str],
) -> list[dict[str, Any]]:
    """One row a question: what was right, what was picked."""
    return [
        {
            "subject": question.subject,
            "level": levels.get(question.subject),
            "question": question.question,
            "answer": LETTERS[question.answer],
            "letter": LETTERS[a],
            "letter_right": a == question.answer,
            "cloze": LETTERS[b],
            "cloze_right": b == question.answer,
        }
        for question, a, b in zip(questions, letter, cloze, strict=True)
    ]
