"""What judges behind a server are asked, each version a file beside this one: `score-1.txt`.

In a file `{answer}` stands for the answer, other fields likewise; braces that are text are doubled.
A version that has been used stays as it is; another wording is another file.
"""

import string
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from llmill.contract import record
from llmill.contract.errors import UserError

FOLDER = Path(__file__).parent
ENDING = ".txt"
NOTHING = "(none)"  # in the place of an empty text


@dataclass(frozen=True)
class Prompt:
    """A version of the question, with the hash of its file."""

    name: str
    text: str
    sha256: str

    def about(self, texts: Mapping[str, str | None]) -> str:
        """The question about these texts, by the names of the fields."""
        return self.text.format_map({name: text or NOTHING for name, text in texts.items()})


def names() -> list[str]:
    """Every version."""
    return sorted(file.stem for file in FOLDER.glob(f"*{ENDING}"))


def read(name: str, fields: Set[str], may_lack: Set[str] = frozenset()) -> Prompt:
    """A version that has these fields, perhaps without those that it may lack, and no others;
    raises `UserError` for one that has not.
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
