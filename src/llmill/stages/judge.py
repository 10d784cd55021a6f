"""Score a model's answers to the test instructions from 0 to 100.

    python -m llmill judge instruct

Input: the answers of the named model, the test instructions, and the grader (or a server with the
OpenAI interface). Output: `metrics.json`, `scores.json`. If a rule decides an answer, its score is
the rule's. Besides the mean score, the metrics are exact match and ROUGE-L. For the embedded judge,
which scores all answers, they include how well it separates right answers from others. For a
server, they include its prompt, its unreadable replies, and its usage. If stage `grader` trained
several judges, a score is their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmill.contract import record, runtime
from llmill.contract.errors import UserError
from llmill.contract.values import Section
from llmill.evaluation.judging import completions, judge, judge_client, prompts
from llmill.evaluation.judging.judge_client import Verdict
from llmill.evaluation.judging.judges import mean_scores, scores_by_seed
from llmill.evaluation.matching import rules
from llmill.evaluation.matching.exact_match import same
from llmill.evaluation.matching.rouge import rouge_l
from llmill.evaluation.statistics import agreement, intervals
from llmill.stages.settings.judge import Bar, Judge
from llmill.tasks import instruction

if TYPE_CHECKING:
    from llmill.contract.job import Job

CACHE = record.SCRATCH / "judge_cache"
BIN = 10  # points
UNMEASURED = "no right answer to measure the order of answers"

Row = Mapping[str, Any]


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    judge: Judge


@dataclass(frozen=True)
class Judged:
    """What the judge says about the answers, by the number of the answer."""

    scores: Mapping[int, float | None]  # from 0 to 100; None: no reply of the server is a score
    by_seed: Mapping[str, Sequence[float]]  # of each of several embedded judges, for all answers
    verdicts: Mapping[int, Verdict] | None = None  # of a server
    of_grader: Row | None = None  # metrics of stage `grader`, which trained the embedded judges


def run(params: Parameters, job: Job) -> None:
    """Score every answer, and summarise the scores overall and by kind."""
    settings = params.judge
    rows = read_answers(job)
    decisions = decided(rows, job.folder("prepare") / "instruction" / "test.jsonl")
    undecided = [number for number, right in enumerate(decisions) if right is None]
    job.say(
        f"{len(rows)} answers: rules decide {len(rows) - len(undecided)}, "
        f"the judge ({settings.backend}) scores the other {len(undecided)}"
    )
    if settings.backend == "openai":
        judged = judged_by_server({number: rows[number] for number in undecided}, settings, job)
    else:
        # The embedded judge is cheap, and its scores of decided answers show how good it is.
        judged = judged_by_grader(rows, settings, job)
    table = [described(n, row, decisions[n], judged) for n, row in enumerate(rows)]
    metrics = {
        "backend": settings.backend,
        "model": settings.openai.model if settings.backend == "openai" else "grader",
        **figures(table, settings),
        "decided": {"right": decisions.count(True), "wrong": decisions.count(False)},
        "unparseable": sum(row["score"] is None for row in table),
        "empty": sum(not row["answer"].strip() for row in rows),
        "histogram": histogram([row["score"] for row in table if row["score"] is not None]),
        "by_kind": by_kind(table, settings),
        "agreement": agreement.of_judge(table, settings.confidence, settings.seed),
    }
    if judged.verdicts is not None:
        metrics["server"] = about_server(list(judged.verdicts.values()), settings)
    if judged.of_grader is not None:
        metrics |= about_grader(metrics, judged.of_grader, settings.bar)
    write(job, table, metrics)


def read_answers(job: Job) -> list[dict[str, Any]]:
    """Read the answers of the model that is the stage's variant. Raise `UserError` without any."""
    assert job.variant is not None, "a matrix stage"
    # Stage instruct also writes the foundation model's answers.
    by = "instruct" if job.variant == "pretrain" else job.variant
    path = job.folder(by) / "answers" / f"{job.variant}.json"
    rows: list[dict[str, Any]] = record.read_json(path)
    if not rows:
        raise UserError(f"{path}: no answers to judge; raise prepare.instruction.test_share")
    return rows


def judged_by_server(rows: Mapping[int, Row], settings: Judge, job: Job) -> Judged:
    """Let a server score the answers, given by number."""
    texts, progress = list(rows.values()), job.progress("answers")
    given = judge_client.score(settings.openai, texts, CACHE, progress)
    refuse_no_score(given, settings)
    verdicts = dict(zip(rows, given, strict=True))
    scores = {number: each.score for number, each in verdicts.items()}
    return Judged(scores, by_seed={}, verdicts=verdicts)


def judged_by_grader(rows: Sequence[Row], settings: Judge, job: Job) -> Judged:
    """Let every embedded judge score all answers."""
    runtime.start(settings.seed, settings.threads)
    of_grader = record.read_json(job.folder("grader") / "metrics.json")
    folder, progress = job.folder("grader") / "checkpoint", job.progress("answers")
    scores = judge.grade_by_all(folder, rows, progress)
    seeds = list(of_grader.get("by_seed", {}))
    by_seed = dict(zip(seeds, scores, strict=True)) if seeds else {}
    return Judged(dict(enumerate(mean_scores(scores))), by_seed, of_grader=of_grader)


def about_grader(metrics: Row, of_grader: Row, bar: Bar) -> dict[str, Any]:
    """Return what the embedded judges miss of the bar, what could not be measured, and for several
    judges the least share of pairs in order. `of_grader` are the metrics of stage `grader`.
    """
    return {
        "short_of": short_of_by_seed(bar, of_grader, metrics),
        "unmeasured": [] if metrics["decided"]["right"] else [UNMEASURED],
        **(least_by_kind(metrics["by_kind"]) if of_grader.get("by_seed") else {}),
    }


def write(job: Job, table: list[dict[str, Any]], metrics: dict[str, Any]) -> None:
    """Write both files, log to the tracker, and print the headline."""
    record.write_json(job.out / "scores.json", table)
    record.write_json(job.out / "metrics.json", metrics)
    job.track.table("scores", table)
    job.track.metrics(intervals.numbers_of(metrics))
    job.say(
        f"mean {metrics['mean']['value']:.1f} of 100, {metrics['exact_match']['value']:.1%} exact"
    )


def decided(rows: Sequence[Row], entries: Path) -> list[bool | None]:
    """Return the decision of the rules on each answer, from the lists of its task."""
    # The key includes the reference, because two conversations may end in the same message.
    listed = {
        (e.instruction, e.input, e.output): (e.paraphrases, e.wrong)
        for e in instruction.read(entries)
    }
    nothing: tuple[list[str], list[str]] = ([], [])
    keys = [(row["instruction"], row["input"], row["output"]) for row in rows]
    return [
        rules.decide(row["answer"], row["output"], *listed.get(key, nothing))
        for row, key in zip(rows, keys, strict=True)
    ]


def refuse_no_score(given: Sequence[Verdict], settings: Judge) -> None:
    """Raise `UserError` if no reply is a score, because the model cannot judge then."""
    if given and all(each.score is None for each in given):
        count = sum(len(each.replies) for each in given)
        raise UserError(
            f"judge.openai: none of {count} replies of model '{settings.openai.model}' is an "
            f"integer from 0 to 100; they are kept in {CACHE}, look at one and take another model"
        )


def replied(scored: Verdict | None) -> dict[str, Any]:
    """Return the fields about a server's replies to one answer; empty lists without a request."""
    if scored is None:
        return {"samples": [], "unread": []}
    return {"samples": scored.samples, "unread": scored.unread}


def about_server(given: Sequence[Verdict], settings: Judge) -> dict[str, Any]:
    """Return the prompt, the number of replies and of unreadable ones, the spread of an answer's
    samples (the mean of their standard deviations), and the usage.
    """
    prompt = prompts.read(settings.openai.prompt, judge_client.SCORED)
    spreads = [each.spread for each in given if each.spread is not None]
    return {
        "prompt": {"name": prompt.name, "sha256": prompt.sha256},
        "samples": settings.openai.samples,
        "replies": sum(len(each.replies) for each in given),
        "unread": sum(len(each.unread) for each in given),
        **({"spread": intervals.mean(spreads, **drawn_by(settings))} if spreads else {}),
        "tokens": completions.usage(
            (reply for each in given for reply in each.replies), settings.openai.price
        ),
    }


def described(number: int, row: Row, right: bool | None, judged: Judged) -> dict[str, Any]:
    """Return the row of one answer. `score` is the rule's if a rule decides, otherwise the judge's;
    for several judges their mean, with the score of each in `by_seed`.
    """
    score = judged.scores.get(number)
    by_seed = {seed: scores[number] for seed, scores in judged.by_seed.items()}
    verdicts = judged.verdicts
    return {
        "instruction": row["instruction"],
        "input": row["input"],
        "reference": row["output"],
        "answer": row["answer"],
        "kind": row["kind"],
        "rule": right,
        "judge": score,
        **({"by_seed": by_seed} if by_seed else {}),
        "score": score if right is None else 100.0 * right,
        "exact": same(row["answer"], row["output"]),
        "rouge_l": rouge_l(row["answer"], row["output"]),
        **({} if verdicts is None else replied(verdicts.get(number))),
    }


def figures(table: Sequence[Row], settings: Judge) -> dict[str, Any]:
    """Return the mean score (left out without scores), exact match, ROUGE-L and count; and how well
    the judge separates right answers from others.
    """
    scored = [row for row in table if row["score"] is not None]
    exact = sum(row["exact"] for row in table)
    return {
        **({"mean": mean_score(scored, settings.confidence)} if scored else {}),
        "exact_match": intervals.share(exact, len(table), settings.confidence),
        "rouge_l": intervals.bounded_mean(
            [row["rouge_l"] for row in table], 1, settings.confidence
        ),
        "n": len(table),
        **telling_apart(table, drawn_by(settings)),
    }


def mean_score(scored: Sequence[Row], confidence: float) -> intervals.Interval:
    """Return the mean score; for several judges its interval also covers their seeds."""
    return intervals.mean_over_runs(list(scores_by_seed(scored, "score").values()), 100, confidence)


def drawn_by(settings: Judge) -> intervals.Draws:
    """Return the arguments of a bootstrap."""
    return {
        "confidence": settings.confidence,
        "resamples": settings.bootstrap,
        "seed": settings.seed,
    }


def telling_apart(table: Sequence[Row], draws: intervals.Draws) -> dict[str, Any]:
    """Return the share of pairs of a right answer (by the rules) and another one in which the judge
    scores the right one higher (the area under the ROC curve); as baselines, the same shares by the
    answer's length and by ROUGE-L. For several judges, return their mean and each judge's share.
    Return an empty dict if the judge did not score every answer, or if all are right, or none.
    """
    right = [float(row["rule"] is True) for row in table]
    if any(row["judge"] is None for row in table) or len(set(right)) < 2:
        return {}
    judges = scores_by_seed(table, "judge")
    by = {
        "auc": list(judges.values()),
        "auc_longest": [[float(len(row["answer"])) for row in table]],
        "auc_rouge_l": [[row["rouge_l"] for row in table]],
    }
    found = {name: intervals.pairs_right(right, *runs, **draws) for name, runs in by.items()}
    if len(judges) == 1:
        return found
    of_each = {s: intervals.pairs_right(right, run, **draws) for s, run in judges.items()}
    return {**found, "auc_by_seed": of_each}


def short_of(
    bar: Bar,
    grader: Row,
    auc: intervals.Interval | None,
    by_kind: Mapping[str, intervals.Interval],
) -> list[str]:
    """Return a sentence for each limit of `bar` that the embedded judge misses. A kind has few
    answers, so it counts only if its whole interval is below the limit. `auc` is None unless there
    are right answers and others.
    """
    gives = {name: found["value"] for name, found in grader["gives"].items()}
    above = grader["above_another"]["value"]
    shares = {"right answers above others": (auc["value"], bar.auc)} if auc else {}
    shares |= {
        f"right answers above others in tasks of kind {kind}": (found["value"], bar.by_kind)
        for kind, found in by_kind.items()
        if found["high"] < bar.by_kind
    }
    shares["references above another task's"] = (above, bar.above_another)
    found = [
        f"{share:.1%} of {what}, where {least:.1%} are asked for"
        for what, (share, least) in shares.items()
        if share < least
    ]
    most = f"where at most {bar.unrelated:g} is asked for"
    return found + [
        f"{gives[name]:.1f} to the {name} answer, {most}"
        for name in ("empty", "constant")
        if gives[name] > bar.unrelated
    ]


def short_of_by_seed(bar: Bar, grader: Row, metrics: Row) -> list[str]:
    """Apply `short_of` to every judge. Each must reach the bar: one of three judges makes a third
    of a score, and the mean would hide one that fails.
    """
    kinds = metrics["by_kind"]
    seeds = grader.get("by_seed")
    if not seeds:
        of_kinds = {kind: found["auc"] for kind, found in kinds.items() if "auc" in found}
        return short_of(bar, grader, metrics.get("auc"), of_kinds)
    of_each = metrics.get("auc_by_seed", {})
    return [
        f"{what} (the judge of seed {seed})"
        for seed, of in seeds.items()
        for what in short_of(
            bar,
            of,
            of_each.get(seed),
            {k: found["auc_by_seed"][seed] for k, found in kinds.items() if "auc_by_seed" in found},
        )
    ]


def least_by_kind(kinds: Mapping[str, Row]) -> dict[str, Any]:
    """Return the kind of instruction and the judge with the smallest share of pairs in order. Ties
    go to the most pairs. Return an empty dict if no kind has right answers and others.
    """
    found = [
        (auc["value"], -auc["n"], kind, seed)
        for kind, figures in kinds.items()
        for seed, auc in figures.get("auc_by_seed", {}).items()
    ]
    if not found:
        return {}
    value, minus, kind, seed = min(found)
    return {"least_by_kind": {"kind": kind, "seed": seed, "auc": value, "pairs": -minus}}


def by_kind(table: Sequence[Row], settings: Judge) -> dict[str, Any]:
    """Return the metrics of each kind of instruction that the data names."""
    kinds = sorted({row["kind"] for row in table if row["kind"]})
    return {
        kind: figures([row for row in table if row["kind"] == kind], settings) for kind in kinds
    }


def histogram(scores: Sequence[float]) -> dict[str, list[int]]:
    """Count the scores in bins of BIN points; the last bin includes 100."""
    edges = list(range(0, 101, BIN))
    counts, _ = np.histogram(scores, bins=edges)
    return {"edges": edges, "counts": counts.tolist()}
