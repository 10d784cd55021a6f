"""Exact match: an answer equals its reference, ignoring case, spaces and outer punctuation."""

from llmill.text.normal import normalise


def same(answer: str, reference: str) -> bool:
    """Return whether two texts are equal after normalisation. Empty texts never match."""
    return normalise(answer) == normalise(reference) != ""
