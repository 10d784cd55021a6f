"""A judge behind a server with the OpenAI interface: answers scored, or compared in pairs.

In: rows with instruction, input, output (the reference) and answer. Every reply is kept on disk by
content, so a second run asks nothing. A reply that cannot be read is no score and no choice; one
that was cut at `max_tokens` is not read: half a number is a number.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmill.evaluation.inference.scoring import Progress, in_silence
from llmill.evaluation.judging import asking, completions, prompts, replies
from llmill.evaluation.judging.completions import Reply
from llmill.evaluation.judging.settings import JudgeServer
from llmill.evaluation.matching.exact_match import normalise
from llmill.evaluation.statistics.intervals import Interval, clustered_share, share

Row = Mapping[str, Any]
TASK = ("instruction", "input", "output")
SCORED = {*TASK, "answer"}
PAIRED = {*TASK, "answer_a", "answer_b"}
REFERENCE = "output"  # what prompts of pairs may lack, and a row then need not have
PAIR_PROMPT, WITHOUT_REFERENCE = "pair-1", "pair-without-reference-1"


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one answer, a reply for each sample."""

    replies: tuple[Reply, ...]

    @property
    def samples(self) -> list[int | None]:
        """The score in each reply."""
        return [None if reply.cut else replies.score(reply.text) for reply in self.replies]

    @property
    def score(self) -> float | None:
        """The mean of what could be read; None if nothing could."""
        read = self._read
        return round(statistics.fmean(read), 4) if read else None

    @property
    def spread(self) -> float | None:
        """The standard deviation of what could be read; None for less than two."""
        return statistics.stdev(self._read) if len(self._read) > 1 else None

    @property
    def unread(self) -> list[str]:
        """The replies that are no score."""
        pairs = zip(self.replies, self.samples, strict=True)
        return [reply.text for reply, score in pairs if score is None]

    @property
    def _read(self) -> list[int]:
        return [score for score in self.samples if score is not None]


@dataclass(frozen=True)
class Pair:
    """What the judge says of the answers of two, A and B: what A gets (1.0 where it is better, 0.5
    for a tie, 0.0 where B is) when it stands in the first place, and when in the second. Answers
    that are equal are a tie without a reply.
    """

    replies: tuple[Reply, ...]

    @property
    def orders(self) -> tuple[float | None, float | None]:
        """What A gets in each place; None for a reply that is no choice."""
        if not self.replies:
            return replies.TIE, replies.TIE
        first, second = (
            None if reply.cut else replies.choice(reply.text) for reply in self.replies
        )
        return first, None if second is None else 1.0 - second

    @property
    def score(self) -> float | None:
        """What A gets; a tie if the orders disagree, None if a reply could not be read."""
        first, second = self.orders
        if first is None or second is None:
            return None
        return first if first == second else replies.TIE


def score(
    settings: JudgeServer, rows: Sequence[Row], cache: Path, progress: Progress = in_silence
) -> list[Verdict]:
    """What the judge says of each row. `UserError` if the server fails or the budget is spent;
    `cache` keeps what was answered.
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
) -> list[Pair]:
    """What the judge says of each answer of A beside that of B to the same task: one reply in each
    order, whatever `samples` is. Raises as `score` does.

    `rows_a`, `rows_b`: in the same order of tasks; the reference is A's. `prompt`: what
    `pair_prompt` says, unless it is named.
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
    return [Pair(tuple(each)) for each in found]


def pair_prompt(rows: Sequence[Row]) -> str:
    """The prompt for these rows: one that speaks of a reference where any row has one."""
    return PAIR_PROMPT if any(row[REFERENCE] for row in rows) else WITHOUT_REFERENCE


def disagreement(judged: Sequence[Pair], confidence: float) -> Interval:
    """The share of pairs, of those that were asked about and could be read, in which the orders
    disagree.
    """
    orders = [pair.orders for pair in judged if pair.replies and pair.score is not None]
    return share(sum(first != second for first, second in orders), len(orders), confidence)


def first_place(judged: Sequence[Pair], confidence: float) -> Interval:
    """The share of choices, in pairs that could be read, that fall on the answer in the first
    place: a half, of a judge that does not look at the place. The two choices of a pair hang
    together.
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
