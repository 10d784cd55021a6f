"""Messages that are ham or spam by who does what to whom, and not by their words.

Spam asks its reader to pay, click, call or send something, for a promise. Ham uses the same words
about what others must do, warns of such requests, or takes them back. A pattern is a wording of a
row of `tables/message_pairs.tsv`: spam, and its ham. A remark that both may have goes before or
after it.
"""

import re
from collections.abc import Mapping
from functools import cache
from itertools import product
from random import Random

from llmill.world.everyday import ACTS, PRIZES
from llmill.world.facts import read_csv
from llmill.world.grammar import sentences
from llmill.world.lexicon import NAMES, PLACES

REMARK_SHARE = 0.4  # of the messages, with a remark
REMARKS = (  # for spam and ham
    "{prize} is waiting for you",
    "you have won {prize}",
    "{other} {acted} {past_day}",
    "{other} got {prize} {past_day}",
    "the parcel came {past_day}",
    "your account was locked {past_day}",
    "my account was locked {past_day}",
    "it is about {prize}",
    "this is the last day",
    "the bank knows about it",
    "nobody was home {past_day}",
    "I was at the {place} {past_day}",
    "we have not heard from {other}",
    "you were right {past_day}",
    "you were chosen {past_day}",
    "I do not want {prize}",
    "you do not have to pay for {prize}",
    "{other} has lost {prize}",
    "{other} will not lose {prize}",
    "you told us about {prize} {past_day}",
    "I told {other} about {prize}",
    "Mum and Dad know about it",
    "your friend {other} was asked, too",
    "I have {prize} here",
    "{prize} is at the {place}",
    "{other} and I are at the {place} {soon}",
    "you will get {prize}",
    "I will be home {soon}",
    "it will not take long",
)
CHOICE = re.compile(r"\[[^\]]*\]")
WAITS = (
    "wait",
    "stay at home",
    "think about it",
    "ask {other}",
    "tell your mum",
    "go to the bank",
    "look at it again",
    "take your time",
)
SECRETS = (
    "the money",
    "the code",
    "the card number",
    "the password",
    "the account details",
    "the key",
)
PAST_DAYS = ("yesterday", "on Monday", "on Friday", "last week", "this morning", "last night")
SOON = ("now", "today", "this evening", "tomorrow", "at noon", "before Sunday", "this week")
OPENINGS = ("", "", "Hi {friend}, ", "Hello {friend}. ", "Dear {friend}, ", "Good morning. ")
ENDINGS = (
    "",
    "",
    " Thank you",
    " See you {soon}",
    " Have a nice day",
    " I hope you are well",
    " I will call you {soon}",
)


@cache
def pairs() -> tuple[dict[str, str], ...]:
    """Return every pattern by label: spam, and the ham that differs in who does what to whom."""
    return tuple(pair for row in read_csv("message_pairs.tsv", "\t") for pair in _wordings(row))


def _wordings(row: dict[str, str]) -> list[dict[str, str]]:
    """Return the pair in each wording: one choice of every `[a|b]`, the same in both texts."""
    choices = sorted(set(CHOICE.findall(row["spam"])))
    found = []
    for words in product(*(choice.strip("[]").split("|") for choice in choices)):
        texts = dict(row)
        for choice, word in zip(choices, words, strict=True):
            texts = {label: text.replace(choice, word) for label, text in texts.items()}
        found.append(texts)
    return found


def write(pair: Mapping[str, str], label: str, rng: Random) -> str:
    """Return a message: the pattern with its gaps filled, often with remark, greeting and end."""
    fields = _fields(rng)
    parts = [pair[label]]
    if rng.random() < REMARK_SHARE:
        parts.insert(rng.randrange(2), rng.choice(REMARKS))
    said = [part.format(**fields) for part in parts]
    body = " ".join(part + ("" if part.endswith("?") else rng.choice("..!")) for part in said)
    opening, ending = rng.choice(OPENINGS).format(**fields), rng.choice(ENDINGS).format(**fields)
    close = rng.choice((".", "!", "")) if ending else ""
    return sentences(f"{opening}{body}{ending}{close}")


def _fields(rng: Random) -> dict[str, str]:
    """Draw one choice for every gap of the patterns."""
    act, acted = rng.choice(ACTS)
    friend, name, other = rng.sample(NAMES, 3)
    return {
        "act": act,
        "acted": acted,
        "prize": rng.choice(PRIZES),
        "wait": rng.choice(WAITS).format(other=other),
        "secret": rng.choice(SECRETS),
        "name": name,
        "other": other,
        "friend": friend,
        "place": rng.choice(PLACES),
        "soon": rng.choice(SOON),
        "past_day": rng.choice(PAST_DAYS),
    }
