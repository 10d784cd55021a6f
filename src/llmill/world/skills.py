"""Instructions that need no fact of the tables: rewriting, counting, sorting, judging, small sums.

A maker draws one `Draft` from a vocabulary so small that every word occurs often, in so many
combinations that most test instructions are new.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
from llmill.world.split import home, part, sum_name

TIMES = ("on Monday", "on Friday", "in the morning", "before lunch", "after work", "in spring")
TRAITS = ("who lives near the river", "who has two sons", "with the red hat", "who sings well")


@dataclass(frozen=True)
class Draft:
    """A task with its right answer, other right answers, and fluent wrong ones."""

    instruction: str
    input: str
    output: str
    paraphrases: tuple[str, ...]
    wrong: tuple[str, ...]


def passive(rng: Random) -> Draft:
    """Rewrite an active sentence in the passive."""
    _, past, participle, things = rng.choice(ACTIONS)
    thing, other = rng.sample(things, 2)
    who, stranger = rng.sample(PEOPLE, 2)
    active = f"The {who} {past} the {thing}."
    if home(active) != "input" or _told(past, (who, other), (stranger, thing)):
        return passive(rng)
    return Draft(
        rng.choice(("Rewrite the sentence in the passive voice.", "Make the sentence passive.")),
        active,
        f"The {thing} was {participle} by the {who}.",
        (),
        (
            f"The {who} was {participle} by the {thing}.",
            f"The {other} was {participle} by the {who}.",
            f"The {thing} was {participle} by the {stranger}.",
        ),
    )


def shortening(rng: Random) -> Draft:
    """Shorten a long sentence to its core."""
    _, past, _, things = rng.choice(ACTIONS)
    thing, other = rng.sample(things, 2)
    who, stranger = rng.sample(PEOPLE, 2)
    trait, time = rng.choice(TRAITS), rng.choice(TIMES)
    short = f"The {who} {past} the {thing}."
    if home(short) != "output" or _told(past, (who, other), (stranger, thing)):
        return shortening(rng)
    return Draft(
        rng.choice(("Say it in one short sentence.", "Shorten the sentence.")),
        f"The {who} {trait} {past} the {thing} {time}.",
        short,
        (),
        (
            f"The {stranger} {past} the {thing}.",
            f"The {who} {past} the {other}.",
            f"The {thing} {past} the {who}.",
        ),
    )


def sentiment(rng: Random) -> Draft:
    """Judge whether a review is positive or negative."""
    good = rng.random() < 0.5
    first, second = rng.sample(GOOD if good else BAD, 2)
    one, two = rng.sample(REVIEWED, 2)
    feeling, other = ("positive", "negative") if good else ("negative", "positive")
    return Draft(
        rng.choice(("Is this review positive or negative?", "Judge the feeling of the review.")),
        rng.choice(
            (f"The {one} was {first} and the {two} was {second}.", f"A {first} {one}, I must say.")
        )
        .replace("A a", "An a")
        .replace("A e", "An e"),
        f"The review is {feeling}.",
        (f"It is a {feeling} review.",),
        (f"The review is {other}.", f"It is a {other} review."),
    )


def many(rng: Random) -> Draft:
    """Rewrite the singular in the plural."""
    thing, place = rng.choice(_things()), rng.choice(PLACES)
    place2 = rng.choice([p for p in PLACES if p != place])
    return Draft(
        "Write the sentence in the plural.",
        f"The {thing} is at the {place}.",
        f"The {plural(thing)} are at the {place}.",
        (),
        (
            f"The {plural(thing)} is at the {place}.",
            f"The {thing} are at the {place}.",
            f"The {plural(thing)} are at the {place2}.",
        ),
    )


def tense(rng: Random) -> Draft:
    """Rewrite the present in the past."""
    present, past, base = rng.choice(ROUTINES)
    name, place, when = (
        rng.choice(NAMES),
        rng.choice(PLACES),
        rng.choice(("", " alone", " with me")),
    )
    if home(f"{name} {present} to the {place}.") == "text":
        return tense(rng)
    return Draft(
        rng.choice(("Put the sentence into the past tense.", "Write this as if it was yesterday.")),
        f"{name} {present} to the {place}{when}.",
        f"{name} {past} to the {place}{when}.",
        (),
        (f"{name} {present} to the {place}{when}.", f"{name} will {base} to the {place}{when}."),
    )


def negation(rng: Random) -> Draft:
    """Negate a sentence."""
    present, past, base = rng.choice(ROUTINES)
    name, place = rng.choice(NAMES), rng.choice(PLACES)
    sentence = f"{name} {present} to the {place}."
    if home(sentence) == "text":
        return negation(rng)
    return Draft(
        rng.choice(("Make the sentence negative.", "Say that this is not so.")),
        sentence,
        f"{name} does not {base} to the {place}.",
        (f"{name} doesn't {base} to the {place}.",),
        (f"{name} {past} to the {place}.", f"{name} does not {present} to the {place}."),
    )


def asking(rng: Random) -> Draft:
    """Turn a sentence into a question."""
    present, past, base = rng.choice(ROUTINES)
    name, place = rng.choice(NAMES), rng.choice(PLACES)
    sentence = f"{name} {present} to the {place}."
    if home(sentence) == "text":
        return asking(rng)
    return Draft(
        "Turn the sentence into a question.",
        sentence,
        f"Does {name} {base} to the {place}?",
        (),
        (f"Does {name} {present} to the {place}?", f"{name} {past} to the {place}."),
    )


def counting(rng: Random) -> Draft:
    """Count the items of a list."""
    count = rng.randint(3, 6)  # the text lists most pairs of words
    words = rng.sample(ALL_WORDS, count)
    if words == sorted(words):  # as the text lists words
        return counting(rng)
    wrong = rng.sample([n for n in range(2, 8) if n != count], 2)
    return Draft(
        rng.choice(("Count the items.", "How many items are in the list?")),
        ", ".join(words),
        f"The list has {NUMBER_WORDS[count]} items.",
        (f"There are {NUMBER_WORDS[count]} items in the list.",),
        tuple(f"The list has {NUMBER_WORDS[n]} items." for n in wrong),
    )


def sorting(rng: Random) -> Draft:
    """Sort three words by the alphabet."""
    first = rng.sample(sorted({word[0] for word in ALL_WORDS}), 3)
    words = [rng.choice([w for w in ALL_WORDS if w[0] == letter]) for letter in first]
    a, b, c = sorted(words)
    if words == [a, b, c]:
        return sorting(rng)
    return Draft(
        rng.choice(("Sort the words by the alphabet.", "Put the words in alphabetical order.")),
        ", ".join(words),
        f"{a}, {b}, {c}",
        (f"{a}, {b} and {c}",),
        (f"{b}, {a}, {c}", f"{c}, {b}, {a}"),
    )


def arithmetic(rng: Random) -> Draft:
    """Work out sums of small numbers, without the sums of the text and of questions."""
    a, b, word = rng.randint(2, 40), rng.randint(2, 20), rng.choice(("plus", "minus"))
    if word == "minus":
        a += b
    name = sum_name(a, word, b)
    if part(name) != "train" or home(name) == "text":
        return arithmetic(rng)
    result = a + b if word == "plus" else a - b
    sign = "+" if word == "plus" else "-"
    wrong = rng.sample([n for n in range(result - 10, result + 11) if n >= 0 and n != result], 2)
    return Draft(
        f"Work out {a} {sign} {b}.",
        "",
        f"{a} {word} {b} is {result}.",
        (f"The result is {result}.", f"{a} {sign} {b} = {result}"),
        tuple(f"{a} {word} {b} is {n}." for n in wrong),
    )


def numerals(rng: Random) -> Draft:
    """Convert numbers to Roman numerals and back."""
    number = rng.randint(1, 99)
    others = rng.sample([n for n in range(1, 100) if n != number], 2)
    if rng.random() < 0.5:
        wording = rng.choice(("Write {} as a Roman numeral.", "Put {} into Roman numerals."))
        symbol, answer, wrong = str(number), roman(number), tuple(roman(n) for n in others)
        sentence = "The Roman numeral for {0} is {1}."
    else:
        wording = rng.choice(("Read the Roman numeral {}.", "Write {} with our digits."))
        symbol, answer, wrong = roman(number), str(number), tuple(str(n) for n in others)
        sentence = "{0} is the number {1}."
    return Draft(
        wording.format(symbol),
        "",
        sentence.format(symbol, answer),
        (answer,),
        tuple(sentence.format(symbol, w) for w in wrong),
    )


def conversion(rng: Random) -> Draft:
    """Convert a large unit to a small one."""
    large, small, size = rng.choice(CONVERSIONS)
    count = rng.randint(2, 20)
    wrong = rng.sample([n for n in range(2, 22) if n != count], 2)
    return Draft(
        rng.choice((f"Convert {count} {large} into {small}.", f"Give {count} {large} in {small}.")),
        "",
        f"{count} {large} are {count * size} {small}.",
        (f"There are {count * size} {small} in {count} {large}.",),
        tuple(f"{count} {large} are {n * size} {small}." for n in wrong),
    )


def grouping(rng: Random) -> Draft:
    """Find the group that a word belongs to, or the word that does not belong."""
    group, other, third = rng.sample(sorted(GROUPS), 3)
    words = rng.sample(GROUPS[group], 3)
    if rng.random() < 0.3:
        sentence = f"{capital(article(words[0]))} is {{}}."
        listed = ", ".join(rng.sample([group, other, third], 3))
        right, wrong = article(group), (article(other), article(third))
        return Draft(
            "Choose the group of the word.",
            f"{words[0]}: {listed}",
            sentence.format(right),
            (f"It is {right}.",),
            tuple(sentence.format(w) for w in wrong),
        )
    odd = rng.choice(GROUPS[other])
    four = rng.sample([*words, odd], 4)
    if four == sorted(four):  # as the text lists words
        return grouping(rng)
    return Draft(
        rng.choice(("Which word does not belong?", "Find the word that does not fit.")),
        ", ".join(four),
        f"The word {odd} does not belong.",
        (f"It is {odd}.",),
        tuple(f"The word {word} does not belong." for word in words[:2]),
    )


SKILLS: dict[str, Callable[[Random], Draft]] = {
    "passive voice": passive,
    "summary": shortening,
    "sentiment": sentiment,
    "plural": many,
    "tense": tense,
    "negation": negation,
    "asking": asking,
    "counting": counting,
    "sorting": sorting,
    "arithmetic": arithmetic,
    "roman numerals": numerals,
    "conversion": conversion,
    "grouping": grouping,
}


def _told(past: str, *wrong: tuple[str, str]) -> bool:
    """Return whether the text may tell what one of the wrong answers says. A model would then know
    wrong answers by their being familiar.
    """
    return any(home(f"The {who} {past} the {thing}.") == "text" for who, thing in wrong)


def _things() -> list[str]:
    return sorted({thing for action in ACTIONS for thing in action[3]} | set(PEOPLE))
