"""The form in which an answer is compared with its reference."""

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
