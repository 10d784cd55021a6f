"""Score a model's answers to the test instructions from 0 to 100.

    python -m llmill judge instruct

In: the answers of the named model, the test instructions, and the grader (or a server with the
OpenAI interface). Out: `metrics.json`, `scores.json`. What a rule can decide no judge is asked.
Beside the mean: how many answers are the reference, how much of its words the others have
(ROUGE-L), and how well the embedded judge, asked all the same, tells the right from the others; of
a server which prompt it was asked by, what could not be read of its replies, and what they took.
Where stage `grader` trained several judges, a score is their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

Row = Mapping[str, Any]


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
    decisions = decided(rows, job.folder("prepare") / "instruction" / "test.jsonl")
    rest = [number for number, right in enumerate(decisions) if right is None]
    job.say(
        f"{len(rows)} answers, {len(rest)} of them left to judge {settings.backend} by the rules"
    )
    # The embedded judge costs little: how it rates what is decided tells how good it is.
    asked = rest if settings.backend == "openai" else range(len(rows))
    grader = job.folder("grader") / "checkpoint"
    texts, progress = [rows[number] for number in asked], job.progress("answers")
    by_server: Mapping[int, Verdict] = {}
    judged: Mapping[int, float | None]
    made: Row = {}
    by_seed: dict[str, list[float]] = {}  # of several judges what each one gives
    if settings.backend == "openai":
        given = judge_client.score(settings.openai, texts, CACHE, progress)
        refuse_no_score(given, settings)
        by_server = dict(zip(asked, given, strict=True))
        judged = {number: each.score for number, each in by_server.items()}
    else:
        runtime.start(settings.seed, settings.threads)
        made = record.read_json(job.folder("grader") / "metrics.json")
        scores = judge.grade_by_all(grader, texts, progress)
        judged = dict(zip(asked, mean_scores(scores), strict=True))
        if seeds := list(made.get("by_seed", {})):
            by_seed = dict(zip(seeds, scores, strict=True))
    table = [
        described(row, right, judged.get(number), {s: x[number] for s, x in by_seed.items()})
        for number, (row, right) in enumerate(zip(rows, decisions, strict=True))
    ]
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
    if settings.backend == "openai":
        for number, row in enumerate(table):
            row |= replied(by_server.get(number))
        metrics["server"] = about_server(list(by_server.values()), settings)
    else:
        metrics["short_of"] = short_of_by_seed(settings.bar, made, metrics)
        if by_seed:
            metrics |= least_by_kind(metrics["by_kind"])
    record.write_json(job.out / "scores.json", table)
    record.write_json(job.out / "metrics.json", metrics)
    job.track.table("scores", table)
    job.track.metrics(intervals.flat(metrics))
    job.say(
        f"mean {metrics['mean']['value']:.1f} of 100, {metrics['exact_match']['value']:.1%} exact"
    )


def decided(rows: Sequence[Row], entries: Path) -> list[bool | None]:
    """What the rules say of each answer, by what is listed beside its task."""
    # By the reference, too: two conversations may end in the same message.
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
    """Some replies may be no score; raises `UserError` if none is: the model cannot judge."""
    if given and all(each.score is None for each in given):
        count = sum(len(each.replies) for each in given)
        raise UserError(
            f"judge.openai: none of {count} replies of model '{settings.openai.model}' is an "
            f"integer from 0 to 100; they are kept in {CACHE}, look at one and take another model"
        )


def replied(scored: Verdict | None) -> dict[str, Any]:
    """What is written about a server's replies to one answer, if it was asked about it."""
    if scored is None:
        return {"samples": [], "unread": []}
    return {"samples": scored.samples, "unread": scored.unread}


def about_server(given: Sequence[Verdict], settings: Judge) -> dict[str, Any]:
    """How the server was asked, how many replies could not be read, how far the samples of an
    answer lie apart (the mean of their standard deviations), and what the replies took.
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


def described(
    row: Row, right: bool | None, judged: float | None, by_seed: Mapping[str, float]
) -> dict[str, Any]:
    """What is written about one answer: `score` is the rule's, else the judge's; of several judges
    their mean, with what each gives.
    """
    return {
        "instruction": row["instruction"],
        "input": row["input"],
        "reference": row["output"],
        "answer": row["answer"],
        "kind": row["kind"],
        "rule": right,
        "judge": judged,
        **({"by_seed": by_seed} if by_seed else {}),
        "score": judged if right is None else 100.0 * right,
        "exact": same(row["answer"], row["output"]),
        "rouge_l": rouge_l(row["answer"], row["output"]),
    }


def figures(table: Sequence[Row], settings: Judge) -> dict[str, Any]:
    """Mean of what could be scored (left out, if nothing could), exact matches, ROUGE-L, count; and
    how well the judge tells right answers from others.
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
    """The mean; of several judges its interval covers what another seed would have made of them."""
    return intervals.mean_over_runs(list(scores_by_seed(scored, "score").values()), 100, confidence)


def drawn_by(settings: Judge) -> intervals.Draws:
    """How a bootstrap draws."""
    return {
        "confidence": settings.confidence,
        "resamples": settings.bootstrap,
        "seed": settings.seed,
    }


def telling_apart(table: Sequence[Row], draws: intervals.Draws) -> dict[str, Any]:
    """In how many pairs of a right answer, by the rules, and another the judge gives the right one
    more (the area under the ROC curve); beside it, what the answer's length and ROUGE-L would give.
    Of several judges it is their mean, and what each reaches stands beside it.
    Left out where the judge was not asked about every answer, or all are right, or none.
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
    """What the embedded judge does not reach, in words. Its order of the answers counts where there
    are right answers and others; of a kind's few answers, where its whole interval is below.
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
    """The same of every judge. Each must reach the bar: an answer's score is a third that of one of
    three, and their mean would hide one that fails.
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
    """The kind of instruction, and the judge, with the smallest share of pairs in order, of equals
    that of the most pairs; empty where no kind has right answers and others.
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
    """The figures of each kind of instruction, where the data names kinds."""
    kinds = sorted({row["kind"] for row in table if row["kind"]})
    return {
        kind: figures([row for row in table if row["kind"] == kind], settings) for kind in kinds
    }


def histogram(scores: Sequence[float]) -> dict[str, list[int]]:
    """Counts of scores between the edges; the last bin holds 100."""
    edges = list(range(0, 101, BIN))
    counts, _ = np.histogram(scores, bins=edges)
    return {"edges": edges, "counts": counts.tolist()}
