"""Decide answers without a judge, by the reference, listed paraphrases and listed wrong answers."""

import re
from collections.abc import Iterable
from decimal import Decimal

from llmill.evaluation.matching.exact_match import same
from llmill.text.normal import OUTER, normalise

NUMBER = re.compile(r"[-+−]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)")


def decide(
    answer: str, reference: str, paraphrases: Iterable[str] = (), wrong: Iterable[str] = ()
) -> bool | None:
    """Return whether an answer is right; None if no rule decides.

    Right: the reference or a paraphrase, ignoring case, spaces and outer punctuation; the same
    number as the reference. Wrong: an empty answer, punctuation alone if the reference holds more,
    a listed wrong answer, another number than the reference.
    """
    if not normalise(answer):
        return False
    if any(same(answer, right) for right in (reference, *paraphrases)):
        return True
    if any(same(answer, listed) for listed in wrong):
        return False
    if not normalise(answer).strip(OUTER) and normalise(reference).strip(OUTER):
        return False
    given, known = number(answer), number(reference)
    if given is not None and known is not None:
        return given == known
    return None


def number(text: str) -> Decimal | None:
    """Return the value of a text that is only a number, else None. Commas separate thousands."""
    bare = normalise(text)
    if not NUMBER.fullmatch(bare):
        return None
    return Decimal(bare.replace(",", "").replace("−", "-"))
