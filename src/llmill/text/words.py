"""Words and runs of words (n-grams) as 64-bit hashes, so that finding them is arithmetic on arrays.

A word is a sequence of letters and digits with their marks. In a script that puts no spaces between
words, it is a single character with its marks.
"""

import hashlib
import re

import numpy as np
import regex

from llmill.text.identity import canonical

SCRIPTS = (  # scripts without spaces between words
    *("Han", "Hiragana", "Katakana", "Bopomofo", "Yi", "Thai", "Lao", "Khmer", "Myanmar"),
    *("Tai_Le", "New_Tai_Lue", "Tai_Tham", "Tai_Viet", "Javanese", "Balinese"),
)
LETTER = r"[[\p{L}\p{N}]&&[" + "".join(rf"\p{{Script={name}}}" for name in SCRIPTS) + "]]"
SPACELESS = regex.compile(rf"(?V1){LETTER}\p{{M}}*")
WORD = regex.compile(
    rf"{SPACELESS.pattern}|[[\p{{L}}\p{{N}}]--{LETTER}][[\p{{L}}\p{{N}}\p{{M}}]--{LETTER}]*"
)
# All characters except ASCII and those that `canonical` changes only in case and whose words are
# letters and digits: most of what texts in European languages hold, with quotes and dashes.
UNUSUAL = re.compile(
    r"[^\x00-\x9f¡-§©«¬®°±µ-·»¿-įıĴ-ľŁ-ǃΑ-ΡΣ-Ϊά-ία-ώЀ-҂Ҋ-ԯ\u2010\u2012-\u2016\u2018-\u2023\u2030\u20ac]"
)
PLAIN_WORD = re.compile("[a-z0-9]+")  # the same as WORD for ASCII, in a fifth of the time
USUAL_WORD = re.compile(r"[^\W_]+")  # the same as WORD if nothing is unusual
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit of a word is lost

WordHashes = dict[str, int]  # hashes computed before, by word


def folded(text: str) -> str:
    """Return `canonical(text)`, in a fraction of the time for most texts."""
    usual = text.isascii() or not UNUSUAL.search(text)
    return text.casefold() if usual else canonical(text)


def split(text: str) -> list[str]:
    """Return the words of a text, ignoring case, Unicode form and punctuation."""
    if text.isascii():
        return PLAIN_WORD.findall(text.casefold())
    if not UNUSUAL.search(text):
        return USUAL_WORD.findall(text.casefold())
    return WORD.findall(canonical(text))


def hashes(text: str, table: WordHashes) -> np.ndarray:
    """Return one uint64 per word of `split`. (words,)"""
    values = [table.get(word) or table.setdefault(word, hash_of(word)) for word in split(text)]
    return np.array(values, dtype=np.uint64)


def count(text: str) -> int:
    """Count the words of a text as readers do: between white space, or by character."""
    words = text.split()
    if text.isascii() or not UNUSUAL.search(text) or not SPACELESS.search(text):
        return len(words)
    return sum(max(1, len(SPACELESS.findall(word))) for word in words)


def runs(words: np.ndarray, length: int) -> np.ndarray:
    """Return one uint64 for each `length` consecutive words, in order; empty for a shorter text.

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
    """Return the 64-bit hash of one word."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
