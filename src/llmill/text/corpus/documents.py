"""Raw text files as clean documents.

Input: the files of a source and its format. Output: documents without byte-order marks, carriage
returns, trailing spaces, and Project Gutenberg's header, credits, licence and trailer. Each row of
a table is a text of its own; text is never joined across rows.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from llmill.contract.errors import UserError
from llmill.contract.record import sha256_text
from llmill.text.corpus.passages import passages
from llmill.text.files import readers
from llmill.text.halves import without_halves

START = re.compile(r"^ *\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG[^*]*\*\*\*", re.M)
END = re.compile(r"^ *\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG", re.M)
NOTICE, CREDIT = "project gutenberg", re.compile(r"(?:produced by|e-?text prepared by)\b", re.I)
# Spaces at the end of a line, or a line of only spaces.
LOOSE = re.compile(r"[^\S\n](?:\n|\Z)")
# Share of a book's width: a line that stays shorter even with the next word ended on purpose.
FULL = 0.75


@dataclass(frozen=True, slots=True)
class Document:
    """A text, its source, and the hash that identifies it."""

    text: str
    source: str
    id: str


def read(
    files: Iterable[Path],
    source: str,
    form: str,
    passage_words: int,
    column: str | None = None,
    encoding: str | None = None,
) -> Iterator[Document]:
    """Yield the documents of a source's files, in order.

    `form`: gutenberg, prose, paragraphs, or documents, where each text is one document. `column`
    and `encoding` are as in `readers.texts`.
    """
    for file in files:
        empty = True
        for text in readers.texts(file, column, encoding):
            for part in _parts(clean(text), file, form, passage_words):
                empty = False
                yield Document(part, source, sha256_text(part))
        if empty:
            raise UserError(f"{file}: no text in it; remove it from its source, or replace it")


def _parts(text: str, file: Path, form: str, passage_words: int) -> list[str]:
    if form == "documents":
        return [text.strip("\n")] if text.strip() else []
    if form == "paragraphs":
        return paragraphs(text)
    if form == "prose":
        return passages(paragraphs(text), passage_words)
    parts = paragraphs(strip_gutenberg(text, file))
    return passages(unwrap([p for p in parts if not _is_notice(p)]), passage_words)


def clean(text: str) -> str:
    """Return a text with plain line ends, no spaces before them, and nothing in blank lines.

    A lone surrogate, which JSON can spell, becomes U+FFFD.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    whole = without_halves(text)
    if not LOOSE.search(whole):
        return whole
    return "\n".join("" if x.isspace() else x.rstrip(" \t") for x in whole.split("\n"))


def strip_gutenberg(text: str, file: Path) -> str:
    """Return the text between the marks `*** START OF ...` and `*** END OF ...`."""
    start = START.search(text)
    end = END.search(text, start.end()) if start else None
    if not start or not end:
        mark = "START" if not start else "END"
        raise UserError(
            f"{file}: no line '*** {mark} OF THE PROJECT GUTENBERG ...'; "
            "the source of a file without such marks has `format: prose`"
        )
    return text[start.end() : end.start()]


def paragraphs(text: str) -> list[str]:
    """Return the blocks between blank lines."""
    parts = (part.strip("\n") for part in text.split("\n\n"))
    return [part for part in parts if part.strip()]


def _is_notice(part: str) -> bool:
    return NOTICE in part.lower() or CREDIT.match(part) is not None


def unwrap(parts: list[str]) -> list[str]:
    """Join the lines of paragraphs wrapped at a book's width. Verse and tables keep theirs."""
    lengths = sorted(len(line) for part in parts for line in part.split("\n"))
    width = lengths[len(lengths) * 19 // 20] if lengths else 0
    return [_join(part) if _wrapped(part.split("\n"), FULL * width) else part for part in parts]


def _wrapped(lines: list[str], width: float) -> bool:
    """Return whether no line except the last had room for the first word of the next line."""
    return all(
        len(line) >= width or len(line) + 1 + len(after.lstrip(" ").split(" ", 1)[0]) > width
        for line, after in pairwise(lines)
    )


def _join(part: str) -> str:
    return " ".join(line.strip() for line in part.split("\n"))
