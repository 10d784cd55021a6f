"""What a judge's reply says: a score from 0 to 100, or which of two answers is better.

A reply is read if it is the score or the choice, and nothing beside it but what says the same:
`Score:`, `/100`, `.0`, marks of Markdown and quotes around it, a thought that ended before it
(`</think>`), or an object of JSON whose only `score` or `winner` it is. Nothing is looked for in
sentences.
"""

import re

from llmill.contract import elsewhere

MARKS = r"[\s*_`\"'#]*+"  # possessive: a reply of marks alone is read through once
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
    """The integer that is all a reply says (`87`, `**87**`, `{"score": 87}`), else None."""
    match = SCORE.fullmatch(_said(reply, "score"))
    return int(match[1]) if match else None


def choice(reply: str) -> float | None:
    """What answer A gets (1.0 if it is better, 0.0 if B is, 0.5 for a tie) if that is all a reply
    says (`A`, `[[B]]`, `**tie**`, `{"winner": "A"}`), else None.
    """
    match = CHOICE.fullmatch(_said(reply, "winner"))
    if match is None:
        return None
    return TIE if match[2] else {"a": FIRST, "b": SECOND}[match[1].lower()]


def _said(reply: str, name: str) -> str:
    """What stands behind the thought; of an object of JSON, the value of that name."""
    text = reply.rpartition(THOUGHT_ENDS)[2].strip()
    bare = text.strip("` \n").removeprefix("json").strip()
    return _only_value(bare, name) if bare.startswith("{") else text


def _only_value(text: str, name: str) -> str:
    """The value of that name in an object, as text; empty if there is none, or more than one."""
    try:
        fields = elsewhere.parsed(text)
    except ValueError:
        return ""
    values = [value for key, value in fields.items() if key.lower() == name]
    written = re.findall(rf'"{name}"\s*+:', text, re.IGNORECASE)
    plain = len(values) == len(written) == 1 and not isinstance(values[0], bool)
    return str(values[0]) if plain and isinstance(values[0], int | float | str) else ""
