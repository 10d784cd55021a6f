"""Problems that need more than one fact: comparisons, arithmetic and two hops.

Each maker draws a `Problem` of a part (train, dev, val, test). Train problems are also in the
corpus. The entities of the other parts are held out, as for single facts, and so are whole sums.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from llmill.world.facts import Fact, by_entity, by_relation, values
from llmill.world.split import home, part, sum_name


@dataclass(frozen=True)
class Problem:
    """A question with its answer, three wrong answers, and the same as a plain sentence."""

    question: str
    answer: str
    wrong: tuple[str, ...]
    sentence: str


# known relation, asked relation, question, sentence; {k} is the known value, {v} the asked one
HOPS = (
    (
        "capital",
        "currency",
        "What is the currency of the country whose capital is {k}?",
        "The country whose capital is {k} uses the {v}.",
    ),
    (
        "capital",
        "continent",
        "On which continent is the country whose capital is {k}?",
        "The country whose capital is {k} lies in {v}.",
    ),
    (
        "capital",
        "official_language",
        "What is the official language of the country whose capital is {k}?",
        "The country whose capital is {k} has the official language {v}.",
    ),
    (
        "symbol",
        "atomic_number",
        "What is the atomic number of the element whose symbol is {k}?",
        "The element whose symbol is {k} has the atomic number {v}.",
    ),
    (
        "symbol",
        "element_kind",
        "What kind of element has the symbol {k}?",
        "The element whose symbol is {k} belongs to the kind called {v}.",
    ),
    (
        "abbreviation",
        "state_capital",
        "What is the capital of the state whose postal abbreviation is {k}?",
        "The state whose postal abbreviation is {k} has its capital in {v}.",
    ),
)


def comparison(rng: Random, split: str) -> Problem:
    """Ask for the largest or smallest of four numbers, or of four elements by atomic number."""
    elements = [f for f in by_relation()["atomic_number"] if part(f.entity) == split]
    if len(elements) < 4 or rng.random() < 0.4:
        return _numbers(rng, split)
    four = rng.sample(elements, 4)
    word, best = rng.choice((("highest", max), ("lowest", min)))
    return _four(
        tuple(fact.entity for fact in four),
        best(four, key=lambda fact: int(fact.value)).entity,
        f"Which of the elements {{l}} has the {word} atomic number?",
        f"Of the elements {{l}}, {{e}} has the {word} atomic number.",
    )


def arithmetic(rng: Random, split: str) -> Problem:
    """Ask for a sum, a difference or a product that belongs to the part as a whole."""
    word = rng.choice(("plus", "minus", "times"))
    while True:
        a, b = rng.randint(2, 60), rng.randint(2, 40)
        if word == "minus" and a <= b:
            continue
        if word == "times":
            a, b = rng.randint(2, 12), rng.randint(2, 12)
        name = sum_name(a, word, b)
        if part(name) == split and (split != "train" or home(name) == "text"):
            break
    result = {"plus": a + b, "minus": a - b, "times": a * b}[word]
    near = [result + step for step in (-11, -10, -3, -2, -1, 1, 2, 3, 10, 11) if result + step > 0]
    wrong = tuple(str(number) for number in rng.sample(near, 3))
    return Problem(f"What is {a} {word} {b}?", str(result), wrong, f"{a} {word} {b} is {result}.")


def two_hops(rng: Random, split: str) -> Problem:
    """Ask from one value to the entity that has it, and on to another value."""
    source, target, question, sentence = rng.choice(HOPS)
    pairs = [(k, v) for k, v in _both(source, target) if part(k.entity) == split]
    if not pairs:
        return two_hops(rng, split)
    k, v = rng.choice(pairs)
    wrong = rng.sample([value for value in values()[target] if value != v.value], 3)
    fields = {"k": k.value, "v": v.value}
    return Problem(question.format(**fields), v.value, tuple(wrong), sentence.format(**fields))


MAKERS: dict[str, Callable[[Random, str], Problem]] = {
    "comparisons": comparison,
    "arithmetic": arithmetic,
    "two_hops": two_hops,
}


def _numbers(rng: Random, split: str) -> Problem:
    names = tuple(str(number) for number in rng.sample(range(2, 200), 4))
    if part(" ".join(names)) != split:
        return _numbers(rng, split)
    word, best = rng.choice((("largest", max), ("smallest", min)))
    return _four(
        names,
        best(names, key=int),
        f"Which of the numbers {{l}} is the {word}?",
        f"Of the numbers {{l}}, {{e}} is the {word}.",
    )


def _four(names: tuple[str, ...], best: str, question: str, sentence: str) -> Problem:
    listed = f"{', '.join(names[:3])} and {names[3]}"
    wrong = tuple(name for name in names if name != best)
    return Problem(question.format(l=listed), best, wrong, sentence.format(l=listed, e=best))


def _both(source: str, target: str) -> list[tuple[Fact, Fact]]:
    """Return the two facts of each entity that has both relations."""
    pairs = []
    for of_entity in by_entity().values():
        by_name = {fact.relation: fact for fact in of_entity}
        if source in by_name and target in by_name:
            pairs.append((by_name[source], by_name[target]))
    return pairs
