"""Multiple-choice questions: MMLU's csv files (Hendrycks et al. 2021), and the prepared form.

Raw: `<split>/<subject>_<split>.csv`, six fields a row: question, four choices, letter.
A quoted field may hold line breaks.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from llmill.contract.errors import UserError
from llmill.tasks import jsonl

SPLITS = ("dev", "val", "test")
LETTERS = "ABCD"
FIELDS = 2 + len(LETTERS)


@dataclass(frozen=True)
class Question:
    """A question of a subject with its choices; `answer` is the number of the right one."""

    subject: str
    question: str
    choices: list[str]
    answer: int


def read_raw(folder: Path, split: str) -> list[Question]:
    """Every question of a split, by subject; raises `UserError` naming a row that does not fit."""
    files = sorted((folder / split).glob(f"*_{split}.csv"))
    if not files:
        raise UserError(f"{folder / split}: no files named <subject>_{split}.csv")
    return [question for file in files for question in _subject(file, split)]


def _subject(file: Path, split: str) -> list[Question]:
    subject = file.stem.removesuffix(f"_{split}")
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = list(csv.reader(text, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: not CSV in UTF-8 ({error})") from None
    return [_question(subject, row, f"{file}, row {n}") for n, row in enumerate(rows, 1)]


def _question(subject: str, row: list[str], where: str) -> Question:
    if len(row) != FIELDS:
        raise UserError(f"{where}: {len(row)} fields, needed are question, A, B, C, D, answer")
    question, *choices, letter = row
    if letter not in tuple(LETTERS):
        raise UserError(f"{where}: answer {letter!r}, allowed are {', '.join(LETTERS)}")
    return Question(subject, question, choices, LETTERS.index(letter))


def read(path: Path) -> list[Question]:
    """Prepared questions."""
    return jsonl.read(path, Question)


def write(path: Path, questions: Iterable[Question]) -> None:
    """Write prepared questions."""
    jsonl.write(path, questions)
