"""Answers to instructions, whoever gave them: rows of `instruction`, `input` and `answer`.

`input` may be missing. Without `answer`, `output` is the answer, as other programs write it; beside
one, `output` is the reference, as stages `instruct` and `prefer` write it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmill.contract.elsewhere import quoted
from llmill.contract.errors import UserError
from llmill.tasks import conversation, rows

ENDINGS = (".json", ".jsonl", ".ndjson", ".parquet")

Task = tuple[str, str]  # instruction and input


@dataclass
class Answers:
    """Answers by task, references that stand beside them, and how many rows repeat a task: of those
    the first counts.
    """

    by_task: dict[Task, str] = field(default_factory=dict)
    references: dict[Task, str] = field(default_factory=dict)
    repeated: int = 0


def task(instruction: str, about: str) -> Task:
    """What identifies a task, whatever spaces stand around it."""
    return instruction.strip(), about.strip()


def read(path: Path) -> Answers:
    """The answers of a file; raises `UserError` with the place of a row that holds none."""
    if not path.is_file():
        raise UserError(f"{path}: no such file of answers")
    found = Answers()
    for where, row in rows.read(path):
        if not isinstance(row, dict):
            raise UserError(f"{where}: {quoted(row)} is no object with instruction and answer")
        given = row.get("input")
        key = task(
            _text(row, "instruction", where),
            "" if given is None else conversation.text(given, "input", where),
        )
        says = "answer" if "answer" in row else "output"
        answer = _text(row, says, where)
        if key in found.by_task:
            found.repeated += 1
            continue
        found.by_task[key] = answer
        if says == "answer" and row.get("output") is not None:
            found.references[key] = conversation.text(row["output"], "output", where)
    return found


def _text(row: dict[str, Any], name: str, where: str) -> str:
    if name not in row:
        needed = "'answer' nor 'output'" if name == "output" else f"'{name}'"
        raise UserError(
            f"{where}: {'neither' if name == 'output' else 'no'} {needed}; a row of answers has "
            "instruction, input and answer"
        )
    return conversation.text(row[name], name, where)


def files(path: Path) -> list[Path]:
    """A file, or those of a folder that may hold answers, by name."""
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.iterdir() if each.suffix in ENDINGS)
    if not found:
        raise UserError(f"{path}: no file in it that ends with {', '.join(ENDINGS)}")
    return found
