"""Players whose answers to the same instructions are set against one another, two by two.

In: every player's answers, what is known of each task, and who rates what no rule decides. Out:
scores from 0 to 100, and a game for each two players on each task that both answered. `row` is the
form that `llmill rank` reads; whoever judges pairs in another way writes the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from llmill.evaluation.matching import rules
from llmill.evaluation.matching.rouge import rouge_l
from llmill.evaluation.statistics.ranking import Outcome
from llmill.tasks.answers import Task

TIE = "tie"

Players = Mapping[str, Mapping[Task, str]]  # their answers
Scores = dict[str, dict[Task, float | None]]  # None: whoever was asked gave none
Rate = Callable[[Sequence[Mapping[str, Any]]], Sequence[float | None]]


@dataclass(frozen=True)
class Known:
    """What is known of a task: right answers, the reference first, and listed wrong ones."""

    right: tuple[str, ...]
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Game:
    """Two players on a task: the points of each, and what the first got, 1.0, 0.5 or 0.0."""

    first: str
    second: str
    task: Task
    points: tuple[float, float]
    score: float

    @property
    def outcome(self) -> Outcome:
        return Outcome(self.first, self.second, self.score, "\n".join(self.task))

    @property
    def row(self) -> dict[str, Any]:
        """As `llmill rank` reads it."""
        return {
            "model_a": self.first,
            "model_b": self.second,
            "winner": {1.0: self.first, 0.0: self.second, 0.5: TIE}[self.score],
            "instruction": self.task[0],
            "input": self.task[1],
            "points_a": self.points[0],
            "points_b": self.points[1],
        }


def decided(answer: str, known: Known) -> bool | None:
    """Whether an answer is right, if a rule can say."""
    return rules.decide(answer, known.right[0], known.right[1:], known.wrong)


def undecided(
    players: Players, tasks: Mapping[Task, Known], scored: Mapping[tuple[Task, str], float | None]
) -> list[tuple[Task, str]]:
    """The different answers that neither a rule decides nor somebody scored before."""
    asked = dict.fromkeys(each for answers in players.values() for each in answers.items())
    return [
        (task, answer)
        for task, answer in asked
        if task in tasks and (task, answer) not in scored and decided(answer, tasks[task]) is None
    ]


def scores(
    players: Players,
    tasks: Mapping[Task, Known],
    scored: Mapping[tuple[Task, str], float | None],
    rate: Rate,
) -> Scores:
    """The score of every answer to a task that is known: what it was given before, else 100 or 0
    by the rules, else what `rate` gives, asked once about equal answers.
    """
    rest = undecided(players, tasks, scored)
    asked = [
        {"instruction": t[0], "input": t[1], "output": tasks[t].right[0], "answer": answer}
        for t, answer in rest
    ]
    given = {**scored, **dict(zip(rest, rate(asked), strict=True))}
    found: Scores = {}
    for name, answers in players.items():
        found[name] = {}
        for task, answer in answers.items():
            if task in tasks:
                right = decided(answer, tasks[task])
                by_rule = None if right is None else 100.0 * right
                found[name][task] = given.get((task, answer), by_rule)
    return found


def by_words(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """ROUGE-L from 0 to 100: who rates where no judge does."""
    return [100 * rouge_l(row["answer"], row["output"]) for row in rows]


def games(found: Scores, margin: float) -> list[Game]:
    """A game for each two players and each task that both have a score for, task by task; points
    that are less than `margin` apart, or equal, make a tie.
    """
    tasks = dict.fromkeys(task for own in found.values() for task in own)
    played = []
    for task in tasks:
        for one, other in combinations(found, 2):
            a, b = found[one].get(task), found[other].get(task)
            if a is not None and b is not None:
                score = 0.5 if a == b or abs(a - b) < margin else float(a > b)
                played.append(Game(one, other, task, (a, b), score))
    return played
