"""Multiple-choice questions: MMLU's csv files (Hendrycks et al. 2021), other tables, and the
prepared form.

Raw: `<split>/<subject>_<split>.csv`: a question, 2 to 10 choices, the letter of the right one. A
quoted field may hold line breaks. Where the first row names the columns, and in `.jsonl` and
`.parquet`, they are `question`, `choices` (a list) or `A` to `J`, `answer` (a letter, or a number
from 0), and `subject` where the file's name is not it.
"""

import contextlib
import csv
import difflib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmill.contract import elsewhere
from llmill.contract.errors import UserError
from llmill.tasks import jsonl
from llmill.text import endings, readers
from llmill.text.encoding import decode

SPLITS = ("dev", "val", "test")
LETTERS = "ABCDEFGHIJ"
FEWEST = 2  # choices
DELIMITERS = ",;\t"
QUOTES = 'a quote inside a quoted field is written twice, as in "the ""word"""'

Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """A question of a subject with its choices; `answer` is the number of the right one."""

    subject: str
    question: str
    choices: list[str]
    answer: int


def read_raw(folder: Path, split: str) -> list[Question]:
    """Every question of a split, by subject; raises `UserError` naming a row that does not fit."""
    files = sorted(f for f in (folder / split).glob("*") if f.suffix in endings.QUESTIONS)
    if not files:
        raise UserError(f"{folder / split}: no files named <subject>_{split}.csv")
    return [
        question
        for file in files
        for question in read_table(file, file.stem.removesuffix(f"_{split}"), None)
    ]


def read_table(file: Path, subject: str, encoding: str | None) -> list[Question]:
    """The questions of one file; `subject` is that of rows that name none."""
    rows = _csv(file, encoding) if file.suffix in endings.CELLS else readers.rows(file, encoding)
    questions = [_question(subject, row, where) for where, row in rows]
    if not questions:
        raise UserError(f"{file}: no questions in it")
    return questions


def _csv(file: Path, encoding: str | None) -> Iterator[tuple[str, Row]]:
    table = _cells(decode(elsewhere.read_bytes(file), file, encoding), file)
    rows = [(number, cells) for number, cells in enumerate(table, 1) if _is_filled(cells)]
    first = rows[0][1] if rows else []
    # Without names the first row says how many choices there are; four, if it is no question.
    n = len(first) - 2 if len(first) >= FEWEST + 2 else 4
    header = _header(first)
    names = header or ["question", *LETTERS[:n], "answer"]
    for number, cells in rows[bool(header) :]:
        if len(cells) != len(names):
            needed = ", ".join(names)
            raise UserError(f"{file}, row {number}: {len(cells)} fields, needed are {needed}")
        yield f"{file}, row {number}", dict(zip(names, cells, strict=True))


def _cells(text: str, file: Path) -> list[list[str]]:
    """The rows as separated by the first character with which they are a table of questions."""
    for delimiter in DELIMITERS:
        with contextlib.suppress(csv.Error):
            if _is_table(table := list(_reader(text, delimiter))):
                return table
    reader = _reader(text, DELIMITERS[0])
    try:
        return list(reader)
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: not CSV ({error}); {QUOTES}") from None


def _reader(text: str, delimiter: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _is_table(table: list[list[str]]) -> bool:
    rows = [cells for cells in table if _is_filled(cells)]
    sizes = {len(cells) for cells in rows}
    return len(sizes) == 1 and (max(sizes) >= FEWEST + 2 or bool(_header(rows[0])))


def _is_filled(cells: list[str]) -> bool:
    return any(cell.strip() for cell in cells)


def _header(cells: list[str]) -> list[str]:
    """The columns' names, where a first row holds names."""
    names = [cell.strip().lower() for cell in cells]
    return names if {"question", "answer"} <= set(names) else []


def _question(subject: str, row: Row, where: str) -> Question:
    row = {name.strip().lower(): value for name, value in row.items()}
    question = _column(row, "question", where)
    if not isinstance(question, str) or not question.strip():
        raise UserError(f"{where}: no question")
    choices = _choices(row, where)
    answer = _answer(_column(row, "answer", where), len(choices), where)
    return Question(_cell(row.get("subject")) or subject, question, choices, answer)


def _column(row: Row, name: str, where: str) -> Any:
    if name in row:
        return row[name]
    near = difflib.get_close_matches(name, row, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(row)}"
    raise UserError(f"{where}: no column '{name}'; {hint}")


def _choices(row: Row, where: str) -> list[str]:
    """The choices without white space round them; a row may have fewer than others have."""
    if any(letter.lower() in row for letter in LETTERS):
        values = [row.get(letter.lower()) for letter in LETTERS]
    else:
        values = _list(_column(row, "choices", where), where)
    choices = [_cell(value) for value in values]
    while choices and not choices[-1]:
        choices.pop()
    if "" in choices:
        raise UserError(f"{where}: choice {choices.index('') + 1} of {len(choices)} is empty")
    if not FEWEST <= len(choices) <= len(LETTERS):
        raise UserError(
            f"{where}: {len(choices)} choices, a question has {FEWEST} to {len(LETTERS)}"
        )
    return choices


def _list(value: Any, where: str) -> list[Any]:
    with contextlib.suppress(ValueError):
        value = elsewhere.parsed(value) if isinstance(value, str) else value
    if not isinstance(value, list):
        raise UserError(f"{where}: choices {elsewhere.quoted(value)}, needed is a list")
    return value


def _cell(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _answer(value: Any, n: int, where: str) -> int:
    text = _cell(value).upper()
    if len(text) == 1 and text in LETTERS[:n]:
        return LETTERS.index(text)
    if text.isdecimal() and len(text) == 1 and int(text) < n:
        return int(text)
    raise UserError(
        f"{where}: answer {elsewhere.quoted(value)}, allowed are {', '.join(LETTERS[:n])}"
        f" (or 0 to {n - 1})"
    )


def read(path: Path) -> list[Question]:
    """Prepared questions."""
    return jsonl.read(path, Question)


def write(path: Path, questions: Iterable[Question]) -> None:
    """Write prepared questions."""
    jsonl.write(path, questions)
