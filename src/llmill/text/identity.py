"""Identifies a text: its normal form, and places in [0, 1) drawn from it.

Duplicates, splits and contamination use one form, so all of them agree on which texts are the same.
"""

import unicodedata

import regex

from llmill.contract.record import sha256_text

# Format characters, such as soft hyphens and zero-width joiners, and other invisible ones.
UNSEEN = regex.compile(r"[\p{Cf}\p{Default_Ignorable_Code_Point}]+")
# Only the first 30 marks on a letter count, as in Unicode's stream-safe form, because putting them
# in order takes quadratic time.
MORE_MARKS = regex.compile(r"(?<=\p{M}{30})\p{M}+")


def canonical(text: str) -> str:
    """Return the text without differences of case, of Unicode form, and of invisible characters.

    NFKC makes equal: one character and its parts, a ligature and its letters, full and half width.
    """
    if text.isascii():  # only the case can change
        return text.casefold()
    composed = unicodedata.normalize("NFKC", MORE_MARKS.sub("", text))
    # Normalize twice: an invisible character may have separated a letter from its accent, and lower
    # case may do so, too.
    plain = UNSEEN.sub("", composed).casefold()
    return unicodedata.normalize("NFKC", MORE_MARKS.sub("", plain))


def normal(text: str) -> str:
    """Return the canonical form with single spaces as white space, and none at the ends."""
    return " ".join(canonical(text).split())


def fraction(content: str, purpose: str) -> float:
    """Return a number in [0, 1) that follows from the content, independent between purposes."""
    return int(sha256_text(f"{purpose}:{content}")[:13], 16) / 16**13
