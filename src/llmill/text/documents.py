"""Raw text files as clean documents.

In: the files of a source and its format. Out: documents, without byte-order marks, carriage returns, trailing spaces
or Project Gutenberg's header, credits, licence and trailer.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmill.contract.errors import UserError
from llmill.contract.record import sha256_text

START = re.compile(r"^ *\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG[^*]*\*\*\*", re.M)
END = re.compile(r"^ *\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG", re.M)
NOT_THE_BOOK = re.compile(r"project gutenberg|^(?:produced by|e-?text prepared by)\b", re.I)
WRAPPED = 0.75  # of a book's line width: a shorter line that could have held the next word was ended on purpose


@dataclass(frozen=True, slots=True)
class Document:
    """A text, where it comes from, and the hash it is known by."""

    text: str
    source: str
    id: str


def read(
    files: Iterable[Path], source: str, form: str, passage_words: int
) -> Iterator[Document]:
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
    return re.sub(r"[ \t]+$", "", text, flags=re.M)


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
    return [part for part in re.split(r"\n{2,}", text.strip("\n")) if part]


def unwrap(parts: list[str]) -> list[str]:
    """Paragraphs with the lines joined that were broken at the width of the book; verse keeps its lines."""
    lengths = sorted(len(line) for part in parts for line in part.split("\n"))
    width = lengths[len(lengths) * 19 // 20] if lengths else 0
    return [_unwrap(part.split("\n"), WRAPPED * width) for part in parts]


def _unwrap(lines: list[str], width: float) -> str:
    text = before = lines[0]
    for line in lines[1:]:
        words = line.lstrip()
        deeper = len(line) - len(words) > len(before) - len(before.lstrip())
        full = len(before) + 1 + len(words.split(" ", 1)[0]) > width
        text += f" {words}" if full and not deeper else f"\n{line}"
        before = line
    return text


def passages(parts: list[str], words: int) -> list[str]:
    """Paragraphs put together, in order, to passages as near to `words` words as their ends allow."""
    made: list[str] = []
    held: list[str] = []
    count = 0
    for part in parts:
        n = len(part.split())
        if held and count + n - words > words - count:
            made.append("\n\n".join(held))
            held, count = [], 0
        held.append(part)
        count += n
    return [*made, "\n\n".join(held)] if held else made
