"""Prompts for judges on a server. Each version is a file in this folder, such as `score-1.txt`.

`{answer}` in a file stands for the answer, and other fields likewise. Double any other brace. Do
not edit a version that has been used; write another file instead.
"""

import string
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from llmill.contract import record
from llmill.contract.errors import UserError

FOLDER = Path(__file__).parent
ENDING = ".txt"
NOTHING = "(none)"  # replaces an empty text


@dataclass(frozen=True)
class Prompt:
    """A version of the prompt, with the hash of its file."""

    name: str
    text: str
    sha256: str

    def about(self, texts: Mapping[str, str | None]) -> str:
        """Fill in the texts by the names of their fields."""
        return self.text.format_map({name: text or NOTHING for name, text in texts.items()})


def names() -> list[str]:
    """Return the names of all versions."""
    return sorted(file.stem for file in FOLDER.glob(f"*{ENDING}"))


def read(name: str, fields: Set[str], may_lack: Set[str] = frozenset()) -> Prompt:
    """Read a version. Raise `UserError` if it is missing, or if its fields are not exactly `fields`
    (those in `may_lack` are optional).
    """
    file = FOLDER / f"{name}{ENDING}"
    if name not in names():
        raise UserError(f"{file}: missing; there are {', '.join(names())}")
    text = file.read_text(encoding="utf-8").removesuffix("\n")
    try:
        found = {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
    except ValueError as error:
        raise UserError(f"{file}: {error}; braces that are text are doubled") from None
    if not fields - may_lack <= found <= fields:
        raise UserError(
            f"{file}: has the fields {_listed(found)}, where {_listed(fields)} are asked for; "
            "take another prompt"
        )
    return Prompt(name, text, record.sha256_file(file))


def _listed(fields: Set[str]) -> str:
    return ", ".join(f"{{{field}}}" for field in sorted(fields)) or "none"
