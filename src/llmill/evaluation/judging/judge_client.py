"""Score answers, or compare them in pairs, with a judge on a server with the OpenAI interface.

Input: rows with instruction, input, output (the reference) and answer. Every reply is cached on
disk by content, so a second run sends no requests. An unreadable reply gives neither a score nor a
choice. A reply that was cut at `max_tokens` counts as unreadable, because half a number is also a
number.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmill.contract.progress import Progress, in_silence
from llmill.evaluation.judging import asking, completions, prompts, replies
from llmill.evaluation.judging.completions import Reply
from llmill.evaluation.judging.settings import JudgeServer
from llmill.evaluation.statistics.intervals import Interval, clustered_share, share
from llmill.text.normal import normalise

Row = Mapping[str, Any]
TASK = ("instruction", "input", "output")
SCORED = {*TASK, "answer"}
PAIRED = {*TASK, "answer_a", "answer_b"}
REFERENCE = "output"  # a prompt for pairs may lack it; a row then need not have it
PAIR_PROMPT, WITHOUT_REFERENCE = "pair-1", "pair-without-reference-1"


@dataclass(frozen=True)
class Verdict:
    """The judge's replies about one answer, one per sample."""

    replies: tuple[Reply, ...]

    @property
    def samples(self) -> list[int | None]:
        """The score in each reply, or None."""
        return [None if reply.cut else replies.score(reply.text) for reply in self.replies]

    @property
    def score(self) -> float | None:
        """The mean of the scores that could be read, or None."""
        read = self._read
        return round(statistics.fmean(read), 4) if read else None

    @property
    def spread(self) -> float | None:
        """The standard deviation of the scores that could be read; None for fewer than two."""
        return statistics.stdev(self._read) if len(self._read) > 1 else None

    @property
    def unread(self) -> list[str]:
        """The replies that are not a score."""
        pairs = zip(self.replies, self.samples, strict=True)
        return [reply.text for reply, score in pairs if score is None]

    @property
    def _read(self) -> list[int]:
        return [score for score in self.samples if score is not None]


@dataclass(frozen=True)
class PairReplies:
    """The judge's replies about the answers of A and B, one with A first and one with B first.

    A gets 1.0 if it is better, 0.5 for a tie, 0.0 if B is better. Equal answers are a tie and have
    no replies.
    """

    replies: tuple[Reply, ...]

    @property
    def orders(self) -> tuple[float | None, float | None]:
        """What A gets in first and in second place; None for a reply that is not a choice."""
        if not self.replies:
            return replies.TIE, replies.TIE
        first, second = (
            None if reply.cut else replies.choice(reply.text) for reply in self.replies
        )
        return first, None if second is None else 1.0 - second

    @property
    def score(self) -> float | None:
        """What A gets: a tie if the orders disagree, None if a reply could not be read."""
        first, second = self.orders
        if first is None or second is None:
            return None
        return first if first == second else replies.TIE


def score(
    settings: JudgeServer, rows: Sequence[Row], cache: Path, progress: Progress = in_silence
) -> list[Verdict]:
    """Return the judge's verdict on each row. Raise `UserError` if the server fails or the budget
    is spent; `cache` keeps all replies.
    """
    prompt = prompts.read(settings.prompt, SCORED)
    groups = []
    for row in rows:
        question = prompt.about({name: row[name] for name in SCORED})
        groups.append([completions.request(settings, question, n) for n in range(settings.samples)])
    found = asking.ask(settings, groups, cache, "answers", progress)
    return [Verdict(tuple(each)) for each in found]


def pairs(
    settings: JudgeServer,
    rows_a: Sequence[Row],
    rows_b: Sequence[Row],
    cache: Path,
    progress: Progress = in_silence,
    prompt: str | None = None,
) -> list[PairReplies]:
    """Compare each answer of A with B's answer to the same task, one reply per order; `samples` is
    ignored. Raise `UserError` as `score` does.

    `rows_a` and `rows_b` have the same tasks in the same order. The reference is from `rows_a`.
    `prompt` is a name; the default is `pair_prompt`.
    """
    asked = prompts.read(prompt or pair_prompt(rows_a), PAIRED, {REFERENCE})
    groups = []
    for row_a, row_b in zip(rows_a, rows_b, strict=True):
        assert all(row_a[name] == row_b[name] for name in ("instruction", "input")), "one task"
        answers = row_a["answer"], row_b["answer"]
        task = {name: row_a[name] for name in TASK}
        orders = [] if normalise(answers[0]) == normalise(answers[1]) else [answers, answers[::-1]]
        groups.append(
            [
                completions.request(
                    settings, asked.about({**task, "answer_a": first, "answer_b": second})
                )
                for first, second in orders
            ]
        )
    found = asking.ask(settings, groups, cache, "pairs", progress)
    return [PairReplies(tuple(each)) for each in found]


def pair_prompt(rows: Sequence[Row]) -> str:
    """Return the prompt's name: the one with a reference if any row has a reference."""
    return PAIR_PROMPT if any(row[REFERENCE] for row in rows) else WITHOUT_REFERENCE


def disagreement(judged: Sequence[PairReplies], confidence: float) -> Interval:
    """Return the share of pairs in which the two orders disagree, among pairs whose replies could
    be read.
    """
    orders = [pair.orders for pair in judged if pair.replies and pair.score is not None]
    return share(sum(first != second for first, second in orders), len(orders), confidence)


def first_place(judged: Sequence[PairReplies], confidence: float) -> Interval:
    """Return the share of choices that fall on the answer in first place, without ties, in pairs
    that could be read. A judge that ignores the order has one half. The interval treats the two
    choices of a pair as a cluster.
    """
    chosen = [
        (choice == replies.FIRST, number)
        for number, pair in enumerate(judged)
        if pair.replies and pair.score is not None
        for choice in (pair.orders[0], 1.0 - (pair.orders[1] or 0.0))
        if choice != replies.TIE
    ]
    first, pairs_of = [right for right, _ in chosen], [number for _, number in chosen]
    return clustered_share(first, pairs_of, confidence=confidence)
