"""Removes duplicates, then splits rows into train, validate and test by content alone, so that no
content is in two splits.

A row keeps its split when rows are added or when the share of another split changes. A conversation
is the exception: it follows a shorter conversation that it begins with.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import TypeVar

from llmill.contract.record import sha256_text
from llmill.text.identity import fraction, normal

NAMES = ("train", "validate", "test")
Row = TypeVar("Row")
Key = Callable[[Row], str]


def part(content: str, validate_share: float, test_share: float) -> str:
    """Return the split that a content belongs to."""
    place = fraction(content, "split")
    if place < test_share:
        return "test"
    return "validate" if place < test_share + validate_share else "train"


def distinct(rows: Iterable[Row], key: Key[Row]) -> list[Row]:
    """Return the rows whose key does not repeat an earlier one, ignoring case and white space."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(normal(key(row)), row)
    return list(first.values())


def split(
    rows: Iterable[Row], key: Key[Row], validate_share: float, test_share: float
) -> dict[str, list[Row]]:
    """Group rows by split. Rows with the same key, ignoring case and white space, stay together."""
    parts: dict[str, list[Row]] = {name: [] for name in NAMES}
    for row in rows:
        parts[part(normal(key(row)), validate_share, test_share)].append(row)
    return parts


def beginnings(said: Sequence[str]) -> list[str]:
    """Return a key of a conversation up to each message; up to the first, this is its text."""
    found = [normal(said[0])]
    for content in said[1:]:
        found.append(sha256_text(f"{found[-1]}\n{normal(content)}"))
    return found


def whole(said: Sequence[str]) -> str:
    """Return the key that identifies a conversation."""
    return beginnings(said)[-1]


def opening(said: Sequence[str], known: Container[str]) -> str:
    """Return the key of the shortest beginning that is a known conversation, or of the whole one.

    A model that learns the longer conversation also learns the answer that the shorter one asks
    for.
    """
    each = beginnings(said)
    return next((one for one in each if one in known), each[-1])


def placed(splits: Mapping[str, Iterable[Sequence[str]]]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the split of each whole conversation, and the split of each of their beginnings.

    A beginning of several conversations is in the first split, in the order of `NAMES`, that has
    one of them.
    """
    wholes, within = {}, {}
    for name in reversed(NAMES):
        for said in splits[name]:
            each = beginnings(said)
            within.update(dict.fromkeys(each, name))
            wholes[each[-1]] = name
    return wholes, within
