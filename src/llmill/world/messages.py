"""Short messages, ham or spam: hard ones, told apart by who does what to whom, and everyday ones.

Both come from patterns with gaps. Some patterns (whole pairs of the hard ones) are kept out of the
messages to learn from, and are used in tests of their own. A third test has messages of no pattern.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from random import Random

from llmill.contract.errors import UserError
from llmill.world import everyday_messages, hard_messages
from llmill.world.settings import World

DRAW = 4  # another number keeps other patterns out; due once the tests were looked at
UNSEEN_PERCENT = 20  # of the patterns
EVERYDAY_SHARE = 0.4
SPAM_SHARE = 0.45
TEST_SHARE = 1 / 9  # size of a test of unseen patterns, per message asked for

LabelledTexts = list[tuple[str, str]]  # label and text
Patterns = Sequence[Mapping[str, str]]  # texts by label; those of one mapping stay together
Write = Callable[[Mapping[str, str], str, Random], str]


def make(settings: World) -> LabelledTexts:
    """Return distinct messages, shuffled: to learn from and, filled anew, to test."""
    rng = Random(f"{settings.seed}/messages")
    everyday = round(EVERYDAY_SHARE * settings.messages)
    hard = settings.messages - everyday
    messages = [
        *_draw(known(hard_messages.pairs()), hard_messages.write, hard, rng),
        *_draw(known(everyday_messages.patterns()), everyday_messages.write, everyday, rng),
    ]
    return rng.sample(messages, len(messages))


def tests(settings: World) -> dict[str, LabelledTexts]:
    """Return further tests by name: unseen patterns of both kinds, and messages of no pattern."""
    rng = Random(f"{settings.seed}/unseen messages")
    count = max(20, round(TEST_SHARE * settings.messages))
    return {
        "unseen_patterns": _draw(unseen(hard_messages.pairs()), hard_messages.write, count, rng),
        "unseen_everyday_patterns": _draw(
            unseen(everyday_messages.patterns()), everyday_messages.write, count, rng
        ),
        "everyday": everyday_messages.for_test(),
    }


def known(patterns: Patterns) -> Patterns:
    """Return the patterns that messages to learn from are made of."""
    return [each for each in patterns if not _kept_out(each)]


def unseen(patterns: Patterns) -> Patterns:
    """Return the patterns that only a test holds."""
    return [each for each in patterns if _kept_out(each)]


def file_text(messages: LabelledTexts) -> str:
    """Return the lines of `SMSSpamCollection`: label, tab, text."""
    return "".join(f"{label}\t{text}\n" for label, text in messages)


def _kept_out(pattern: Mapping[str, str]) -> bool:
    """Return whether a pattern is kept out: by a hash, so adding patterns does not move others."""
    key = f"{DRAW}/{' | '.join(pattern.values())}"
    return int(sha256(key.encode()).hexdigest(), 16) % 100 < UNSEEN_PERCENT


def _draw(patterns: Patterns, write: Write, count: int, rng: Random) -> LabelledTexts:
    """Return `count` distinct messages, of both labels."""
    spam = round(SPAM_SHARE * count)
    messages: LabelledTexts = []
    for label, number in (("spam", spam), ("ham", count - spam)):
        with_label = [pattern for pattern in patterns if label in pattern]
        messages += [(label, text) for text in _distinct(with_label, label, write, number, rng)]
    return messages


def _distinct(patterns: Patterns, label: str, write: Write, count: int, rng: Random) -> list[str]:
    """Return `count` distinct messages, equally many of every pattern as far as possible."""
    messages: dict[str, None] = {}
    order = rng.sample(patterns, len(patterns))
    for turn in range(20 * count):
        if len(messages) == count:
            break
        messages[write(order[turn % len(order)], label, rng)] = None
    if len(messages) < count:
        raise UserError(
            f"download.world.messages: the world has fewer than {count} per label; lower it"
        )
    return list(messages)
