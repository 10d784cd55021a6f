"""Divides labelled messages into splits: the rule of stage `prepare`, which `new-data` foresees.

It is apart from `classification`, so that a change of it retrains no classifier by itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from llmill.tasks.classification import PARTS, Collection, Contradiction, Message, settle
from llmill.tasks.settings import Split
from llmill.tasks.split import distinct, part
from llmill.text.identity import normal


@dataclass(frozen=True)
class Divided:
    """The different messages of a collection by split, and what was left out or settled."""

    parts: dict[str, list[Message]]
    contradictions: dict[str, Contradiction]  # by the normal form of the text
    duplicates: int
    in_tests: int  # different messages that a further test has, too


def divide(collection: Collection, shares: Split, tests: Iterable[Message] = ()) -> Divided:
    """Divide the different messages into splits, without those of further `tests`.

    Of the rest, messages that the collection holds out stay in their split. If it holds out none
    for a split, the split's share of the others is drawn. A text with several labels gets the one
    of `settle`.
    """
    contradictions = settle(collection.messages)
    unique = distinct(collection.ordered(), lambda row: row[0].text)
    tested = {normal(message.text) for message in tests}
    test_share = 0.0 if "test" in collection.splits else shares.test_share
    validate_share = 0.0 if "validate" in collection.splits else shares.validate_share
    parts: dict[str, list[Message]] = {name: [] for name in PARTS}
    for message, given in unique:
        key = normal(message.text)
        if key in tested:
            continue
        if key in contradictions:
            message = replace(message, label=contradictions[key].label)
        name = part(key, validate_share, test_share) if given in (None, "train") else given
        parts[name].append(message)
    kept = sum(map(len, parts.values()))
    duplicates = len(collection.messages) - len(unique)
    return Divided(parts, contradictions, duplicates, in_tests=len(unique) - kept)


def small_classes(parts: Mapping[str, Iterable[Message]]) -> dict[str, list[str]]:
    """Return the labels that some split lacks, sorted, and for each label these splits."""
    present = {name: {message.label for message in messages} for name, messages in parts.items()}
    without = {
        label: [name for name in parts if label not in present[name]]
        for label in sorted(set().union(*present.values()))
    }
    return {label: names for label, names in without.items() if names}
