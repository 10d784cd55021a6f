"""Multiple-choice questions: which columns hold their parts, and answers that may be misread."""

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmill.contract.errors import UserError
from llmill.new_data.finding import SHOWN, Finding, beginning, counted, largest, lengths
from llmill.runner import params
from llmill.tasks import multiple_choice, tables
from llmill.tasks.multiple_choice import Named, Question
from llmill.text.files import table_endings

ASKED = ("question", "q", "query", "prompt", "stem")
RIGHT = ("answer", "answers", "correct", "correct_answer", "right", "solution", "label", "key")
CHOICES = ("choices", "options", "endings")  # a list in one column
CHOICE = re.compile(r"(?:choice|option|answer|ending)?[ _-]*(?:[a-j]|[0-9]|10)")
SUBJECTS = ("subject", "topic", "category")


def questions(path: Path, source: dict[str, Any]) -> Finding | None:
    """Return multiple-choice questions, if the columns are theirs, or MMLU's without names."""
    if path.suffix not in table_endings.QUESTIONS:
        return None
    encoding = source.get("encoding")
    try:
        columns = _columns(multiple_choice.names(path, encoding))
        if columns is None:
            found = multiple_choice.read_table(path, path.stem, encoding)
    except UserError:  # another table, or a broken one: reading it as such says what is wrong
        return None
    named = None if columns is None else Named(**columns)
    if named is not None:
        found = multiple_choice.read_table(path, path.stem, encoding, named)
    settled, contradictory = multiple_choice.settled(found)
    kept = [question for question in settled.values() if not question.ambiguous]
    subjects = Counter(question.subject for question in kept)
    sizes = sorted({len(question.choices) for question in found})
    first = found[0]
    lines = [
        f"{path}: multiple-choice questions, {path.stat().st_size:,} bytes",
        f"rows: {len(found):,}; repeats: {len(found) - len(settled):,}",
        f"with several answers: {contradictory:,}; right choice listed twice: "
        f"{len(settled) - len(kept):,}",
        f"subjects: {len(subjects)}: {largest(subjects)}",
        f"choices: {sizes[0]}" + (f" to {sizes[-1]}" if len(sizes) > 1 else ""),
        f"first question: {beginning(first.question)}; "
        f"right choice: {beginning(first.choices[first.answer])}",
        *lengths("questions", [question.question for question in found]),
        *_misread(found, _written(path, encoding, named)),
        *_small(subjects),
    ]
    return Finding(lines, "mmlu", source | (columns or {}))


def refuse_ending(path: Path, names: Sequence[str]) -> None:
    """Raise `UserError` for a table of questions that llmill does not read for its ending."""
    if path.suffix not in table_endings.QUESTIONS and _columns(names) is not None:
        read = ", ".join(table_endings.QUESTIONS)
        raise UserError(f"{path}: looks like multiple-choice questions: export it as one of {read}")


def _columns(names: Sequence[str]) -> dict[str, Any] | None:
    """Return which columns hold which part of a question, or None if a part is missing."""
    by_name = {name.strip().lower(): name for name in names}

    def first(usual: Sequence[str]) -> str | None:
        return next((by_name[name] for name in usual if name in by_name), None)

    question, answer, subject = first(ASKED), first(RIGHT), first(SUBJECTS)
    several = [name for low, name in by_name.items() if CHOICE.fullmatch(low)]
    listed = first(CHOICES)
    choices = several if listed is None else [listed]
    if question is None or answer is None or (listed is None and len(several) < 2):
        return None
    found = {"question": question, "choices": choices, "answer": answer}
    return found if subject is None else found | {"subject": subject}


def _written(path: Path, encoding: str | None, named: Named | None) -> list[str]:
    """Return the answers as the file writes them, a letter or a number each."""
    if named is not None:  # a subject is read as it is written
        as_subjects = replace(named, subject=named.answer)
        table = multiple_choice.read_table(path, path.stem, encoding, as_subjects)
        return [question.subject for question in table]
    for delimiter in multiple_choice.DELIMITERS:
        with contextlib.suppress(UserError):
            frame = tables.read_all(path, encoding, delimiter, header=False)
            if len(frame.columns) >= multiple_choice.FEWEST + 2:
                return [cell.strip() for cell in frame.iloc[:, -1] if cell.strip()]
    return []


def _misread(found: Sequence[Question], written: Sequence[str]) -> Iterator[str]:
    """Yield warnings about answers that may mean another choice than the one that is read."""
    if written and all(answer.isdecimal() for answer in written) and "0" not in written:
        yield (
            "warning: answers count from 0, and no answer is 0; if this file counts from 1, "
            "subtract 1 from each answer, or write letters"
        )
    others = [
        (question, answer)
        for question, answer in zip(found, written, strict=False)
        if answer in question.choices and answer != question.choices[question.answer]
    ]
    if others:
        question, answer = others[0]
        yield (
            f"warning: in {counted(len(others), 'row')}, the answer is also the text of a choice; "
            f"llmill reads answer {answer} of {beginning(question.question)} as "
            f"{beginning(question.choices[question.answer])}; write letters"
        )


def _small(subjects: Counter[str]) -> Iterator[str]:
    """Yield a warning about subjects with too few questions for the worked examples."""
    shots = params.load().mmlu.shots
    few = [name for name, n in subjects.items() if n < 2 * shots]
    if few:
        yield (
            f"warning: {', '.join(few[:SHOWN])}: fewer than {2 * shots} questions, half of which "
            f"may be worked examples; mmlu.shots is {shots}: lower it, or name a file `dev:`"
        )
