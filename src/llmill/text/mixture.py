"""Mixes sources by weight: how many times each document is seen, and in which order.

Both follow from the document alone, so a new source moves no document of another in or out.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from llmill.contract.record import sha256_text
from llmill.text.documents import Document
from llmill.text.identity import fraction

Row = TypeVar("Row")


def copies(identity: str, weight: float) -> int:
    """How many times a document is seen: 1.5 is once for all and once more for half, by hash."""
    whole = int(weight)
    return whole + (fraction(identity, "weight") < weight - whole)


def mix(documents: Iterable[Document], weights: dict[str, float]) -> list[Document]:
    """Every copy of every document, in an order that is a function of its hash and number."""
    ranked = [
        (sha256_text(f"{copy}:{document.id}"), document)
        for document in documents
        for copy in range(copies(document.id, weights[document.source]))
    ]
    return [document for _, document in sorted(ranked, key=lambda pair: pair[0])]


def repeated(
    rows: Iterable[tuple[Row, str]], identity: Callable[[Row], str], weights: dict[str, float]
) -> list[Row]:
    """Rows of these sources, each as often as it is seen, in their own order."""
    return [row for row, source in rows for _ in range(copies(identity(row), weights[source]))]
