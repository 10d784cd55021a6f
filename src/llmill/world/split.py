"""Decides what training may hold: which entities it may ask about, and which only dev, val and test
questions; which sentences of daily life the text may tell, and which only instructions.

The part of an entity is a hash of its name. It does not change when a table grows, and a name in
two tables has one part. Every training question, instruction and preference pair obeys
`mentions_held_out`: it must not even name an entity that is kept for evaluation.
"""

import re
from functools import lru_cache
from hashlib import sha256

from llmill.contract.known import NEWS, WORLD
from llmill.world.facts import by_entity, facts
from llmill.world.grammar import capital

WORD = re.compile(r"\w+")
DRAW = 66  # another number draws new parts; due once the test entities were looked at
HOMES = ("text", "input", "output")  # see `home`
SHARES = {  # percent; news has few facts, so more of them are for tests
    WORLD: (("test", 20), ("val", 6), ("dev", 6), ("train", 68)),
    NEWS: (("test", 40), ("val", 8), ("dev", 8), ("train", 44)),
}


def part(entity: str) -> str:
    """Return the part of an entity: `train`, `dev`, `val` or `test`."""
    rest = int(sha256(f"{DRAW}/{plain(entity)}".encode()).hexdigest(), 16) % 100
    for name, share in SHARES[NEWS if plain(entity) in _news() else WORLD]:
        if rest < share:
            return name
        rest -= share
    raise AssertionError("the shares do not add up to 100")


def home(sentence: str) -> str:
    """Return where a sentence of daily life or a training sum may stand: in the `text`, as the
    `input` of an instruction, or as an `output`.

    Instructions that could have a sentence on either side (about journeys and sums) take what is
    not for the text. So no instruction is about a sentence that the text has shown.
    """
    return HOMES[int(sha256(f"{DRAW}/home/{sentence}".encode()).hexdigest(), 16) % len(HOMES)]


def sum_name(a: int, word: str, b: int) -> str:
    """Return the name of `a plus b`, `a minus b` or `a times b`, whose part is that of `b plus a`
    and `b times a`.
    """
    return f"{a} {word} {b}" if word == "minus" else f"{min(a, b)} {word} {max(a, b)}"


def plain(entity: str) -> str:
    """Return the name without its article, in lower case."""
    return entity.removeprefix("the ").lower()


def mentions_held_out(text: str) -> bool:
    """Return whether the text names an entity of a dev, val or test question, as whole words."""
    return any(part(name) != "train" for name in names_in(text))


def names_in(text: str) -> list[str]:
    """Return the entities of all tables in the text; of `West Virginia`, only the longer one.

    A name written in lower case is also found with a capital, as at the start of a sentence.
    """
    names, end = [], 0
    for word in WORD.finditer(text):
        if word.start() < end:
            continue
        for name in _names().get(word.group(), ()):
            if text.startswith(name, word.start()) and not WORD.match(
                text, word.start() + len(name)
            ):
                names.append(name)
                end = word.start() + len(name)
                break
    return names


@lru_cache(maxsize=1)
def _news() -> frozenset[str]:
    return frozenset(plain(fact.entity) for fact in facts(NEWS))


@lru_cache(maxsize=1)
def _names() -> dict[str, list[str]]:
    """Return names by the first word that they begin with, the longest first."""
    plain_names = {entity.removeprefix("the ") for _, entity in by_entity()}
    by_word: dict[str, list[str]] = {}
    for name in {form for plain_name in plain_names for form in (plain_name, capital(plain_name))}:
        first = WORD.match(name)
        assert first, f"an entity begins with a word: {name}"
        by_word.setdefault(first.group(), []).append(name)
    return {word: sorted(names, key=lambda n: (-len(n), n)) for word, names in by_word.items()}
