"""Exact match: an answer equals its reference, ignoring case, spaces and outer punctuation."""

import re
import unicodedata

from llmill.text.identity import UNSEEN

OUTER = " \t\n.,;:!?\"'`“”„‘’«»()[]…。！？、，「」¿¡؟،؛।"  # without - + % $ °, which change a value
FRACTION = re.compile(rf"[{re.escape(OUTER.replace('.', ''))}]*\.\d")


def normalise(text: str) -> str:
    """Normalise a text: compose characters (NFC), fold case, collapse spaces, remove invisible
    characters, and strip outer punctuation unless the text holds nothing else.
    """
    seen = UNSEEN.sub("", unicodedata.normalize("NFC", text))
    whole = " ".join(seen.casefold().split())
    bare = whole.strip(OUTER) or whole
    # The point of `.5` is part of the number.
    return f".{bare}" if FRACTION.match(whole) else bare


def same(answer: str, reference: str) -> bool:
    """Return whether two texts are equal after normalisation. Empty texts never match."""
    return normalise(answer) == normalise(reference) != ""
