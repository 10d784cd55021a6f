"""Instructions with their responses, and conversations: the raw file and the prepared file.

Each raw row has one of these forms, recognized by its keys: `messages` (OpenAI), `conversations`
(ShareGPT), `instruction`, `input` and `output` (Alpaca), or `prompt` and `completion`. Optional
keys are `system` (a text in front), `history` (pairs of a question and its answer, if the rest is
text), `kind`, `paraphrases` (other right answers) and `wrong` (fluent wrong answers). Other keys
are ignored. A response of null is read as an empty one.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llmill.contract.errors import UserError
from llmill.tasks import conversation, jsonl, rows
from llmill.tasks.conversation import BETWEEN, Message, message

LISTS = ("paraphrases", "wrong")
CONVERSATIONS = ("messages", "conversations")
FORMS = (
    "instruction, input and output; prompt and completion; messages (role, content); "
    "conversations (from, value)"
)


@dataclass(frozen=True)
class Instruction:
    """A task, the text it is about (may be empty), and the reference response.

    For a conversation, these are the last turn, and `earlier` has the messages before it.
    """

    instruction: str
    input: str
    output: str
    kind: str | None = None
    paraphrases: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    earlier: list[Message] = field(default_factory=list)

    @property
    def task(self) -> str:
        """The text that identifies the task: everything but the response."""
        before = [each["content"] for each in self.earlier]
        return "\n".join((*before, self.instruction, self.input))

    @property
    def asked(self) -> list[Message]:
        """The messages to be answered.

        If there is an input, the last message also has it as a field, because a template may put
        the input in a place of its own.
        """
        if not self.input:
            return [*self.earlier, message("user", self.instruction)]
        joined = message("user", f"{self.instruction}{BETWEEN}{self.input}")
        return [*self.earlier, joined | {"instruction": self.instruction, "input": self.input}]

    @property
    def messages(self) -> list[Message]:
        """The whole conversation, with the response."""
        return [*self.asked, message("assistant", self.output)]


def read_raw(path: Path, encoding: str | None = None) -> list[Instruction]:
    """Read every entry of a raw file. Raises `UserError` with the number of one that is wrong."""
    return [_instruction(entry, where) for where, entry in rows.read(path, encoding)]


def _instruction(entry: Any, where: str) -> Instruction:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: expected an object with {FORMS}")
    kind = entry.get("kind")
    lists = {
        key: [conversation.text(t, key, where) for t in _list(entry, key, where)] for key in LISTS
    }
    earlier, task, about, answer = _turn(entry, where)
    earlier = conversation.with_system(entry, earlier, where)
    return Instruction(
        task,
        about,
        answer,
        None if kind is None else conversation.text(kind, "kind", where),
        lists["paraphrases"],
        lists["wrong"],
        earlier,
    )


def _turn(entry: dict[str, Any], where: str) -> tuple[list[Message], str, str, str]:
    """Return the messages before the last turn, and the turn's instruction, input and output."""
    for key in CONVERSATIONS:
        if entry.get(key) is not None:
            return _last_turn(conversation.read(entry[key], f"{where}, '{key}'"))
    if entry.get("instruction") is not None:
        task, answer = "instruction", "output"
    elif entry.get("prompt") is not None:
        task, answer = "prompt", "completion"
        if isinstance(entry["prompt"], list):
            return _last_turn(conversation.read(_joined(entry, where), where))
    else:
        raise UserError(f"{where}: none of the forms that are read: {FORMS}")
    if answer not in entry:
        raise UserError(f"{where}: no key '{answer}' beside '{task}'")
    instruction = conversation.text(entry[task], task, where)
    if not instruction.strip():
        raise UserError(f"{where}: '{task}' is empty; remove the entry or write one")
    given = entry.get("input") if task == "instruction" else None
    about = "" if given is None else conversation.text(given, "input", where)
    output = "" if entry[answer] is None else conversation.text(entry[answer], answer, where)
    return history(entry, where), instruction, about if about.strip() else "", output


def history(entry: dict[str, Any], where: str) -> list[Message]:
    """Return the turns before the last one, which some datasets have under `history`: pairs of a
    question and its answer.
    """
    turns: list[Message] = []
    pairs = _list(entry, "history", where) if entry.get("history") else []
    for number, pair in enumerate(pairs, 1):
        place = f"{where}, 'history', {number}"
        if not isinstance(pair, list) or len(pair) != 2:
            raise UserError(f"{place}: expected a question and its answer")
        for role, cell in zip(("user", "assistant"), pair, strict=True):
            content = conversation.text(cell, role, place)
            if not content.strip():
                raise UserError(f"{place}: the {role}'s text is empty; remove the pair or write it")
            turns.append(message(role, content))
    return turns


def _joined(entry: dict[str, Any], where: str) -> list[Any]:
    """Return prompt and completion as one list of messages."""
    if not isinstance(entry.get("completion"), list):
        raise UserError(f"{where}: 'prompt' is a list of messages, so 'completion' must be one")
    joined: list[Any] = entry["prompt"] + entry["completion"]
    return joined


def _last_turn(messages: list[Message]) -> tuple[list[Message], str, str, str]:
    *earlier, asked, answer = messages
    return earlier, asked["content"], "", answer["content"]


def _list(entry: dict[str, Any], key: str, where: str) -> list[Any]:
    value = entry.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise UserError(f"{where}: '{key}' is {type(value).__name__}, expected a list")
    return value


def read(path: Path) -> list[Instruction]:
    """Read prepared instructions."""
    return jsonl.read(path, Instruction)


def write(path: Path, entries: Iterable[Instruction]) -> None:
    """Write prepared instructions, with earlier messages only where there are some."""
    fields = (asdict(entry) for entry in entries)
    jsonl.write(path, ({k: v for k, v in each.items() if k != "earlier" or v} for each in fields))
