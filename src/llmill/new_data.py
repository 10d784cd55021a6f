"""`llmill new-data FILE`: report what a file holds, and which lines of `params.yaml` use it.

The form is recognized by the ending and the names of columns. A person's intention is not known, so
the lines are a proposal.
"""

import filecmp
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from llmill.contract import pipeline, printable, yaml_file
from llmill.contract.errors import UserError
from llmill.contract.model_folder import BPE
from llmill.runner import params
from llmill.stages.settings.download import OWN
from llmill.tasks import classification, instruction, multiple_choice, preference, rows, tables
from llmill.tasks.classification import Message
from llmill.text.corpus import documents
from llmill.text.files import endings, readers
from llmill.text.identity import normal
from llmill.text.tokenization.tokenizer import Tokenizer

TEXTS = (".txt", ".md")  # besides rows of text, which are recognized by their columns
LABELS = ("label", "labels", "class", "category", "target", "topic", "queue", "intent", "sentiment")
MOST_CLASSES = 1000  # a column with more different values is not proposed as the label
QUOTES = {"quotes": False}
PLAIN = re.compile(r"[A-Za-z][\w./-]*")  # what YAML reads as a text without quotes
USUAL = {*LABELS, *classification.NAMES, "id", "subject", "body", "title", "review", "comment"}
SHOWN = 10  # classes, columns
ASKED = ("question", "q", "query", "prompt", "stem")
RIGHT = ("answer", "answers", "correct", "correct_answer", "right", "solution", "label", "key")
CHOICES = ("choices", "options", "endings")  # a list in one column
CHOICE = re.compile(r"(?:choice|option|answer|ending)?[ _-]*(?:[a-j]|[0-9]|10)")
SUBJECTS = ("subject", "topic", "category")
INSTRUCTIONS = [  # keys that no other form has together
    *([name] for name in instruction.CONVERSATIONS),
    ["instruction", "output"],
    ["instruction", "response"],
    ["prompt", "completion"],
]


@dataclass(frozen=True)
class Finding:
    """Description of a file, line by line, and the value of `download.ROLE` for it."""

    lines: list[str]
    role: str
    value: Any


def print_report(path: Path, encoding: str | None = None, delimiter: str | None = None) -> None:
    """Print what the file is, then the lines. Raises `UserError` if no stage can read it."""
    if path.is_dir():
        raise UserError(
            f"{path}: a folder; name each of its files, or put texts into one .jsonl file, a row "
            '{"text": "..."} each'
        )
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if delimiter is not None:
        delimiter = _character(delimiter)
    own = path if path.parts[:1] == (OWN,) else _free(Path(OWN, path.name), path)
    source = {"file": str(own)} | ({"encoding": encoding} if encoding else {})
    if endings.of(path.name) in TEXTS:
        finding = _text(path, source)
    elif endings.packing(path.name) and endings.of(path.name):
        finding = _documents(path, source)
    else:
        finding = (
            _pairs(path, source)
            or _tasks(path, source)
            or _questions(path, source)
            or _table(path, own, encoding, delimiter)
        )
    for line in finding.lines:
        print(printable.line(line))
    value = _flow(finding.value)
    print()
    if own != path:
        print(f"mkdir -p {OWN} && cp {shlex.quote(str(path))} {shlex.quote(str(own))}")
    print(f"Below download, in params.yaml:\n  {finding.role}: {value}")
    print("or: llmill preset --set " + shlex.quote(f"download.{finding.role}={value}"))


def _text(path: Path, source: dict[str, str]) -> Finding:
    """Return the finding for a text file to learn from, added to the present sources."""
    text = "".join(readers.texts(path, None, source.get("encoding")))
    parts = documents.paragraphs(documents.clean(text))
    if not parts:
        raise UserError(f"{path}: no text in it")
    repeats = len(parts) - len(set(map(normal, parts)))
    lines = [
        f"{path}: text, {path.stat().st_size:,} bytes",
        f"paragraphs: {len(parts):,}, {repeats:,} of them repeats",
        f"words: {len(text.split()):,}",
        *_tokens([text]),
    ]
    return Finding(lines, "text", _texts_with(source))


def _documents(path: Path, source: dict[str, str]) -> Finding:
    """Return the finding for packed rows of text, added to the present sources."""
    texts = [text for text in readers.texts(path, None, source.get("encoding")) if text.strip()]
    if not texts:
        raise UserError(f"{path}: no text in it")
    lines = [
        f"{path}: rows of text, {path.stat().st_size:,} bytes",
        f"rows: {len(texts):,}, {len(texts) - len(set(map(normal, texts))):,} of them repeats",
        *_lengths("texts", texts),
    ]
    return Finding(lines, "text", _texts_with(source | {"format": "documents"}))


def _pairs(path: Path, source: dict[str, str]) -> Finding | None:
    """Return preferences, if the file holds them; they may have an instruction's keys as well."""
    if path.suffix not in (*tables.JSON, ".parquet"):
        return None
    try:
        entries = preference.read_raw(path, source.get("encoding"))
    except UserError:
        if any(_has_keys(path, source, [name]) for name in preference.ANSWERS):
            raise
        return None
    undecided = sum(entry.undecided for entry in entries)
    lines = [
        f"{path}: preferences, {path.stat().st_size:,} bytes",
        f"pairs: {len(entries):,}, in {undecided:,} of them both answers are the same",
        f"prompts: {len({normal(entry.task) for entry in entries}):,}",
        *_lengths("answers", [text for e in entries for text in (e.chosen, e.rejected)]),
    ]
    return Finding(lines, "preference", source)


def _tasks(path: Path, source: dict[str, str]) -> Finding | None:
    """Return instructions, if the file holds them."""
    if path.suffix not in (*tables.JSON, ".parquet"):
        return None
    try:
        entries = instruction.read_raw(path, source.get("encoding"))
    except UserError:  # another table, or a broken one: reading it as such says what is wrong
        if any(_has_keys(path, source, names) for names in INSTRUCTIONS):
            raise
        return None
    keys = Counter(normal(f"{entry.task}\n{entry.output}") for entry in entries)
    lines = [
        f"{path}: instructions, {path.stat().st_size:,} bytes",
        f"rows: {len(entries):,}, {len(entries) - len(keys):,} of them repeats",
        f"without a response: {sum(not entry.output.strip() for entry in entries):,}",
        *_lengths("responses", [entry.output for entry in entries]),
    ]
    return Finding(lines, "instruction", source)


def _has_keys(path: Path, source: dict[str, str], names: Sequence[str]) -> bool:
    """Return whether the first row has all of these, so that no other form is possible."""
    _, row = next(iter(rows.read(path, source.get("encoding"))))
    return isinstance(row, dict) and row.keys() >= set(names)


def _questions(path: Path, source: dict[str, Any]) -> Finding | None:
    """Return multiple-choice questions, if the columns are theirs, or MMLU's without names."""
    if path.suffix not in endings.QUESTIONS:
        return None
    encoding = source.get("encoding")
    try:
        columns = _columns_of_questions(multiple_choice.names(path, encoding))
        if columns is None:
            questions = multiple_choice.read_table(path, path.stem, encoding)
    except UserError:  # another table, or a broken one: reading it as such says what is wrong
        return None
    if columns is not None:
        named = multiple_choice.Named(**columns)
        questions = multiple_choice.read_table(path, path.stem, encoding, named)
    settled, contradictory = multiple_choice.settled(questions)
    kept = [question for question in settled.values() if not question.ambiguous]
    subjects = Counter(question.subject for question in kept)
    sizes = sorted({len(question.choices) for question in questions})
    largest = ", ".join(f"{name} {n:,}" for name, n in subjects.most_common(SHOWN))
    shots = params.load().mmlu.shots
    few = [name for name, n in subjects.items() if n < 2 * shots]
    lines = [
        f"{path}: multiple-choice questions, {path.stat().st_size:,} bytes",
        f"rows: {len(questions):,}, {len(questions) - len(settled):,} of them repeats",
        f"with several answers: {contradictory:,}; whose right choice stands there twice: "
        f"{len(settled) - len(kept):,}",
        f"subjects: {len(subjects)}: {largest}{', ...' if len(subjects) > SHOWN else ''}",
        f"choices: {sizes[0]}" + (f" to {sizes[-1]}" if len(sizes) > 1 else ""),
        *_lengths("questions", [question.question for question in questions]),
    ]
    if few:
        lines.append(
            f"warning: {', '.join(few[:SHOWN])}: fewer than {2 * shots} questions, half of which "
            f"may be worked examples; mmlu.shots is {shots}: lower it, or name a file `dev:`"
        )
    return Finding(lines, "mmlu", source | (columns or {}))


def _columns_of_questions(names: Sequence[str]) -> dict[str, Any] | None:
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


def _table(path: Path, own: Path, encoding: str | None, delimiter: str | None) -> Finding:
    """Return the finding for a table of texts with labels."""
    whole, quotes = _read(path, encoding, delimiter)
    options = {"encoding": encoding, "delimiter": delimiter, **({} if quotes else QUOTES)}
    frame = whole.loc[:, [_names_one(whole, name) for name in whole.columns]]
    lines = [
        f"{path}: table, {path.stat().st_size:,} bytes",
        f"rows: {len(frame):,}",
        f"columns: {len(whole.columns)}",
        *(f"  {_described(name, frame[name])}" for name in list(frame.columns)[:SHOWN]),
    ]
    text = _text_column(frame)
    label = _label_column(frame, text)
    form = {"file": str(own), "text": text, "label": label}
    form |= {key: value for key, value in options.items() if value is not None}
    if label is None and "text" in frame.columns and endings.of(path.name):
        source = {"file": str(own), "format": "documents"}
        texts = [cell for cell in frame["text"] if _filled(cell)]
        lines += _lengths("texts", texts)
        return Finding(lines, "text", _texts_with(source))
    if label is None or text is None:
        names = ", ".join(map(str, list(frame.columns)[:SHOWN]))
        learnt = f"; or learn its texts: text: [{{file: {own}, column: COLUMN, format: documents}}]"
        raise UserError(
            f"{path}: no column looks like a label and another like a text; choose among {names}: "
            f"classification: {{file: {own}, text: COLUMN, label: COLUMN}}"
            + (learnt if endings.of(path.name) else "")
        )
    pairs = zip(frame[text], frame[label], strict=True)
    messages = [Message(name.strip(), cell) for cell, name in pairs if _filled(cell, name)]
    counts = Counter(message.label for message in messages)
    if len(counts) < 2:
        by_columns = path.suffix == ".json" and len(frame) == 1  # one object, of columns
        hint = "; in pandas, write rows by orient='records'" if by_columns else ""
        what = f"all of {len(frame):,} rows are of one class" if counts else "no row has a label"
        raise UserError(f"{path}: {what}{hint}")
    keys = Counter(normal(message.text) for message in messages)
    largest = ", ".join(f"{name} {n:,}" for name, n in counts.most_common(SHOWN))
    lines += [
        f"text: {text}; label: {label}",
        f"classes: {len(counts)}: {largest}{', ...' if len(counts) > SHOWN else ''}",
        f"without text or label: {len(frame) - len(messages):,}; repeats: "
        f"{len(messages) - len(keys):,}; texts with several labels: "
        f"{len(classification.settle(messages)):,}",
        *_lengths("texts", [message.text for message in messages]),
    ]
    return Finding(lines, "classification", form)


def _read(path: Path, encoding: str | None, delimiter: str | None) -> tuple[pd.DataFrame, bool]:
    """Return the table, and whether its cells are quoted. If a name of its first row occurs again
    below itself, that row does not hold names, and columns have numbers.
    """
    quotes = True
    try:
        frame = tables.read_all(path, encoding, delimiter)
    except UserError as error:
        if path.suffix not in tables.DELIMITERS:
            raise
        try:
            quotes, frame = False, tables.read_all(path, encoding, delimiter, quotes=False)
        except UserError:
            raise error from None
        if set(frame.iloc[:, -1]) <= set(multiple_choice.LETTERS):  # a quiz, as MMLU's files are
            multiple_choice.read_table(path, path.stem, encoding)  # reports what is wrong with it
    if path.suffix in tables.DELIMITERS and _is_data(list(frame.columns), frame):
        frame = tables.read_all(path, encoding, delimiter, quotes, header=False)
    return frame, quotes


def _is_data(names: Sequence[Any], frame: pd.DataFrame) -> bool:
    """Return whether the first row is data: one of its cells occurs again below itself, and no
    other is a usual name of a column.
    """
    again = [name for name in names if _names_one(frame, name) and name in set(frame[name])]
    others = {str(name).strip().casefold() for name in names if name not in again}
    return bool(again) and not others & USUAL


def _names_one(frame: pd.DataFrame, name: Any) -> bool:
    """Return whether just one column has this name: spreadsheets write empty ones, even several."""
    return bool(str(name).strip()) and list(frame.columns).count(name) == 1


def _texts_with(source: dict[str, str]) -> list[Any]:
    """Return the texts in `params.yaml`, without an own file of this one's name, then this one."""
    found: list[Any] = []
    for each in params.load().download.text:
        if isinstance(each, str):
            found.append(each)
        elif each.name != endings.without(source["file"]):
            found.append(each.model_dump(exclude_defaults=True))
    return [*found, source]


def _free(own: Path, path: Path) -> Path:
    """Return a place for a copy that overwrites no file, or that of an existing copy."""
    stem, dot, ending = own.name.partition(".")
    places = (own.with_name(f"{stem}-{n}{dot}{ending}") for n in count(2))
    return next(
        each
        for each in chain([own], places)
        if not each.exists() or filecmp.cmp(each, path, shallow=False)
    )


def _filled(*cells: str | None) -> bool:
    return all(cell and cell.strip() for cell in cells)


def _described(name: Any, column: "pd.Series[Any]") -> str:
    cells = [cell for cell in column if _filled(cell)]
    typical = median(map(len, cells)) if cells else 0
    return (
        f"{name}: {len(cells):,} filled, {len(set(cells)):,} different, "
        f"typically {typical:,.0f} characters"
    )


def _text_column(frame: pd.DataFrame) -> Any:
    """Return the column with the longest cells."""
    lengths = {name: sum(len(cell or "") for cell in frame[name]) for name in frame.columns}
    return max(lengths, key=lambda name: lengths[name], default=None)


def _label_column(frame: pd.DataFrame, text: Any) -> Any:
    """Return a column with a usual name, else the repeating one with the fewest values."""
    counts = {name: len(set(frame[name])) for name in frame.columns if name != text}
    usual = [name for name in counts if str(name).strip().casefold() in LABELS]
    several = [name for name, n in counts.items() if 2 <= n < min(MOST_CLASSES, len(frame))]
    return next(iter(usual or sorted(several, key=lambda name: counts[name])), None)


def _character(delimiter: str) -> str:
    """Return the character that separates columns; a tab may be written as \\t."""
    found = "\t" if delimiter == "\\t" else delimiter
    if len(found) != 1:
        raise UserError(f"--delimiter {delimiter!r}: a single character, e.g. ';' or '\\t'")
    return found


def _lengths(what: str, texts: Sequence[str]) -> Iterator[str]:
    lengths = sorted(len(text.split()) for text in texts)
    if lengths:
        end = lengths[len(lengths) * 95 // 100]
        yield (
            f"{what} in words: half up to {median(lengths):,.0f}, 95 % up to {end:,}, "
            f"longest {lengths[-1]:,}"
        )
        yield from _tokens(texts)


def _tokens(texts: Sequence[str]) -> Iterator[str]:
    """Yield lengths by this chain's tokenizer, or, if there is none, what will make it."""
    folder = pipeline.folder(params.stages(params.load()), "tokenizer") / BPE
    if not folder.is_dir():
        yield "in tokens: shown once there is a tokenizer (dvc repro tokenizer)"
        return
    tokenizer = Tokenizer.load(folder)
    lengths = [len(tokenizer.encode(text)) for text in texts]
    yield (
        f"in tokens of {folder}: {sum(lengths):,} in all, half up to {median(lengths):,.0f}, "
        f"longest {max(lengths):,}"
    )


def _flow(value: Any) -> str:
    """Return YAML on one line, unquoted where that means the same."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and PLAIN.fullmatch(value) and yaml_file.parse(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
