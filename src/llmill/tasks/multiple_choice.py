"""Multiple-choice questions: MMLU's csv files (Hendrycks et al. 2021), other tables, and the
prepared form.

Raw: `<split>/<subject>_<split>.csv`: a question, 2 to 10 choices, the letter of the right one. A
quoted field may hold line breaks. Where the first row names the columns, and in `.json`, `.jsonl`
and `.parquet`, they are `question`, `choices` (a list) or `A` to `J`, `answer` (a letter, or a
number from 0), and `subject` where the file's name is not it; or what `Named` says.
"""

import contextlib
import csv
import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmill.contract import elsewhere
from llmill.contract.errors import UserError
from llmill.tasks import jsonl, rows
from llmill.text.files import endings
from llmill.text.files.encoding import decode, without_halves
from llmill.text.identity import fraction, normal

SPLITS = ("dev", "val", "test")
LETTERS = "ABCDEFGHIJ"
FEWEST = 2  # choices
EXAMPLES = 5  # of a subject, as MMLU's dev split has them
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

    @property
    def task(self) -> str:
        """What identifies it: MMLU asks "Which of these is true?" of many choices."""
        return "\n".join((self.question, *self.choices))

    @property
    def ambiguous(self) -> bool:
        """Whether the right choice stands there twice."""
        return self.choices.count(self.choices[self.answer]) > 1


@dataclass(frozen=True)
class Named:
    """The columns of a table by name; None is the usual name. A single one of `choices` holds
    lists.
    """

    question: str | None = None
    choices: Sequence[str] | None = None
    answer: str | None = None
    subject: str | None = None

    @property
    def needed(self) -> set[str]:
        """What a first row of names holds, in lower case."""
        return {(self.question or "question").lower(), (self.answer or "answer").lower()}


USUAL = Named()


def read_own(
    folder: Path, form: Mapping[str, Any]
) -> tuple[dict[str, list[Question]], dict[str, int]]:
    """The different questions of a table by split, and how many rows there were and were left out;
    `form`: `OwnQuestions`' fields.

    A question that came with several answers keeps the most frequent, of equals the first; one
    whose right choice stands there twice is left out, since no pick of it would be counted fairly.
    Worked examples come from a file of their own; else of each subject up to five questions, half
    of them at most, are drawn by their content.
    """
    names = Named(*(form[key] for key in ("question", "choices", "answer", "subject")))
    tables = [
        read_table(folder / Path(file).name, Path(file).stem, form["encoding"], names)
        for file in (form["dev"], form["file"])
        if file is not None
    ]
    rows = [question for table in tables for question in table]
    different, contradictory = settled(rows)
    kept = {key: each for key, each in different.items() if not each.ambiguous}
    if form["dev"] is None:
        by_subject = defaultdict(list)
        for question in kept.values():
            by_subject[question.subject].append(question)
        dev = [question for group in by_subject.values() for question in _drawn(group)]
    else:
        keys = dict.fromkeys(normal(question.task) for question in tables[0])
        dev = [kept[key] for key in keys if key in kept]
    learnt_from = {question.task for question in dev}
    test = [question for question in kept.values() if question.task not in learnt_from]
    counts = {
        "rows": len(rows),
        "duplicates": len(rows) - len(different),
        "contradictory": contradictory,
        "ambiguous": len(different) - len(kept),
    }
    return {"dev": dev, "val": [], "test": test}, counts


def settled(rows: Iterable[Question]) -> tuple[dict[str, Question], int]:
    """The different questions by their normal form, and how many came with several answers."""
    first: dict[str, Question] = {}
    answers: dict[str, Counter[int]] = defaultdict(Counter)
    for question in rows:
        key = normal(question.task)
        first.setdefault(key, question)
        answers[key][question.answer] += 1
    found = {
        key: replace(question, answer=answers[key].most_common(1)[0][0])
        for key, question in first.items()
    }
    return found, sum(len(each) > 1 for each in answers.values())


def _drawn(questions: Sequence[Question]) -> list[Question]:
    ordered = sorted(questions, key=lambda question: fraction(question.task, "dev"))
    return ordered[: min(EXAMPLES, len(questions) // 2)]


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


def read_table(
    file: Path, subject: str, encoding: str | None, names: Named = USUAL
) -> list[Question]:
    """The questions of one file; `subject` is that of rows that name none."""
    csv_file = file.suffix in endings.CELLS
    table = _csv(file, encoding, names) if csv_file else rows.read(file, encoding)
    questions = [_question(subject, row, where, names) for where, row in table]
    if not questions:
        raise UserError(f"{file}: no questions in it")
    return questions


def names(file: Path, encoding: str | None) -> list[str]:
    """What the columns would be called, of a table without names its first row."""
    if file.suffix in endings.CELLS:
        table = _cells(decode(elsewhere.read_bytes(file), file, encoding), file, USUAL)
        return next(filter(_is_filled, table), [])
    _, first = rows.read(file, encoding)[0]
    return list(first) if isinstance(first, dict) else []


def _csv(file: Path, encoding: str | None, columns: Named) -> Iterator[rows.Placed]:
    table = _cells(decode(elsewhere.read_bytes(file), file, encoding), file, columns)
    filled = [(number, cells) for number, cells in enumerate(table, 1) if _is_filled(cells)]
    first = filled[0][1] if filled else []
    # Without names the first row says how many choices there are; four, if it is no question.
    n = len(first) - 2 if len(first) >= FEWEST + 2 else 4
    header = first if columns != USUAL else _header(first, columns)
    names = header or ["question", *LETTERS[:n], "answer"]
    _refuse_repeated(file, names, columns)
    for number, cells in filled[bool(header) :]:
        if len(cells) != len(names):
            needed = ", ".join(names)
            raise UserError(f"{file}, row {number}: {len(cells)} fields, expected {needed}")
        yield f"{file}, row {number}", dict(zip(names, cells, strict=True))


def _refuse_repeated(file: Path, names: Sequence[str], columns: Named) -> None:
    """One of two columns of a name that is read would be read, and the other not."""
    spelt = [name.strip().lower() for name in names]
    wanted = columns.needed | {(columns.subject or "subject").lower()}
    wanted |= {name.lower() for name in columns.choices or (*LETTERS, "choices")}
    twice = next((name for name in spelt if name in wanted and spelt.count(name) > 1), None)
    if twice:
        raise UserError(f"{file}: {spelt.count(twice)} columns '{twice}'; rename one")


def _cells(text: str, file: Path, columns: Named) -> list[list[str]]:
    """The rows as separated by the first character with which they are a table of questions."""
    for delimiter in DELIMITERS:
        with contextlib.suppress(csv.Error):
            if _is_table(table := list(rows.separated(text, delimiter)), columns):
                return table
    reader = rows.separated(text, DELIMITERS[0])
    try:
        return list(reader)
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: not CSV ({error}); {QUOTES}") from None


def _is_table(table: list[list[str]], columns: Named) -> bool:
    filled = [cells for cells in table if _is_filled(cells)]
    sizes = {len(cells) for cells in filled}
    return len(sizes) == 1 and (max(sizes) >= FEWEST + 2 or bool(_header(filled[0], columns)))


def _is_filled(cells: list[str]) -> bool:
    return any(cell.strip() for cell in cells)


def _header(cells: list[str], columns: Named) -> list[str]:
    """The first row, where it holds names."""
    return cells if columns.needed <= {cell.strip().lower() for cell in cells} else []


def _question(subject: str, row: Any, where: str, names: Named) -> Question:
    if not isinstance(row, dict):
        raise UserError(f"{where}: {elsewhere.quoted(row)} is no object")
    row = {name.strip().lower(): value for name, value in row.items()}
    question = _column(row, names.question or "question", where)
    if not isinstance(question, str) or not question.strip():
        raise UserError(f"{where}: no question")
    question = without_halves(question)
    choices = _choices(row, where, names.choices)
    answer = _answer(_column(row, names.answer or "answer", where), len(choices), where)
    of = row.get("subject") if names.subject is None else _column(row, names.subject, where)
    return Question(_cell(of, where) or subject, question, choices, answer)


def _column(row: Row, name: str, where: str) -> Any:
    if name.lower() in row:
        return row[name.lower()]
    near = difflib.get_close_matches(name, row, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(row)}"
    raise UserError(f"{where}: no column '{name}'; {hint}")


def _choices(row: Row, where: str, names: Sequence[str] | None) -> list[str]:
    """The choices without white space round them; a row may have fewer than others have."""
    if names is not None and len(names) > 1:
        values = [_column(row, name, where) for name in names]
    elif names is not None:
        values = _list(_column(row, names[0], where), where)
    elif any(letter.lower() in row for letter in LETTERS):
        values = [row.get(letter.lower()) for letter in LETTERS]
    else:
        values = _list(_column(row, "choices", where), where)
    choices = [_cell(value, where) for value in values]
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
        raise UserError(f"{where}: choices {elsewhere.quoted(value)}, expected a list")
    return value


def _cell(value: Any, where: str) -> str:
    return (rows.cell(value, where) or "").strip()


def _answer(value: Any, n: int, where: str) -> int:
    text = _cell(value, where).upper()
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
