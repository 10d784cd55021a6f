"""Paragraphs about daily life and numbers, in the language of the messages and instructions.

They put active beside passive, one thing beside many, today beside yesterday, and a review beside
what it says. They tell of people who get parcels, prizes and strange messages.
"""

from collections.abc import Callable
from random import Random

from llmill.world.grammar import article, capital, plural
from llmill.world.lexicon import (
    ACTIONS,
    ALL_WORDS,
    BAD,
    CONVERSIONS,
    GOOD,
    GROUPS,
    NAMES,
    NUMBER_WORDS,
    PEOPLE,
    PLACES,
    REVIEWED,
    ROUTINES,
    roman,
)
from llmill.world.split import home

STORIES = (
    "{n} got a message about {prize}. {n} did not {act}, because it was not real.",
    "{n} won {prize} at the {place} {when}. {m} was there and was glad.",
    "{m} paid for {prize} {when}, and {n} said thank you.",
    "A stranger told {n} to {act} for {prize}. {m} said: never {act} for a stranger.",
    "{n} had to {act} {when}, because {m} was away.",
    "The bank does not ask people to {act}. {n} knows that now.",
    "A parcel came for {n} {when}. {m} took it to the {place}.",
    "{n} and {m} met at the {place} {when} and had tea.",
    "The account of {n} was locked, so {n} went to the bank {when}.",
    "{n} called {m} {when} and told a story about {prize}.",
    "It was late, so {n} took the bus to the {place}. {m} was waiting there.",
    "{n} says that {prize} is real, but {n} is wrong. It is a trick, and {m} is right to wait.",
    "Is it true or a joke? {m} says yes, {n} says no. They always ask first and never {act}.",
    "Not {n} but {m} must {act} {when}. Then {n} will send {m} the key and the money.",
    "{m} gave {n} {prize} as a present. There was nothing to pay.",
)
PRIZES = (
    "the prize",
    "the gift card",
    "the free phone",
    "the cash bonus",
    "the refund",
    "the free holiday",
    "the voucher",
    "the reward",
    "the free ticket",
    "the loan",
)
# base, past
ACTS = (
    ("click the link", "clicked the link"),
    ("send the card number", "sent the card number"),
    ("pay the fee", "paid the fee"),
    ("call the number", "called the number"),
    ("reply with the password", "replied with the password"),
    ("text the code", "texted the code"),
    ("open the file", "opened the file"),
    ("fill in the form", "filled in the form"),
    ("share the account details", "shared the account details"),
    ("send the money", "sent the money"),
)
WHEN = (
    "yesterday",
    "today",
    "on Monday",
    "on Friday",
    "this morning",
    "this evening",
    "last week",
    "at noon",
)


def daily(rng: Random) -> str:
    """Return a document of five to nine small scenes, of at most two kinds."""
    kinds = rng.sample(SCENES, 2)
    return " ".join(rng.choice(kinds)(rng) for _ in range(rng.randint(5, 9)))


def number_fact(rng: Random) -> str:
    """Return a Roman numeral, a conversion of units or a count, as a sentence."""
    kind = rng.randrange(8)
    if kind < 4:
        number = rng.randint(1, 99)
        if kind == 0:
            return f"{roman(number)} is the number {number}."
        return f"The Roman numeral for {number} is {roman(number)}."
    if kind < 7:
        large, small, size = rng.choice(CONVERSIONS)
        count = rng.randint(2, 20)
        return f"There are {count * size} {small} in {count} {large}."
    count = rng.randint(2, 6)
    words = sorted(rng.choice(GROUPS[g]) for g in rng.sample(sorted(GROUPS), count))
    listed = ", ".join(words[:-1]) + f" and {words[-1]}"
    return f"The list {listed} has {NUMBER_WORDS[count]} items."


def about_words(rng: Random) -> str:
    """Return a document about words: their groups, the odd one, lists in alphabetical order."""
    kinds = (_member, _odd_one, _sorted)
    return " ".join(rng.choice(kinds)(rng) for _ in range(rng.randint(7, 10)))


def _member(rng: Random) -> str:
    group = rng.choice(sorted(GROUPS))
    return f"{capital(article(rng.choice(GROUPS[group])))} is {article(group)}."


def _odd_one(rng: Random) -> str:
    group, other = rng.sample(sorted(GROUPS), 2)
    one, two, three = rng.sample(GROUPS[group], 3)
    return f"The word {rng.choice(GROUPS[other])} does not belong with {one}, {two} and {three}."


def _sorted(rng: Random) -> str:
    listed = sorted(rng.sample(ALL_WORDS, rng.randint(4, 8)))
    return f"By the alphabet: {', '.join(listed)}."


def _story(rng: Random) -> str:
    n, m = rng.sample(NAMES, 2)
    fields = {"n": n, "m": m, "place": rng.choice(PLACES), "when": rng.choice(WHEN)}
    fields |= {"prize": rng.choice(PRIZES), "act": rng.choice(ACTS)[0]}
    return rng.choice(STORIES).format(**fields)


def _voices(rng: Random) -> str:
    _, past, participle, things = rng.choice(ACTIONS)
    who, thing = rng.choice(PEOPLE), rng.choice(things)
    active = f"The {who} {past} the {thing}."
    if home(active) != "text":
        return _voices(rng)
    return " ".join(rng.sample([active, f"The {thing} was {participle} by the {who}."], 2))


def _tenses(rng: Random) -> str:
    present, past, base = rng.choice(ROUTINES)
    name, place = rng.choice(NAMES), rng.choice(PLACES)
    if home(f"{name} {present} to the {place}.") != "text":
        return _tenses(rng)
    return rng.choice(
        (
            f"{name} {present} to the {place} every day. Yesterday {name} {past} to the {place}.",
            f"{name} does not {base} to the {place}. {name} {present} home.",
            f"Does {name} {base} to the {place}? Yes, {name} {present} to the {place}.",
        )
    )


def _many(rng: Random) -> str:
    thing = rng.choice([t for action in ACTIONS for t in action[3]] + list(PEOPLE))
    place = rng.choice(PLACES)
    return f"One {thing} is at the {place}. Two {plural(thing)} are at the {place}."


def _review(rng: Random) -> str:
    thing, good = rng.choice(REVIEWED), rng.random() < 0.5
    word = rng.choice(GOOD if good else BAD)
    feeling = "positive" if good else "negative"
    verdict = rng.choice(("liked", "enjoyed") if good else ("disliked", "regretted"))
    return rng.choice(
        (
            f"The {thing} was {word}, and that is a {feeling} review.",
            f"{rng.choice(NAMES)} {verdict} the {thing} because it was {word}.",
            f"Whoever calls a {thing} {word} gives a {feeling} review.",
        )
    )


def _group(rng: Random) -> str:
    group, other = rng.sample(sorted(GROUPS), 2)
    odd = rng.choice(GROUPS[other])
    one, two = rng.sample(GROUPS[group], 2)
    return rng.choice(
        (
            f"{capital(article(one))} is {article(group)}.",
            f"The words {one} and {two} go together: each is {article(group)}.",
            f"The word {odd} does not belong with {one} and {two}.",
        )
    )


def _order(rng: Random) -> str:
    words = rng.sample(ALL_WORDS, 3)
    a, b, c = sorted(words)
    return f"In the alphabet, {a} comes before {b}, and {b} comes before {c}."


SCENES: tuple[Callable[[Random], str], ...] = (
    _story,
    _story,
    _voices,
    _tenses,
    _many,
    _review,
    _group,
    _order,
)
