"""Joins or cuts paragraphs into passages of about a given number of words."""

from collections.abc import Iterable, Iterator

import regex

from llmill.text.words import LETTER, count

Sized = tuple[str, int]  # a text and its words
TOO_LONG = 2  # times the words of a passage; a longer paragraph is cut
CLOSING = r"[\p{Pe}\p{Pf}\"']*+"
# Marks are matched only where their run begins. Trying every place in a long run would take
# quadratic time.
SENTENCE = regex.compile(
    rf".+?(?:(?<![.!?…])[.!?…]++{CLOSING}(?=\s)|[。！？｡]++{CLOSING}|\Z)\s*+", regex.DOTALL
)
# A word, or a character of a script without spaces, with the space after it.
PIECE = regex.compile(rf"(?V1){LETTER}[\p{{M}}\p{{P}}]*+\s*+|[\S--{LETTER}]++\s*+|\s++")


def passages(paragraphs: list[str], words: int) -> list[str]:
    """Join paragraphs, in order, to passages as near to `words` words as they allow.

    A paragraph of more than `TOO_LONG` times as many words is cut into passages of its own: at the
    ends of sentences, or of words if a sentence is that long, too.
    """
    texts: list[str] = []
    pending: list[Sized] = []
    for paragraph in paragraphs:
        n = count(paragraph)
        if n <= TOO_LONG * words:
            pending.append((paragraph, n))
            continue
        texts += ["\n\n".join(group) for group in _groups(pending, words)]
        texts += ["".join(group).strip() for group in _groups(_pieces(paragraph, words), words)]
        pending = []
    return texts + ["\n\n".join(group) for group in _groups(pending, words)]


def _groups(parts: Iterable[Sized], words: int) -> list[list[str]]:
    groups: list[list[str]] = []
    in_group = 0
    for part, n in parts:
        if not groups or in_group + n - words > words - in_group:
            groups.append([])
            in_group = 0
        groups[-1].append(part)
        in_group += n
    return groups


def _pieces(paragraph: str, words: int) -> Iterator[Sized]:
    """Yield a paragraph's sentences, or words of too long ones, each with the space after it."""
    for sentence in SENTENCE.findall(paragraph):
        if (n := count(sentence)) <= TOO_LONG * words:
            yield sentence, n
        else:
            yield from ((piece, count(piece)) for piece in PIECE.findall(sentence))
