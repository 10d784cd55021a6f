"""Whether an answer is the reference but for case, spaces and the marks around it."""

import unicodedata

OUTER = " \t\n.,;:!?\"'`“”„‘’«»()[]…"  # no sign that changes a value: - + % $ °


def normalise(text: str) -> str:
    """One form of a text: composed characters, no case, single spaces, no outer punctuation."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split()).strip(OUTER)


def same(answer: str, reference: str) -> bool:
    """Whether the two are one answer. Nothing that says nothing matches."""
    return normalise(answer) == normalise(reference) != ""
