"""Text to learn from: a text file, packed rows of text, or a table with a column of texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmill.contract.errors import UserError
from llmill.new_data.finding import Finding, beginning, lengths
from llmill.runner import params
from llmill.text import words
from llmill.text.corpus.documents import clean, paragraphs
from llmill.text.files import endings, readers
from llmill.text.identity import normal


def prose(path: Path, source: dict[str, str]) -> Finding:
    """Return the finding for a text file, added to the present sources."""
    parts = paragraphs(clean("".join(readers.texts(path, None, source.get("encoding")))))
    if not parts:
        raise UserError(f"{path}: no text in it")
    lines = [
        f"{path}: text, {path.stat().st_size:,} bytes",
        f"paragraphs: {len(parts):,}; repeats: {repeats(parts):,}",
        f"words: {sum(map(words.count, parts)):,}",
        f"first text: {beginning(parts[0])}",
        *lengths("paragraphs", parts),
    ]
    return Finding(lines, "text", added(source))


def documents(path: Path, source: dict[str, str]) -> Finding:
    """Return the finding for packed rows of text, added to the present sources."""
    texts = [text for text in readers.texts(path, None, source.get("encoding")) if text.strip()]
    if not texts:
        raise UserError(f"{path}: no text in it")
    lines = [
        f"{path}: rows of text, {path.stat().st_size:,} bytes",
        f"rows: {len(texts):,}; repeats: {repeats(texts):,}",
        f"first text: {beginning(texts[0])}",
        *lengths("texts", texts),
    ]
    return Finding(lines, "text", added(source | {"format": "documents"}))


def repeats(texts: Sequence[str]) -> int:
    """Return how many texts repeat another one."""
    return len(texts) - len(set(map(normal, texts)))


def added(source: dict[str, str]) -> list[Any]:
    """Return the texts in `params.yaml`, without an own file of this one's name, then this one."""
    found: list[Any] = []
    for each in params.load().download.text:
        if isinstance(each, str):
            found.append(each)
        elif each.name != endings.without(source["file"]):
            found.append(each.model_dump(exclude_defaults=True))
    return [*found, source]
