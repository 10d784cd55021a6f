"""Preferences: a prompt with a chosen and a rejected answer; the raw file and the prepared file.

A raw row has `prompt`, `chosen` and `rejected`, each text or messages; or Alpaca's keys with
`chosen` and `rejected`; or two conversations, `chosen` and `rejected`, that differ in their last
answer, with or without the prompt beside them. `system`, a text in front, is optional. Other keys
are ignored.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmill.contract.errors import UserError
from llmill.tasks import conversation, jsonl, rows
from llmill.tasks.conversation import Message, message
from llmill.tasks.instruction import Instruction, history

ANSWERS = ("chosen", "rejected")
FORMS = "prompt, chosen and rejected; or instruction, input, chosen and rejected"


@dataclass(frozen=True)
class Preference:
    """The messages to be answered, and two answers to them."""

    asked: list[Message]
    chosen: str
    rejected: str

    @property
    def task(self) -> str:
        """The text that identifies the prompt. Except for white space, it equals the `task` of an
        instruction that asks the same.
        """
        return "\n".join(each["content"] for each in self.asked)

    @property
    def undecided(self) -> bool:
        """Whether both answers are the same, so that neither was preferred."""
        return self.chosen.strip() == self.rejected.strip()


def read(path: Path) -> list[Preference]:
    """Read prepared preferences."""
    return jsonl.read(path, Preference)


def write(path: Path, pairs: Iterable[Preference]) -> None:
    """Write prepared preferences."""
    jsonl.write(path, pairs)


def read_raw(path: Path, encoding: str | None = None) -> list[Preference]:
    """Read every entry of a raw file. Raises `UserError` with the place of one that is wrong."""
    return [_preference(entry, where) for where, entry in rows.read(path, encoding)]


def _preference(entry: Any, where: str) -> Preference:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: expected an object with {FORMS}")
    missing = next((key for key in ANSWERS if entry.get(key) is None), None)
    if missing:
        how = f"'{missing}' is null" if missing in entry else f"no key '{missing}'"
        raise UserError(f"{where}: {how}; expected are {FORMS}")
    before = _before(entry, where)
    empty = next((k for k in ANSWERS if isinstance(entry[k], str) and not entry[k].strip()), None)
    if empty:
        raise UserError(f"{where}: '{empty}' is empty; remove the pair or write it")
    asked, chosen = _answered(before, entry["chosen"], f"{where}, 'chosen'")
    also, rejected = _answered(before, entry["rejected"], f"{where}, 'rejected'")
    if asked != also:
        raise UserError(f"{where}: 'chosen' and 'rejected' answer different messages")
    asked = before if asked == _plain(before) else asked
    return Preference(conversation.with_system(entry, asked, where), chosen, rejected)


def _before(entry: dict[str, Any], where: str) -> list[Message]:
    """Return the messages in front of both answers; none if these are whole conversations."""
    prompt = entry.get("prompt")
    if isinstance(prompt, list):
        return conversation.messages(prompt, f"{where}, 'prompt'") if prompt else []
    if prompt is not None:
        return [*history(entry, where), message("user", _filled(prompt, "prompt", where))]
    if entry.get("instruction") is None:
        if all(isinstance(entry[key], list) for key in ANSWERS):
            return []
        raise UserError(f"{where}: no key 'prompt'; expected are {FORMS}")
    about = "" if entry.get("input") is None else conversation.text(entry["input"], "input", where)
    task = _filled(entry["instruction"], "instruction", where)
    earlier = history(entry, where)
    return Instruction(task, about if about.strip() else "", "", earlier=earlier).asked


def _answered(before: list[Message], answer: Any, where: str) -> tuple[list[Message], str]:
    """Return the messages to be answered, and the answer.

    After a message of the user, an answer may be a whole conversation that contains the prompt
    again.
    """
    whole: list[Message] = [*_plain(before), message("assistant", answer)]
    if isinstance(answer, list):
        last = conversation.messages(answer, where)
        asked = bool(before) and before[-1]["role"] == "user" and last[0]["role"] != "assistant"
        # With Alpaca's keys, the conversation may spell the prompt differently.
        if asked and "instruction" not in before[-1] and not _stands_in(_plain(before), last):
            raise UserError(f"{where}: a whole conversation, but the prompt does not stand in it")
        whole = last if asked else [*_plain(before), *last]
    *_, end = messages = conversation.read(whole, where)
    if len(messages) < len(whole):
        raise UserError(f"{where}: its last message is not the assistant's")
    return messages[:-1], end["content"]


def _plain(messages: list[Message]) -> list[Message]:
    """Return the messages without other fields that a template may use."""
    return [message(each["role"], each["content"]) for each in messages]


def _stands_in(part: list[Message], whole: list[Message]) -> bool:
    """Return whether `part` occurs in a row in `whole`, ignoring surrounding white space."""
    ours, theirs = ([(m["role"], m["content"].strip()) for m in each] for each in (part, whole))
    return any(theirs[n : n + len(ours)] == ours for n in range(len(theirs)))


def _filled(value: Any, key: str, where: str) -> str:
    text = conversation.text(value, key, where)
    if not text.strip():
        raise UserError(f"{where}: '{key}' is empty; remove the entry or write one")
    return text
