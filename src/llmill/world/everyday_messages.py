"""Everyday messages, ham or spam by topic: a plan, a question, thanks; or a prize, a loan, an
account to be unlocked.

A pattern is a row of `tables/everyday_patterns.tsv`, and the words for its gaps are in
`tables/everyday_words.tsv`. `tables/everyday_test.tsv` holds messages of no pattern, written before
the patterns. They are only for a test.
"""

from collections.abc import Mapping
from functools import cache
from random import Random

from llmill.world.facts import read_csv
from llmill.world.grammar import sentences
from llmill.world.lexicon import NAMES

OPENINGS = ("", "", "", "", "", "", "Hi {friend}, ", "Hello {friend}, ", "Hi, ", "Hey! ")
STOPS = ("", ".", ".", "!")
ENDINGS = ("", "", "", "", "", "", " Thanks", " Bye", " Thank you!")
SMALL_SHARE = 0.15  # of messages without capitals at the start of sentences


@cache
def patterns() -> tuple[dict[str, str], ...]:
    """Return each pattern by its label."""
    return tuple({label: text} for label, text in _rows("everyday_patterns.tsv"))


def for_test() -> list[tuple[str, str]]:
    """Return label and text of each message that is only for the test."""
    return _rows("everyday_test.tsv")


def write(pattern: Mapping[str, str], label: str, rng: Random) -> str:
    """Return a message: the pattern with words in its gaps, perhaps with a greeting and an end."""
    fields = {slot: rng.choice(words) for slot, words in _words().items()}
    for slot in ("food", "spot"):
        others = [word for word in _words()[slot] if word != fields[slot]]
        fields[f"{slot}2"] = rng.choice(others)
    body, stop = pattern[label].format(**fields), rng.choice(STOPS)
    if body.endswith(("?", "!")):
        stop = ""
    opening = rng.choice(OPENINGS).format(friend=rng.choice(NAMES))
    text = f"{opening}{body}{stop}{rng.choice(ENDINGS)}"
    return text if rng.random() < SMALL_SHARE else sentences(text)


@cache
def _words() -> dict[str, list[str]]:
    """Return the words for each gap."""
    return {row["slot"]: row["words"].split("|") for row in read_csv("everyday_words.tsv", "\t")}


def _rows(table: str) -> list[tuple[str, str]]:
    return [(row["label"], row["text"]) for row in read_csv(table, "\t")]
