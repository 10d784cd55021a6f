"""Repeats out, then train, validate and test: by content alone, so that nothing is in two of them.

A row stays where it is when others are added or when the share of another split changes; but a
conversation goes where a shorter one goes that it begins with.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import TypeVar

from llmill.contract.record import sha256_text
from llmill.text.identity import fraction, normal

NAMES = ("train", "validate", "test")
Row = TypeVar("Row")
Key = Callable[[Row], str]


def part(content: str, validate_share: float, test_share: float) -> str:
    """The split a content belongs to."""
    place = fraction(content, "split")
    if place < test_share:
        return "test"
    return "validate" if place < test_share + validate_share else "train"


def distinct(rows: Iterable[Row], key: Key[Row]) -> list[Row]:
    """Rows whose key is, but for case and white space, no earlier one's."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(normal(key(row)), row)
    return list(first.values())


def split(
    rows: Iterable[Row], key: Key[Row], validate_share: float, test_share: float
) -> dict[str, list[Row]]:
    """Rows by split; those of the same key, but for case and white space, go together."""
    parts: dict[str, list[Row]] = {name: [] for name in NAMES}
    for row in rows:
        parts[part(normal(key(row)), validate_share, test_share)].append(row)
    return parts


def beginnings(said: Sequence[str]) -> list[str]:
    """What identifies a conversation up to each of its messages; up to the first, its text."""
    found = [normal(said[0])]
    for content in said[1:]:
        found.append(sha256_text(f"{found[-1]}\n{normal(content)}"))
    return found


def whole(said: Sequence[str]) -> str:
    """What identifies a conversation."""
    return beginnings(said)[-1]


def opening(said: Sequence[str], known: Container[str]) -> str:
    """The shortest beginning that is a known conversation, else the whole: what learns the longer
    one learns the answer that is asked for in the shorter.
    """
    each = beginnings(said)
    return next((one for one in each if one in known), each[-1])


def placed(splits: Mapping[str, Iterable[Sequence[str]]]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the split of each whole conversation, and of each of their beginnings. A beginning of
    several is in the first split, in the order of `NAMES`, that has one of them.
    """
    wholes, within = {}, {}
    for name in reversed(NAMES):
        for said in splits[name]:
            within.update(dict.fromkeys(beginnings(said), name))
            wholes[whole(said)] = name
    return wholes, within
