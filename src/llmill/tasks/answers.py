"""Answers to instructions, written by any program: rows of `instruction`, `input` and `answer`.

`input` is optional. If a row has no `answer`, its `output` is the answer, as other programs write
it. If it has both, `output` is the reference, as the stages `instruct` and `prefer` write it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llmill.contract.elsewhere import quoted
from llmill.contract.errors import UserError
from llmill.tasks import conversation, rows
from llmill.text.files import table_endings

Task = tuple[str, str]  # instruction and input


@dataclass(frozen=True)
class Answer:
    """An answer to a task, and the reference in the same row, if there is one."""

    task: Task
    text: str
    reference: str | None = None


@dataclass(frozen=True)
class Answers:
    """The answers in a file, in file order. If a task occurs again, the first answer counts."""

    every: Sequence[Answer]

    @cached_property
    def by_task(self) -> dict[Task, str]:
        """The first answer to each task."""
        return {task: answer.text for task, answer in self._first.items()}

    @cached_property
    def references(self) -> dict[Task, str]:
        """The references in the rows of the first answers, by task."""
        answers = self._first.items()
        return {task: each.reference for task, each in answers if each.reference is not None}

    @property
    def repeated(self) -> int:
        """The number of answers that repeat a task."""
        return len(self.every) - len(self._first)

    @cached_property
    def _first(self) -> dict[Task, Answer]:
        first: dict[Task, Answer] = {}
        for answer in self.every:
            first.setdefault(answer.task, answer)
        return first


def task(instruction: str, about: str) -> Task:
    """Return the key of a task: instruction and input without surrounding white space."""
    return instruction.strip(), about.strip()


def read(path: Path) -> Answers:
    """Read the answers in a file. Raises `UserError` with the place of a row that is not one."""
    if not path.is_file():
        raise UserError(f"{path}: no such file of answers")
    found = []
    for where, row in rows.read(path):
        if not isinstance(row, dict):
            raise UserError(f"{where}: {quoted(row)} is no object with instruction and answer")
        given = row.get("input")
        key = task(
            _text(row, "instruction", where),
            "" if given is None else conversation.text(given, "input", where),
        )
        says = "answer" if "answer" in row else "output"
        text, reference = _text(row, says, where), row.get("output") if says == "answer" else None
        if reference is not None:
            reference = conversation.text(reference, "output", where)
        found.append(Answer(key, text, reference))
    return Answers(found)


def _text(row: dict[str, Any], name: str, where: str) -> str:
    if name not in row:
        needed = "'answer' nor 'output'" if name == "output" else f"'{name}'"
        raise UserError(
            f"{where}: {'neither' if name == 'output' else 'no'} {needed}; a row of answers has "
            "instruction, input and answer"
        )
    return conversation.text(row[name], name, where)


def files(path: Path) -> list[Path]:
    """Return the file itself, or the files in a folder that may hold answers, sorted by name."""
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.iterdir() if each.suffix in table_endings.ROWS)
    if not found:
        raise UserError(f"{path}: no file in it that ends with {', '.join(table_endings.ROWS)}")
    return found
