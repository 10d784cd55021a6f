"""Compare players in pairs on their answers to the same instructions.

Input: the answers of every player, the known answers of each task, and a function that rates what
no rule decides. Output: scores from 0 to 100, and a game for every two players on every task that
both answered. `llmill rank` reads the form of `Game.row`; other ways of judging pairs write it,
too.
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

Players = Mapping[str, Mapping[Task, str]]  # answers by player and task
Scores = dict[str, dict[Task, float | None]]  # None: the rater gave no score
Rate = Callable[[Sequence[Mapping[str, Any]]], Sequence[float | None]]


@dataclass(frozen=True)
class Known:
    """The known answers of a task: right ones, with the reference first, and listed wrong ones."""

    right: tuple[str, ...]
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Game:
    """Two players on a task: the points of each, and the score of the first, 1.0, 0.5 or 0.0."""

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
        """The game as a row that `llmill rank` reads."""
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
    """Return whether an answer is right, or None if no rule decides."""
    return rules.decide(answer, known.right[0], known.right[1:], known.wrong)


def undecided(
    players: Players, tasks: Mapping[Task, Known], scored: Mapping[tuple[Task, str], float | None]
) -> list[tuple[Task, str]]:
    """Return the distinct (task, answer) pairs that no rule decides and that have no score yet."""
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
    """Return the score of every answer to a known task: its earlier score if there is one,
    otherwise 100 or 0 by the rules, otherwise the score from `rate`, which gets equal answers once.
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
    """Rate answers by ROUGE-L, from 0 to 100, if there is no judge."""
    return [100 * rouge_l(row["answer"], row["output"]) for row in rows]


def games(found: Scores, margin: float) -> list[Game]:
    """Return a game for every two players and every task for which both have a score, task by task.
    Points that are equal, or less than `margin` apart, give a tie.
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
