"""`llmill judge-pairs A B`: a judge behind a server compares two files of answers to the same
tasks, each pair in both orders. Output: outcomes that `llmill rank` reads.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmill.contract import destination, printable, record
from llmill.contract.countdown import Countdown
from llmill.contract.errors import UserError
from llmill.evaluation.judging import completions, judge_client
from llmill.evaluation.judging.judge_client import PairReplies
from llmill.evaluation.statistics.intervals import CONFIDENCE, Interval
from llmill.runner import params
from llmill.tasks import answers, jsonl
from llmill.tasks.answers import Answer, Answers, Task

CACHE = record.SCRATCH / "judge_cache"
WINNER = {1.0: "model_a", 0.5: "tie", 0.0: "model_b"}

Row = dict[str, str]


def print_pairs(
    files: Sequence[Path], out: Path, names: Sequence[str], prompt: str | None = None
) -> None:
    """Ask the judge of `params.yaml`, write the outcomes, and print how it judged. Raises
    `UserError` for files that share no task, and if the server fails.
    """
    if names[0] == names[1]:
        raise UserError(f"both are called '{names[0]}'; --names gives them names, as in old,new")
    if reserved := {*names} & {*WINNER.values()}:
        raise UserError(f"--names: '{min(reserved)}' says who won in a file of outcomes; rename it")
    destination.check(out)
    settings = params.load().judge.openai
    answers_a, answers_b = map(answers.read, files)
    rows_a, rows_b = matched(answers_a, answers_b)
    if not rows_a:
        raise UserError(f"{files[0]} and {files[1]}: no instruction and input that are in both")
    alone = len(answers_a.every) + len(answers_b.every) - 2 * len(rows_a)
    if alone:
        print(f"left out, as the other was not asked the same: {alone:,} of the answers")
    if prompt is None and judge_client.pair_prompt(rows_a) == judge_client.WITHOUT_REFERENCE:
        print(f"no answer has a reference, so the judge is asked {judge_client.WITHOUT_REFERENCE}")
    countdown = Countdown("judge-pairs", len(rows_a), "pairs")
    judged = judge_client.pairs(
        settings, rows_a, rows_b, CACHE, lambda done, total: countdown.at(done), prompt
    )
    refuse_no_choice(judged, settings.model)
    found = outcomes(judged, rows_a, names)
    jsonl.write(out, found)
    print(printable.lines(summary(judged, names)))
    tokens = completions.usage((r for pair in judged for r in pair.replies), settings.price)
    cost = f", which cost {tokens['cost']:g}" if "cost" in tokens else ""
    more = f"; {n:,} replies came without a count" if (n := tokens["uncounted"]) else ""
    print(f"{tokens['input']:,} tokens read and {tokens['output']:,} written{cost}{more}")
    print(f"`llmill rank {printable.line(str(out))}` rates them")


def refuse_no_choice(judged: Sequence[PairReplies], model: str) -> None:
    """Raise `UserError` if all pairs lack an outcome: the model cannot judge. Some pairs may lack
    one.
    """
    asked = [pair for pair in judged if pair.replies]
    if asked and all(pair.score is None for pair in asked):
        raise UserError(
            f"judge.openai: model '{model}' never replied A, B or tie in both orders of one of "
            f"{len(asked)} pairs; the replies are kept in {CACHE}, look at one and take another "
            "model"
        )


def matched(answers_a: Answers, answers_b: Answers) -> tuple[list[Row], list[Row]]:
    """Return the answers of both to the same tasks, in the order of the first. Answers to a
    repeated task are matched in turn, as often as it is in both. The reference is the first's, else
    the second's.
    """
    waiting: defaultdict[Task, list[Answer]] = defaultdict(list)
    for answer in reversed(answers_b.every):
        waiting[answer.task].append(answer)
    both = [
        (answer, others.pop()) for answer in answers_a.every if (others := waiting[answer.task])
    ]
    references = [a.reference or b.reference for a, b in both]
    rows_a = [_row(a, known) for (a, _), known in zip(both, references, strict=True)]
    rows_b = [_row(b, known) for (_, b), known in zip(both, references, strict=True)]
    return rows_a, rows_b


def _row(answer: Answer, reference: str | None) -> Row:
    instruction, about = answer.task
    return {
        "instruction": instruction,
        "input": about,
        "output": reference or "",
        "answer": answer.text,
    }


def outcomes(
    judged: Sequence[PairReplies], tasks: Sequence[Row], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a row for each pair that has an outcome, with the two orders beside it."""
    return [
        {
            "model_a": names[0],
            "model_b": names[1],
            "winner": WINNER[pair.score],
            "orders": [WINNER[got] for got in pair.orders if got is not None],
            "instruction": task["instruction"],
            "input": task["input"],
        }
        for pair, task in zip(judged, tasks, strict=True)
        if pair.score is not None
    ]


def summary(judged: Sequence[PairReplies], names: Sequence[str]) -> str:
    """Return who won how often, and how the order of the answers affected the judge."""
    scores = [pair.score for pair in judged]
    equal = sum(not pair.replies for pair in judged)
    orders = judge_client.disagreement(judged, CONFIDENCE)
    place = judge_client.first_place(judged, CONFIDENCE)
    return "\n".join(
        (
            f"{len(judged)} pairs: {names[0]} better in {scores.count(1.0)}, {names[1]} in "
            f"{scores.count(0.0)}, {scores.count(0.5)} ties, {equal} of them equal answers that "
            f"nobody was asked about; {scores.count(None)} without two replies that could be read",
            f"the orders disagree, which is a tie, in {_share(orders)} of the pairs asked about",
            f"the answer in the first place is chosen in {_share(place)} of the choices",
        )
    )


def _share(found: Interval) -> str:
    if not found["n"]:
        return "none (of 0)"
    return f"{found['value']:.1%} ({found['low']:.1%} to {found['high']:.1%}, of {found['n']:,})"
