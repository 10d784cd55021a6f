"""Instructions with their responses: the raw file in Alpaca's form, and the prepared one.

Raw: a JSON list of objects with `instruction`, `input` and `output`; optional `kind`, `paraphrases`
(other right answers) and `wrong` (fluent wrong ones). Other keys are not read.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmill.contract import elsewhere
from llmill.contract.errors import UserError
from llmill.tasks import jsonl

NEEDED = ("instruction", "input", "output")
LISTS = ("paraphrases", "wrong")


@dataclass(frozen=True)
class Instruction:
    """A task, the text it is about (or nothing), and the reference response."""

    instruction: str
    input: str
    output: str
    kind: str | None = None
    paraphrases: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def task(self) -> str:
        """What identifies the task: without the response."""
        return f"{self.instruction}\n{self.input}"


def read_raw(path: Path) -> list[Instruction]:
    """Every entry of a raw file; raises `UserError` with the number of one that does not fit."""
    try:
        entries = elsewhere.parsed(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run stage download again") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: expected a list of entries with {', '.join(NEEDED)}")
    return [
        _instruction(entry, f"{path}, entry {number} of {len(entries)}")
        for number, entry in enumerate(entries, 1)
    ]


def _instruction(entry: Any, where: str) -> Instruction:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: expected an object with {', '.join(NEEDED)}")
    missing = next((key for key in NEEDED if key not in entry), None)
    if missing:
        raise UserError(f"{where}: no key '{missing}'; needed are {', '.join(NEEDED)}")
    values = {key: _text(entry[key], key, where) for key in NEEDED}
    kind = entry.get("kind")
    if not values["instruction"].strip():
        raise UserError(f"{where}: 'instruction' is empty; remove the entry or write one")
    lists = {key: [_text(t, key, where) for t in _list(entry, key, where)] for key in LISTS}
    return Instruction(
        values["instruction"],
        values["input"],
        values["output"],
        None if kind is None else _text(kind, "kind", where),
        lists["paraphrases"],
        lists["wrong"],
    )


def _list(entry: dict[str, Any], key: str, where: str) -> list[Any]:
    value = entry.get(key, [])
    if not isinstance(value, list):
        raise UserError(f"{where}: '{key}' is {type(value).__name__}, expected a list of texts")
    return value


def _text(value: Any, key: str, where: str) -> str:
    """A string that UTF-8 can hold: JSON's escapes may name half a character."""
    if not isinstance(value, str):
        raise UserError(f"{where}: '{key}' is {type(value).__name__}, expected text")
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read(path: Path) -> list[Instruction]:
    """Prepared instructions."""
    return jsonl.read(path, Instruction)


def write(path: Path, entries: Iterable[Instruction]) -> None:
    """Write prepared instructions."""
    jsonl.write(path, entries)
