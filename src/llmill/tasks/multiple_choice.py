"""Multiple-choice questions: MMLU's CSV files (Hendrycks et al. 2021), other tables, and the
prepared file.

Raw: `<split>/<subject>_<split>.csv`, each row with a question, 2 to 10 choices, and the letter of
the right choice. A quoted field may contain line breaks. If the first row names the columns, and in
`.json`, `.jsonl` and `.parquet` files, the columns are `question`, `choices` (a list) or `A` to
`J`, `answer` (a letter, or a number from 0), and `subject` if it is not the file's name. `Named`
can give other names.
"""

import contextlib
import csv
import difflib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmill.contract import elsewhere
from llmill.contract.errors import UserError
from llmill.tasks import jsonl, rows
from llmill.text.files import table_endings
from llmill.text.files.encoding import decode
from llmill.text.halves import without_halves
from llmill.text.identity import fraction, normal

SPLITS = ("dev", "val", "test")
LETTERS = "ABCDEFGHIJ"
FEWEST = 2  # choices
EXAMPLES = 5  # per subject, as in MMLU's dev split
DELIMITERS = ",;\t"
QUOTES = 'a quote inside a quoted field is written twice, as in "the ""word"""'

Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """A question of a subject with its choices; `answer` is the index of the right one."""

    subject: str
    question: str
    choices: list[str]
    answer: int

    @property
    def task(self) -> str:
        """The text that identifies the question. It includes the choices, because MMLU asks "Which
        of these is true?" of many choices.
        """
        return "\n".join((self.question, *self.choices))

    @property
    def ambiguous(self) -> bool:
        """Whether the right choice occurs more than once."""
        return self.choices.count(self.choices[self.answer]) > 1


@dataclass(frozen=True)
class Named:
    """The column names of a table; None means the usual name. A single name in `choices` is a
    column of lists.
    """

    question: str | None = None
    choices: Sequence[str] | None = None
    answer: str | None = None
    subject: str | None = None

    @property
    def needed(self) -> set[str]:
        """The names that a header row must contain, in lower case."""
        return {(self.question or "question").lower(), (self.answer or "answer").lower()}


USUAL = Named()


def read_own(
    folder: Path, form: Mapping[str, Any]
) -> tuple[dict[str, list[Question]], dict[str, int]]:
    """Read the distinct questions of a table by split, and count the rows read and left out.

    `form` has the fields of `OwnQuestions`. A question with several answers keeps the most frequent
    one, or the first of equally frequent ones. A question whose right choice occurs twice is left
    out, because no pick could be counted fairly. Worked examples come from their own file if there
    is one. Otherwise up to five questions per subject, at most half of them, are drawn by their
    content.
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
    """Return the distinct questions by normal form, and how many came with several answers."""
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
    """Read every question of a split, by subject. Raises `UserError` that names a row that does not
    fit.
    """
    files = sorted(f for f in (folder / split).glob("*") if f.suffix in table_endings.QUESTIONS)
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
    """Read the questions in one file; `subject` applies to rows that name none."""
    csv_file = file.suffix in table_endings.CELLS
    table = _csv(file, encoding, names) if csv_file else rows.read(file, encoding)
    questions = [_question(subject, row, where, names) for where, row in table]
    if not questions:
        raise UserError(f"{file}: no questions in it")
    return questions


def names(file: Path, encoding: str | None) -> list[str]:
    """Return the column names of a table; for a table without a header, its first row."""
    if file.suffix in table_endings.CELLS:
        table = _cells(decode(elsewhere.read_bytes(file), file, encoding), file, USUAL)
        return next(filter(_is_filled, table), [])
    _, first = rows.read(file, encoding)[0]
    return list(first) if isinstance(first, dict) else []


def _csv(file: Path, encoding: str | None, columns: Named) -> Iterator[rows.Placed]:
    table = _cells(decode(elsewhere.read_bytes(file), file, encoding), file, columns)
    filled = [(number, cells) for number, cells in enumerate(table, 1) if _is_filled(cells)]
    first = filled[0][1] if filled else []
    # Without a header, the first row gives the number of choices, or it is four if that row is not
    # a question.
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
    """Refuse two columns with the same name if it is read, because only one would be read."""
    spelt = [name.strip().lower() for name in names]
    wanted = columns.needed | {(columns.subject or "subject").lower()}
    wanted |= {name.lower() for name in columns.choices or (*LETTERS, "choices")}
    twice = next((name for name in spelt if name in wanted and spelt.count(name) > 1), None)
    if twice:
        raise UserError(f"{file}: {spelt.count(twice)} columns '{twice}'; rename one")


def _cells(text: str, file: Path, columns: Named) -> list[list[str]]:
    """Split the text into rows by the first delimiter that makes it a table of questions."""
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
    """Return the first row if it holds column names, else an empty list."""
    return cells if columns.needed <= {cell.strip().lower() for cell in cells} else []


def _question(subject: str, row: Any, where: str, names: Named) -> Question:
    if not isinstance(row, dict):
        raise UserError(
            f'{where}: expected {{"question": text, ...}}, found {json.dumps(row)[:40]}'
        )
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
    """Return the choices without surrounding white space; their number may differ between rows."""
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
    hint = "; answers count from 0; use letters if yours count from 1" if text.isdecimal() else ""
    raise UserError(
        f"{where}: answer {elsewhere.quoted(value)}, allowed are {', '.join(LETTERS[:n])}"
        f" (or 0 to {n - 1}){hint}"
    )


def read(path: Path) -> list[Question]:
    """Read prepared questions."""
    return jsonl.read(path, Question)


def write(path: Path, questions: Iterable[Question]) -> None:
    """Write prepared questions."""
    jsonl.write(path, questions)
