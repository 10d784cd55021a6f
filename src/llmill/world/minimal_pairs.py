"""Minimal pairs (BLiMP's form, Warstadt et al. 2020): two sentences that differ in one thing, one
of which is right.

They are plain English in the words of the world's daily life, so any model of English can be asked.
Each phenomenon has two sides. In most, the right sentence of one side holds what makes the other
side's wrong, so a model that prefers a word, whatever is before it, is at chance.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from llmill.world.everyday import WHEN
from llmill.world.grammar import article, plural
from llmill.world.lexicon import ACTIONS, GROUPS, NAMES, PEOPLE, PLACES, ROUTINES

WOMEN = ("Anna", "Carla", "Ella", "Greta", "Ines", "Laura", "Nina", "Paula", "Sara", "Vera")
THINGS = sorted({thing for action in ACTIONS for thing in action[3]})
CARRIED = (*GROUPS["tool"], *GROUPS["garment"], "envelope", "omelette", "engine", "box", "radio")
WITH_AN = tuple(thing for thing in CARRIED if article(thing).startswith("an "))
WITH_A = tuple(thing for thing in CARRIED if thing not in WITH_AN)
DRAWS = 8  # draws per pair that is asked for, because some draws repeat a pair

Side = bool  # which of a phenomenon's two sides


@dataclass(frozen=True)
class MinimalPair:
    """A right sentence, and a wrong one that differs in one thing."""

    phenomenon: str
    right: str
    wrong: str


def candidates(count: int, seed: int) -> list[list[MinimalPair]]:
    """Return several times `count` pairs of each phenomenon, without repeats; one list per side."""
    lists = []
    for name, make in PHENOMENA.items():
        for side in (False, True):
            rng = Random(f"{seed}/minimal pairs/{name}/{side}")
            drawn = (make(rng, side) for _ in range(DRAWS * count))
            lists.append([MinimalPair(name, *pair) for pair in dict.fromkeys(drawn)])
    return lists


def unseen(lists: list[list[MinimalPair]], seen: set[str], count: int) -> list[MinimalPair]:
    """Return up to `count` pairs of each phenomenon, half per side, without any seen sentence."""
    chosen = []
    for number, pairs in enumerate(lists):
        new = [pair for pair in pairs if not {pair.right, pair.wrong} & seen]
        chosen += new[: (count + number % 2) // 2]
    return chosen


def _agreement(rng: Random, one: Side) -> tuple[str, str]:
    """Agreement: a verb has the number of its subject."""
    thing, place = rng.choice((*THINGS, *PEOPLE)), rng.choice(PLACES)
    subject = f"One {thing}" if one else f"Two {plural(thing)}"
    return _either(one, f"{subject} is at the {place}.", f"{subject} are at the {place}.")


def _agreement_across(rng: Random, one: Side) -> tuple[str, str]:
    """Agreement across a noun of the other number, between subject and verb."""
    who, thing, place = rng.choice(PEOPLE), rng.choice(THINGS), rng.choice(PLACES)
    subject = (
        f"The {who} with the {plural(thing)}" if one else f"The {plural(who)} with the {thing}"
    )
    return _either(one, f"{subject} is at the {place}.", f"{subject} are at the {place}.")


def _number_and_noun(rng: Random, one: Side) -> tuple[str, str]:
    """Nouns: a noun has the number that is said before it."""
    thing, place = rng.choice((*THINGS, *PEOPLE)), rng.choice(PLACES)
    before, verb = ("One", "is") if one else ("Two", "are")
    forms = (f"{before} {noun} {verb} at the {place}." for noun in (thing, plural(thing)))
    return _either(one, *forms)


def _article(rng: Random, an: Side) -> tuple[str, str]:
    """Articles: `an` before a vowel, `a` before a consonant."""
    name, place = rng.choice(NAMES), rng.choice(PLACES)
    thing = rng.choice(WITH_AN if an else WITH_A)
    return _either(
        an, f"{name} took an {thing} to the {place}.", f"{name} took a {thing} to the {place}."
    )


def _tense(rng: Random, routine: Side) -> tuple[str, str]:
    """Tense: yesterday is told in the past. There is no side on which the present is right."""
    if routine:
        present, past, _ = rng.choice(ROUTINES)
        who, rest = rng.choice(NAMES), f"to the {rng.choice(PLACES)}"
    else:
        present, past, _, things = rng.choice(ACTIONS)
        who, rest = f"the {rng.choice(PEOPLE)}", f"the {rng.choice(things)}"
    return f"Yesterday {who} {past} {rest}.", f"Yesterday {who} {present} {rest}."


def _verb_form(rng: Random, helped: Side) -> tuple[str, str]:
    """Verb forms: the plain form after `does not`, and not directly after a name."""
    present, _, base = rng.choice(ROUTINES)
    name, friend = rng.sample(NAMES, 2)
    place = rng.choice(PLACES)
    start = f"{name} does not" if helped else name
    forms = (f"{start} {verb} to the {place} with {friend}." for verb in (base, present))
    return _either(helped, *forms)


def _roles(rng: Random, passive: Side) -> tuple[str, str]:
    """Roles: people do things to things, in the same words."""
    _, past, participle, things = rng.choice(ACTIONS)
    who, thing = f"The {rng.choice(PEOPLE)}", f"The {rng.choice(things)}"
    if passive:
        return (
            f"{thing} was {participle} by {_lower(who)}.",
            f"{who} was {participle} by {_lower(thing)}.",
        )
    return f"{who} {past} {_lower(thing)}.", f"{thing} {past} {_lower(who)}."


def _word_order(rng: Random, place: Side) -> tuple[str, str]:
    """Order: a verb before its object, a preposition before its noun, in the same words."""
    name, when = rng.choice(NAMES), rng.choice(WHEN)
    if place:
        where = rng.choice(PLACES)
        return (
            f"{name} was at the {where} {when}.",
            f"{name} was the {where} at {when}.",
        )
    _, past, _, things = rng.choice(ACTIONS)
    thing = rng.choice(things)
    return f"{name} {past} the {thing} {when}.", f"{name} the {thing} {past} {when}."


def _reflexive(rng: Random, woman: Side) -> tuple[str, str]:
    """Reflexives: they have the gender of the name. The world's text has none, and teaches none."""
    name = rng.choice(WOMEN if woman else [name for name in NAMES if name not in WOMEN])
    start = f"{name} carried the {rng.choice(THINGS)} to the {rng.choice(PLACES)} by"
    return _either(woman, f"{start} herself.", f"{start} himself.")


PHENOMENA: dict[str, Callable[[Random, Side], tuple[str, str]]] = {
    "agreement": _agreement,
    "agreement_across": _agreement_across,
    "number_and_noun": _number_and_noun,
    "article": _article,
    "tense": _tense,
    "verb_form": _verb_form,
    "roles": _roles,
    "word_order": _word_order,
    "reflexive": _reflexive,
}


def _either(first: bool, a: str, b: str) -> tuple[str, str]:
    return (a, b) if first else (b, a)


def _lower(noun: str) -> str:
    """Return a noun with its article as it is inside a sentence."""
    return noun[0].lower() + noun[1:]
