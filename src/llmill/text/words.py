"""Words and runs of words as 64-bit hashes, so that looking for them is arithmetic on arrays.

A word is letters and digits with their marks between anything else; in a script that puts no spaces
between words, a single character with its marks.
"""

import hashlib
import re

import numpy as np
import regex

from llmill.text.identity import canonical

SCRIPTS = (  # those that put no spaces between words
    *("Han", "Hiragana", "Katakana", "Bopomofo", "Yi", "Thai", "Lao", "Khmer", "Myanmar"),
    *("Tai_Le", "New_Tai_Lue", "Tai_Tham", "Tai_Viet", "Javanese", "Balinese"),
)
LETTER = r"[[\p{L}\p{N}]&&[" + "".join(rf"\p{{Script={name}}}" for name in SCRIPTS) + "]]"
SPACELESS = regex.compile(rf"(?V1){LETTER}\p{{M}}*")
WORD = regex.compile(
    rf"{SPACELESS.pattern}|[[\p{{L}}\p{{N}}]--{LETTER}][[\p{{L}}\p{{N}}\p{{M}}]--{LETTER}]*"
)
# Beyond ASCII, what `canonical` changes in nothing but case, where words are letters and digits:
# most of what texts in European languages hold, with their quotes and dashes.
UNUSUAL = re.compile(
    r"[^\x00-\x9f¡-§©«¬®°±µ-·»¿-įıĴ-ľŁ-ǃΑ-ΡΣ-Ϊά-ία-ώЀ-҂Ҋ-ԯ\u2010\u2012-\u2016\u2018-\u2023\u2030\u20ac]"
)
PLAIN_WORD = re.compile("[a-z0-9]+")  # what WORD is in ASCII, found in a fifth of the time
USUAL_WORD = re.compile(r"[^\W_]+")  # what it is without anything unusual
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit of a word is lost

WordHashes = dict[str, int]  # words that were hashed before


def folded(text: str) -> str:
    """`canonical(text)`, in a fraction of the time for most texts."""
    usual = text.isascii() or not UNUSUAL.search(text)
    return text.casefold() if usual else canonical(text)


def split(text: str) -> list[str]:
    """The words of a text, without regard to case, Unicode form and punctuation."""
    if text.isascii():
        return PLAIN_WORD.findall(text.casefold())
    if not UNUSUAL.search(text):
        return USUAL_WORD.findall(text.casefold())
    return WORD.findall(canonical(text))


def hashes(text: str, table: WordHashes) -> np.ndarray:
    """One uint64 per word of `split`. (words,)"""
    values = [table.get(word) or table.setdefault(word, hash_of(word)) for word in split(text)]
    return np.array(values, dtype=np.uint64)


def count(text: str) -> int:
    """How many words a text has as readers count them: between white space, or by character."""
    words = text.split()
    if text.isascii() or not UNUSUAL.search(text) or not SPACELESS.search(text):
        return len(words)
    return sum(max(1, len(SPACELESS.findall(word))) for word in words)


def runs(words: np.ndarray, length: int) -> np.ndarray:
    """One uint64 for each `length` consecutive words, in order; empty for a shorter text.

    A run's hash is a polynomial in its words' hashes, modulo 2**64.
    """
    n = len(words) - length + 1
    if n <= 0:
        return np.empty(0, dtype=np.uint64)
    total = words[:n].copy()
    for i in range(1, length):
        total *= MULTIPLIER
        total += words[i : i + n]
    return total


def hash_of(word: str) -> int:
    """Of one word, 64 bits."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
