"""Answers about which no judge need be asked: what the reference, the listed paraphrases and the
listed wrong answers decide.
"""

import re
from collections.abc import Iterable
from decimal import Decimal

from llmill.evaluation.matching.exact_match import OUTER, normalise, same

NUMBER = re.compile(r"[-+−]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)")


def decide(
    answer: str, reference: str, paraphrases: Iterable[str] = (), wrong: Iterable[str] = ()
) -> bool | None:
    """Whether an answer is right; None if no rule can say.

    Right: the reference or a paraphrase of it, but for case, spaces and outer marks; the same
    number, where both are numbers. Wrong: nothing at all, marks alone where the reference says
    something, a listed wrong answer, another number.
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
    """The value of a text that is a number and nothing else; commas separate thousands."""
    bare = normalise(text)
    if not NUMBER.fullmatch(bare):
        return None
    return Decimal(bare.replace(",", "").replace("−", "-"))
