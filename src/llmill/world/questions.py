"""Multiple-choice questions in MMLU's format, by subject, from one fact up to two hops.

Every question is about an entity of its own part (see `split`): no training text asks what a dev,
val or test question asks. `LEVELS` says what a subject of a source measures, so that like is
reported with like.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from llmill.contract.known import NEWS, WORLD
from llmill.world.facts import TABLES, Fact, by_relation, by_subject, facts, values
from llmill.world.hard import MAKERS, Problem
from llmill.world.phrasing import texts
from llmill.world.settings import World
from llmill.world.split import part

LEVELS = {
    WORLD: {
        **dict.fromkeys(TABLES[WORLD].values(), "one_fact"),
        "unseen_phrasing": "unseen_phrasing",
        "comparisons": "comparison",
        "arithmetic": "arithmetic",
        "two_hops": "two_hops",
    },
    NEWS: dict.fromkeys(TABLES[NEWS].values(), "news"),
}
DEV_QUESTIONS = 5  # the shots in MMLU
LETTERS = "ABCD"


@dataclass(frozen=True)
class WorldQuestion:
    """Four choices, of which `answer` (0..3) is right; `fact` is the one asked for, if any."""

    subject: str
    text: str
    choices: tuple[str, ...]
    answer: int
    fact: Fact | None = None

    @property
    def row(self) -> list[str]:
        """The six fields of a row of MMLU."""
        return [self.text, *self.choices, LETTERS[self.answer]]


def make(settings: World, source: str = WORLD) -> dict[str, list[WorldQuestion]]:
    """Return the questions of `dev`, `val` and `test` of a source, ordered by subject."""
    limits = {
        "dev": DEV_QUESTIONS,
        "val": max(DEV_QUESTIONS, settings.questions // 4),
        "test": settings.questions,
    }
    return {
        name: [
            question
            for subject in LEVELS[source]
            for question in _of_subject(subject, name, limit, settings.seed)
        ]
        for name, limit in limits.items()
    }


def csv_text(questions: Iterable[WorldQuestion]) -> str:
    """Return the rows of a file, without a header, with quotes only where the format needs them."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(question.row for question in questions)
    return out.getvalue()


def ask(fact: Fact, text: str, rng: Random, allowed: Iterable[str] | None = None) -> WorldQuestion:
    """Return a question about the fact, with three other values of its relation or `allowed`."""
    pool = [v for v in (allowed or values()[fact.relation]) if v != fact.value]
    return _shuffled(fact.subject, text, fact.value, rng.sample(pool, 3), rng, fact)


def from_problem(subject: str, problem: Problem, rng: Random) -> WorldQuestion:
    """Return a question about a problem that needs more than one fact."""
    return _shuffled(subject, problem.question, problem.answer, problem.wrong, rng, None)


def _of_subject(subject: str, split: str, limit: int, seed: int) -> list[WorldQuestion]:
    rng = Random(f"{seed}/questions/{subject}/{split}")
    if subject in MAKERS:
        return _problems(subject, split, limit, rng)
    if subject == "unseen_phrasing":
        chosen = balanced([f for f in facts() if part(f.entity) == split], rng)
        pairs = [(f, rng.choice(texts(f, "unseen"))) for f in chosen]
    else:
        mine = [f for f in by_subject()[subject] if part(f.entity) == split]
        pairs = [(f, rng.choice(texts(f, "ask"))) for f in balanced(mine, rng)]
        if split != "test":  # few entities: the same fact in other words fills the five shots
            more = [(f, t) for f in mine for t in texts(f, "ask") if (f, t) not in pairs]
            pairs += rng.sample(more, max(0, min(len(more), DEV_QUESTIONS - len(pairs))))
    questions = [ask(fact, text, rng) for fact, text in pairs[:limit]]
    return [WorldQuestion(subject, q.text, q.choices, q.answer, q.fact) for q in questions]


def balanced(some: list[Fact], rng: Random) -> list[Fact]:
    """Return a shuffled selection in which no value is the answer much more often than another.

    Otherwise "Africa" or "mammal" would be a good guess for a model that knows no fact at all.
    """
    count = {r: sum(f.relation == r for f in some) for r in by_relation()}
    seen: dict[tuple[str, str], int] = {}
    selection = []
    for fact in rng.sample(some, len(some)):
        key = (fact.relation, fact.value)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= 1 + count[fact.relation] // (2 * len(values()[fact.relation])):
            selection.append(fact)
    return selection


def _problems(subject: str, split: str, limit: int, rng: Random) -> list[WorldQuestion]:
    problems: dict[str, WorldQuestion] = {}
    for _ in range(50 * limit):  # a small part may hold fewer than the limit
        problem = MAKERS[subject](rng, split)
        if len(problems) < limit and problem.question not in problems:
            problems[problem.question] = from_problem(subject, problem, rng)
    return list(problems.values())


def _shuffled(
    subject: str, text: str, right: str, wrong: Iterable[str], rng: Random, fact: Fact | None
) -> WorldQuestion:
    choices = [right, *wrong]
    rng.shuffle(choices)
    return WorldQuestion(subject, text, tuple(choices), choices.index(right), fact)
