"""Whether an answer is the reference but for case, spaces and the marks around it."""

import re
import unicodedata

from llmill.text.identity import UNSEEN

OUTER = " \t\n.,;:!?\"'`“”„‘’«»()[]…。！？、，「」¿¡؟،؛।"  # no sign that changes a value: - + % $ °
FRACTION = re.compile(rf"[{re.escape(OUTER.replace('.', ''))}]*\.\d")


def normalise(text: str) -> str:
    """One form of a text: composed characters, no case, single spaces, no outer punctuation unless
    it holds nothing else, and nothing that does not show.
    """
    seen = UNSEEN.sub("", unicodedata.normalize("NFC", text))
    whole = " ".join(seen.casefold().split())
    bare = whole.strip(OUTER) or whole
    # The point of `.5` is part of it.
    return f".{bare}" if FRACTION.match(whole) else bare


def same(answer: str, reference: str) -> bool:
    """Whether the two are one answer. Nothing that says nothing matches."""
    return normalise(answer) == normalise(reference) != ""
