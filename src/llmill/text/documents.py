"""Raw text files as clean documents.

In: the files of a source and its format. Out: documents, without byte-order marks, carriage
returns, trailing spaces or Project Gutenberg's header, credits, licence and trailer.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from llmill.contract.errors import UserError
from llmill.contract.record import sha256_text

START = re.compile(r"^ *\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG[^*]*\*\*\*", re.M)
END = re.compile(r"^ *\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG", re.M)
NOT_THE_BOOK = re.compile(r"project gutenberg|^(?:produced by|e-?text prepared by)\b", re.I)
FULL = (
    0.75  # of a book's width: a line that would not be so long with the next word ended on purpose
)


@dataclass(frozen=True, slots=True)
class Document:
    """A text, where it comes from, and the hash it is known by."""

    text: str
    source: str
    id: str


def read(files: Iterable[Path], source: str, form: str, passage_words: int) -> Iterator[Document]:
    """The documents of a source's files, in order. `form`: gutenberg, prose or paragraphs."""
    for file in files:
        text = clean(file)
        if form == "gutenberg":
            text = strip_gutenberg(text, file)
        parts = paragraphs(text)
        if form == "gutenberg":
            parts = unwrap([part for part in parts if not NOT_THE_BOOK.search(part)])
        if form != "paragraphs":
            parts = passages(parts, passage_words)
        if not parts:
            raise UserError(f"{file}: no text in it; remove it from its source, or replace it")
        for part in parts:
            yield Document(part, source, sha256_text(part))


def clean(file: Path) -> str:
    """A file's text with plain line ends and no byte-order mark or spaces before a line end."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 at byte {error.start}; convert it to UTF-8") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(line.rstrip(" \t") for line in text.split("\n"))


def strip_gutenberg(text: str, file: Path) -> str:
    """What stands between the marks `*** START OF ...` and `*** END OF ...`."""
    start = START.search(text)
    end = END.search(text, start.end()) if start else None
    if not start or not end:
        mark = "START" if not start else "END"
        raise UserError(
            f"{file}: no line '*** {mark} OF THE PROJECT GUTENBERG ...'; "
            "a file without such marks has `format: prose` in sources.yaml"
        )
    return text[start.end() : end.start()]


def paragraphs(text: str) -> list[str]:
    """The blocks between blank lines."""
    return [part for part in re.split(r"\n{2,}", text.strip("\n")) if part.strip()]


def unwrap(parts: list[str]) -> list[str]:
    """Join the lines of paragraphs broken at the book's width; verse and tables keep theirs."""
    lengths = sorted(len(line) for part in parts for line in part.split("\n"))
    width = lengths[len(lengths) * 19 // 20] if lengths else 0
    return [_join(part) if _wrapped(part.split("\n"), FULL * width) else part for part in parts]


def _wrapped(lines: list[str], width: float) -> bool:
    """Whether no line but the last could have held the first word of the next one."""
    return all(
        len(line) + 1 + len(after.lstrip(" ").split(" ", 1)[0]) > width
        for line, after in pairwise(lines)
    )


def _join(part: str) -> str:
    return " ".join(line.strip() for line in part.split("\n"))


def passages(parts: list[str], words: int) -> list[str]:
    """Paragraphs in order, put together to passages as near to `words` words as they allow."""
    texts: list[str] = []
    pending: list[str] = []
    count = 0
    for part in parts:
        n = len(part.split())
        if pending and count + n - words > words - count:
            texts.append("\n\n".join(pending))
            pending, count = [], 0
        pending.append(part)
        count += n
    return [*texts, "\n\n".join(pending)] if pending else texts
