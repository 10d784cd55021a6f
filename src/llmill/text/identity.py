"""What a text is known by: its normal form, and places in [0, 1) drawn from it.

One form for repeats, splits and contamination: what one of them takes for the same text, all do.
"""

import unicodedata

import regex

from llmill.contract.record import sha256_text

# Format characters, such as soft hyphens and zero-width joiners, and what else shows nothing.
UNSEEN = regex.compile(r"[\p{Cf}\p{Default_Ignorable_Code_Point}]+")
# Of marks on one letter the first 30 count, as in Unicode's stream-safe form: to put them in order
# takes time with the square of their number.
MORE_MARKS = regex.compile(r"(?<=\p{M}{30})\p{M}+")


def canonical(text: str) -> str:
    """The text without differences of case, of Unicode form, and of characters that show nothing.

    NFKC, so that one character and its parts, a ligature and its letters, full and half width are
    the same.
    """
    if text.isascii():  # which no step but the case can change
        return text.casefold()
    composed = unicodedata.normalize("NFKC", MORE_MARKS.sub("", text))
    # Twice: what was unseen may have parted a letter from its accent, and so may a small letter.
    plain = UNSEEN.sub("", composed).casefold()
    return unicodedata.normalize("NFKC", MORE_MARKS.sub("", plain))


def normal(text: str) -> str:
    """The canonical form with single spaces in place of white space, and none at the ends."""
    return " ".join(canonical(text).split())


def fraction(content: str, purpose: str) -> float:
    """A number in [0, 1) that follows from the content; those of two purposes are independent."""
    return int(sha256_text(f"{purpose}:{content}")[:13], 16) / 16**13
