"""Ask a language model multiple-choice questions.

    python -m llmill mmlu pretrain

Input: the model of the named stage, and the questions. Output: `metrics.json`, `questions.json`.
The formats are MMLU's letters and cloze. The headline of cloze is the accuracy by log-likelihood
per byte; the others are by plain sum, per token and per character. The baselines are the model's
picks without the question, the longest choice, and the choice with most of its words in the
question. A stopped run resumes after the last subject that it scored.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmill.contract import record, runtime
from llmill.contract.errors import UserError
from llmill.contract.parts import Part
from llmill.contract.values import Section
from llmill.evaluation.multiple_choice import choices
from llmill.evaluation.multiple_choice.choices import Asking, Scores, cloze_scores, letter_scores
from llmill.evaluation.multiple_choice.counting import Counting
from llmill.evaluation.multiple_choice.mmlu_groups import GROUPS
from llmill.evaluation.multiple_choice.prompts import at_most, chance, of_subjects, shots_by_subject
from llmill.evaluation.multiple_choice.units import Unit
from llmill.evaluation.statistics import intervals
from llmill.model import checkpoint
from llmill.stages.settings.mmlu import Mmlu
from llmill.tasks.clusters import clusters_of
from llmill.tasks.multiple_choice import LETTERS, Question, read

if TYPE_CHECKING:
    from llmill.contract.job import Job

HEADLINE: dict[str, Unit] = {"letter": "sum", "cloze": "byte"}
SCORES = "scores.json"  # file of a part


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    mmlu: Mmlu


def run(params: Parameters, job: Job) -> None:
    """Score every choice of every question in both formats, and count the right picks."""
    assert job.variant is not None, "a matrix stage"
    settings = params.mmlu
    folder = job.folder("prepare") / "mmlu"
    questions = of_subjects(read(folder / "test.jsonl"), settings.subjects)
    questions = at_most(questions, settings.max_questions)
    if not questions:
        raise UserError(f"{folder / 'test.jsonl'}: no questions; `dvc repro prepare`")
    levels = record.read_json(folder / "levels.json") or GROUPS
    clusters = clusters_of(questions, record.read_json(folder / "entities.json"))
    dev, subjects = read(folder / "dev.jsonl"), [q.subject for q in questions]
    shots = {
        "letter": shots_by_subject(dev, subjects, settings.shots),
        "cloze": shots_by_subject(dev, subjects, settings.cloze_shots, "cloze_shots"),
    }
    folder = job.folder(job.variant) / "checkpoint"
    loaded, weights = checkpoint.load_language_model(folder), record.content_hash(folder)
    runtime.start(0, settings.threads)
    model = loaded.model.to(runtime.NUMBER_TYPES[settings.dtype])
    n = len(set(subjects))
    job.say(f"{len(questions)} questions of {n} {'subject' if n == 1 else 'subjects'}")
    # Both formats: with letters, a small model stays at chance even if it prefers the right text.
    scores: dict[str, Scores] = {}
    blind: dict[str, Scores] = {}
    for name, score in {"letter": letter_scores, "cloze": cloze_scores}.items():
        for kind, scored in {"with": scores, "without": blind}.items():
            asking = Asking(shots[name], settings.too_long, blind=kind == "without")
            ask = functools.partial(
                score, model, loaded.tokenizer, asking=asking, batch_size=settings.batch_size
            )
            made_of = {"model": weights, "dtype": settings.dtype, "format": name}
            unit = f"questions, {name} prompts {kind} the question"
            scored[name] = in_parts(ask, questions, asking, made_of, unit, job)
    counting = Counting(questions, levels, clusters, settings.confidence)
    metrics: dict[str, Any] = {
        name: counting.figures(each, blind[name], HEADLINE[name]) for name, each in scores.items()
    }
    metrics |= {
        "longest": counting.baseline(choices.longest(questions)),
        "most_shared": counting.baseline(choices.most_shared(questions)),
        "chance": chance(questions),
        "questions": len(questions),
        "clusters": len(set(clusters)),
        "shots": {"letter": settings.shots, "cloze": settings.cloze_shots},
        "shots_dropped": {name: each.shots_dropped for name, each in scores.items()},
        "prompts_cut": {name: each.prompts_cut for name, each in scores.items()},
    }
    rows = answers(questions, scores, levels, clusters)
    record.write_json(job.out / "questions.json", rows)
    record.write_json(job.out / "metrics.json", metrics)
    job.track.table("questions", rows)
    job.track.metrics(intervals.numbers_of(metrics))
    for name in scores:
        right, unseen = (metrics[name][key]["value"] for key in ("all", "blind"))
        job.say(
            f"{name}: {right:.1%} right, {unseen:.1%} without the question "
            f"(chance {metrics['chance']:.0%})"
        )


def in_parts(
    ask: Callable[..., Scores],
    questions: Sequence[Question],
    asking: Asking,
    made_of: Mapping[str, Any],
    unit: str,
    job: Job,
) -> Scores:
    """Call `ask` for one subject at a time and store each result: all of MMLU can take hours."""
    store, countdown = job.parts, None

    def of_subject(subject: str, numbers: Sequence[int], before: int) -> Scores:
        some = [questions[i] for i in numbers]

        def write(folder: Path) -> None:
            nonlocal countdown
            bar = countdown = countdown or job.countdown(len(questions), unit, before)
            scores = ask(
                questions=some,
                progress=lambda done, of: bar.at(before + len(some) * done // of),
            )
            record.write_json(folder / SCORES, asdict(scores))

        what = {
            **made_of,
            "questions": [asdict(each) for each in some],
            "shots": [asdict(each) for each in asking.shots[subject]],
            "too_long": asking.too_long,
            "blind": asking.blind,
        }
        return Scores(**record.read_json(store.made(Part(what, write)) / SCORES))

    by_subject: dict[str, list[int]] = {}
    for number, question in enumerate(questions):
        by_subject.setdefault(question.subject, []).append(number)
    parts: list[tuple[list[int], Scores]] = []
    for subject, numbers in by_subject.items():
        before = sum(len(earlier) for earlier, _ in parts)
        parts.append((numbers, of_subject(subject, numbers, before)))
    return Scores.together(parts)


def answers(
    questions: Sequence[Question],
    scores: Mapping[str, Scores],
    levels: Mapping[str, str],
    clusters: Sequence[int],
) -> list[dict[str, Any]]:
    """Return one row per question: its answer, the picks, and the log-likelihood of each choice."""
    rows = []
    picks = {name: each.picks(HEADLINE[name]) for name, each in scores.items()}
    for i, question in enumerate(questions):
        row: dict[str, Any] = {
            "subject": question.subject,
            "level": levels.get(question.subject),
            "question": question.question,
            "cluster": clusters[i],
            "answer": LETTERS[question.answer],
        }
        for name, each in scores.items():
            row[name] = LETTERS[picks[name][i]]
            row[f"{name}_right"] = picks[name][i] == question.answer
            row[f"{name}_logprobs"] = [round(x, 4) for x in each.logprobs[i]]
        rows.append(row)
    return rows
