"""Labelled messages: the raw files, the prepared file, and the input of a classifier.

A raw file is a table with named columns, in any format of `tables`, or has lines of
`label<TAB>text` without a header row.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmill.contract.errors import UserError
from llmill.tasks import jsonl
from llmill.tasks.rows import fused
from llmill.text.files.encoding import decode
from llmill.text.identity import normal
from llmill.text.tokenization.tokenizer import Tokenizer

FORM = "a row is label<TAB>text"
NAMES = {"label", "class", "category", "text", "message", "sms", "v1", "v2"}  # usual column names
SPLITS = {  # names in tables -> our names
    "train": "train", "training": "train",
    "validate": "validate", "validation": "validate", "valid": "validate", "val": "validate",
    "dev": "validate",
    "test": "test", "testing": "test",
}  # fmt: skip
PARTS = ("train", "validate", "test")
TESTS = "tests"  # a folder of further tests, one file per test
FIRST = ("test", "validate", "train", None)  # a text in two splits is kept in the first of them


@dataclass(frozen=True)
class Message:
    """A text and its class."""

    label: str
    text: str


@dataclass(frozen=True)
class Collection:
    """Messages in file order, each with its split, or None if the split is still to be drawn.

    It also counts the rows without a text and without a label.
    """

    messages: list[Message]
    splits: Sequence[str | None]
    without_text: int = 0
    without_label: int = 0

    def ordered(self) -> list[tuple[Message, str | None]]:
        """Return messages with their splits, test messages first, so no repeat of one is learnt."""
        pairs = zip(self.messages, self.splits, strict=True)
        return sorted(pairs, key=lambda pair: FIRST.index(pair[1]))


@dataclass(frozen=True)
class Contradiction:
    """A text with several labels: the count of each label, and the label that the text keeps."""

    text: str
    labels: dict[str, int]
    label: str


def settle(messages: Iterable[Message]) -> dict[str, Contradiction]:
    """Find texts with contradictory labels, by the normal form of the text.

    A text keeps its most frequent label. If several are equally frequent, it keeps the first one.
    """
    labels: dict[str, Counter[str]] = {}
    texts: dict[str, str] = {}
    for message in messages:
        key = normal(message.text)
        labels.setdefault(key, Counter())[message.label] += 1
        texts.setdefault(key, message.text)
    return {
        key: Contradiction(texts[key], dict(counts), counts.most_common(1)[0][0])
        for key, counts in labels.items()
        if len(counts) > 1
    }


def read_table(folder: Path, form: Mapping[str, Any]) -> Collection:
    """Read the rows of a table and, if it names one, of its test file.

    `form` has the fields of `OwnTable`. Raises `UserError` for a file that is not such a table, for
    a single class, and for an unknown name of a split.
    """
    from llmill.tasks import tables  # loads pandas, which the built-in world does without

    texts, label, split = form["text"], form["label"], form["split"]
    columns = [*texts, label, *([] if split is None else [split])]
    rows: list[tuple[Message, str | None]] = []
    without_text = without_label = 0
    for file, of_all in ((form["file"], None), (form["test"], "test")):
        if file is None:
            continue
        path = folder / Path(file).name
        how = (form["encoding"], form["delimiter"], form["quotes"])
        frame = tables.read(path, columns, *how)
        for number, cells in enumerate(frame.itertuples(index=False, name=None), 1):
            text = "\n".join(cell for cell in cells[: len(texts)] if cell and cell.strip())
            name = (cells[len(texts)] or "").strip()
            if not text:
                without_text += 1
                continue
            if not name:
                without_label += 1
                continue
            part = of_all if split is None else _split(cells[-1], f"{path}, row {number}")
            rows.append((Message(name, text), part))
    messages = [message for message, _ in rows]
    _refuse_one_class(folder / Path(form["file"]).name, messages)
    return Collection(messages, [part for _, part in rows], without_text, without_label)


def _split(cell: str | None, where: str) -> str | None:
    """Return the split that a cell names, or None for a blank cell.

    A row with a blank cell is for training, or for drawing a split that no row names.
    """
    name = (cell or "").strip().casefold()
    if not name:
        return None
    if name not in SPLITS:
        raise UserError(f"{where}: split {cell!r}; there is train, validate and test")
    return SPLITS[name]


def read_raw(path: Path) -> list[Message]:
    """Read every row of a raw file without a header row. Raises `UserError` for an unlabelled row
    or a single class.
    """
    try:
        text = decode(path.read_bytes(), path, None)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run stage download again") from None
    rows = _quoted(text)
    if rows is None:
        lines = text.split("\n")
        rows = [(n, *line.partition("\t")) for n, line in enumerate(lines, 1) if line.strip()]
    messages = [_message(label, tab, rest, f"{path}, row {n}") for n, label, tab, rest in rows]
    if not messages:
        raise UserError(f"{path}: an empty file; {FORM}")
    _refuse_names(path, messages)
    _refuse_one_class(path, messages)
    return messages


def read_raw_tests(folder: Path) -> dict[str, list[Message]]:
    """Read the further tests beside a raw file, by name. Raises `UserError` as `read_raw` does."""
    return {file.stem: read_raw(file) for file in sorted((folder / TESTS).glob("*.tsv"))}


def _quoted(text: str) -> list[tuple[int, str, str, str]] | None:
    """Return the rows of a file with quoted fields, as from a spreadsheet; None if marks are text.

    Quotation marks are text if one that begins a field is never closed, or only in another row.
    """
    if '\t"' not in text:
        return None
    reader = csv.reader(io.StringIO(text), delimiter="\t", strict=True)
    rows = []
    try:
        for fields in reader:
            if fields and len(fields) != 2:
                return None
            if fields:
                rows.append((reader.line_num, fields[0], "\t", fields[1]))
    except csv.Error:
        return None
    return None if fused([(label, rest) for _, label, _, rest in rows], "\t") is not None else rows


def _message(label: str, tab: str, text: str, where: str) -> Message:
    if not tab or not label.strip():
        raise UserError(f"{where}: no label in {(label + tab + text)[:40]!r}; {FORM}")
    if not text.strip():
        raise UserError(f"{where}: no text after label '{label}'; {FORM}")
    return Message(label.strip(), text)


def _refuse_names(path: Path, messages: Sequence[Message]) -> None:
    """Refuse a header row, because it would become a class of its own."""
    first = messages[0]
    names = {first.label.casefold(), first.text.strip().casefold()}
    if names <= NAMES and sum(message.label == first.label for message in messages) == 1:
        raise UserError(
            f"{path}: row 1 holds names of columns; put the file into own/ and name them in "
            f"params.yaml: `download.classification: {{file: own/{path.name}, "
            f"text: {first.text.strip()}, label: {first.label}}}`"
        )


def _refuse_one_class(path: Path, messages: Sequence[Message]) -> None:
    labels = sorted({message.label for message in messages})
    if not labels:
        raise UserError(f"{path}: no row has a text and a label")
    if len(labels) < 2:
        raise UserError(f"{path}: every row is '{labels[0]}'; a classifier needs two classes")


def read(path: Path) -> list[Message]:
    """Read prepared messages."""
    return jsonl.read(path, Message)


def read_splits(folder: Path) -> dict[str, list[Message]]:
    """Read the prepared messages of each split.

    Raises `UserError` for an empty split, and for a label without a training message, which no
    classifier could ever predict.
    """
    splits = {name: read(folder / f"{name}.jsonl") for name in PARTS}
    learnt = {row.label for row in splits["train"]}
    for name, rows in splits.items():
        path = folder / f"{name}.jsonl"
        if not rows:
            raise UserError(f"{path}: no messages; change the shares in prepare.classification")
        _refuse_strange(path, rows, learnt)
    return splits


def read_tests(folder: Path, learnt: Iterable[str]) -> dict[str, list[Message]]:
    """Read the prepared messages of each further test, if there are any. Raises `UserError` for a
    label that is not in `learnt`.
    """
    tests = {file.stem: read(file) for file in sorted((folder / TESTS).glob("*.jsonl"))}
    for name, rows in tests.items():
        _refuse_strange(folder / TESTS / f"{name}.jsonl", rows, set(learnt))
    return tests


def _refuse_strange(path: Path, rows: Iterable[Message], learnt: set[str]) -> None:
    strange = sorted({row.label for row in rows} - learnt)
    if strange:
        raise UserError(f"{path}: label '{strange[0]}' stands in no training message")


def write(path: Path, messages: Iterable[Message]) -> None:
    """Write prepared messages."""
    jsonl.write(path, messages)


def encode(tokenizer: Tokenizer, text: str, max_length: int) -> list[int]:
    """Encode the input of a classifier: <|endoftext|>, as before a document, followed by the text.

    Returns at most `max_length` tokens. A longer text keeps its end.
    """
    tokens = tokenizer.encode(text)
    return [tokenizer.end_of_text, *tokens[max(0, len(tokens) + 1 - max_length) :]]
