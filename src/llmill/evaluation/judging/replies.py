"""Parse a judge's reply: a score from 0 to 100, or which of two answers is better.

A reply is readable if it is the score or the choice alone. Allowed around it are `Score:`, `/100`,
`.0`, Markdown marks and quotes, and a thought that ended before it (`</think>`). It may also be the
only `score` or `winner` of a JSON object. Sentences are not searched.
"""

import re

from llmill.contract import elsewhere

MARKS = r"[\s*_`\"'#]*+"  # possessive, so a reply of marks alone is scanned once
SCORE = re.compile(
    rf"{MARKS}(?:score{MARKS}[:=]{MARKS})?(100|[1-9]?[0-9])(?:\.0+)?(?:{MARKS}/{MARKS}100)?"
    rf"{MARKS}\.?{MARKS}",
    re.IGNORECASE,
)
BRACKETS = r"[\s*_`\"'#()\[\]]*+"
CHOICE = re.compile(
    rf"{BRACKETS}(?:winner{MARKS}[:=]{BRACKETS})?"
    rf"(?:(?:(?:answer|response){MARKS}:?{BRACKETS})?([ab])|(tie|draw))"
    rf"{BRACKETS}\.?{BRACKETS}",
    re.IGNORECASE,
)
THOUGHT_ENDS = "</think>"
FIRST, TIE, SECOND = 1.0, 0.5, 0.0


def score(reply: str) -> int | None:
    """Return the score if it is all of the reply (`87`, `**87**`, `{"score": 87}`), else None."""
    match = SCORE.fullmatch(_said(reply, "score"))
    return int(match[1]) if match else None


def choice(reply: str) -> float | None:
    """Return what answer A gets (1.0 if it is better, 0.0 if B is, 0.5 for a tie) if a choice is
    all of the reply (`A`, `[[B]]`, `**tie**`, `{"winner": "A"}`), else None.
    """
    match = CHOICE.fullmatch(_said(reply, "winner"))
    if match is None:
        return None
    return TIE if match[2] else {"a": FIRST, "b": SECOND}[match[1].lower()]


def _said(reply: str, name: str) -> str:
    """Return the text after a thought; for a JSON object, its value of that name."""
    text = reply.rpartition(THOUGHT_ENDS)[2].strip()
    bare = text.strip("` \n").removeprefix("json").strip()
    return _only_value(bare, name) if bare.startswith("{") else text


def _only_value(text: str, name: str) -> str:
    """Return the value of that name in a JSON object, as text; "" unless there is exactly one."""
    try:
        fields = elsewhere.parsed(text)
    except ValueError:
        return ""
    values = [value for key, value in fields.items() if key.lower() == name]
    written = re.findall(rf'"{name}"\s*+:', text, re.IGNORECASE)
    plain = len(values) == len(written) == 1 and not isinstance(values[0], bool)
    return str(values[0]) if plain and isinstance(values[0], int | float | str) else ""
